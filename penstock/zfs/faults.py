"""What a failed zfs or zpool command means: the only place that looks at its words.

The sentences are those of OpenZFS 2.x (lib/libzfs/libzfs_util.c, libzfs_dataset.c, libzfs_sendrecv.c, cmd/zfs) and of
zfs-fuse 0.7. Those that can be provoked are provoked on both by tests/contract/test_zfs.py.
"""

from __future__ import annotations

import re
import shlex

from penstock.errors import (
    BackendFault,
    Conflict,
    Fault,
    InsufficientCapacity,
    Invalid,
    NotFound,
    Unavailable,
    Unsupported,
)
from penstock.host.runner import Completed


class HasClones(Conflict):
    """Clones live on the snapshot (or on one below): promote one first, or destroy the snapshot deferred."""


class HasChildren(Conflict):
    """Datasets or snapshots are below it, and the destroy was not recursive."""


class NewerSnapshots(Conflict):
    """Snapshots taken since would be lost by this rollback."""


class Diverged(Conflict):
    """The receiving dataset does not end in the snapshot that the stream starts from."""


class NotAClone(Conflict):
    """It has no origin: promoting it has nothing to do, or was done before."""


class AlreadyMounted(Conflict):
    """Mounting it has nothing to do."""


class NothingMounted(Conflict):
    """Unmounting it has nothing to do."""


class TooSmall(Invalid):
    """The quota is below what is used or reserved already."""


class Busy(Unavailable):
    """Somebody has it open, mounted, held or under a send; later it may work."""


class MountFailed(Unavailable):
    """The dataset was made or renamed all the same, but is not mounted: look, then mount."""


class KeyNotLoaded(Unavailable):
    """It is encrypted and its key is not loaded: somebody has to load it, or to say where it is."""


class PermissionDenied(BackendFault):
    """The user we run as may not do this: use root, sudo or ``zfs allow``."""


_MEANINGS: tuple[tuple[str, type[Fault]], ...] = (  # the first that is found counts
    (r"successfully (?:created|renamed), but (?:it may )?not (?:be )?(?:mounted|shared)", MountFailed),
    (r"[Pp]ermission denied|a password is required|is not in the sudoers file|may not run sudo", PermissionDenied),
    (r"key not loaded|key is not loaded|key must be loaded|Key load error", KeyNotLoaded),
    (r"dependent clones|has clones|is cloned|clones of previous snapshots", HasClones),
    (r"has children", HasChildren),
    (r"more recent snapshots", NewerSnapshots),
    (r"contains partially-complete state", Busy),  # we always look first, so somebody else just left it
    (r"tag already exists on this dataset", Conflict),
    (r"no such tag on this dataset", NotFound),
    (r"has been modified|does not\s+match incremental source", Diverged),
    (r"not a cloned filesystem", NotAClone),
    (r"filesystem already mounted", AlreadyMounted),
    (r"not currently mounted", NothingMounted),
    (r"size is less than current used or reserved", TooSmall),
    (r"dataset is busy|pool is busy|target is busy|umount failed|Device or resource busy", Busy),
    (r"out of space|space quota exceeded|greater than available space|No space left", InsufficientCapacity),
    (r"conflicting snapshot|already exists|destination '[^']*' exists|directory is not empty", Conflict),
    (
        r"(?:dataset|parent|pool) does not exist|destination '[^']*' does not exist",
        NotFound,
    ),
    (r"could not send .*: does not exist|no such pool|could not find any snapshots to destroy", NotFound),
    (r"[Ii]/O error|pool I/O is currently suspended|pool is unavailable|currently unavailable", Unavailable),
    (r"Connection refused|connect: No such file|failed to initialize ZFS library|modules are not loaded", Unavailable),
    (r"used in the initial send|resume token is corrupt", Unavailable),
    (r"incomplete stream|failed to read from stream|invalid backup stream|Broken pipe|signal received", Unavailable),
    (r"invalid option|unrecognized command|too many arguments|invalid property '", Unsupported),
    (r"' must be one of '|feature|Function not implemented|operation not supported", Unsupported),
    (r"bad numeric value|must be |invalid dataset name|name is too long|cannot be a descendant", Invalid),
    (r"no mountpoint set|legacy mountpoint|'canmount' property is set to 'off'", Invalid),
    (r"multiple snapshots of same fs|part of same dataset|is readonly|read-only|cannot be inherited", Invalid),
    (r"not an earlier snapshot|not applicable to datasets of this type|use 'none' to disable", Invalid),
)

MEANING: tuple[tuple[re.Pattern[str], type[Fault]], ...] = tuple((re.compile(t), kind) for t, kind in _MEANINGS)

_USAGE = re.compile(r"^usage:.*", re.MULTILINE | re.DOTALL)
_BROKEN_PIPE = re.compile(r"Broken pipe|signal received")  # the latter by OpenZFS 2.1's kernel module
_BROKEN_PIPE_EXITS = (141, -13)  # a shell's and subprocess' way to say SIGPIPE


def said(done: Completed) -> str:
    """What the command complained of, without its page of usage."""
    return _USAGE.sub("", done.stderr).strip()


def fault_of(done: Completed) -> Fault:
    """What a failed command means. Text we do not know is a BackendFault, never a guess."""
    words = said(done)
    kind = next((kind for text, kind in MEANING if text.search(words)), BackendFault)
    fault = kind(f"{shlex.join(done.argv)}: exit {done.exit_code}: {words}")
    fault.quotes_host = True
    return fault


def has_failed(done: Completed) -> bool:
    """True also for an exit code of 0 with an internal error, as zfs-fuse ends when its Python part is missing."""
    return done.exit_code != 0 or "internal error" in done.stderr


def fault_of_transfer(source: Completed, target: Completed) -> Fault | None:
    """What a failed ``zfs send | zfs receive`` means, None when it went well.

    The end that failed first has the reason; the other only saw the pipe break.
    """
    source_only_saw_the_pipe_break = source.exit_code in _BROKEN_PIPE_EXITS or _BROKEN_PIPE.search(source.stderr)
    if has_failed(source) and not source_only_saw_the_pipe_break:
        return fault_of(source)
    if has_failed(target):
        return fault_of(target)
    return fault_of(source) if has_failed(source) else None

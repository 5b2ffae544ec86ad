"""What a failed zfs or zpool command means: the only place that looks at its words.

The sentences are those of OpenZFS 2.x (lib/libzfs/libzfs_util.c, libzfs_dataset.c, libzfs_sendrecv.c, cmd/zfs) and of
zfs-fuse 0.7; both were provoked on real ones, see tests/contract/test_zfs.py and tests/unit/test_zfs_faults.py.
"""

from __future__ import annotations

import re
import shlex

from penstock.errors import BackendFault, Conflict, Fault, InsufficientCapacity, Invalid, NotFound, Unavailable, Unsupported
from penstock.host.runner import Completed


class HasClones(Conflict):
    """Clones live on the snapshot: promote one first, or destroy it deferred."""


class HasChildren(Conflict):
    """Datasets or snapshots are below it, and the destroy was not recursive."""


class NewerSnapshots(Conflict):
    """Snapshots taken since would be lost by this rollback."""


class Diverged(Conflict):
    """The receiving dataset was changed since the snapshot that the stream starts from."""


class Busy(Unavailable):
    """Somebody has it open, mounted or under a send; later it may work."""


class NotMounted(Unavailable):
    """The dataset was made or renamed, but mounting it failed: look, then mount."""


class PermissionDenied(BackendFault):
    """The user we run as may not do this: use root, sudo or ``zfs allow``."""


MEANING: tuple[tuple[re.Pattern[str], type[Fault]], ...] = tuple(
    (re.compile(words), kind)
    for words, kind in (
        (r"dependent clones|has clones|is cloned", HasClones),
    )
)


def fault_of(done: Completed) -> Fault:
    """What a failed command means. Text we do not know is a BackendFault, never a guess."""
    kind = next((kind for words, kind in MEANING if words.search(done.stderr)), BackendFault)
    return kind(f"{shlex.join(done.argv)}: exit {done.exit_code}: {done.stderr.strip()}")

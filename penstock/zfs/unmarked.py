"""What a creation that was cut off left: the dataset is there, and none of the marks that say whose it is.

``zfs create`` and ``zfs clone`` make the dataset in one transaction group and set what ``-o`` gave in a later one
(quotas and reservations in groups of their own), on zfs-fuse and on OpenZFS alike: "It would be nice to do this
atomically" (zfs_ioc_create and zfs_ioc_clone, module/zfs/zfs_ioctl.c). A power cut between keeps the first alone. What
may be taken for such a dataset, and why only that: docs/decisions/0005-a-dataset-without-its-marks.md.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from penstock.errors import Fault, NotFound, Unavailable
from penstock.zfs.changes import flush
from penstock.zfs.client import Zfs
from penstock.zfs.faults import KeyNotLoaded, fault_of
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import UNSET, Properties, bytes_of, is_user_property, local_value

CLOCKS_APART = timedelta(minutes=10)
# The head of a clone, two or three copies of it, without anything in it having changed; a file made, or read where
# access times are kept, is 80 KiB and more with sectors of 4 KiB (zfs-fuse: 0, 81920, 90112).
UNCHANGED_BYTES = 24 * 1024
# A new filesystem or zvol: 24 KiB with sectors of 512 bytes, 112 with 4 KiB, several times that on wide raidz.
EMPTY_BYTES = 2**20
LISTING_TIMEOUT_S = 30.0
_ALWAYS_SET = frozenset({"volsize", "volblocksize"})  # some versions of ZFS call these of a zvol ``local``
# given with the dataset itself, and never again
_FROM_BIRTH = frozenset({"casesensitivity", "normalization", "utf8only", "volblocksize", "encryption", "keyformat"})


@dataclass(frozen=True, slots=True)
class Attempt:
    """A creation that may have been cut off.

    `owner` is the mark, name and value, that says whose the dataset would be. `asked` are the native properties that
    the command may have set. `origin` is the snapshot it is to be a clone of, or a mark of it, name and value; None for
    one that starts empty. `since` is when the creation was asked for, UTC without tzinfo; None when nobody knows.
    """

    dataset: Dataset
    owner: tuple[str, str]
    asked: frozenset[str]
    origin: SnapshotName | tuple[str, str] | None
    since: datetime | None


def objection(zfs: Zfs, attempt: Attempt) -> str | None:
    """What speaks against it that what is there was left by the attempt, and holds nothing of anybody's; None: nothing.

    A filesystem that starts empty is mounted, where it was not, to see that it is. Raises NotFound when nothing is
    there, and what ZFS raises when it cannot be told.
    """
    found = zfs.get(attempt.dataset, ["all"])
    reason = (
        _setting(found, attempt) or _origin(zfs, found, attempt) or _age(found, attempt) or _below(zfs, attempt.dataset)
    )
    return reason or _contents(zfs, found, attempt)


def doubt(zfs: Zfs, attempt: Attempt) -> str | None:
    """As `objection`; that it cannot be told counts as one, but for what passes by itself."""
    try:
        return objection(zfs, attempt)
    except KeyNotLoaded as fault:
        return fault.message
    except Unavailable:
        raise
    except Fault as fault:
        return fault.message


def destroy(zfs: Zfs, dataset: Dataset) -> None:
    """Destroy what nothing spoke against; gone is fine.

    There was nothing below it: raises HasChildren when by now there is, which is somebody's. Raises Busy.
    """
    with suppress(NotFound):
        zfs.destroy(dataset, recursive=False)


def in_order(attempt: Attempt, properties: Mapping[str, str]) -> dict[str, str]:
    """What is still to be set of what the command would have set, in the order in which dying between is no new case:
    first whose it is, last what it is."""
    owner, whose = attempt.owner
    rest = {name: value for name, value in properties.items() if name not in (owner, KIND, *_FROM_BIRTH)}
    return {owner: whose, **rest, **{name: properties[name] for name in (KIND,) if name in properties}}


def _setting(found: Properties, attempt: Attempt) -> str | None:
    """Whatever was set on it must be what the attempt would have set. Marks count only beside whose they are."""
    ours = local_value(found, attempt.owner[0]) == attempt.owner[1]
    prefix = KIND.partition(":")[0] + ":"
    if found.get(KIND) is not None and found[KIND].source in ("local", "received"):
        return f"it is marked as a {found[KIND].value}"
    for name, seen in found.items():
        if seen.source not in ("local", "received"):
            continue
        is_asked = name in attempt.asked or name in _ALWAYS_SET or (ours and name.startswith(prefix))
        if seen.source == "received" or not is_asked:
            what = "user property" if is_user_property(name) else "property"
            return f"somebody set its {what} {name}"
    return None


def _origin(zfs: Zfs, found: Properties, attempt: Attempt) -> str | None:
    name = found["origin"].value if "origin" in found else UNSET
    is_clone = name not in ("", UNSET)
    if attempt.origin is None:
        return f"it is a clone of {name}" if is_clone else None
    if not is_clone:
        return "it is no clone"
    snapshot = parse_target(name)
    if isinstance(attempt.origin, SnapshotName):
        is_meant = snapshot == attempt.origin
    else:
        mark_name, value = attempt.origin
        seen = zfs.get_many([snapshot], [mark_name]).get(name, {})
        is_meant = local_value(seen, mark_name) == value
    return None if is_meant else f"it is a clone of another snapshot, {name}"


def _age(found: Properties, attempt: Attempt) -> str | None:
    made_s = bytes_of(found, "creation")
    if attempt.since is None or made_s >= (attempt.since.replace(tzinfo=UTC) - CLOCKS_APART).timestamp():
        return None
    made = datetime.fromtimestamp(made_s, UTC).replace(tzinfo=None)
    return f"it was made at {made} UTC, before it was asked for"


def _below(zfs: Zfs, dataset: Dataset) -> str | None:
    others = set(zfs.tree(dataset, ["type"], kinds=("filesystem", "volume", "snapshot"))) - {str(dataset)}
    return f"there is {min(others)}" if others else None


def _contents(zfs: Zfs, found: Properties, attempt: Attempt) -> str | None:
    flush(zfs, attempt.dataset.pool)
    written = "written" if zfs.flavour.has_written else "unique"
    written_bytes = bytes_of(zfs.get(attempt.dataset, [written]), written)
    if written_bytes > (EMPTY_BYTES if attempt.origin is None else UNCHANGED_BYTES):
        return f"{written_bytes} bytes were written to it"
    if attempt.origin is not None or found["type"].value != "filesystem":
        return None
    mountpoint = found["mountpoint"].value
    if not mountpoint.startswith("/") or found["canmount"].value == "off":
        return None  # nobody could write to it, but by mounting it elsewhere
    if found["mounted"].value != "yes":
        zfs.mount(attempt.dataset)
    words = ("find", mountpoint, "-mindepth", "1", "-maxdepth", "1", "-print", "-quit")
    done = zfs.host.run(words, timeout_s=LISTING_TIMEOUT_S)
    if done.exit_code != 0:
        raise fault_of(done)
    return f"there is {done.stdout.strip()}" if done.stdout else None

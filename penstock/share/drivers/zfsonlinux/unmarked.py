"""A share's dataset that a creation which was cut off left without its marks: completed, or destroyed with the share.

See `penstock.zfs.unmarked` for what may be taken for one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping

import structlog

from penstock.errors import Conflict
from penstock.ids import InstanceId
from penstock.share.drivers.zfsonlinux import spec
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, PREFIX, kind_of, owner_id
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.steps import SetProperties, Step
from penstock.share.inventory import Leftover
from penstock.share.models import ShareModel
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset, SnapshotName, parse_target
from penstock.zfs.properties import Properties, bytes_of
from penstock.zfs.unmarked import Attempt, doubt, in_order, objection
from penstock.zfs.unmarked import destroy as destroy_unmarked

SNAPSHOT_ID = f"{PREFIX}snapshot_id"
NATIVE = frozenset({"refquota", "refreservation", "canmount", "compression", "dedup"})
_UUID = re.compile(r"[0-9a-f]{8}(_[0-9a-f]{4}){3}_[0-9a-f]{12}")

log = structlog.get_logger(__name__)


def completion(
    zfs: Zfs,
    settings: Settings,
    share: ShareModel,
    seen: SeenShare,
    making: Mapping[str, str],
    *,
    origin: SnapshotName | None,
) -> tuple[Step, ...]:
    """The step that makes what stands unmarked in a new share's place the share, as `making` would have; none when it
    came to its marks meanwhile: the command was late, not cut off.

    Raises Conflict when it cannot be shown that an earlier attempt left it.
    """
    attempt = _attempt(settings, share, seen.dataset, origin)
    reason = objection(zfs, attempt)
    if reason is not None:
        again = observe_share(zfs, seen.dataset)
        if again is not None and again.belongs_to(share["id"]):
            return ()
        raise Conflict(f"{seen.dataset} exists and belongs to somebody else: {reason}")
    log.warning("share.marks_completed", share=share["share_id"], dataset=str(seen.dataset))
    return (SetProperties(seen.dataset, tuple(in_order(attempt, making).items())),)


def left_of(zfs: Zfs, settings: Settings, share: ShareModel) -> SeenShare | None:
    """What the creation of a share left that never came to its marks; None when there is no such thing."""
    if share["export_locations"]:
        return None  # it was whole once: what has no marks now was let go
    seen = observe_share(zfs, spec.new_dataset(share, settings))
    if seen is None or seen.kind is not None:
        return None
    is_clone = seen.origin is not None and share.get("snapshot_id")
    attempt = _attempt(settings, share, seen.dataset, (SNAPSHOT_ID, share["snapshot_id"]) if is_clone else None)
    reason = doubt(zfs, attempt)
    if reason is not None:
        again = observe_share(zfs, seen.dataset)
        if again is not None and again.belongs_to(share["id"]):
            return again
        log.warning("share.unmarked_dataset_kept", share=share["share_id"], dataset=str(seen.dataset), reason=reason)
        return None
    log.warning("share.unmarked_dataset_taken", share=share["share_id"], dataset=str(seen.dataset))
    return seen


def destroy(zfs: Zfs, seen: SeenShare) -> None:
    """Destroy what `left_of` found; see `penstock.zfs.unmarked.destroy`."""
    destroy_unmarked(zfs, seen.dataset)


def _attempt(
    settings: Settings, share: ShareModel, dataset: Dataset, origin: SnapshotName | tuple[str, str] | None
) -> Attempt:
    return Attempt(
        dataset,
        owner=(ID, share["id"]),
        asked=NATIVE | dict(settings.creation_options).keys(),
        origin=origin,
        since=share["created_at"],
    )


# --- for the doctor, who knows of no operation ------------------------------------------------------------------------


def unmarked(pool: str, root: Dataset, datasets: Mapping[str, Properties], settings: Settings) -> Iterator[Leftover]:
    """Datasets with a name that only a share's would have, and no mark."""
    head = f"{root}/{settings.dataset_prefix}"
    for name, properties in datasets.items():
        instance = name.removeprefix(head)
        is_marked = kind_of(properties) is not None or owner_id(properties) is not None
        if name.startswith(head) and _UUID.fullmatch(instance) and not is_marked:
            is_bare = bytes_of(properties, "refquota") == 0
            yield Leftover(name, pool, InstanceId(instance.replace("_", "-")), is_bare)


def discard(zfs: Zfs, settings: Settings, location: str) -> None:
    """Destroy what `unmarked` named, when nothing was written to it; fine when it is gone. Raises Conflict."""
    dataset = Dataset(location)
    found = zfs.get_many([dataset], (KIND, ID, "origin")).get(location)
    if found is None:
        return
    origin = parse_target(found["origin"].value) if found["origin"].value not in ("", "-") else None
    asked = NATIVE | dict(settings.creation_options).keys()
    attempt = Attempt(dataset, (ID, ""), asked, origin if isinstance(origin, SnapshotName) else None, since=None)
    reason = objection(zfs, attempt)
    if reason is not None:
        raise Conflict(f"{location} is not what a creation left: {reason}")
    destroy_unmarked(zfs, dataset)

"""Snapshots of shares: taken, found, destroyed, taken over. A ZFS snapshot each, under a mark of ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import Conflict, ManageInvalidShareSnapshot, NotFound
from penstock.share.drivers.zfsonlinux import adopt, lineage, plan, spec
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.observe import (
    SeenSnapshot,
    is_share_of,
    is_snapshot_of,
    observe_snapshot,
)
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.steps import carry_out, settle
from penstock.share.models import SnapshotModel
from penstock.units import bytes_to_gib_ceil
from penstock.zfs.client import Zfs
from penstock.zfs.names import SnapshotName


class Snapshots:
    """The snapshots of one host's shares. Every method may be called again after a crash at any point."""

    def __init__(self, zfs: Zfs, finder: Finder, settings: Settings) -> None:
        self._zfs = zfs
        self._finder = finder
        self._settings = settings

    def name(self, snapshot: SnapshotModel) -> SnapshotName:
        """What it is called, wherever its share is. Raises ShareResourceNotFound."""
        dataset = self._finder.existing(snapshot["share"]).dataset
        return dataset.snapshot(spec.snapshot_name(snapshot, self._settings))

    def find(self, snapshot: SnapshotModel) -> SeenSnapshot | None:
        """The snapshot when it is there and this one; what only has its name is not touched."""
        try:
            seen = observe_snapshot(self._zfs, self.name(snapshot))
        except NotFound:
            return None
        return seen if seen is not None and seen.owner_id == snapshot["id"] else None

    def take(self, snapshot: SnapshotModel) -> SnapshotName:
        """Take it; its name. Raises Conflict (the name is somebody else's), ShareResourceNotFound."""
        identity = spec.snapshot_identity(snapshot, snapshot["share_size"])
        name = self._finder.place(snapshot["share"]).snapshot(spec.snapshot_name(snapshot, self._settings))
        if not self._take_at_once(snapshot, spec.SnapshotSpec(name, identity)):
            name = self.name(snapshot)
            want = spec.SnapshotSpec(name, identity)
            settle(lambda: plan.plan_snapshot(want, observe_snapshot(self._zfs, name)), self._zfs)
        return name

    def _take_at_once(self, snapshot: SnapshotModel, want: spec.SnapshotSpec) -> bool:
        """Take it while looking whether the dataset is the share's, not after it: that look costs half as much.

        False when it has to be done with care: the share is not where it should be, or the name was taken.
        """
        zfs, dataset, instance_id = self._zfs, want.snapshot.dataset, snapshot["share_instance_id"]
        steps = plan.plan_snapshot(want, None)
        try:
            is_ours = zfs.beside(lambda: carry_out(steps, zfs), lambda: is_share_of(zfs, dataset, instance_id))
        except (Conflict, NotFound):
            return is_snapshot_of(zfs, want.snapshot, instance_id, snapshot["id"])
        if not is_ours:
            zfs.destroy_snapshots(dataset, [want.snapshot.name], deferred=False)
        return is_ours

    def destroy(self, snapshot: SnapshotModel) -> None:
        """Destroy it, now or with its last clone; fine when it is not there."""
        seen = self.find(snapshot)
        if seen is not None:
            lineage.destroy_snapshot(self._zfs, seen)

    def take_over(self, snapshot: SnapshotModel, options: Mapping[str, Any]) -> dict[str, Any]:
        """Make a snapshot of the share ours, under its own name; size and location as the driver answers.

        Raises ManageInvalidShareSnapshot.
        """
        name = self.name(snapshot)
        seen = observe_snapshot(self._zfs, name)
        if seen is None:
            raise ManageInvalidShareSnapshot(f"there is no snapshot {name}")
        size = options.get("size")
        size_gib = bytes_to_gib_ceil(seen.referenced_bytes) if size is None else adopt.size_option(size)
        want = spec.SnapshotSpec(name, spec.snapshot_identity(snapshot, size_gib))
        settle(lambda: plan.plan_snapshot_adoption(want, observe_snapshot(self._zfs, name)), self._zfs)
        return {"size": size_gib, "provider_location": str(name)}

    def let_go(self, snapshot: SnapshotModel) -> None:
        """Take our marks off it."""
        seen = self.find(snapshot)
        if seen is not None:
            carry_out(plan.plan_release(seen.snapshot, seen), self._zfs)

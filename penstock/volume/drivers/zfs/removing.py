"""Copies of volumes that were deleted, or are replicated no more: they go, also from a side that was away just then."""

from __future__ import annotations

import structlog

from penstock.domain.pools import service_host
from penstock.errors import Conflict, NotFound, Unavailable
from penstock.volume.drivers.zfs import lineage, setting_aside, spec, unmarked
from penstock.volume.drivers.zfs.connecting import ConnectionMethods
from penstock.volume.drivers.zfs.copies import Reign, VolumeCopy, observe_copy
from penstock.volume.drivers.zfs.fencing import stop_serving
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume.drivers.zfs.replica_syncs import Syncs
from penstock.volume.drivers.zfs.sides import Side, Sides
from penstock.volume.errors import VolumeIsBusy
from penstock.volume.models import VolumeModel
from penstock.zfs.faults import Busy, KeyNotLoaded, MountFailed
from penstock.zfs.lines import release_all
from penstock.zfs.unmarked import destroy as destroy_unmarked

log = structlog.get_logger(__name__)


class RemovalMethods(ConnectionMethods):
    """`sides` are all places, `active` the one whose volumes are served."""

    sides: Sides
    active: Side
    syncs: Syncs

    def is_replicated(self, volume: VolumeModel) -> bool:
        """Does it have copies elsewhere, or will it?"""
        return bool(self.sides.targets) and spec.is_replicated(volume)

    def remove_copies(self, volume: VolumeModel) -> None:
        """Destroy the volume's copies on the other sides; one that has data of its own is set aside. What a side that
        does not answer has of it goes when it does."""
        for side in self.sides.ids:
            if side == self.active.id:
                continue
            try:
                remove_copy(self._copy_to_remove(volume, side))
            except Unavailable as fault:
                log.warning("volume.replica_left", volume=volume.id, side=side, reason=fault.message)
                self.db.copy_left(volume, side)

    def remove_left_copy(self, volume: VolumeModel, backend_id: str, lives: VolumeModel | None) -> None:
        """See `RemovesLeftCopies`. The volume itself, where the side serves again, is set aside like any copy that has
        data of its own. Raises VolumeIsBusy: somebody on the host uses it."""
        if backend_id not in self.sides.ids:
            log.warning("volume.replica_not_removed", volume=volume.id, side=backend_id, reason="no such target now")
            return
        try:
            with self.syncs.paused(volume.id):
                copy = self._copy_to_remove(volume, backend_id)
                if lives is not None and self._is_wanted(copy, lives):
                    return
                if volume.launched_at is None:
                    destroy_unmade(copy)
                else:
                    remove_copy(copy)
        except (Busy, MountFailed, KeyNotLoaded) as fault:  # of this one alone, and nothing that passes by itself
            raise VolumeIsBusy(f"Volume {volume.id} is in use on {backend_id}: {fault.message}") from fault
        except (Conflict, NotFound) as fault:  # somebody else's, or taken away by a round meanwhile
            log.warning("volume.replica_not_removed", volume=volume.id, side=backend_id, reason=fault.message)

    def _copy_to_remove(self, volume: VolumeModel, side: str) -> VolumeCopy:
        """Raises Unavailable also where it is not there because its pool is not."""
        reached = self.sides.reach(side)
        copy = observe_copy(volume, reached, is_served=False)
        missing = reached.missing_roots() if copy.seen is None else []
        if missing:
            raise Unavailable(f"{side} has no {', '.join(missing)}: import the pool.")
        return copy

    def _is_wanted(self, copy: VolumeCopy, volume: VolumeModel) -> bool:
        """Is what stands there the volume that lives, or a copy of it? One that was made by another backend may lie
        beside ours."""
        if service_host(volume.host) != self.host:
            return volume.provider_id in (None, str(copy.dataset))
        place = copy.side.place(volume, Reign.of(volume).places, is_served=False)
        return copy.side.id == self.active.id or (self.is_replicated(volume) and place == copy.dataset)


def destroy_unmade(copy: VolumeCopy) -> None:
    """Destroy what a creation that was given up left of a volume that nobody ever had. Safe to repeat."""
    seen = copy.seen
    if seen is not None and seen.kind is None:
        left = unmarked.left_of(copy.zfs, copy.side.settings, copy.volume)
        if left is not None:
            destroy_unmarked(copy.zfs, left[0])
    elif copy.is_active and seen is not None and seen.promoted is None:
        stop_serving(copy.side, [copy.volume])
        lineage.destroy_volume(copy.zfs, copy.dataset)
    else:
        remove_copy(copy)


def remove_copy(copy: VolumeCopy) -> None:
    """Destroy it; what was the volume once, and was not brought into line since, is set aside. Safe to repeat."""
    kind = copy.seen.kind if copy.seen is not None else None
    if kind is Kind.DIVERGED:
        setting_aside.finish(copy, ())
        return
    if kind is Kind.VOLUME or (kind is Kind.REPLICA and copy.fence is not None):
        setting_aside.leave(copy)
        return
    if kind is not Kind.REPLICA:
        return
    release_all(copy.zfs, copy.dataset)
    try:
        lineage.destroy_volume(copy.zfs, copy.dataset)
    except NotFound:
        log.info("volume.replica_gone_already", dataset=str(copy.dataset))

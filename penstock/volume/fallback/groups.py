"""Groups of volumes, one volume after the other, for drivers that do not know groups."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import structlog

from penstock.errors import Fault, Unsupported
from penstock.volume.driver import BaseVD, capabilities_of
from penstock.volume.errors import SnapshotNotFound, VolumeNotFound
from penstock.volume.interface.groups import GroupAnswer, GroupInterface
from penstock.volume.interface.values import Context, Updates, VolumeUpdates
from penstock.volume.models import GroupModel, GroupSnapshotModel, SnapshotModel, VolumeModel

log = structlog.get_logger(__name__)

CONSISTENT = "consistent_group_snapshot_enabled"


def grouping(driver: BaseVD, group: GroupModel | None) -> GroupInterface:
    """What carries out group calls for `group`: the driver, or its volumes one by one.

    Raises Unsupported when the group's type asks for snapshots of one moment and the driver does not know groups.
    """
    if "create_group" in capabilities_of(driver):
        return driver
    specs = group.group_type.group_specs if group is not None and group.group_type else {}
    if specs.get(CONSISTENT) == "<is> True":
        raise Unsupported("This backend cannot take snapshots of several volumes at the same moment.")
    return VolumeByVolume(driver)


class VolumeByVolume(GroupInterface):
    """Group calls by the driver's calls for single volumes. Every method may be repeated, as those may.

    One member's failure does not keep the others from their turn; it is told in the member's status. A backend that
    cannot answer now ends the call, which may be made again.
    """

    def __init__(self, driver: BaseVD) -> None:
        self._driver = driver

    def create_group(self, context: Context, group: GroupModel) -> Updates | None:
        return {"status": "available"}

    def delete_group(self, context: Context, group: GroupModel, volumes: Sequence[VolumeModel]) -> GroupAnswer:
        def delete(volume: VolumeModel) -> None:
            self._driver.remove_export(context, volume)
            try:
                self._driver.delete_volume(volume)
            except VolumeNotFound:
                log.info("volume.gone_already", volume=volume.id)

        return _each(volumes, delete, "deleted", "error_deleting")

    def update_group(
        self,
        context: Context,
        group: GroupModel,
        add_volumes: Sequence[VolumeModel] | None = None,
        remove_volumes: Sequence[VolumeModel] | None = None,
    ) -> tuple[Updates | None, VolumeUpdates | None, VolumeUpdates | None]:
        return None, None, None

    def create_group_from_src(
        self,
        context: Context,
        group: GroupModel,
        volumes: Sequence[VolumeModel],
        group_snapshot: GroupSnapshotModel | None = None,
        snapshots: Sequence[SnapshotModel] | None = None,
        source_group: GroupModel | None = None,
        source_vols: Sequence[VolumeModel] | None = None,
    ) -> GroupAnswer:
        by_snapshot = {snapshot.id: snapshot for snapshot in snapshots or ()}
        by_volume = {volume.id: volume for volume in source_vols or ()}

        def make(volume: VolumeModel) -> Updates | None:
            if volume.snapshot_id in by_snapshot:
                return self._driver.create_volume_from_snapshot(volume, by_snapshot[volume.snapshot_id])
            if volume.source_volid in by_volume:
                return self._driver.create_cloned_volume(volume, by_volume[volume.source_volid])
            raise Unsupported(f"Volume {volume.id} is of none of the group's sources.")

        return _each(volumes, make, "available", "error")

    def create_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        return _each(snapshots, self._driver.create_snapshot, "available", "error")

    def delete_group_snapshot(
        self, context: Context, group_snapshot: GroupSnapshotModel, snapshots: Sequence[SnapshotModel]
    ) -> GroupAnswer:
        def delete(snapshot: SnapshotModel) -> None:
            try:
                self._driver.delete_snapshot(snapshot)
            except (SnapshotNotFound, VolumeNotFound):
                log.info("volume_snapshot.gone_already", snapshot=snapshot.id)

        return _each(snapshots, delete, "deleted", "error_deleting")


def _each(members: Sequence[Any], call: Callable[[Any], Updates | None], done: str, failed: str) -> GroupAnswer:
    updates: list[Updates] = []
    for member in members:
        try:
            update = call(member)
        except Fault as err:
            if err.retryable:  # the whole call may be made again, and finds what is done
                raise
            log.warning("group.member_failed", id=member.id, error=str(err))
            updates.append({"id": member.id, "status": failed})
        else:
            updates.append({**(update or {}), "id": member.id, "status": done})
    whole = failed if any(update["status"] == failed for update in updates) else done
    return {"status": whole}, updates

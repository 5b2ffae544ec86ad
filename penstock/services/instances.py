"""Instances of shares and of snapshots, and export locations: mostly an administrator's view."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.shares import ExportLocation, ShareInstance
from penstock.errors import Forbidden, InvalidShare, NotFound
from penstock.services import replicas, share_lifecycle, snapshots
from penstock.services.control_plane import ControlPlane
from penstock.services.replicated import refuse_replicas
from penstock.services.visibility import hold_share, owns
from penstock.store import instances, shares, snapshot_instances
from penstock.store import snapshots as snapshot_rows
from penstock.store.database import Transaction
from penstock.store.snapshot_instances import SnapshotInstanceOfShare

__all__ = [
    "InstanceWithPaths",
    "SnapshotInstanceOfShare",
    "force_delete",
    "get",
    "get_snapshot_instance",
    "instance_locations",
    "list_instances",
    "list_snapshot_instances",
    "of_share",
    "one_location",
    "reset_snapshot_instance",
    "reset_status",
    "share_locations",
]
InstanceWithPaths = tuple[ShareInstance, list[ExportLocation]]


def list_instances(
    plane: ControlPlane,
    *,
    export_location_id: str | None = None,
    export_location_path: str | None = None,
    is_soft_deleted: bool = False,
) -> list[InstanceWithPaths]:
    """All instances with their export locations, newest first, or those with that export location.

    Those of soft-deleted shares are left out, or with `is_soft_deleted` alone shown.
    """
    with plane.database.read() as tx:
        found = instances.list_all(
            tx,
            export_location_id=export_location_id,
            export_location_path=export_location_path,
            is_soft_deleted=is_soft_deleted,
        )
        return _with_paths(tx, found)


def of_share(plane: ControlPlane, share_id: str) -> list[InstanceWithPaths]:
    """The share's instances with their export locations. Raises NotFound."""
    with plane.database.read() as tx:
        if shares.get(tx, share_id) is None:
            raise NotFound(f"There is no share {share_id}.")
        return _with_paths(tx, instances.of_share(tx, share_id))


def get(plane: ControlPlane, instance_id: str) -> InstanceWithPaths:
    """One instance with its export locations. Raises NotFound."""
    with plane.database.read() as tx:
        return _with_paths(tx, [_instance(tx, instance_id)])[0]


def reset_status(plane: ControlPlane, instance_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        instance = _instance(tx, instance_id)
        shares.reset_status(tx, instance.id, share_lifecycle.resettable(status), now=plane.clock.utc())


def force_delete(plane: ControlPlane, context: RequestContext, instance_id: str) -> None:
    """Delete the instance in any state, and with its last instance the share.

    Raises NotFound, Invalid (snapshots), Conflict (the active replica of several).
    """
    with plane.database.begin() as tx:
        instance = _instance(tx, instance_id)
        hold_share(tx, instance.share_id)
        share = shares.get_by_instance(tx, instance.id)
        speaker = None if share is None else shares.get(tx, share.id)
        if share is not None and speaker is not None and speaker.instance.id != instance.id and instance.is_replica:
            replicas.remove(tx, plane, context, share, Event.FORCE_DELETE, force=True)
            return
        if share is not None:
            refuse_replicas(share, "deleted by its active one")
        if share is None or shares.has_snapshots(tx, share.id):
            raise InvalidShare(f"Share {instance.share_id} has snapshots; delete them first.")
        share_lifecycle.remove(tx, plane, context, share, Event.FORCE_DELETE)


def share_locations(
    plane: ControlPlane, context: RequestContext, share_id: str, *, with_replicas: bool = False
) -> list[ExportLocation]:
    """Where the share can be mounted; administrators see locations for administrators too.

    `with_replicas` adds those of its other replicas, as was published before 2.47.

    Raises NotFound, and for another project's private share Forbidden, as published.
    """
    with plane.database.read() as tx:
        share = shares.get(tx, share_id)
        if share is None:
            raise NotFound(f"There is no share {share_id}.")
        if not (share.is_public or owns(context, share.project_id)):
            raise Forbidden(f"Share {share_id} belongs to another project.")
        found = instances.export_locations_of(tx, share.instance.id)
        if with_replicas and share.has_replicas:
            others = [one.id for one in instances.of_share(tx, share.id) if one.id != share.instance.id]
            by_instance = instances.locations_of_instances(tx, others)
            found = [*found, *(location for one in others for location in by_instance.get(one, []))]
        return [location for location in found if context.is_admin or not location.is_admin_only]


def instance_locations(plane: ControlPlane, instance_id: str) -> list[ExportLocation]:
    """Where the instance can be mounted. Raises NotFound."""
    with plane.database.read() as tx:
        return instances.export_locations_of(tx, _instance(tx, instance_id).id)


def one_location(locations: list[ExportLocation], location_id: str) -> ExportLocation:
    """That one of the locations. Raises NotFound."""
    for location in locations:
        if location.id == location_id:
            return location
    raise NotFound(f"There is no export location {location_id}.")


def list_snapshot_instances(plane: ControlPlane, *, snapshot_id: str | None = None) -> list[SnapshotInstanceOfShare]:
    """All instances of snapshots, or those of one snapshot. Raises NotFound for a snapshot that is not there."""
    with plane.database.read() as tx:
        if snapshot_id is not None and snapshot_rows.get(tx, snapshot_id) is None:
            raise NotFound(f"There is no snapshot {snapshot_id}.")
        return snapshot_instances.list_all(tx, snapshot_id=snapshot_id)


def get_snapshot_instance(plane: ControlPlane, instance_id: str) -> SnapshotInstanceOfShare:
    """One instance of a snapshot. Raises NotFound."""
    with plane.database.read() as tx:
        return _snapshot_instance(tx, instance_id)


def reset_snapshot_instance(plane: ControlPlane, instance_id: str, status: str) -> None:
    """Write a state by hand. Raises NotFound, Invalid. Safe to repeat."""
    with plane.database.begin() as tx:
        found = _snapshot_instance(tx, instance_id)
        snapshot_rows.reset_status(tx, found.instance.id, snapshots.resettable(status), now=plane.clock.utc())


def _instance(tx: Transaction, instance_id: str) -> ShareInstance:
    found = instances.get(tx, instance_id)
    if found is None:
        raise NotFound(f"There is no share instance {instance_id}.")
    return found


def _snapshot_instance(tx: Transaction, instance_id: str) -> SnapshotInstanceOfShare:
    found = snapshot_instances.list_all(tx, instance_id=instance_id)
    if not found:
        raise NotFound(f"There is no snapshot instance {instance_id}.")
    return found[0]


def _with_paths(tx: Transaction, found: list[ShareInstance]) -> list[InstanceWithPaths]:
    locations = instances.locations_of_instances(tx, [instance.id for instance in found])
    return [(instance, locations.get(instance.id, [])) for instance in found]

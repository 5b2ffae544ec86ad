"""Instances of snapshots with the share they are of, and finding one by the backend's own name."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select

from penstock.domain.snapshots import SnapshotInstance, SnapshotStatus
from penstock.ids import InstanceId, ShareId, SnapshotId, SnapshotInstanceId
from penstock.store.schema import snapshot_instances, snapshots


@dataclass(frozen=True, slots=True)
class SnapshotInstanceOfShare:
    """An instance and the share whose snapshot it is."""

    instance: SnapshotInstance
    share_id: ShareId


def list_all(
    tx: Connection,
    *,
    snapshot_id: str | None = None,
    instance_id: str | None = None,
    share_instance_id: str | None = None,
    provider_location: str | None = None,
) -> list[SnapshotInstanceOfShare]:
    """Instances with all of these, newest first; None means no matter."""
    query = (
        select(*snapshot_instances.c, snapshots.c.share_id)
        .join(snapshots, snapshots.c.id == snapshot_instances.c.snapshot_id)
        .order_by(snapshot_instances.c.created_at.desc(), snapshot_instances.c.id)
    )
    wanted = {
        snapshot_instances.c.snapshot_id: snapshot_id,
        snapshot_instances.c.id: instance_id,
        snapshot_instances.c.share_instance_id: share_instance_id,
        snapshot_instances.c.provider_location: provider_location,
    }
    for column, value in wanted.items():
        if value is not None:
            query = query.where(column == value)
    return [
        SnapshotInstanceOfShare(
            SnapshotInstance(
                id=SnapshotInstanceId(row.id),
                snapshot_id=SnapshotId(row.snapshot_id),
                share_instance_id=InstanceId(row.share_instance_id),
                status=SnapshotStatus(row.status),
                progress=row.progress,
                provider_location=row.provider_location,
                created_at=row.created_at,
                updated_at=row.updated_at,
            ),
            ShareId(row.share_id),
        )
        for row in tx.execute(query)
    ]

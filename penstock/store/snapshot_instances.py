"""Instances of snapshots with the share they are of, and finding one by the backend's own name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, select

from penstock.domain.snapshots import SnapshotInstance
from penstock.ids import ShareId
from penstock.store.schema import snapshot_instances, snapshots
from penstock.store.snapshots import instance_in
from penstock.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class SnapshotInstanceOfShare:
    """An instance and the share whose snapshot it is."""

    instance: SnapshotInstance
    share_id: ShareId


def list_all(
    tx: Transaction,
    *,
    snapshot_id: str | None = None,
    instance_id: str | None = None,
    share_instance_id: str | None = None,
    provider_location: str | None = None,
) -> list[SnapshotInstanceOfShare]:
    """Instances with all of these, newest first; None means no matter."""
    query: Select[Any] = (
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
    return [SnapshotInstanceOfShare(instance_in(row), ShareId(row.share_id)) for row in tx.execute(query)]

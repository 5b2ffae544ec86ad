"""Rows of transfers of volumes to other projects."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Row, delete, insert, select

from penstock.domain.volume_transfers import VolumeTransfer
from penstock.ids import ProjectId, VolumeId
from penstock.store.keyset import KeysetPage, paged
from penstock.store.schema import volume_transfers
from penstock.store.transaction import Transaction

_ALL = select(volume_transfers)
SORTABLE = {
    "id": volume_transfers.c.id,
    "name": volume_transfers.c.display_name,
    "display_name": volume_transfers.c.display_name,
    "volume_id": volume_transfers.c.volume_id,
    "created_at": volume_transfers.c.created_at,
}


def insert_transfer(tx: Transaction, made: VolumeTransfer) -> None:
    """Store a new transfer."""
    tx.execute(
        insert(volume_transfers).values(
            id=made.id,
            volume_id=made.volume_id,
            display_name=made.name,
            salt=made.salt,
            key_hash=made.key_hash,
            no_snapshots=made.no_snapshots,
            source_project_id=made.source_project_id,
            created_at=made.created_at,
        )
    )


def get(tx: Transaction, transfer_id: str) -> VolumeTransfer | None:
    """The transfer, or None."""
    row = tx.execute(_ALL.where(volume_transfers.c.id == transfer_id)).first()
    return None if row is None else _transfer(row)


def list_transfers(
    tx: Transaction, page: KeysetPage, *, project_id: str | None, name: str | None = None, volume_id: str | None = None
) -> list[VolumeTransfer]:
    """Transfers out of a project (None: of all), one page. Raises NotFound (the marker)."""
    query = _ALL
    for column, value in (
        (volume_transfers.c.source_project_id, project_id),
        (volume_transfers.c.display_name, name),
        (volume_transfers.c.volume_id, volume_id),
    ):
        if value is not None:
            query = query.where(column == value)
    rows = tx.execute(paged(tx, query, page, SORTABLE, volume_transfers.c.id, what="transfer"))
    return [_transfer(row) for row in rows]


def delete_transfer(tx: Transaction, transfer_id: str) -> bool:
    """Forget the transfer; False when it was not there."""
    return tx.execute(delete(volume_transfers).where(volume_transfers.c.id == transfer_id)).rowcount > 0


def _transfer(row: Row[Any]) -> VolumeTransfer:
    return VolumeTransfer(
        id=row.id,
        volume_id=VolumeId(row.volume_id),
        name=row.display_name,
        salt=row.salt,
        key_hash=row.key_hash,
        no_snapshots=row.no_snapshots,
        source_project_id=ProjectId(row.source_project_id),
        created_at=row.created_at,
    )

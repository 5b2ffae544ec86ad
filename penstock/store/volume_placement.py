"""What is placed on the pools of volume backends."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import case, func, select

from penstock.domain.volumes import VolumeStatus
from penstock.ids import VolumeId, VolumeSnapshotId
from penstock.store.backends import Placed
from penstock.store.schema import pools
from penstock.store.transaction import Transaction
from penstock.store.volume_schema import volume_snapshots, volumes

# Asked at every placement: built once.
_SIZE = func.coalesce(
    case((volumes.c.size_target_gib > volumes.c.size_gib, volumes.c.size_target_gib)), volumes.c.size_gib
)
_FRESH = (volumes.c.launched_at.is_(None)) | (volumes.c.launched_at > pools.c.reported_at)
_PLACED = (
    select(
        volumes.c.host,
        func.sum(_SIZE).label("provisioned"),
        func.sum(case((_FRESH, _SIZE), else_=_SIZE - volumes.c.size_gib)).label("unreported"),
    )
    .outerjoin(pools, pools.c.ref == volumes.c.host)
    .where(volumes.c.host.is_not(None), volumes.c.status != VolumeStatus.ERROR)
    .group_by(volumes.c.host)
)


def placed(tx: Transaction) -> dict[str, Placed]:
    """By pool, what is placed there; exact, from the rows, so that no promise can leak."""
    return {row.host: Placed(int(row.provisioned), int(row.unreported)) for row in tx.execute(_PLACED)}


@dataclass(frozen=True, slots=True)
class Home:
    """Where the row of a volume says that it lies. `name_id` is the id in its backend name."""

    id: VolumeId
    name_id: VolumeId
    host: str | None


def homes(tx: Transaction) -> list[Home]:
    """Every volume of every backend, in one query of three columns."""
    rows = tx.execute(select(volumes.c.id, volumes.c.name_id, volumes.c.host))
    return [Home(VolumeId(row.id), VolumeId(row.name_id or row.id), row.host) for row in rows]


def home_of(tx: Transaction, name_id: str) -> Home | None:
    """The volume whose backend name has that id, as what it has on a storage does; None when there is none."""
    named = func.coalesce(volumes.c.name_id, volumes.c.id) == name_id
    row = tx.execute(select(volumes.c.id, volumes.c.name_id, volumes.c.host).where(named)).first()
    return None if row is None else Home(VolumeId(row.id), VolumeId(row.name_id or row.id), row.host)


def snapshot_ids(tx: Transaction) -> list[VolumeSnapshotId]:
    """Every snapshot of every volume."""
    return [VolumeSnapshotId(found) for found in tx.execute(select(volume_snapshots.c.id)).scalars()]

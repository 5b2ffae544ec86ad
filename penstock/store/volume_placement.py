"""What is placed on the pools of volume backends."""

from __future__ import annotations

from sqlalchemy import Connection, case, func, select

from penstock.domain.volumes import VolumeStatus
from penstock.store.backends import Placed
from penstock.store.schema import pools
from penstock.store.volume_schema import volumes

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


def placed(tx: Connection) -> dict[str, Placed]:
    """By pool, what is placed there; exact, from the rows, so that no promise can leak."""
    return {row.host: Placed(int(row.provisioned), int(row.unreported)) for row in tx.execute(_PLACED)}

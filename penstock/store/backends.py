"""Rows about backends: services with their heartbeat, availability zones, reported pools and what is placed on them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, case, delete, func, insert, select

from penstock.domain.pools import PoolRef, PoolReport
from penstock.domain.shares import ShareStatus
from penstock.ids import new_id
from penstock.store.schema import availability_zones, pools, services, share_instances, shares
from penstock.store.statements import insert_into, update_row
from penstock.store.transaction import Transaction


@dataclass(frozen=True, slots=True)
class Service:
    """One registered service; it is up when `updated_at` is younger than the configured ``service_down_time``."""

    id: int
    binary: str
    host: str
    availability_zone: str
    disabled: bool
    disabled_reason: str | None
    ready: bool
    backend_info_hash: str | None
    created_at: datetime
    updated_at: datetime | None
    frozen: bool = False
    replication_status: str | None = None  # of a volume backend: ``failed-over`` while a target serves it
    active_backend_id: str | None = None  # ... which one


@dataclass(frozen=True, slots=True)
class Zone:
    """An availability zone."""

    id: str
    name: str
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Placed:
    """What the database says is on one pool: GiB of all instances, and of those the report cannot include yet."""

    provisioned_gib: int
    unreported_gib: int


# Asked at every placement: built once.
_COUNTED = func.coalesce(
    case((shares.c.size_target_gib > shares.c.size_gib, shares.c.size_target_gib)), shares.c.size_gib
)
_FRESH = (share_instances.c.launched_at.is_(None)) | (share_instances.c.launched_at > pools.c.reported_at)
_PLACED = (
    select(
        share_instances.c.host,
        func.sum(_COUNTED).label("provisioned"),
        func.sum(case((_FRESH, _COUNTED), else_=_COUNTED - shares.c.size_gib)).label("unreported"),
    )
    .join(shares, shares.c.id == share_instances.c.share_id)
    .outerjoin(pools, pools.c.ref == share_instances.c.host)
    .where(share_instances.c.host.is_not(None), share_instances.c.status != ShareStatus.ERROR)
    .group_by(share_instances.c.host)
)
_SERVICES = select(services).order_by(services.c.id)
_SERVICE = _SERVICES.where(services.c.binary == bindparam("binary"), services.c.host == bindparam("host"))
_SERVICES_OF = _SERVICES.where(services.c.binary == bindparam("binary"))
_SERVICES_AT = _SERVICES.where(services.c.host == bindparam("host"))
_POOLS = select(pools).order_by(pools.c.ref)
_FORGET_POOLS = delete(pools).where(pools.c.backend == bindparam("of_backend"))
_ZONES = select(availability_zones).order_by(availability_zones.c.name)
_ZONE = select(availability_zones.c.id).where(availability_zones.c.name == bindparam("name"))


def heartbeat(tx: Transaction, *, binary: str, host: str, zone: str, ready: bool, now: datetime) -> Service:
    """Register the service, or say that it is alive."""
    ensure_zone(tx, zone, now=now)
    values = {"availability_zone": zone, "ready": ready, "updated_at": now}
    found = tx.execute(_SERVICE, {"binary": binary, "host": host}).first()
    if found is None:
        new = {"binary": binary, "host": host, "disabled": False, "created_at": now, **values}
        tx.execute(insert_into(services), new)
    else:
        tx.execute(update_row(services, tuple(values)), {**values, "of_id": found.id})
    return _service(tx.execute(_SERVICE, {"binary": binary, "host": host}).one())


def list_services(tx: Transaction, *, binary: str | None = None, host: str | None = None) -> list[Service]:
    """Registered services by id."""
    if binary is not None and host is None:
        return [_service(row) for row in tx.execute(_SERVICES_OF, {"binary": binary})]
    if binary is not None:
        return [_service(row) for row in tx.execute(_SERVICE, {"binary": binary, "host": host})]
    if host is not None:
        return [_service(row) for row in tx.execute(_SERVICES_AT, {"host": host})]
    return [_service(row) for row in tx.execute(_SERVICES)]


def update_service(tx: Transaction, service_id: int, **values: Any) -> None:
    """Change ``disabled``, ``disabled_reason``, ``ready`` or ``backend_info_hash``; the heartbeat is untouched."""
    tx.execute(update_row(services, tuple(values)), {**values, "of_id": service_id})


def ensure_zone(tx: Transaction, name: str, *, now: datetime) -> None:
    """Make the availability zone known."""
    if tx.execute(_ZONE, {"name": name}).first() is None:
        tx.execute(insert(availability_zones).values(id=new_id(), name=name, created_at=now))


def list_zones(tx: Transaction) -> list[Zone]:
    """Availability zones by name."""
    rows = tx.execute(_ZONES)
    return [Zone(row.id, row.name, row.created_at, row.updated_at) for row in rows]


def put_pools(tx: Transaction, backend: str, reports: list[PoolReport]) -> None:
    """Replace everything known of the backend's pools by what it reports now."""
    tx.execute(_FORGET_POOLS, {"of_backend": backend})
    rows = [
        {"ref": str(r.ref), "backend": backend, "capabilities": r.capabilities, "reported_at": r.reported_at}
        for r in reports
    ]
    if rows:
        tx.execute(insert_into(pools), rows)


def list_pools(tx: Transaction) -> list[PoolReport]:
    """The last report of every pool, by name."""
    rows = tx.execute(_POOLS)
    return [PoolReport(PoolRef.parse(row.ref), row.capabilities, row.reported_at) for row in rows]


def placed(tx: Transaction) -> dict[str, Placed]:
    """By pool, what is placed there; exact, from the rows, so that no promise can leak."""
    return {row.host: Placed(int(row.provisioned), int(row.unreported)) for row in tx.execute(_PLACED)}


def _service(row: Row[Any]) -> Service:
    return Service(
        id=row.id,
        binary=row.binary,
        host=row.host,
        availability_zone=row.availability_zone,
        disabled=row.disabled,
        disabled_reason=row.disabled_reason,
        ready=row.ready,
        backend_info_hash=row.backend_info_hash,
        created_at=row.created_at,
        updated_at=row.updated_at,
        frozen=row.frozen,
        replication_status=row.replication_status,
        active_backend_id=row.active_backend_id,
    )

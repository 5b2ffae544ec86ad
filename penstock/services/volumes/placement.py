"""Ask the scheduler for a place for a volume, inside the transaction that will store it."""

from __future__ import annotations

from datetime import timedelta

from penstock.domain.pools import PoolRef, service_host
from penstock.domain.volume_types import VolumeType
from penstock.domain.volumes import Volume
from penstock.errors import InsufficientCapacity, Invalid, NotFound
from penstock.scheduler.requirements import PROVISIONING, Requirements
from penstock.services import placement
from penstock.services.control_plane import ControlPlane
from penstock.store import backends, volume_placement
from penstock.store.database import Transaction

VOLUME_BINARY = "cinder-volume"  # the published name under which clients look for volume services


def place(tx: Transaction, plane: ControlPlane, wanted: Requirements) -> PoolRef:
    """The pool for a new volume. Raises InsufficientCapacity with the reason of every pool."""
    pool, _ = place_in_zone(tx, plane, wanted)
    return pool


def place_in_zone(tx: Transaction, plane: ControlPlane, wanted: Requirements) -> tuple[PoolRef, str]:
    """The same with that pool's availability zone."""
    return placement.place_in_zone(tx, plane, wanted, binary=VOLUME_BINARY, placed=volume_placement.placed)


def room_to_grow(
    tx: Transaction, plane: ControlPlane, volume: Volume, volume_type: VolumeType | None, more_gib: int
) -> str | None:
    """Why the volume's pool cannot hold `more_gib` more of it; None when it can."""
    specs = {} if volume_type is None else volume_type.extra_specs
    thickness = {key: value for key, value in specs.items() if key == PROVISIONING}
    wanted = Requirements(size_gib=more_gib, protocol=None, extra_specs=thickness, only_pool=volume.host)
    try:
        place(tx, plane, wanted)
    except InsufficientCapacity as refusal:
        return refusal.message
    return None


def zone_of(tx: Transaction, pool: PoolRef) -> str:
    """The availability zone of the pool's service."""
    return backends.list_services(tx, binary=VOLUME_BINARY, host=pool.service_host)[0].availability_zone


def named_pool(tx: Transaction, plane: ControlPlane, text: str) -> PoolRef:
    """The pool that an administrator calls `text`: ``host@backend#pool``, or ``host@backend`` when it has but one.

    Raises as `check_service`, and Invalid for another form, or a pool that the backend does not report.
    """
    check_service(tx, plane, text)
    host = service_host(text)
    pools = [report.ref for report in backends.list_pools(tx) if report.ref.service_host == host]
    if "#" in text:
        named = PoolRef.parse(text)
        if named not in pools:
            known = ", ".join(sorted(ref.pool for ref in pools)) or "none that has been reported yet"
            raise Invalid(f"'{host}' has no pool '{named.pool[:128]}'; it has {known}.")
        return named
    if len(pools) != 1:
        raise Invalid(f"'{host}' has {len(pools)} pools: name one, as host@backend#pool.")
    return pools[0]


def check_service(tx: Transaction, plane: ControlPlane, text: str) -> None:
    """Raise NotFound unless the backend of that pool or service is known and enabled, Invalid when it is down."""
    host = service_host(text)
    services = backends.list_services(tx, binary=VOLUME_BINARY, host=host)
    if not services or services[0].disabled:
        raise NotFound(f"There is no enabled volume service '{host[:128]}'.")
    oldest = plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time)
    if (services[0].updated_at or services[0].created_at) < oldest:
        raise Invalid(f"The volume service '{host}' is down.")

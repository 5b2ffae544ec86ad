"""Ask the scheduler, inside the transaction that will store what it places."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

import structlog

from penstock.domain.pools import PoolRef
from penstock.scheduler.placement import Candidate, PlacedGib, choose
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.store import backends
from penstock.store.database import Transaction, hold

log = structlog.get_logger(__name__)

SHARE_BINARY = "manila-share"  # the published name under which clients look for share services


def place(
    tx: Transaction,
    plane: ControlPlane,
    wanted: Requirements,
    *,
    binary: str = SHARE_BINARY,
    placed: Callable[[Transaction], Mapping[str, PlacedGib]] = backends.placed,
) -> PoolRef:
    """The pool for a new share, or for what `binary` serves: that of `place_in_zone`. Raises as that."""
    pool, _ = place_in_zone(tx, plane, wanted, binary=binary, placed=placed)
    return pool


def place_in_zone(
    tx: Transaction,
    plane: ControlPlane,
    wanted: Requirements,
    *,
    binary: str = SHARE_BINARY,
    placed: Callable[[Transaction], Mapping[str, PlacedGib]] = backends.placed,
) -> tuple[PoolRef, str]:
    """The pool for it, and that pool's availability zone. Raises InsufficientCapacity with the reason of every pool.

    Holds the placement lock until the transaction ends, so that two requests cannot be promised the same space.
    """
    hold(tx, "placement")
    found = candidates(tx, plane, binary)
    pool, reasons = choose(wanted, found, placed(tx))
    log.info("placement.chosen", wanted=wanted.what, pool=str(pool), size_gib=wanted.size_gib, refused=reasons)
    return pool, next(one.zone for one in found if one.report.ref == pool)


def candidates(tx: Transaction, plane: ControlPlane, binary: str = SHARE_BINARY) -> list[Candidate]:
    """Every reported pool of such services with the standing of its backend's."""
    services = {service.host: service for service in backends.list_services(tx, binary=binary)}
    oldest = plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time)
    found = []
    for report in backends.list_pools(tx):
        service = services.get(report.ref.service_host)
        if service is None:
            continue
        heard_at = service.updated_at or service.created_at
        found.append(
            Candidate(
                report=report,
                zone=service.availability_zone,
                is_up=heard_at >= oldest,
                is_enabled=not service.disabled,
            )
        )
    return found

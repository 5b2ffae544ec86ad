"""What an administrator sees of backends: services with their heartbeat, availability zones, and pools."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from penstock.domain.pools import PoolReport
from penstock.domain.replication import TYPE_SPEC
from penstock.errors import Invalid, NotFound
from penstock.scheduler.capabilities import unlike, unmet
from penstock.services import type_choice
from penstock.services.control_plane import ControlPlane
from penstock.store import backends as rows
from penstock.store.backends import Service, Zone
from penstock.store.database import Transaction

LONGEST_PATTERN = 255
SHARES, VOLUMES = "manila", "cinder"  # the families of services, by what the names of their binaries begin with


@dataclass(frozen=True, slots=True)
class SeenService:
    """A service, and whether it has been heard of lately."""

    service: Service
    is_up: bool


@dataclass(frozen=True, slots=True)
class ServiceFilter:
    """What a list of services is narrowed to. `state` is ``up`` or ``down``, `status` ``enabled`` or ``disabled``.

    `family` is SHARES or VOLUMES: the one's API does not show the other's services.
    """

    host: str | None = None
    binary: str | None = None
    zone: str | None = None
    state: str | None = None
    status: str | None = None
    family: str = SHARES


@dataclass(frozen=True, slots=True)
class PoolFilter:
    """What a list of pools is narrowed to: regular expressions for the parts of the name, and a share type."""

    host: str | None = None
    backend: str | None = None
    pool: str | None = None
    share_type: str | None = None


def list_services(plane: ControlPlane, wanted: ServiceFilter) -> list[SeenService]:
    """Registered services by id."""
    oldest = plane.clock.utc() - timedelta(seconds=plane.conf.service_down_time)
    with plane.database.read() as tx:
        found = rows.list_services(tx, binary=wanted.binary, host=wanted.host)
    seen = [SeenService(service, (service.updated_at or service.created_at) >= oldest) for service in found]
    return [item for item in seen if _fits(item, wanted)]


def set_disabled(
    plane: ControlPlane, *, host: str, binary: str, disabled: bool, reason: str | None = None, family: str = SHARES
) -> Service:
    """Take a service out of placement, or back in; `reason` is for administrators. Safe to repeat. Raises NotFound."""
    with plane.database.begin() as tx:
        found = rows.list_services(tx, binary=binary, host=host) if _is_of(family, binary) else []
        if not found:
            raise NotFound(f"There is no service '{binary[:64]}' on host '{host[:128]}'.")
        rows.update_service(tx, found[0].id, disabled=disabled, disabled_reason=reason)
        return rows.list_services(tx, binary=binary, host=host)[0]


def list_zones(plane: ControlPlane) -> list[Zone]:
    """Availability zones by name."""
    with plane.database.read() as tx:
        return rows.list_zones(tx)


def list_pools(plane: ControlPlane, wanted: PoolFilter) -> list[PoolReport]:
    """The last report of every pool that fits. Raises Invalid for a bad expression, NotFound for an unknown type."""
    patterns = {name: _pattern(name, getattr(wanted, name)) for name in ("host", "backend", "pool")}
    with plane.database.read() as tx:
        reports = pools_of(tx, SHARES)
        specs = type_choice.find_any(tx, wanted.share_type).extra_specs if wanted.share_type is not None else None
    return [
        report
        for report in reports
        if all(pattern is None or pattern.search(getattr(report.ref, name)) for name, pattern in patterns.items())
        and (specs is None or _suits(specs, report))
    ]


def pools_of(tx: Transaction, family: str) -> list[PoolReport]:
    """The last report of every pool that services of `family` have, by name."""
    hosts = {service.host for service in rows.list_services(tx) if _is_of(family, service.binary)}
    return [report for report in rows.list_pools(tx) if report.ref.service_host in hosts]


def _is_of(family: str, binary: str) -> bool:
    return binary.startswith(f"{family}-")


def _suits(specs: Mapping[str, str], report: PoolReport) -> bool:
    kind = specs.get(TYPE_SPEC)
    return unmet(specs, report.capabilities) is None and unlike(kind, report.capabilities) is None


def _fits(item: SeenService, wanted: ServiceFilter) -> bool:
    if not _is_of(wanted.family, item.service.binary):
        return False
    pairs: tuple[tuple[str | None, str], ...] = (
        (wanted.zone, item.service.availability_zone),
        (wanted.state, "up" if item.is_up else "down"),
        (wanted.status, "disabled" if item.service.disabled else "enabled"),
    )
    return all(wish is None or wish == has for wish, has in pairs)


def _pattern(name: str, text: str | None) -> re.Pattern[Any] | None:
    if text is None:
        return None
    try:
        return re.compile(text[:LONGEST_PATTERN])
    except re.error as err:
        raise Invalid(f"'{name}' is not a regular expression: {err}.") from err

"""What an administrator sees of volume backends: pools, and how much of whom is on a host."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.domain.pools import PoolReport, service_host
from penstock.errors import NotFound
from penstock.scheduler.capabilities import unmet
from penstock.services.backends import VOLUMES, SeenService, ServiceFilter, list_services, pools_of
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import choice
from penstock.store import volume_hosts


@dataclass(frozen=True, slots=True)
class VolumePoolFilter:
    """What a list of pools is narrowed to: its name, what it reported (as text), and a volume type by name or id."""

    name: str | None = None
    capabilities: Mapping[str, str] = field(default_factory=dict)
    volume_type: str | None = None


@dataclass(frozen=True, slots=True)
class HostShare:
    """What of one project, or of all together (`project_id` None), is on a host."""

    project_id: str | None
    volumes: int
    volume_gib: int
    snapshots: int
    snapshot_gib: int


def list_pools(plane: ControlPlane, wanted: VolumePoolFilter) -> list[PoolReport]:
    """The last report of every volume pool that fits. Raises NotFound for an unknown type."""
    with plane.database.read() as tx:
        reports = pools_of(tx, VOLUMES)
        specs = None if wanted.volume_type is None else choice.find_any(tx, wanted.volume_type).extra_specs
    return [
        report
        for report in reports
        if wanted.name in (None, str(report.ref))
        and all(_same(report.capabilities.get(name), text) for name, text in wanted.capabilities.items())
        and (specs is None or unmet(specs, report.capabilities) is None)
    ]


def pool_of_host(plane: ControlPlane, host: str) -> PoolReport:
    """The report of a pool, or of the first of ``host@backend``. Raises NotFound."""
    for report in list_pools(plane, VolumePoolFilter()):
        if host in (str(report.ref), report.ref.service_host):
            return report
    raise NotFound(f"There is no volume backend '{host[:128]}' that has reported.")


def list_zones(plane: ControlPlane) -> list[tuple[str, bool]]:
    """Availability zones that have volume services, by name, and whether one of those is enabled."""
    found: dict[str, bool] = {}
    for item in list_services(plane, ServiceFilter(family=VOLUMES)):
        zone = item.service.availability_zone
        found[zone] = found.get(zone, False) or not item.service.disabled
    return sorted(found.items())


def usage_of_host(plane: ControlPlane, host: str) -> list[HostShare]:
    """What is on ``host@backend`` (or on all of ``host``): in all, then by project. Raises NotFound."""
    names = [item.service.host for item in list_services(plane, ServiceFilter(family=VOLUMES))]
    if host not in names and host not in {name.partition("@")[0] for name in names}:
        raise NotFound(f"There is no volume service on host '{host[:128]}'.")
    with plane.database.read() as tx:
        lines = [HostShare(*line) for line in volume_hosts.usage(tx, service_host(host))]
    total = HostShare(
        None,
        sum(line.volumes for line in lines),
        sum(line.volume_gib for line in lines),
        sum(line.snapshots for line in lines),
        sum(line.snapshot_gib for line in lines),
    )
    return [total, *lines]


def services(plane: ControlPlane, *, host: str | None = None, binary: str | None = None) -> list[SeenService]:
    """Volume services; `host` is ``host@backend``, or a host for all its backends."""
    found = list_services(plane, ServiceFilter(binary=binary, family=VOLUMES))
    return [item for item in found if host is None or host in (item.service.host, item.service.host.partition("@")[0])]


def _same(value: object, text: str) -> bool:
    return str(value).lower() == text.strip().lower()

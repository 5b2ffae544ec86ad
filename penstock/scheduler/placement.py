"""Where a new share or volume goes: pure arithmetic over reported pools and what the database has placed on them.

Called inside the transaction that stores the share, so capacity is promised there and two requests cannot both take the
last gigabyte. Each refusal is a reason the user is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from penstock.domain.pools import PoolRef, PoolReport
from penstock.errors import InsufficientCapacity
from penstock.scheduler.capabilities import unlike, unmet
from penstock.scheduler.functions import goodness, unfit
from penstock.scheduler.requirements import Requirements


class PlacedGib(Protocol):
    """GiB on a pool by the database's rows: all, and those its last report cannot include yet."""

    @property
    def provisioned_gib(self) -> int: ...

    @property
    def unreported_gib(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Candidate:
    """A pool with its backend's standing."""

    report: PoolReport
    zone: str
    is_up: bool
    is_enabled: bool


@dataclass(frozen=True, slots=True)
class Room:
    """What is left on a pool, in GiB: `free_gib` as reported without what is set aside; `promised_gib` of that to
    shares the report cannot know yet."""

    free_gib: float
    promised_gib: float
    total_gib: float
    provisioned_gib: float


def choose(
    wanted: Requirements, candidates: Iterable[Candidate], placed: Mapping[str, PlacedGib]
) -> tuple[PoolRef, dict[str, str]]:
    """The best of the fitting pools, and why each of the others was refused (by pool name).

    A replica goes to a backend that has none of its share, where it can; then the pool's own goodness function decides,
    then room.

    Raises InsufficientCapacity, with every reason, when nothing fits.
    """
    fitting: list[tuple[bool, float, float, str, PoolRef]] = []
    reasons: dict[str, str] = {}
    for candidate in candidates:
        ref = candidate.report.ref
        room = _room(candidate.report, placed.get(str(ref)))
        said = candidate.report.capabilities
        reason = _refusal(wanted, candidate) or _too_full(wanted, said, room) or unfit(wanted, candidate.report)
        if reason is None:
            is_far = wanted.source is not None and str(ref) != wanted.source.pool
            is_beside = wanted.replica_of is not None and ref.service_host in wanted.replica_of.backends
            score = goodness(wanted, candidate.report)
            fitting.append((is_beside or is_far, -score, room.promised_gib - room.free_gib, str(ref), ref))
        else:
            reasons[str(ref)] = reason
    if not fitting:
        raise InsufficientCapacity(_no_pool(wanted, reasons))
    return min(fitting)[-1], reasons


def _refusal(wanted: Requirements, candidate: Candidate) -> str | None:
    report = candidate.report
    name = str(report.ref)
    checks: tuple[tuple[bool, str], ...] = (
        (not candidate.is_up, "its service is down"),
        (not candidate.is_enabled, "its service is disabled"),
        (name in wanted.refused_by or report.ref.service_host in wanted.refused_by, "it refused it"),
        (wanted.only_pool is not None and name != wanted.only_pool, f"it must be on {wanted.only_pool}"),
        (
            wanted.only_backend is not None and report.ref.service_host != wanted.only_backend,
            f"it must be on {wanted.only_backend}",
        ),
        (
            wanted.availability_zone is not None and candidate.zone != wanted.availability_zone,
            f"it is in availability zone {candidate.zone}",
        ),
        (_is_out_of_reach(wanted, report), "it cannot copy the snapshot: it is in another replication domain"),
        (not _speaks(report.capabilities, wanted.protocol), f"it does not serve {wanted.protocol}"),
        (bool(wanted.same_hosts) and name not in wanted.same_hosts, "the scheduler hint same_host excludes it"),
        (wanted.hinted_pool not in (None, name), "the scheduler hint only_host excludes it"),
        (name in wanted.different_hosts, "the scheduler hint different_host excludes it"),
    )
    refusal = next((reason for failed, reason in checks if failed), None) or _cannot_replicate(wanted, report)
    return refusal or unmet(wanted.extra_specs, report.capabilities)


def _is_out_of_reach(wanted: Requirements, report: PoolReport) -> bool:
    if wanted.source is None or report.ref.service_host == wanted.source.backend:
        return False
    domain = report.capabilities.get("replication_domain")
    return wanted.source.domain is None or domain != wanted.source.domain


def _cannot_replicate(wanted: Requirements, report: PoolReport) -> str | None:
    """Why the pool cannot have the share, or the replica, with the replication its type asks for."""
    reason = unlike(wanted.replication_type, report.capabilities)
    if reason is not None or wanted.replica_of is None:
        return reason
    domain = report.capabilities.get("replication_domain")
    if domain != wanted.replica_of.domain:
        return f"it is in replication domain '{domain}', the share in '{wanted.replica_of.domain}'"
    return "it has a replica of the share already" if str(report.ref) in wanted.replica_of.pools else None


def _speaks(capabilities: Mapping[str, Any], protocol: str | None) -> bool:
    if protocol is None:
        return True
    spoken = str(capabilities.get("storage_protocol", "")).upper().replace("/", "_").split("_")
    return protocol.upper() in spoken


def _room(report: PoolReport, placed: PlacedGib | None) -> Room:
    said = report.capabilities
    total_gib = _number(said.get("total_capacity_gb"))
    set_aside_gib = total_gib * float(said.get("reserved_percentage") or 0) / 100
    return Room(
        free_gib=_number(said.get("free_capacity_gb")) - set_aside_gib,
        promised_gib=placed.unreported_gib if placed else 0,
        total_gib=total_gib,
        provisioned_gib=float(placed.provisioned_gib if placed else 0),
    )


def _too_full(wanted: Requirements, said: Mapping[str, Any], room: Room) -> str | None:
    if wanted.size_gib > room.total_gib:
        return f"it holds {room.total_gib:g} GiB in all"
    if not is_thin(wanted, said):
        left_gib = max(0.0, room.free_gib - room.promised_gib)
        return None if wanted.size_gib <= left_gib else f"it has {left_gib:g} GiB free"
    # Thin shares take space as they are written to: what they are promised counts against the ratio, not as used.
    ratio = float(said.get("max_over_subscription_ratio") or 1.0)
    if room.provisioned_gib + wanted.size_gib > room.total_gib * ratio:
        return f"{room.provisioned_gib:g} GiB are promised of {room.total_gib:g} GiB at most {ratio:g} times over"
    return None if room.free_gib > 0 else "it has no free space"


def is_thin(wanted: Requirements, said: Mapping[str, Any]) -> bool:
    """Will the share take space as it is used? As its type asks where the pool can; where it does not say, as the pool
    makes them: of several ways that it reports, the first."""
    can = said.get("thin_provisioning", said.get("thin_provisioning_support", False))
    choices = list(can) if isinstance(can, (list, tuple)) else [bool(can)]
    if True not in choices:
        return False
    return bool(choices[0]) if wanted.is_thin_wanted is None else wanted.is_thin_wanted


def _number(value: Any) -> float:
    """Published answers may be 'infinite' or 'unknown': both count as no limit."""
    return float("inf") if value in ("infinite", "unknown") else float(value or 0)


def _no_pool(wanted: Requirements, reasons: Mapping[str, str]) -> str:
    if not reasons:
        return "No pool is known: no backend has reported yet. See 'penstock backend check'."
    told = "; ".join(f"{name}: {reason}" for name, reason in sorted(reasons.items()))
    return f"No pool can take a {wanted.what}. {told}."

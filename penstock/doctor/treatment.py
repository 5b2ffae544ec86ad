"""Repair what the administrator named, on a fresh examination, and look again."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import structlog

from penstock.backend_site import BackendSite
from penstock.doctor.examination import Examination, examine
from penstock.doctor.findings import Finding, Kind
from penstock.doctor.repairs import plan
from penstock.errors import Fault

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Treated:
    """A finding and what came of its repair; `fault` is None when the repair was done or queued."""

    finding: Finding
    fault: str | None


@dataclass(frozen=True, slots=True)
class Treatment:
    """What was repaired, and what is found now. `failures` are those of operations that were queued for it.

    Not `is_complete`: what was queued waits still, for the storage or for the daemon that serves the backend.
    """

    treated: tuple[Treated, ...]
    failures: tuple[str, ...]
    after: Examination
    is_complete: bool


def treat(site: BackendSite, kinds: Collection[Kind]) -> Treatment:
    """Repair every finding of `kinds`, and only those. Safe to repeat.

    One repair that fails does not keep the others from being made. Raises as `examine` does.
    """
    seen = examine(site)
    wanted = [finding for finding in seen.findings if finding.kind in kinds and finding.is_drift]
    treated = tuple(Treated(finding, _repair(site, seen, finding)) for finding in _in_order(wanted))
    is_complete = site.finish_operations() if treated else True
    return Treatment(treated, site.failures(), examine(site), is_complete)


def _in_order(findings: list[Finding]) -> list[Finding]:
    """Snapshots go before the datasets they are of."""
    first = [finding for finding in findings if finding.kind is Kind.SNAPSHOT_ORPHAN]
    rest = [finding for finding in findings if finding.kind is not Kind.SNAPSHOT_ORPHAN]
    return first + rest


def _repair(site: BackendSite, seen: Examination, finding: Finding) -> str | None:
    action = plan(finding, seen.books, seen.inventory)
    if action is None:
        return "cannot be repaired from here"
    try:
        action.carry_out(site)
    except Fault as fault:
        log.warning("doctor.not_repaired", kind=finding.kind.value, subject=finding.subject, fault=fault.message)
        return fault.message
    log.info("doctor.repaired", kind=finding.kind.value, subject=finding.subject)
    return None

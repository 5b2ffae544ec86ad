"""Repair what the administrator named, on a fresh examination, and look again. The same for shares and volumes."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from penstock.doctor.examination import examine
from penstock.doctor.findings import Finding, Kind
from penstock.errors import Fault
from penstock.site_work import SiteWork

log = structlog.get_logger(__name__)


class Repair(Protocol):
    """One repair, at the site it was planned for."""

    def carry_out(self, site: Any) -> None:
        """Do it. Raises Conflict when somebody changed the rows since, and what the storage raises."""
        ...


class Seen(Protocol):
    """An examination of a backend."""

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What does not agree."""
        ...

    def repair_of(self, finding: Finding) -> Repair | None:
        """What repairs it, None when only an administrator can."""
        ...

    @property
    def unseen(self) -> str | None:
        """Why nobody could tell whether what the rows name is there; None when somebody could."""
        ...


class Site(Protocol):
    """A backend opened by the command line."""

    @property
    def work(self) -> SiteWork:
        """What repairs queue there."""
        ...


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
    after: Seen
    is_complete: bool


def treat(site: Site, kinds: Collection[Kind], look: Callable[[Any], Seen] = examine) -> Treatment:
    """Repair every finding of `kinds` that `look` finds at the site, and only those. Safe to repeat.

    One repair that fails does not keep the others from being made. Raises as `look` does.
    """
    seen = look(site)
    wanted = [finding for finding in seen.findings if finding.kind in kinds and finding.is_drift]
    treated = tuple(Treated(finding, _repair(site, seen, finding)) for finding in _in_order(wanted))
    is_complete = site.work.finish() if treated else True
    return Treatment(treated, site.work.failures(), look(site), is_complete)


def _in_order(findings: Sequence[Finding]) -> list[Finding]:
    """Snapshots go before the datasets they are of."""
    first = [finding for finding in findings if finding.kind is Kind.SNAPSHOT_ORPHAN]
    rest = [finding for finding in findings if finding.kind is not Kind.SNAPSHOT_ORPHAN]
    return first + rest


def _repair(site: Site, seen: Seen, finding: Finding) -> str | None:
    action = seen.repair_of(finding)
    if action is None:
        return "cannot be repaired from here"
    try:
        action.carry_out(site)
    except Fault as fault:
        log.warning("doctor.not_repaired", kind=finding.kind.value, subject=finding.subject, fault=fault.message)
        return fault.message
    log.info("doctor.repaired", kind=finding.kind.value, subject=finding.subject)
    return None

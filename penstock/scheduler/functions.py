"""A pool's own opinion: its ``filter_function``, which must hold, and ``goodness_function``, from 0 to 100."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.domain.pools import PoolReport
from penstock.errors import Invalid
from penstock.scheduler.expression import Values, evaluate
from penstock.scheduler.requirements import Requirements

log = structlog.get_logger(__name__)

BEST = 100.0


def unfit(wanted: Requirements, report: PoolReport) -> str | None:
    """Why the pool's filter function refuses the share; None when it has none or takes it.

    A function that cannot be worked out refuses, as published.
    """
    text = report.capabilities.get("filter_function")
    if not text:
        return None
    try:
        takes = bool(evaluate(str(text), values_of(wanted, report)))
    except Invalid as fault:
        return f"its filter_function cannot be worked out: {fault.message}"
    return None if takes else "its filter_function refuses it"


def goodness(wanted: Requirements, report: PoolReport) -> float:
    """How much the pool likes to have it, from 0 to 100; 0 without a function or with one that gives nothing."""
    text = report.capabilities.get("goodness_function")
    if not text:
        return 0.0
    try:
        score = float(evaluate(str(text), values_of(wanted, report)))
    except (Invalid, ValueError) as fault:
        log.warning("goodness_function.failed", pool=str(report.ref), fault=str(fault))
        return 0.0
    return score if 0 <= score <= BEST else 0.0


def values_of(wanted: Requirements, report: PoolReport) -> Values:
    """The values of the published scopes: the pool's statistics and capabilities, the share, its type's extra specs."""
    said: Mapping[str, Any] = report.capabilities
    named = {"host": str(report.ref), "pool_name": report.ref.pool}
    values: dict[str, Mapping[str, Any]] = {
        "stats": {**said, **named},
        "capabilities": said,
        "extra": wanted.extra_specs,
        "qos": wanted.qos,
    }
    if wanted.protocol is None:
        return {**values, "volume": {"size": wanted.size_gib, **wanted.volume}}
    return {**values, "share": {"size": wanted.size_gib, "share_proto": wanted.protocol, **wanted.share}}

"""How plain values are written in answers."""

from __future__ import annotations

from datetime import datetime


def stamp(moment: datetime | None) -> str | None:
    """A time as the storage APIs write it: ``2026-11-21T02:43:56.000000``, UTC without a zone."""
    return None if moment is None else moment.isoformat(timespec="microseconds")

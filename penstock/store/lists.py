"""What lists of any resource have alike: which part, in which order, and what a text contains."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import func


@dataclass(frozen=True, slots=True)
class Page:
    """Which part of a list, in which order. `sort_key` is one of the resource's SORTABLE names."""

    limit: int | None = None
    offset: int = 0
    sort_key: str = "created_at"
    descending: bool = True


def like(column: Any, text: str) -> Any:
    """That `column` contains `text`, in capitals or not. SQLite knows only the capitals of ASCII."""
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return func.lower(column).like(func.lower(f"%{escaped}%"), escape="\\")

"""What the actors of a life look for again and again, looked for anew only when something was written since."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection

from penstock.store.database import Database, whole_connection

Looks = dict[Any, tuple[int, list[Any]]]  # what was found, and how many rows had been changed until then


def looked(database: Database, memory: Looks, key: Any, look: Callable[[Connection], list[Any]]) -> list[Any]:
    """What `look` finds in a transaction of its own."""
    with database.read() as tx:
        raw: Any = whole_connection(tx).connection.driver_connection
        if key not in memory or memory[key][0] != raw.total_changes:
            memory[key] = (raw.total_changes, look(tx))
        return memory[key][1]

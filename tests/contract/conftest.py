"""Databases under contract: SQLite in memory, SQLite in a file, PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.store.upgrade import upgrade


@pytest.fixture(params=["memory", "file", pytest.param("postgres", marks=pytest.mark.postgres)])
def database(request: Any, tmp_path: Path) -> Iterator[Database]:
    """An empty database with the present schema."""
    url = {
        "memory": lambda: "sqlite://",
        "file": lambda: f"sqlite:///{tmp_path}/penstock.db",
        "postgres": lambda: request.getfixturevalue("postgres_url"),
    }[request.param]()
    found = Database(url)
    upgrade(found)
    yield found
    if request.param == "postgres":
        with found.begin() as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(table.delete())
    found.close()

"""Empty databases for tests, at once: making tables and compiling each statement anew took longer than most tests.

They have no sealer: that is known by an engine's dialect, and these share one.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from sqlalchemy import text
from sqlalchemy.util import LRUCache

from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.store.upgrade import upgrade

D = TypeVar("D", bound=Database)
STATEMENTS = 5000  # more than there are


def in_memory(kind: type[D] = Database) -> D:  # type: ignore[assignment]
    """An empty database in memory, with the present schema."""
    made = _quickened(kind("sqlite://"), _template("sqlite://"))
    with made.engine.connect() as connection:
        connection.connection.driver_connection.deserialize(_image())  # type: ignore[union-attr]
    return made


def in_file(path: Path, kind: type[D] = Database) -> D:  # type: ignore[assignment]
    """An empty database in a file that is not there yet, with the present schema."""
    path.write_bytes(_image())
    return _quickened(kind(f"sqlite:///{path}"), _template("sqlite://"))


@contextmanager
def in_postgres(url: str) -> Iterator[Database]:
    """A PostgreSQL database with the present schema, empty now, and again after the block."""
    made = _quickened(Database(url), _template(url))
    yield made
    with made.begin() as tx:
        tx.execute(text("; ".join(str(table.delete()) for table in reversed(metadata.sorted_tables))))
    made.close()


def _quickened(database: D, template: Database) -> D:
    """Have it use the statements that others have compiled, which are kept by dialect."""
    database.engine.dialect = template.engine.dialect
    database.engine._compiled_cache = template.engine._compiled_cache
    if database._sessions is not None:
        database._sessions.statements = template._sessions.statements
    return database


@functools.cache
def _template(url: str) -> Database:
    made = Database(url)
    made.engine._compiled_cache = LRUCache(STATEMENTS)
    upgrade(made)
    return made


@functools.cache
def _image() -> bytes:
    with _template("sqlite://").engine.connect() as connection:
        return connection.connection.driver_connection.serialize()  # type: ignore[union-attr, no-any-return]

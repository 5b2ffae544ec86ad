"""What all of the house may do with a transaction, whatever database it is on."""

from __future__ import annotations

from typing import Any, Protocol, TypeVarTuple, overload

from sqlalchemy import CursorResult, Dialect, Executable
from sqlalchemy.sql.selectable import TypedReturnsRows

Ts = TypeVarTuple("Ts")


class Transaction(Protocol):
    """A transaction of `Database`: on PostgreSQL SQLAlchemy's `Connection`, on SQLite a `SqliteTransaction`."""

    @property
    def info(self) -> dict[Any, Any]:
        """What is noted of it."""

    @property
    def dialect(self) -> Dialect:
        """The database's, by SQLAlchemy."""

    @overload
    def execute(self, statement: TypedReturnsRows[*Ts], parameters: Any = None, /) -> CursorResult[*Ts]: ...

    @overload
    def execute(self, statement: Executable, parameters: Any = None, /) -> CursorResult[*tuple[Any, ...]]: ...

    def execute(self, statement: Any, parameters: Any = None, /) -> Any:
        """Run a statement, once, or for each of a list of parameters, and give what it found."""

"""Sessions with an SQLite database: transactions that lose nothing, and statements run as they were prepared."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from typing import Any, cast

from sqlalchemy import Connection, Dialect, Engine

from penstock.errors import Unavailable
from penstock.store.prepared import Statements
from penstock.store.transaction import Transaction

BUSY_TIMEOUT_MS = 30_000
KEPT = 6  # sessions that nobody uses: each remembers its statements, in up to 2 MiB
HAS_BEGUN = "penstock_has_begun"  # of connections of SQLAlchemy's in a transaction that we begin and end


class Session:
    """One connection, ours and SQLAlchemy's, which sees the transactions that we begin and end, and thinks that it is
    in one for ever."""

    __slots__ = ("connection", "raw", "statements")

    def __init__(self, engine: Engine, statements: Statements) -> None:
        self.connection = engine.connect().execution_options(**{HAS_BEGUN: True})
        self.connection.begin()
        self.raw = cast(sqlite3.Connection, self.connection.connection.driver_connection)
        self.statements = statements


class SqliteTransaction:
    """What the store uses of a `Connection`; `connection` is for what needs a whole one (alembic, `inspect`)."""

    __slots__ = ("_session", "info")

    def __init__(self, session: Session) -> None:
        self._session: Session | None = session
        self.info: dict[str, Any] = {}

    @property
    def dialect(self) -> Dialect:
        """As of a `Connection`."""
        return self.connection.dialect

    @property
    def connection(self) -> Connection:
        """SQLAlchemy's, in the same transaction."""
        return self._open().connection

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        """As of a `Connection`, but for the faults, which may be those of `sqlite3`."""
        session = self._open()
        if isinstance(parameters, list) and len(parameters) == 1:
            parameters = parameters[0]
        plan = session.statements.plan_for(statement, parameters)
        if plan is None:
            return session.connection.execute(statement, parameters)
        return plan.run(session.raw, parameters or {})

    def end(self) -> None:
        """Nothing is done by it any more: its session serves others."""
        self._session = None

    def _open(self) -> Session:
        if self._session is None:
            raise RuntimeError("This transaction has ended.")
        return self._session


class Sessions:
    """The sessions of one engine, each used by one transaction at a time. What is in memory has only one."""

    def __init__(self, engine: Engine, *, is_in_memory: bool) -> None:
        self.statements = Statements(engine.dialect)
        self._engine = engine
        self._is_in_memory = is_in_memory
        self._serial: AbstractContextManager[Any] = threading.RLock() if is_in_memory else nullcontext()
        self._is_used = False  # of what is in memory
        self._writing = threading.Lock()
        self._is_closed = False
        # The one given back last first: it knows the statements and the pages, others may have to learn them again
        self._free: list[Session] = []

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """A writing transaction, committed at the end of the block. Raises Unavailable, and what `sqlite3` does.

        Writers of one process come one after the other. SQLite would have them all try again after pauses of up to
        100 ms, and whoever comes meanwhile is faster: with ten clients at work a worker waited half a second.
        """
        with self._serial:
            if not self._writing.acquire(timeout=BUSY_TIMEOUT_MS / 1000):
                raise Unavailable("The database is being written to for too long.")
            try:
                with self._transaction("BEGIN IMMEDIATE", "COMMIT") as tx:
                    yield tx
            finally:
                self._writing.release()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """A reading transaction. Raises what `sqlite3` does."""
        with self._serial, self._transaction("BEGIN", "ROLLBACK") as tx:
            yield tx

    @contextmanager
    def _transaction(self, first: str, last: str) -> Iterator[Transaction]:
        session = self._take()
        tx = SqliteTransaction(session)
        try:
            session.raw.execute(first)
            yield tx
            session.raw.execute(last)
        finally:
            tx.end()
            self._give_back(session)

    def _take(self) -> Session:
        if self._is_in_memory:
            if self._is_used:
                raise RuntimeError("In memory a transaction cannot begin within another.")
            self._is_used = True
        try:
            return self._free.pop()
        except IndexError:
            return Session(self._engine, self.statements)

    def _give_back(self, session: Session) -> None:
        self._is_used = False
        if session.connection.invalidated:
            return  # SQLAlchemy closed it, in the middle of a statement: what it had begun is gone with it
        is_kept = False
        try:
            if session.raw.in_transaction:  # something was raised, or the commit was refused
                session.raw.execute("ROLLBACK")
            is_kept = len(self._free) < KEPT and not self._is_closed
        finally:
            if is_kept:
                self._free.append(session)
            else:
                session.connection.close()

    def close(self) -> None:
        """Close those that nobody uses, and the others when they are given back."""
        self._is_closed = True
        with suppress(IndexError):
            while True:
                self._free.pop().connection.close()

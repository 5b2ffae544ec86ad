"""Connections and transactions: SQLite in WAL mode that loses nothing, or PostgreSQL.

Default SQLAlchemy with pysqlite begins late and so loses concurrent updates; here every writing transaction begins with
BEGIN IMMEDIATE and every commit is synced (see `log_sync`) unless it says that it may be lost.
"""

from __future__ import annotations

import copy
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from typing import Any, Self, cast

from sqlalchemy import Connection, Engine, NullPool, StaticPool, create_engine, event, make_url, text
from sqlalchemy.exc import DBAPIError, IntegrityError, InterfaceError, OperationalError
from sqlalchemy.exc import TimeoutError as NoConnectionFree

from penstock.errors import Conflict, Unavailable
from penstock.store.log_sync import LogSync
from penstock.store.sealed import Sealer, seal_with
from penstock.store.sqlite import BUSY_TIMEOUT_MS, HAS_BEGUN, Sessions, SqliteTransaction
from penstock.store.transaction import Transaction as Transaction  # the rest of the house has it from here

AFTER_COMMIT = "penstock_after_commit"
UNLESS_COMMITTED = "penstock_unless_committed"
WHEN_VISIBLE = "penstock_when_visible"
STATEMENTS = 400  # that each connection of SQLite remembers by their text: more than there are that run often

# A server that vanished without a word is noticed in some 15 seconds; by default TCP waits a quarter of an hour.
PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 5,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,  # milliseconds
}


class Database:
    """A database by its URL, e.g. ``sqlite:////var/lib/penstock/penstock.db`` or ``postgresql+psycopg://...``.

    ``sqlite://`` is a private database in memory, one connection used by one thread at a time (tests, simulation).
    `sealer` is for the columns that hold secrets; without one they are written as they are.
    """

    def __init__(self, url: str, sealer: Sealer | None = None) -> None:
        self.url = url
        self.is_sqlite = url.startswith("sqlite")
        self._in_memory = url in ("sqlite://", "sqlite:///:memory:")
        self._log = LogSync(self._save)
        self._guard: Callable[[Transaction], None] | None = None
        # Asked before what no transaction takes back; None where there is nothing to wait for, and nobody else at work.
        is_synced_here = self.is_sqlite and not self._in_memory
        self.before_outside_work: Callable[[], None] | None = self.await_disk if is_synced_here else None
        self.engine = self._make_engine()
        self._sessions = Sessions(self.engine, is_in_memory=self._in_memory) if self.is_sqlite else None
        if sealer is not None:
            seal_with(self.engine, sealer)

    def guarded(self, guard: Callable[[Transaction], None], outside: Callable[[], None]) -> Self:
        """The same database, where every writing transaction begins with `guard`; what that raises ends it. `outside`
        is what its user asks before he does something elsewhere (`before_outside_work`)."""
        other = copy.copy(self)
        other._guard = guard  # noqa: SLF001 - a copy of ourselves
        other.before_outside_work = outside
        return other

    def lone_engine(self) -> Engine:
        """An engine whose connections are not pooled: one of them is a session that ends when it is closed."""
        return create_engine(self.url, poolclass=NullPool, connect_args=_patience(self.url))

    def _make_engine(self) -> Engine:
        if not self.is_sqlite:
            return create_engine(
                self.url, pool_size=10, max_overflow=20, pool_pre_ping=True, connect_args=_patience(self.url)
            )
        kept_by_us = StaticPool if self._in_memory else NullPool
        arguments = {
            "check_same_thread": False,
            "timeout": BUSY_TIMEOUT_MS / 1000,
            "cached_statements": STATEMENTS,
        }
        engine = create_engine(self.url, poolclass=kept_by_us, connect_args=arguments)
        event.listen(engine, "connect", self._prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
        return engine

    def _prepare_sqlite(self, connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # we begin and end transactions ourselves
        cursor = connection.cursor()
        (mode,) = cursor.execute("PRAGMA journal_mode=WAL").fetchone()
        if mode == "wal":
            _, _, self._log.path = cursor.execute("PRAGMA database_list").fetchone()
        # without shared memory there is no log to be synced: SQLite does it, whatever the transaction says
        synchronous = "NORMAL" if mode == "wal" else "FULL"
        for pragma in (f"synchronous={synchronous}", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            cursor.execute(f"PRAGMA {pragma}")
        cursor.close()

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Transaction]:
        """One writing transaction: committed at the end of the block, rolled back when it raises.

        Without `durable` a power cut may take it back, and so it does not wait for the disk (on SQLite). For marks of
        what is being done, and results of what may be done again: whatever was accepted on the strength of them is in
        a later transaction, and brings them to the disk with it. Not for results that must not come about twice (a
        revert loses what was written since). What `after_commit` was given runs after the commit, and when there was
        none what `unless_committed` was given.

        A commit is seen by others before it is on the disk: what `when_visible` was given runs then, and whoever does
        something elsewhere on the strength of it has to `await_disk`.

        Raises Unavailable when the database cannot be reached or stays locked, Conflict when a row another transaction
        wrote meanwhile forbids this one.
        """
        visible: list[Callable[[], None]] = []
        callbacks: list[Callable[[], None]] = []
        undoing: list[Callable[[], None]] = []
        ticket: int | None = None
        try:
            with translated(), self._writing() as tx:
                tx.info[WHEN_VISIBLE], tx.info[AFTER_COMMIT], tx.info[UNLESS_COMMITTED] = visible, callbacks, undoing
                if self._guard is not None:
                    self._guard(tx)
                yield tx
                ticket = self._log.expect() if durable else None
        except BaseException:
            self._log.drop(ticket)
            for callback in undoing:
                callback()
            raise
        try:
            for callback in visible:
                callback()
        finally:
            self._settle(ticket, undoing)
        for callback in callbacks:
            callback()

    def _settle(self, ticket: int | None, undoing: Sequence[Callable[[], None]]) -> None:
        try:
            self._log.settle(ticket)
        except Unavailable:  # as after a commit that was not answered
            for callback in undoing:
                callback()
            raise

    def _save(self) -> bool:
        """Bring all of the log into the database (SQLite syncs both), unless somebody still reads what was before."""
        with translated(), self.engine.connect() as connection:
            raw: Any = connection.connection.driver_connection
            _, pages, saved = raw.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        return bool(pages == saved)

    def await_disk(self) -> None:
        """Return when all that can be read now is there after a power cut, too, but what need not be.

        To be called before what is done elsewhere, and outside of a transaction. Raises Unsure.
        """
        self._log.wait()

    def _writing(self) -> AbstractContextManager[Transaction]:
        return self.engine.begin() if self._sessions is None else self._sessions.write()

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """One reading transaction: a consistent view, nothing is kept."""
        with translated(), self._reading() as tx:
            yield tx

    def _reading(self) -> AbstractContextManager[Transaction]:
        if self._sessions is not None:
            return self._sessions.read()
        # PostgreSQL's default shows each statement a newer state: a share whose operation is not there yet.
        return self.engine.connect().execution_options(isolation_level="REPEATABLE READ", postgresql_readonly=True)

    def close(self) -> None:
        """Give all connections back."""
        if self._sessions is not None:
            self._sessions.close()
        self.engine.dispose()
        self._log.close()


def _patience(url: str) -> dict[str, int]:
    """How long to wait for a silent server, as far as the URL does not say so itself."""
    parsed = make_url(url)
    if not parsed.drivername.startswith("postgresql+psycopg"):
        return {}
    return {key: value for key, value in PATIENCE.items() if key not in parsed.query}


@contextmanager
def translated() -> Iterator[None]:
    """What the block meets at the database becomes a Fault: Conflict or Unavailable."""
    try:
        yield
    except (IntegrityError, sqlite3.IntegrityError) as err:
        raise Conflict(f"The database refused it, another request was faster: {_said(err)}") from err
    except (OperationalError, InterfaceError, sqlite3.OperationalError, sqlite3.InterfaceError) as err:
        raise Unavailable(f"The database did not answer: {_said(err)}") from err
    except NoConnectionFree as err:
        raise Unavailable("All connections to the database have been in use for too long.") from err


def _said(err: DBAPIError | sqlite3.Error) -> BaseException | None:
    return err.orig if isinstance(err, DBAPIError) else err


def whole_connection(tx: Transaction) -> Connection:
    """The connection of this transaction, for what needs more of one than its statements: alembic, `inspect`."""
    return tx.connection if isinstance(tx, SqliteTransaction) else cast(Connection, tx)


def after_commit(tx: Transaction, callback: Callable[[], None]) -> None:
    """Run `callback` once this transaction is on disk; never when it is rolled back."""
    tx.info[AFTER_COMMIT].append(callback)


def when_visible(tx: Transaction, callback: Callable[[], None]) -> None:
    """Run `callback` once others can see this transaction, before it is on the disk: for getting ready only."""
    tx.info[WHEN_VISIBLE].append(callback)


def unless_committed(tx: Transaction, callback: Callable[[], None]) -> None:
    """Run `callback` when this transaction is rolled back, or when nobody can tell whether it was."""
    tx.info[UNLESS_COMMITTED].append(callback)


def hold(tx: Transaction, name: str) -> bool:
    """Hold the named lock until the end of this transaction, across all processes on this database.

    On SQLite the writing transaction itself is exclusive; on PostgreSQL this takes an advisory lock. True when somebody
    else may have had it until now: what was read before may have changed.
    """
    if tx.dialect.name != "postgresql":
        return False
    tx.execute(text("SELECT pg_advisory_xact_lock(hashtextextended(:name, 0))"), {"name": name})
    return True


def _begin_sqlite(connection: Connection) -> None:
    if not connection.get_execution_options().get(HAS_BEGUN, False):
        connection.exec_driver_sql("BEGIN")

"""Which process works on a backend: a lock of a database session, and a number that fences off who lost it.

The lock says who may begin. It ends with its session, and a session can end without its process: a fail-over, an
administrator, a network. So each taking raises the backend's epoch, and a transaction of the process that had it before
is refused (`require`), however late it comes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, text, update
from sqlalchemy.exc import DBAPIError

from penstock.errors import Displaced
from penstock.store.database import Database, Transaction, translated
from penstock.store.schema import worker_claims

_EPOCH = select(worker_claims.c.epoch).where(worker_claims.c.backend == bindparam("of"))
_EPOCH_KEPT = _EPOCH.with_for_update(read=True)  # nobody takes the backend until this transaction has ended
_TRY = text("SELECT pg_try_advisory_lock(hashtextextended(:name, 0))")
# Asked of the lock table and not of ourselves: a connection pooler may have given our session to somebody else.
_IS_HELD = text(
    "SELECT EXISTS (SELECT 1 FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
    " AND pid = pg_backend_pid() AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
    " AND (classid::bigint << 32) | objid::bigint = hashtextextended(:name, 0))"
)


def take(tx: Transaction, backend: str, *, now: datetime) -> int:
    """Begin a new epoch of the backend and return it: transactions of earlier ones are refused from now on."""
    found = tx.execute(_EPOCH.with_for_update(), {"of": backend}).scalar()
    if found is None:
        tx.execute(insert(worker_claims).values(backend=backend, epoch=1, taken_at=now))
        return 1
    here = worker_claims.c.backend == backend
    tx.execute(update(worker_claims).where(here).values(epoch=found + 1, taken_at=now))
    return int(found) + 1


def epoch(tx: Transaction, backend: str) -> int | None:
    """The present epoch of the backend, None when nobody ever served it."""
    return tx.execute(_EPOCH, {"of": backend}).scalar()


def require(tx: Transaction, backend: str, held: int) -> None:
    """Raise Displaced when `held` is not the backend's epoch; otherwise it is until this transaction ends."""
    if tx.execute(_EPOCH_KEPT, {"of": backend}).scalar() != held:
        raise Displaced(f"Another process has begun to serve backend {backend}.")


class SessionLock:
    """A named lock across all processes on a PostgreSQL database, held by a session of its own.

    Not for use by two threads at once.
    """

    def __init__(self, database: Database, name: str) -> None:
        self._engine = database.lone_engine()
        self._name = {"name": name}
        self._session: Connection | None = None

    def take(self) -> bool:
        """Hold it, also when it was held and lost; False when somebody else does. Raises Unavailable."""
        self.drop()
        with translated():
            session = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            self._session = session
            taken = bool(session.execute(_TRY, self._name).scalar())
        if not taken:
            self.drop()
        return taken

    def is_held(self) -> bool:
        """Does the session still live, and hold it? A session that cannot be asked is given up."""
        if self._session is None:
            return False
        try:
            held = bool(self._session.execute(_IS_HELD, self._name).scalar())
        except DBAPIError:
            held = False
        if not held:
            self.drop()
        return held

    def drop(self) -> None:
        """End the session, and with it the lock."""
        session, self._session = self._session, None
        if session is not None:
            session.invalidate()
            session.close()

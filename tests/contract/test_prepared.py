"""Statements that are run as they were prepared find and change what they do by way of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import (
    Connection,
    Dialect,
    Integer,
    String,
    TypeDecorator,
    bindparam,
    func,
    insert,
    select,
    text,
    update,
)
from sqlalchemy.exc import InvalidRequestError

from penstock.errors import Conflict, Unavailable
from penstock.store import backends, operations
from penstock.store.database import Database, after_commit, unless_committed, whole_connection
from penstock.store.prepared import MOST_LISTED
from penstock.store.schema import operations as queue
from penstock.store.schema import services
from penstock.store.statements import insert_into
from tests.databases import in_file, in_memory

NOW = datetime(2026, 1, 1, 12, 30)
ROW = {"binary": "b", "host": "h", "availability_zone": "z", "created_at": NOW, "disabled": False, "ready": False}
TIMES = 4  # the second is prepared


@pytest.fixture(params=["memory", "file"])
def database(request: Any, tmp_path: Path) -> Iterator[Database]:
    made = in_memory() if request.param == "memory" else in_file(tmp_path / "penstock.db")
    yield made
    made.close()


def beat(database: Database, host: str) -> backends.Service:
    with database.begin() as tx:
        return backends.heartbeat(tx, binary="b", host=host, zone="z", ready=True, now=NOW)


def is_prepared(tx: Connection, statement: Any, parameters: dict[str, Any]) -> bool:
    return tx._session.statements.plan_for(statement, parameters) is not None  # type: ignore[attr-defined]


def test_rows_are_read_as_sqlalchemy_reads_them(database: Database) -> None:
    statement = select(services)
    beat(database, "one")
    with database.read() as tx:
        found = [tx.execute(statement).all() for _ in range(TIMES)]
        assert is_prepared(tx, statement, {})
        theirs = whole_connection(tx).execute(statement).all()
    assert found == [theirs] * TIMES
    assert found[-1][0]._mapping == theirs[0]._mapping
    assert (found[-1][0].ready, found[-1][0].updated_at) == (True, NOW)


def test_lists_of_any_length(database: Database) -> None:
    listed = select(services.c.host).where(services.c.host.in_(bindparam("hosts", expanding=True)))
    for host in ("one", "two", "three"):
        beat(database, host)
    long = ["two", *map(str, range(MOST_LISTED))]
    for hosts in ([], ["two"], ["one", "three"], [], ("three", "one"), ["two"], long, {"two"}) * 2:
        with database.read() as tx:
            found = tx.execute(listed, {"hosts": hosts}).scalars()
            assert sorted(found) == sorted({"one", "two", "three"} & set(hosts))
    with database.read() as tx:
        assert is_prepared(tx, listed, {"hosts": ["one", "two"]})
        assert not is_prepared(tx, listed, {"hosts": long})


def test_a_list_that_is_a_value_is_no_list_of_values(database: Database) -> None:
    told = update(queue).where(queue.c.id.in_(bindparam("ids", expanding=True))).values(answer=bindparam("found"))
    with database.begin() as tx:
        for number, found in enumerate(([1, 2], None, [], {"a": [1]}, [[1, 2, 3]]) * 2):
            assert tx.execute(told, {"found": found, "ids": [str(number), "x"]}).rowcount == 0
        assert is_prepared(tx, told, {"found": [1], "ids": ["1", "x"]})


def test_a_list_in_the_statement_itself(database: Database) -> None:
    for _ in range(TIMES):
        with database.begin() as tx:
            assert operations.claim(tx, "b", limit=1, busy_keys=["share:1"], now=NOW) == []
            assert operations.pending(tx) == []
            assert operations.requeue_interrupted(tx, "b") == 0


def test_columns_are_called_as_sqlalchemy_calls_them(database: Database) -> None:
    beat(database, "one")
    counted = select(func.count(), services.c.host).group_by(services.c.host)
    joined = select(services.c.id, queue.c.id).join(queue, queue.c.backend == services.c.host, isouter=True)
    same = select(services.c.id.label("x"), services.c.host.label("x"))
    with database.read() as tx:
        assert [tx.execute(counted).one()._mapping for _ in range(TIMES)] == [{"count_1": 1, "host": "one"}] * TIMES
        assert {tx.execute(joined).one()._fields for _ in range(TIMES)} == {("id", "id_1")}
        for _ in range(TIMES):
            with pytest.raises(InvalidRequestError, match="Ambiguous"):
                _ = tx.execute(same).one().x


def test_values_that_a_statement_has_itself(database: Database) -> None:
    for host in ("one", "two", "three"):
        beat(database, host)
    hosts = bindparam("hosts", value=["one", "two"], expanding=True)
    listed = select(services.c.host).where(services.c.host.in_(hosts))
    limited = select(services.c.host).limit(bindparam("most", type_=Integer, literal_execute=True))
    with database.read() as tx:
        for _ in range(TIMES):
            assert sorted(tx.execute(listed).scalars()) == ["one", "two"]
            for given in (["one"], ["one", "two", "three"], []):
                assert sorted(tx.execute(listed, {"hosts": given}).scalars()) == sorted(given)
            assert [len(tx.execute(limited, {"most": most}).all()) for most in (1, 3, 2)] == [1, 3, 2]


def test_rows_changed_are_counted(database: Database) -> None:
    one = beat(database, "one")
    change = update(services).where(services.c.id == bindparam("of")).values(disabled=True)
    with database.begin() as tx:
        found = [tx.execute(change, {"of": one.id + more}).rowcount for more in (0, 0, 1, 0)]
    assert found == [1, 1, 0, 1]


def test_what_sqlalchemy_is_left_with_is_in_the_same_transaction(database: Database) -> None:
    many = [ROW | {"host": host} for host in ("one", "two")]
    counted = text("SELECT count(*) FROM services")
    with pytest.raises(KeyError), database.begin() as tx:
        for _ in range(2):
            tx.execute(insert_into(services), many[0])
            tx.execute(services.delete())
        tx.execute(insert(services), many)
        assert tx.execute(counted).scalar() == 2
        raise KeyError
    with database.begin() as tx:
        assert tx.execute(counted).scalar() == 0
        tx.execute(insert(services), many)
    with database.read() as tx:
        assert tx.execute(counted).scalar() == 2


def test_what_the_database_refuses_is_a_conflict(database: Database) -> None:
    beat(database, "h")
    for _ in range(TIMES):
        with pytest.raises(Conflict, match="UNIQUE"), database.begin() as tx:
            tx.execute(insert_into(services), ROW)
    with database.read() as tx:
        assert len(backends.list_services(tx)) == 1


def test_a_commit_that_is_refused_leaves_nothing(database: Database) -> None:
    called: list[str] = []
    with pytest.raises(Conflict, match="FOREIGN KEY"), database.begin() as tx:
        unless_committed(tx, lambda: called.append("refused"))
        after_commit(tx, lambda: called.append("never"))
        tx.execute(text("PRAGMA defer_foreign_keys = ON"))
        tx.execute(text("INSERT INTO share_metadata (share_id, key, value) VALUES ('nobody', 'a', 'b')"))
    assert called == ["refused"]
    with database.begin() as tx:
        assert tx.execute(text("SELECT count(*) FROM share_metadata")).scalar() == 0


def test_what_breaks_off_leaves_nothing(database: Database) -> None:
    called: list[str] = []
    with pytest.raises(KeyError), database.begin() as tx:
        after_commit(tx, lambda: called.append("never"))
        backends.heartbeat(tx, binary="b", host="h", zone="z", ready=True, now=NOW)
        raise KeyError
    with database.begin() as tx:
        after_commit(tx, lambda: called.append("once"))
        assert backends.list_services(tx) == []
    assert called == ["once"]


def test_a_transaction_that_has_ended_does_nothing_more(database: Database) -> None:
    with database.begin() as ended:
        backends.list_services(ended)
    with database.begin(), pytest.raises(RuntimeError, match="has ended"):
        backends.list_services(ended)


def test_in_memory_a_transaction_within_another_is_refused_and_harms_nothing() -> None:
    database = in_memory()
    with database.begin() as tx:
        backends.heartbeat(tx, binary="b", host="h", zone="z", ready=True, now=NOW)
        with pytest.raises(RuntimeError, match="within another"), database.read():
            pass
    assert beat(database, "h").id == 1
    with database.read() as tx:
        assert len(backends.list_services(tx)) == 1


class Interrupting(TypeDecorator[str]):
    impl = String
    cache_ok = True

    def process_bind_param(self, value: str | None, dialect: Dialect) -> str | None:
        raise KeyboardInterrupt


def test_an_interrupt_in_a_statement_is_what_it_is_and_leaves_nothing(tmp_path: Path) -> None:
    database = in_file(tmp_path / "penstock.db")
    with pytest.raises(KeyboardInterrupt), database.begin() as tx:
        backends.heartbeat(tx, binary="b", host="h", zone="z", ready=True, now=NOW)
        tx.execute(select(services).where(services.c.host == bindparam("host", type_=Interrupting)), {"host": "h"})
    with database.begin() as tx:
        assert backends.list_services(tx) == []
    database.close()


def test_what_is_in_use_when_the_database_is_closed_is_closed_after_it(tmp_path: Path) -> None:
    database = in_file(tmp_path / "penstock.db")
    with database.begin() as tx:
        backends.heartbeat(tx, binary="b", host="h", zone="z", ready=True, now=NOW)
        database.close()
    assert [found.name for found in tmp_path.iterdir()] == ["penstock.db"]  # SQLite takes its log away at the last end


def test_a_database_that_another_process_keeps_locked_is_unavailable(tmp_path: Path) -> None:
    first, second = (in_file(tmp_path / "penstock.db"), Database(f"sqlite:///{tmp_path}/penstock.db"))
    with second.read() as tx:
        whole_connection(tx).connection.driver_connection.execute("PRAGMA busy_timeout = 10")  # type: ignore[union-attr]
    with first.begin(), pytest.raises(Unavailable, match="locked"), second.begin():
        pass
    beat(second, "one")
    for database in (first, second):
        database.close()

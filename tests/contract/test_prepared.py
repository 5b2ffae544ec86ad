"""Statements that are run as they were prepared find and change what they do by way of SQLAlchemy."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, bindparam, insert, select, text, update

from penstock.errors import Conflict, Unavailable
from penstock.store import backends, operations
from penstock.store.database import Database, after_commit, unless_committed, whole_connection
from penstock.store.prepared import MOST_LISTED, statements_of
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
    return statements_of(tx.dialect).plan_for(statement, parameters) is not None


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


def test_a_database_that_another_process_keeps_locked_is_unavailable(tmp_path: Path) -> None:
    first, second = (in_file(tmp_path / "penstock.db"), Database(f"sqlite:///{tmp_path}/penstock.db"))
    with second.read() as tx:
        whole_connection(tx).connection.driver_connection.execute("PRAGMA busy_timeout = 10")  # type: ignore[union-attr]
    with first.begin(), pytest.raises(Unavailable, match="locked"), second.begin():
        pass
    beat(second, "one")
    for database in (first, second):
        database.close()

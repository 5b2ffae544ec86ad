"""Lives on `QuickDatabase` are what they were through SQLAlchemy: the same rows, the same faults, the same life."""

from __future__ import annotations

import hashlib
from datetime import datetime
from unittest import mock

import pytest
from sqlalchemy import bindparam, select

from penstock.errors import Conflict
from penstock.store import backends, operations
from penstock.store.database import after_commit
from penstock.store.schema import metadata, services
from penstock.store.statements import insert_into
from tests.simulation.quick_database import QuickDatabase
from tests.simulation.replicas import test_replicas
from tests.simulation.replicas.world import World
from tests.simulation.test_control_plane import run as run_control_plane

NOW = datetime(2026, 1, 1, 12, 30)
LISTED = select(services).where(services.c.host.in_(bindparam("hosts", expanding=True))).order_by(services.c.id)
ROW = {"binary": "b", "host": "h", "availability_zone": "z", "created_at": NOW}
TIMES = 4  # plans are learned at the second


@pytest.fixture
def database() -> QuickDatabase:
    made = QuickDatabase()
    metadata.create_all(made.slow)
    return made


def beat(database: QuickDatabase, host: str) -> backends.Service:
    with database.begin() as tx:
        return backends.heartbeat(tx, binary="b", host=host, zone="z", ready=True, now=NOW)


def test_rows_are_read_as_they_were_written(database: QuickDatabase) -> None:
    assert len({beat(database, "one") for _ in range(TIMES)}) == 1
    found = beat(database, "one")
    assert (found.ready, found.updated_at, found.frozen) == (True, NOW, False)
    through_sqlalchemy = database.slow.execute(select(services)).one()
    assert (through_sqlalchemy.ready, through_sqlalchemy.updated_at) == (True, NOW)


def test_lists_of_any_length(database: QuickDatabase) -> None:
    for host in ("one", "two", "three"):
        beat(database, host)
    for hosts in ([], ["two"], ["one", "three"], [], ["three", "one"], ["two"]) * 2:
        with database.read() as tx:
            found = tx.execute(LISTED, {"hosts": hosts})
            assert sorted(row.host for row in found) == sorted(hosts)


def test_a_list_in_the_statement_itself(database: QuickDatabase) -> None:
    for _ in range(TIMES):
        with database.begin() as tx:
            assert operations.claim(tx, "b", limit=1, busy_keys=["share:1"], now=NOW) == []
            assert operations.pending(tx) == []
            assert operations.requeue_interrupted(tx, "b") == 0


def test_rows_changed_are_counted(database: QuickDatabase) -> None:
    one = beat(database, "one")
    for number in (one.id, one.id, one.id + 1, one.id):
        with database.begin() as tx:
            backends.update_service(tx, number, disabled=True)
    assert beat(database, "one").disabled


def test_what_the_database_refuses_is_a_conflict(database: QuickDatabase) -> None:
    beat(database, "h")
    for _ in range(TIMES):
        with pytest.raises(Conflict), database.begin() as tx:
            tx.execute(insert_into(services), ROW | {"disabled": False, "ready": False})
    with database.read() as tx:
        assert len(backends.list_services(tx)) == 1


def test_what_breaks_off_leaves_nothing(database: QuickDatabase) -> None:
    called: list[str] = []
    with pytest.raises(KeyError), database.begin() as tx:
        after_commit(tx, lambda: called.append("never"))
        backends.heartbeat(tx, binary="b", host="h", zone="z", ready=True, now=NOW)
        raise KeyError
    with database.begin() as tx:
        after_commit(tx, lambda: called.append("once"))
        assert backends.list_services(tx) == []
    assert called == ["once"]


def test_a_look_is_repeated_only_when_something_was_written(database: QuickDatabase) -> None:
    looks: list[int] = []
    memory: dict[object, tuple[int, list[object]]] = {}

    def look(tx: object) -> list[object]:
        looks.append(1)
        return list(backends.list_services(tx))  # type: ignore[arg-type]

    for host in ("one", "one", "two"):
        beat(database, host)
        for _ in range(3):
            hosts = {one.host for one in database.looked(memory, "services", look)}
            assert host in hosts
    assert len(looks) == 3


def _end(world: World) -> str:
    return hashlib.sha256(repr((world.random.getstate(), world.clock.utc())).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(2))
def test_a_life_is_the_same_as_through_sqlalchemy(seed: int) -> None:
    quick = [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]
    with mock.patch.object(QuickDatabase, "plan_for", return_value=None):
        assert quick == [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]

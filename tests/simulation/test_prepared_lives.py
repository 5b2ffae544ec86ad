"""Lives whose statements are prepared are what they are through SQLAlchemy."""

from __future__ import annotations

import hashlib
from datetime import datetime
from unittest import mock

import pytest

from penstock.store import backends
from penstock.store.prepared import Statements
from tests.databases import in_memory
from tests.simulation.looks import Looks, looked
from tests.simulation.replicas import test_replicas
from tests.simulation.replicas.world import World
from tests.simulation.test_control_plane import run as run_control_plane

NOW = datetime(2026, 1, 1, 12, 30)


def test_a_look_is_repeated_only_when_something_was_written() -> None:
    database, looks, memory = in_memory(), [], Looks()

    def look(tx: object) -> list[object]:
        looks.append(1)
        return list(backends.list_services(tx))  # type: ignore[arg-type]

    for host in ("one", "one", "two"):
        with database.begin() as tx:
            backends.heartbeat(tx, binary="b", host=host, zone="z", ready=True, now=NOW)
        for _ in range(3):
            assert host in {one.host for one in looked(database, memory, "services", look)}
    assert len(looks) == 3


def _end(world: World) -> str:
    return hashlib.sha256(repr((world.random.getstate(), world.clock.utc())).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(2))
def test_a_life_is_the_same_as_through_sqlalchemy(seed: int) -> None:
    prepared = [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]
    with mock.patch.object(Statements, "plan_for", return_value=None):
        assert prepared == [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]

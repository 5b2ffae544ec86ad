"""Lives whose statements are prepared are what they are through SQLAlchemy."""

from __future__ import annotations

import hashlib
from unittest import mock

import pytest

from penstock.store.prepared import Statements
from tests.simulation.replicas import test_replicas
from tests.simulation.replicas.world import World
from tests.simulation.test_control_plane import run as run_control_plane


def _end(world: World) -> str:
    return hashlib.sha256(repr((world.random.getstate(), world.clock.utc())).encode()).hexdigest()


@pytest.mark.parametrize("seed", range(2))
def test_a_life_is_the_same_as_through_sqlalchemy(seed: int) -> None:
    prepared = [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]
    with mock.patch.object(Statements, "plan_for", return_value=None):
        assert prepared == [_end(test_replicas.run(seed, "dummy")), _end(run_control_plane(seed))]  # type: ignore[arg-type]

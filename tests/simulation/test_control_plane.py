"""Thousands of seeds: random requests, failed and hanging commands, deaths at every command and commit, full pools.

How many: ``PENSTOCK_SEEDS`` (2000 by ``script/test``). A failing seed is named; play it again with
``PENSTOCK_SEED=<n> pytest tests/simulation``.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest import mock
from uuid import UUID

import pytest

from penstock.errors import Fault
from penstock.services import share_lifecycle, snapshots
from penstock.store import shares as share_rows
from penstock.store import snapshots as snapshot_rows
from penstock.store.shares import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from penstock.zfs import commands
from tests.simulation.invariants import Truth, check_nothing_left
from tests.simulation.seeds import named, seeds
from tests.simulation.trouble import Died
from tests.simulation.users import Users
from tests.simulation.world import CONTEXT, World

ROUNDS = 3
DEATHS_AT_START = 3


@pytest.mark.parametrize("seeds", seeds(1, 20), ids=named)
def test_whatever_happens_everything_ends_well_or_truthfully(seeds: range) -> None:
    for seed in seeds:
        try:
            run(seed)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {err}") from err


def run(seed: int) -> World:
    """One life of a control plane; the same seed is the same life."""
    source = Random(seed)

    def seeded_uuid() -> UUID:
        return UUID(int=source.getrandbits(128), version=4)

    with mock.patch("uuid.uuid4", seeded_uuid), mock.patch.object(commands, "mount_lock", crowd(seed)):
        return _live(World(seed))


def crowd(seed: int) -> Callable[[str], Crowded]:
    """The lock of hosts where others are mounting in some lives."""
    lock = Crowded(Random(f"crowd {seed}"))
    return lambda _host: lock


class Crowded:
    """A lock for a life with one thread: whoever does not want to wait often finds that somebody has it."""

    def __init__(self, random: Random) -> None:
        self._random = random
        self._often = random.choice((0.0, 0.5, 1.0))

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        """True when it is ours."""
        return blocking or self._random.random() >= self._often

    def release(self) -> None:
        """Nobody waits."""


def _live(world: World) -> World:
    users = Users(world)
    for _ in range(ROUNDS):
        _stir(world)
        for _ in range(world.random.randint(2, 14)):
            _survive(world, users.act)
            if world.random.random() < 0.4:
                _survive(world, world.work)
            if world.random.random() < 0.1:
                world.lose_exports()
            if world.random.random() < 0.2:
                _survive(world, world.look_after_exports)
            if world.random.random() < 0.1:
                world.clock.advance(world.random.choice((1, 5, 60)))
        world.settle()
        Truth(world, users).check()
    _delete_everything(world)
    world.settle()
    _delete_everything(world)  # what stood in the way of something the first time
    world.settle()
    check_nothing_left(world, users)
    return world


def _stir(world: World) -> None:
    """The weather of the next round: fair, deadly, flaky, or broken for good."""
    trouble, random = world.trouble, world.random
    weather = random.choice(("fair", "deadly", "flaky", "both", "broken"))
    trouble.dies = random.choice((0.01, 0.05, 0.2)) if weather in ("deadly", "both") else 0.0
    trouble.hangs = random.choice((0.01, 0.05)) if weather in ("flaky", "both") else 0.0
    trouble.away = random.choice((0.0, 0.05)) if weather in ("flaky", "both") else 0.0
    trouble.breaks = random.choice((0.02, 0.1)) if weather == "broken" else 0.0
    trouble.cuts = 0.0 if weather == "fair" else trouble.cutting.choice((0.0, 0.0, 0.1, 0.4))


def _survive(world: World, act: Callable[[], object]) -> None:
    """Act; when the process dies, start it again, as often as it takes."""
    try:
        act()
    except Fault:
        return  # the backend is not ready yet
    except Died:
        for _ in range(DEATHS_AT_START):
            try:
                world.restart()
            except Died:
                continue
            except Fault:
                pass  # the host is away: the worker waits for its backend, requests are taken meanwhile
            return
        with world.trouble.paused():
            world.restart()


def _delete_everything(world: World) -> None:
    with world.database.read() as tx:
        taken = snapshot_rows.list_snapshots(tx, SnapshotFilter())
    for snapshot in taken:
        snapshots.delete(world.plane, CONTEXT, snapshot.id)
    world.settle()
    with world.database.read() as tx:
        found = share_rows.list_shares(tx, ShareFilter())
    for share in found:
        share_lifecycle.delete(world.plane, CONTEXT, share.id)

"""Seeds of volumes: random requests, failing and hanging driver steps, deaths at every step and every commit.

How many: an eighth of ``PENSTOCK_SEEDS`` (2000 by ``script/test``). A failing seed is named; play it again with
``PENSTOCK_SEED=<n> pytest tests/simulation/volumes``.
"""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from unittest import mock
from uuid import UUID

import pytest

from penstock.domain.volume_lifecycle import DELETABLE
from penstock.errors import Fault
from penstock.services.volumes import (
    attachments,
    connections,
    group_snapshots,
    groups,
    lifecycle,
    snapshots,
    transfers,
)
from penstock.store.keyset import KeysetPage
from tests.simulation.seeds import named, seeds
from tests.simulation.trouble import Died
from tests.simulation.volumes.invariants import Truth, check_nothing_left
from tests.simulation.volumes.users import Users
from tests.simulation.volumes.world import ADMIN, CONTEXT, World

ROUNDS = 3
DEATHS_AT_START = 3
GIVEN_UP_AFTER_S = 600


@pytest.mark.parametrize("seeds", seeds(8, 5, by_default=160), ids=named)
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

    with mock.patch("uuid.uuid4", seeded_uuid):
        return _live(World(seed))


def _live(world: World) -> World:
    users = Users(world)
    for _ in range(ROUNDS):
        _stir(world)
        for _ in range(world.random.randint(5, 60)):
            _survive(world, users.act)
            if world.random.random() < 0.4:
                _survive(world, world.work)
            if world.random.random() < 0.1:
                _wait(world, world.random.choice((1, 5, 60, 700)))
        world.settle()
        users.remember()
        Truth(world, users).check()
    for _ in range(3):  # what stood in the way of something the first time
        _delete_everything(world, users)
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


def _wait(world: World, seconds: float) -> None:
    """Time passes; so much of it that what is pending is given up counts as a failure for good."""
    if seconds > GIVEN_UP_AFTER_S and world.pending:
        world.trouble.told += 1
    world.clock.advance(seconds)


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
                pass  # the backend is away: the worker waits for it, requests are taken meanwhile
            return
        with world.trouble.paused():
            world.restart()


def _delete_everything(world: World, users: Users) -> None:
    for transfer in transfers.list_transfers(world.plane, CONTEXT, KeysetPage()):
        transfers.delete(world.plane, CONTEXT, transfer.id)
    for volume in users.volumes():
        connections.unreserve(world.plane, CONTEXT, volume.id)
    for attachment in users.attachments():
        attachments.delete(world.plane, CONTEXT, attachment.id)
    world.settle()
    for taken in users.group_snapshots():
        group_snapshots.delete(world.plane, CONTEXT, taken.id)
    world.settle()
    for snapshot in users.snapshots():
        snapshots.delete(world.plane, ADMIN, snapshot.id, force=True)
    world.settle()
    for group in users.groups():
        members = [volume for volume in users.volumes() if volume.group_id == group.id]
        if all(volume.status in DELETABLE for volume in members):
            groups.delete(world.plane, CONTEXT, group.id, delete_volumes=True)
    world.settle()
    for volume in users.volumes():
        lifecycle.delete(world.plane, ADMIN, volume.id, cascade=True)

"""Each operation, killed once at each of its steps and commits, one after the other: it ends as if nobody had died."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

import pytest

from penstock.domain.volumes import Volume, VolumeStatus
from penstock.services.volumes import attachments, connections, creation, lifecycle, retyping, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.connections import Use
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from tests.simulation.trouble import Died, Trouble
from tests.simulation.volumes.invariants import Truth
from tests.simulation.volumes.users import Users, connector
from tests.simulation.volumes.world import ADMIN, CONTEXT, SERVICE, World

MOST_STEPS = 60


class OnceAt(Trouble):
    """Dies at the step or commit with that number, and never again."""

    left: int | None = None

    def at_commit(self, when: str) -> None:
        self.count(f"{when} a commit")

    def count(self, what: str) -> None:
        if self.left is None:
            return
        self.left -= 1
        if self.left < 0:
            self.left = None
            raise Died(what)


def _create(world: World, volume: Volume) -> None:
    creation.create(world.plane, CONTEXT, NewVolume(size_gib=2))


def _from_snapshot(world: World, volume: Volume) -> None:
    taken = Users(world).snapshots()[0]
    creation.create(world.plane, CONTEXT, NewVolume(snapshot_id=taken.id))


def _clone(world: World, volume: Volume) -> None:
    creation.create(world.plane, CONTEXT, NewVolume(source_volid=volume.id))


def _extend(world: World, volume: Volume) -> None:
    lifecycle.extend(world.plane, CONTEXT, volume.id, 5, attached=True)


def _snapshot(world: World, volume: Volume) -> None:
    snapshots.create(world.plane, CONTEXT, NewVolumeSnapshot(volume.id))


def _delete_snapshot(world: World, volume: Volume) -> None:
    snapshots.delete(world.plane, CONTEXT, Users(world).snapshots()[0].id)


def _revert(world: World, volume: Volume) -> None:
    lifecycle.revert(world.plane, CONTEXT, volume.id, Users(world).snapshots()[0].id)


def _delete(world: World, volume: Volume) -> None:
    lifecycle.delete(world.plane, CONTEXT, volume.id, cascade=True)


def _attach(world: World, volume: Volume) -> None:
    attachments.create(world.plane, CONTEXT, NewAttachment(volume.id, "vm", connector("one")))


def _detach(world: World, volume: Volume) -> None:
    for attachment in Users(world).attachments():
        attachments.delete(world.plane, CONTEXT, attachment.id)


def _old_attach(world: World, volume: Volume) -> None:
    connections.initialize_connection(world.plane, CONTEXT, volume.id, connector("one"))
    connections.attach(world.plane, CONTEXT, volume.id, Use(instance_uuid="vm"))


def _retype(world: World, volume: Volume) -> None:
    retyping.retype(world.plane, CONTEXT, volume.id, "shared")


def _migrate(world: World, volume: Volume) -> None:
    other = "two" if volume.host == f"{SERVICE}#one" else "one"
    retyping.migrate(world.plane, ADMIN, volume.id, f"{SERVICE}#{other}", lock_volume=True)


Act = Callable[[World, Volume], None]
ACTS: tuple[tuple[Act, tuple[Act, ...]], ...] = (
    (_create, ()),
    (_from_snapshot, (_snapshot,)),
    (_clone, ()),
    (_extend, ()),
    (_snapshot, ()),
    (_delete_snapshot, (_snapshot,)),
    (_revert, (_snapshot,)),
    (_delete, (_snapshot, _snapshot)),
    (_attach, ()),
    (_detach, (_attach,)),
    (_old_attach, ()),
    (_detach, (_old_attach,)),
    (_retype, ()),
    (_migrate, ()),
)


@pytest.mark.parametrize(
    ("act", "before"), ACTS, ids=[f"{act.__name__}{''.join(one.__name__ for one in before)}" for act, before in ACTS]
)
def test_it_ends_as_if_nobody_had_died(act: Act, before: tuple[Act, ...]) -> None:
    for number in range(MOST_STEPS):
        world, users, has_died = _live(act, before, number)
        Truth(world, users).check()
        if not has_died:  # it has no more steps than that
            assert number > 2
            return
    raise AssertionError(f"{act.__name__} has more than {MOST_STEPS} steps")


def _live(act: Act, before: tuple[Act, ...], number: int) -> tuple[World, Users, bool]:
    world = World(0)
    trouble = world.trouble = OnceAt(Random(0))
    world.database.trouble = trouble
    world.storage.before = trouble.count
    users = Users(world)
    made = creation.create(world.plane, CONTEXT, NewVolume(size_gib=2))
    world.work()
    volume = volumes.get(world.plane, CONTEXT, made.id)
    assert volume.status is VolumeStatus.AVAILABLE
    for step in before:
        step(world, volume)
        world.work()
    users.remember()
    trouble.left = number
    has_died = False
    for attempt in (lambda: act(world, volume), world.work):
        try:
            attempt()
        except Died:
            has_died = True
            world.restart()
        users.remember()
    trouble.left = None
    world.settle()
    users.remember()
    return world, users, has_died

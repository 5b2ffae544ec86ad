"""Seeds of replicated volumes with the ZFS driver: failovers there and back, while machines, lines and processes die.

How many: a sixteenth of ``PENSTOCK_SEEDS``. Play one again with ``PENSTOCK_SEED=<n>``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random
from unittest import mock
from uuid import UUID

import pytest

from penstock.doctor.findings import Kind as Finding
from penstock.doctor.volumes.examination import examine_volumes
from penstock.domain.volume_lifecycle import RESTING, VOLUME_TRANSITIONAL
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.errors import Fault
from penstock.services.volumes import attachments, lifecycle, snapshots
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume_site import volume_site_of
from penstock.zfs.marks import ID, KIND
from penstock.zfs.reigns import OF, hold_tag
from tests.contract.volume_sides import FAR, HOME
from tests.simulation.replicas.test_replicas import _change_line, _stir
from tests.simulation.replicas.trouble import CONTROL
from tests.simulation.seeds import named, seeds
from tests.simulation.trouble import Died
from tests.simulation.volumes.replicated_users import Users
from tests.simulation.volumes.replicated_world import SIDES, ReplicatedWorld, name_of
from tests.volume_plane import ADMIN, OWNER

ROUNDS = 2
ACCEPTED = (Finding.SET_ASIDE,)


@pytest.mark.parametrize("seeds", seeds(16, 5), ids=named)
def test_whatever_happens_no_acknowledged_write_is_lost_unsaid(
    seeds: range, happened: Callable[[str, Counter[str]], None]
) -> None:
    for seed in seeds:
        try:
            world = run(seed)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {type(err).__name__}: {err}") from err
        happened("replicated volumes, zfs", world.trouble.counts)


def run(seed: int) -> ReplicatedWorld:
    """One life; the same seed is the same life."""
    source = Random(seed)

    def seeded_uuid() -> UUID:
        return UUID(int=source.getrandbits(128), version=4)

    with mock.patch("uuid.uuid4", seeded_uuid):
        return _live(ReplicatedWorld(seed))


def _live(world: ReplicatedWorld) -> ReplicatedWorld:
    users = Users(world)
    broken: list[str] = []

    def watch(when: str) -> None:
        twice = world.two_writers()
        if twice:
            broken.append(f"two copies take writes under one reign {when}: {twice}")

    world.trouble.watch = watch
    world.trouble.meanwhile = lambda: _weather(world)
    users.begin()
    for _ in range(ROUNDS):
        _stir(world)  # type: ignore[arg-type]
        for _ in range(world.random.randint(5, 40)):
            _weather(world)
            _survive(world, users.act)
            if world.random.random() < 0.6:
                world.survive(0.5)
            if world.random.random() < 0.3:
                world.machines.clock.advance(world.random.choice((1, 5, 60, 400)))
            assert not broken, broken[0]
        world.settle()
        assert not broken, broken[0]
        _check(world, users)
    for _ in range(2):  # what a sync left that broke off goes with a later one, which only what is written to has
        users.attach_everywhere()
        world.settle()
        users.write_everywhere()
        world.settle()
    _check(world, users)
    _check_bases(world, users)
    _delete_everything(world, users)
    return world


def _survive(world: ReplicatedWorld, act: Callable[[], None]) -> None:
    try:
        act()
    except Fault:
        return
    except Died:
        world.start_again()


def _weather(world: ReplicatedWorld) -> None:
    """Machines go down and come back, lines are cut in one direction or in both, and mended."""
    random, trouble = world.random, world.trouble
    side = random.choice(SIDES)
    if name_of(side) in trouble.down:
        if random.random() < 0.3:
            trouble.count("host back from the dead")
            world.boot(side)
    elif random.random() < 0.06:
        trouble.count("power of a host cut")
        world.cut_power(side)
    other = name_of(FAR if side == HOME else HOME)
    _change_line(trouble, name_of(side), random.choice((CONTROL, other)))


# --- what must hold -------------------------------------------------------------------------------------------------


def _check(world: ReplicatedWorld, users: Users) -> None:
    found = users.volumes()
    for volume in found:
        where = f"volume {volume.id} ({volume.status}, {volume.replication_status})"
        assert volume.status not in VOLUME_TRANSITIONAL, f"{where} is stuck"
        is_unmade = volume.launched_at is None  # nobody was there to take it, or it was asked for where it cannot be
        # an extension that waited, and found the backend failed over to where the volume could not be served
        is_unmade |= volume.status is VolumeStatus.ERROR_EXTENDING
        assert world.trouble.told or volume.status in RESTING or is_unmade, f"{where}, though nothing failed for good"
        if volume.status in RESTING:
            _check_volume(world, users, volume, where)
    known = {volume.id for volume in found}
    for side, filesystem, kind in world.datasets():
        of = filesystem.local.get(ID) or filesystem.local.get(OF)
        assert kind is Kind.DIVERGED or of in known or world.trouble.told, f"{side}:{filesystem.path} is an orphan"
        for snap in filesystem.snapshots.values():
            held = [tag for tag in snap.holds if tag.startswith(hold_tag(""))]
            assert not held or kind is not Kind.DIVERGED, f"{snap.path} is set aside, and held for ever"
    drift = [one.sentence for one in examine_volumes(volume_site_of(world.manager, Path("/nowhere"))).findings
             if one.is_drift and one.kind not in ACCEPTED]  # fmt: skip
    assert not drift or world.trouble.told, "; ".join(drift)


def _check_volume(world: ReplicatedWorld, users: Users, volume: Volume, where: str) -> None:
    home = world.machines.hosts[HOME].state.filesystems.get(world.machines.place(volume, HOME))
    assert home is not None, f"{where} is not there"
    assert home.local.get(KIND) == Kind.VOLUME, f"{where} is a {home.local.get(KIND)} at home"
    content = world.content(home)
    for write in users.written.get(volume.id, ()):
        if write.what in content:
            continue
        told = [one for one in world.told.get(volume.id, ()) if one.recovery_point <= write.at]
        assert told, f"{where}: {write} was acknowledged and is lost"
        aside = [
            one
            for _, one, kind in world.datasets()
            if kind is Kind.DIVERGED and one.local.get(OF) == volume.id and write.what in world.content(one)
        ]
        assert aside, f"{where}: {write} is neither in it nor kept aside"
    if volume.replication_status is ReplicationStatus.ENABLED:
        far = world.machines.hosts[FAR].state.filesystems.get(world.machines.place(volume, FAR))
        assert far is not None, f"{where} has no copy"
        assert far.local.get(KIND) == Kind.REPLICA, f"{where}: its copy is a {far.local.get(KIND)}"
        assert world.content(far) == content, f"{where}: its copy is not what it is"
        known = {one.id for one in users.snapshots()}
        taken = [one for one in far.snapshots.values() if one.local.get(KIND) == Kind.SNAPSHOT and not one.is_deferred]
        too_many = [one.path for one in taken if one.local.get(ID) not in known]
        assert not too_many, f"{where}: its copy has {too_many}, which were deleted"
    else:
        expected = volume.replication_status in (None, ReplicationStatus.DISABLED)
        assert expected or world.trouble.told, f"{where} is not replicated"


def _check_bases(world: ReplicatedWorld, users: Users) -> None:
    """What nobody could write to keeps what the sync that broke off last was begun with, until there is a next one."""
    written = {one.id for one in users.volumes() if one.status is VolumeStatus.IN_USE}
    for _, filesystem, kind in world.datasets():
        most = 1 if filesystem.local.get(ID) in written else 2
        syncs = [one for one in filesystem.snapshots.values() if one.local.get(KIND) == Kind.SYNC]
        kept = [one.name for one in syncs if not one.is_deferred]
        assert len(kept) <= most or kind is Kind.DIVERGED, f"{filesystem.path} keeps {kept}"


def _delete_everything(world: ReplicatedWorld, users: Users) -> None:
    for _ in range(3):
        for volume in users.volumes():
            for one in volume.attachments:
                with suppress(Fault):
                    attachments.delete(world.plane, OWNER, one.id)
        for taken in users.snapshots():
            with suppress(Fault):
                snapshots.delete(world.plane, ADMIN, taken.id, force=True)
        world.settle()
        for volume in users.volumes():
            with suppress(Fault):
                lifecycle.delete(world.plane, ADMIN, volume.id, cascade=True)
        world.settle()
    left = [(one.id, one.status) for one in users.volumes()]
    assert not left, f"volumes that cannot be deleted: {left}"
    for side, filesystem, kind in world.datasets():
        assert kind is Kind.DIVERGED or world.trouble.told, f"{side}:{filesystem.path} ({kind}) was left behind"

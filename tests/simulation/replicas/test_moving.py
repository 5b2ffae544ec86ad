"""Users who move shares between three backends while everything goes wrong: no acknowledged write is ever lost.

How many lives: ``PENSTOCK_SEEDS``. A failing seed is named; play it again with ``PENSTOCK_SEED=<n>``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from penstock.domain.migration import PHASE1_DONE, MigrationFlags
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import Fault, InvalidShare
from penstock.services import migration
from penstock.store import instances, share_migrations
from tests.simulation.replicas import requests
from tests.simulation.replicas.test_replicas import _stir, _weather, chunks
from tests.simulation.replicas.users import CLIENT, Users
from tests.simulation.replicas.world import CONTEXT, SECTIONS, World, life
from tests.simulation.trouble import Died

MOVING = (SnapshotStatus.MIGRATING, SnapshotStatus.MIGRATING_TO)


class Movers(Users):
    """Write, take snapshots, and move."""

    def act(self) -> None:
        actions: tuple[tuple[int, Callable[[], object]], ...] = (
            (1, self._create),
            (5, self._start),
            (4, self._complete),
            (2, self._cancel),
            (2, self._snapshot),
            (1, self._delete_snapshot),
            (1, self._allow),
            (14, self._write),
        )
        ((_, action),) = self.world.random.choices(actions, [weight for weight, _ in actions])
        try:
            action()
        except Fault:
            self.refusals += 1

    def begin(self) -> None:
        requests.create(self.world)
        self.world.work_all()
        with suppress(InvalidShare):  # every backend counts as down where all clocks are so late
            requests.allow(self.world, self.shares()[0].id, CLIENT)
        self.world.work_all()

    def _start(self) -> None:
        section = self.world.random.choice(SECTIONS)
        wanted = migration.NewMigration(f"sim@{section}#pool", MigrationFlags())
        migration.start(self.world.plane, CONTEXT, self._share().id, wanted)

    def _complete(self) -> None:
        migration.complete(self.world.plane, CONTEXT, self._share().id)

    def _cancel(self) -> None:
        migration.cancel(self.world.plane, CONTEXT, self._share().id)


def turn(world: World, section: str) -> None:
    """The periodic look at migrations, of which a daemon may die."""
    try:
        world.daemons[section].manager.migration_driver_continue(CONTEXT)
    except Fault:
        return
    except Died:
        world.restart(section)


def settle(world: World, users: Movers) -> None:
    """Nothing new goes wrong; every migration is completed, or cancelled, and left to end."""
    for section in sorted(world.trouble.down):
        world.site.reboot(section)
    world.trouble.clear()
    for count in range(40):
        for section in SECTIONS:
            world.work(section, all_of_it=True)
            turn(world, section)
        for share in users.shares():
            if share.task_state in PHASE1_DONE and is_moving(world, share):
                end = world.random.choice((migration.complete, migration.cancel))
                end(world.plane, CONTEXT, share.id)
        if count > 2 and not world.pending and not any(is_moving(world, share) for share in users.shares()):
            world.work_all()
            if not world.pending:
                return
        world.clock.advance(61)
    states = [(share.id, share.status.value, share.task_state) for share in users.shares()]
    raise AssertionError(f"it never ends: {states}, {[(o.call, o.error) for o in world.pending]}")


def is_moving(world: World, share: Share) -> bool:
    with world.database.read() as tx:
        found = share_migrations.get(tx, share.id)
    return found is not None and found.is_unfinished


def check_one_writer(world: World, share_of: dict[str, str]) -> None:
    writers = Counter(
        share_of[copy.instance_id] for copy in world.site.copies() if copy.takes_writes and copy.instance_id in share_of
    )
    twice = [share for share, count in writers.items() if count > 1]
    assert not twice, f"two copies take writes: {twice}"


def check_truth(world: World, users: Movers) -> None:
    copies = {copy.instance_id: copy for copy in world.site.copies()}
    for share in users.shares():
        with world.database.read() as tx:
            rows = instances.of_share(tx, share.id)
        where = f"share {share.id} ({share.task_state}): " + "; ".join(f"{row.host} {row.status}" for row in rows)
        if share.status is ShareStatus.ERROR and share.instance.launched_at is None:
            copies.pop(share.instance.id, None)
            continue
        assert [row.status for row in rows] == [ShareStatus.AVAILABLE], where
        copy = copies.pop(share.instance.id)
        assert copy.takes_writes, f"{where}: it cannot be written to"
        assert f"@{copy.section}#" in str(share.instance.host), f"{where}: it is on {copy.section}"
        lost = [write for write in users.written.get(share.id, ()) if write.what not in copy.content]
        assert not lost, f"{where}: acknowledged and lost: {lost}"
        snapshots = users.snapshots(share.id)
        well = {one.id for one in snapshots if one.status is SnapshotStatus.AVAILABLE}
        assert well <= copy.snapshots, f"{where}: snapshots that are not there: {well - copy.snapshots}"
        stuck = [
            one.status for one in snapshots if one.status in (SnapshotStatus.MIGRATING, SnapshotStatus.MIGRATING_TO)
        ]
        assert not stuck, f"{where}: snapshots {stuck}"
        assert all(one.instance.share_instance_id == share.instance.id for one in snapshots), where
    assert not copies, f"orphans: {copies}"
    world.site.check_strangers({share.instance.id for share in users.shares()})


def run(seed: int, kind: str) -> World:
    """One life; the same seed is the same life."""
    with life(seed):
        return _live(World(seed, kind))


def _live(world: World) -> World:
    users = Movers(world)
    share_of: dict[str, str] = {}

    def watch() -> None:
        if any(copy.instance_id not in share_of for copy in world.site.copies()):
            shares = users.shares()
            with world.database.read() as tx:
                for share in shares:
                    share_of.update({row.id: share.id for row in instances.of_share(tx, share.id)})
        check_one_writer(world, share_of)

    users.begin()
    for _ in range(2):
        _stir(world)
        disturbing = world.random.choice((0.0, 0.0, 0.1))
        world.trouble.breaks = 0.0  # unknown words end a migration; here it is to be seen what the known ones do
        for _ in range(world.random.randint(10, 40)):
            _weather(world)
            with suppress(Died):
                users.act()
            watch()
            section = world.random.choice(SECTIONS)
            if world.random.random() < 0.8:
                world.work(section)
                watch()
            if world.random.random() < 0.3:
                turn(world, section)
                watch()
            if world.random.random() < disturbing:
                world.site.disturb()
            if world.random.random() < 0.3:
                world.clock.advance(world.random.choice((1, 5, 60, 400)))
        settle(world, users)
        watch()
        check_truth(world, users)
    return world


@pytest.mark.parametrize(("kind", "seeds"), chunks(16))
def test_moving_loses_nothing(kind: str, seeds: range, happened: Callable[[str, Counter[str]], None]) -> None:
    for seed in seeds:
        try:
            world = run(seed, kind)
        except Exception as err:
            raise AssertionError(f"seed {seed}: {type(err).__name__}: {err}") from err
        happened(f"moves, {kind}", world.trouble.counts)

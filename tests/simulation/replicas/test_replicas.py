"""Many seeds on three backends: promotions, syncs, snapshots, and all that can go wrong between them.

How many: ``PENSTOCK_SEEDS``. A failing seed is named; play it again with
``PENSTOCK_SEED=<n> pytest tests/simulation/replicas``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from contextlib import suppress

import pytest

from penstock.errors import Fault
from tests.simulation.replicas import requests
from tests.simulation.replicas.examined import check_findings
from tests.simulation.replicas.invariants import Reigns, Truth
from tests.simulation.replicas.trouble import CONTROL, ReplicaTrouble
from tests.simulation.replicas.users import Users
from tests.simulation.replicas.world import SECTIONS, World, life
from tests.simulation.seeds import seeds
from tests.simulation.trouble import Died

ROUNDS = 2


def chunks(part: int) -> list[tuple[str, range]]:
    """Lives on records, and with the ZFS driver on simulated hosts, by kind of storage: one for `part` seeds each."""
    return [(kind, few) for kind in ("dummy", "zfs") for few in seeds(part, 20)]


@pytest.mark.parametrize(("kind", "seeds"), chunks(8), ids=lambda part: str(part).removeprefix("range"))
def test_whatever_happens_no_acknowledged_write_is_lost_unsaid(
    kind: str, seeds: range, happened: Callable[[str, Counter[str]], None]
) -> None:
    for seed in seeds:
        try:
            world = run(seed, kind)
        except Exception as err:
            raise AssertionError(f"{kind}, seed {seed}: {type(err).__name__}: {err}") from err
        happened(f"replicas, {kind}", world.trouble.counts)


def run(seed: int, kind: str = "dummy") -> World:
    """One life of three backends; the same seed is the same life."""
    with life(seed):
        return _live(World(seed, kind))


def _live(world: World) -> World:
    users = Users(world)
    reigns = Reigns(world, users)
    world.trouble.watch = reigns.look
    world.trouble.meanwhile = lambda: _meanwhile(world, users)
    users.begin()
    for _ in range(ROUNDS):
        _stir(world)
        disturbing = world.random.choice((0.0, 0.0, 0.1))
        for _ in range(world.random.randint(4, 20)):
            _weather(world)
            _survive(users)
            reigns.check()
            if world.random.random() < 0.6:
                world.work(world.random.choice(SECTIONS))
                reigns.check()
            if world.random.random() < disturbing:
                world.site.disturb()
            if world.random.random() < 0.3:
                world.clock.advance(world.random.choice((1, 5, 60, 400)))
        world.settle()
        reigns.check()
        Truth(world, users).check()
    if users.let_in():
        world.settle()
    for _ in range(2):
        users.write_everywhere()
        world.settle()
    Truth(world, users).check_accounts()
    check_findings(world)
    _delete_everything(world, users)
    return world


def _delete_everything(world: World, users: Users) -> None:
    """Replicas, snapshots, shares; twice, for what stood in the way of something the first time."""
    world.site.leave()
    for _ in range(2):
        for share in users.shares():
            for one in users.replicas(share.id):
                if one.instance.id != share.instance.id:
                    with suppress(Fault):
                        requests.delete_replica(world, one.instance.id)
        for snapshot in users.snapshots():
            with suppress(Fault):
                requests.delete_snapshot(world, snapshot.id)
        world.settle()
        for share in users.shares():
            with suppress(Fault):
                requests.delete(world, share.id)
        world.settle()
        if not users.shares():
            break
    left = [(share.id, share.status.value) for share in users.shares()]
    assert not left, f"shares that cannot be deleted: {left}"
    for section in SECTIONS:  # what only strangers' clones kept is swept when a daemon begins
        world.restart(section)
    world.site.check_empty()


def _stir(world: World) -> None:
    """The weather of the next round."""
    trouble, random = world.trouble, world.random
    weather = random.choice(("fair", "deadly", "flaky", "both", "broken"))
    trouble.dies = random.choice((0.01, 0.05, 0.15)) if weather in ("deadly", "both") else 0.0
    trouble.hangs = random.choice((0.01, 0.05, 0.2)) if weather in ("flaky", "both") else 0.0
    trouble.breaks = random.choice((0.02, 0.1)) if weather == "broken" else 0.0
    trouble.meddles = random.choice((0.0, 0.05, 0.3))
    trouble.loses = random.choice((0.0, 0.0, 0.0, 0.1))


def _weather(world: World) -> None:
    """Hosts go down and come back, lines are cut and mended, pools fill up, clocks are set, snapshots destroyed."""
    random, trouble = world.random, world.trouble
    section = random.choice(SECTIONS)
    if section in trouble.down:
        if random.random() < 0.3:
            trouble.down.discard(section)
            trouble.count("host back from the dead")
            world.site.reboot(section)
    elif random.random() < 0.08:
        trouble.count("power of a host cut")
        trouble.down.add(section)
    _change_line(trouble, section, random.choice([CONTROL, *(s for s in SECTIONS if s != section)]))
    if random.random() < 0.05:
        trouble.full.symmetric_difference_update({section})
    if random.random() < 0.02:
        world.set_clock(section)
    if random.random() < trouble.loses:
        side = world.site.destroy_ours()
        if side is not None:
            trouble.count(f"our snapshot destroyed {side}")


def _change_line(trouble: ReplicaTrouble, one: str, other: str) -> None:
    """Cut it in one direction or in both, or mend it."""
    random = trouble.random
    if {(one, other), (other, one)} & trouble.cut:
        if random.random() < 0.3:
            trouble.mend_line(one, other)
    elif random.random() < 0.1:
        ways = random.choice((((one, other),), ((other, one),), ((one, other), (other, one))))
        kind = "control plane and a host" if CONTROL in (one, other) else "two hosts"
        if len(ways) > 1:
            trouble.count(f"line of {kind} cut")
        elif CONTROL in (one, other):
            trouble.count(f"line {'to' if ways[0][0] == CONTROL else 'from'} a host cut")
        else:
            trouble.count(f"line of {kind} cut in one direction")
        for way in ways:
            trouble.cut_line(*way)


def _meanwhile(world: World, users: Users) -> None:
    """In the middle of a step of one daemon: users act, another daemon works, a host goes."""
    choice = world.random.random()
    if choice < 0.5:
        _survive(users)
    elif choice < 0.9:
        world.work(world.random.choice(SECTIONS))
    else:
        _weather(world)


def _survive(users: Users) -> None:
    """The API's process dies too; nothing of it is needed any more."""
    try:
        users.act()
    except Died:
        return

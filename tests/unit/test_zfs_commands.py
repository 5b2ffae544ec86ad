"""How commands are run: prefix, patience, the daemon's lock; and which ZFS it is."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import replace

import pytest

from penstock.clock import ManualClock
from penstock.errors import BackendFault, NotFound, Unavailable, Unsupported
from penstock.host.runner import Completed
from penstock.units import GIB
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy
from penstock.zfs.flavour import ZFS_FUSE, detect, openzfs
from penstock.zfs.names import Dataset
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

TANK = Dataset("tank")


def host_saying(*answers: tuple[str, int, str, str]) -> SimulatedHost:
    """A host whose zfs and zpool give these answers to these verbs: verb, exit code, stdout, stderr."""
    by_verb = {verb: Answer(*rest) for verb, *rest in answers}

    class Says:
        def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
            return by_verb.get(words[-1]) or by_verb.get(words[1])

        def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
            return None

    return SimulatedHost(hooks=Says(), pools={"tank": GIB})


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE])
def test_detect(flavour):
    assert detect(SimulatedHost(flavour=flavour)) == flavour


@pytest.mark.parametrize(
    ("answers", "expected"),
    [
        ([("version", 0, "zfs-2.3.1-1\nzfs-kmod-2.3.1-1\n", "")], openzfs("2.3.1")),
        ([("version", 1, "", "The ZFS modules are not loaded.")], Unavailable),
        ([("version", 2, "", "unrecognized command 'version'"), ("upgrade", 0, "feature flags", "")], Unsupported),
        ([("version", 0, "what?", "")], BackendFault),
    ],
)
def test_detect_others(answers, expected):
    host = host_saying(*answers)
    if isinstance(expected, type):
        with pytest.raises(expected):
            detect(host)
    else:
        assert detect(host) == expected


class Recording(SimulatedHost):
    """Remembers the argvs."""

    def __init__(self) -> None:
        super().__init__(pools={"tank": GIB})
        self.seen: list[tuple[str, ...]] = []

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        self.seen.append(tuple(argv))
        return super().run(argv, timeout_s=timeout_s, stdin=stdin)


def test_argv():
    host = Recording()
    zfs = Zfs(host, OPENZFS)
    zfs.create(TANK.child("a"), {"penstock:id": "1 2", "refquota": "1024"}, parents=False)
    zfs.set(TANK.child("a"), {"penstock:a": "1", "penstock:b": "2"})
    zfs.snapshot([TANK.child("a").snapshot("s"), TANK.snapshot("s")], {"penstock:id": "3"})
    zfs.destroy_snapshots(TANK.child("a"), ["s", "t"], deferred=True)
    zfs.set(TANK, {})
    zfs.destroy_snapshots(TANK, [], deferred=False)
    assert host.seen == [
        ("zfs", "create", "-o", "penstock:id=1 2", "-o", "refquota=1024", "tank/a"),
        ("zfs", "set", "penstock:a=1", "penstock:b=2", "tank/a"),
        ("zfs", "snapshot", "-o", "penstock:id=3", "tank/a@s", "tank@s"),
        ("zfs", "destroy", "-d", "tank/a@s,t"),
    ]


def test_a_hundred_snapshots_go_in_one_command():
    host = Recording()
    zfs = Zfs(host, OPENZFS)
    for number in range(100):
        zfs.snapshot([TANK.snapshot(f"s{number}")], {})
    host.seen.clear()
    zfs.destroy_snapshots(TANK, [f"s{number}" for number in range(100)], deferred=False)
    assert len(host.seen) == 1
    assert zfs.tree(TANK, ["guid"], kinds=("snapshot",)) == {}


def test_busy_is_waited_for_a_bounded_time():
    clock = ManualClock()
    host = SimulatedHost(clock=clock, pools={"tank": GIB})
    zfs = Zfs(host, replace(OPENZFS, busy_patience_s=5.0), clock=clock)
    zfs.create(TANK.child("a"), {}, parents=False)
    host.open_file("tank/a")
    with pytest.raises(Busy):
        zfs.destroy(TANK.child("a"), recursive=False)
    assert 2.5 < clock.monotonic_s() <= 5.0
    host.close_files("tank/a")
    zfs.destroy(TANK.child("a"), recursive=False)


def test_patience_is_for_each_dataset_that_is_busy():
    """A recursive destroy on zfs-fuse is held up by one mount after another."""
    clock = ManualClock()

    class OneAfterAnother:
        def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
            number = int(clock.monotonic_s() // 4)
            return Answer(1, "", f"cannot destroy 'tank/a/{number}': dataset is busy") if number < 3 else None

        def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
            return None

    host = SimulatedHost(clock=clock, pools={"tank": GIB})
    zfs = Zfs(host, replace(OPENZFS, busy_patience_s=5.0), clock=clock)
    zfs.create(TANK.child("a"), {}, parents=False)
    host.hooks = OneAfterAnother()
    zfs.destroy(TANK.child("a"), recursive=True)
    assert clock.monotonic_s() >= 12


def test_an_absent_dataset_is_not_waited_for():
    clock = ManualClock()
    zfs = Zfs(SimulatedHost(clock=clock, pools={"tank": GIB}), OPENZFS, clock=clock)
    with pytest.raises(NotFound):
        zfs.destroy(TANK.child("a"), recursive=False)
    assert clock.monotonic_s() == 0


def test_a_hanging_daemon_does_not_hang_the_others():
    host = SimulatedHost("hanging", flavour=ZFS_FUSE, pools={"tank": GIB})

    class Hangs:
        def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
            host.hooks = None
            with pytest.raises(Unavailable, match="waiting"):
                Zfs(host, ZFS_FUSE, timeout_s=0.01).mount(TANK)
            return None

        def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
            return None

    host.hooks = Hangs()
    zfs = Zfs(host, ZFS_FUSE)
    zfs.create(TANK.child("a"), {}, parents=False)
    assert zfs.exists(TANK.child("a"))


@pytest.mark.parametrize(("flavour", "most"), [(ZFS_FUSE, 1), (OPENZFS, 2)])
def test_only_zfs_fuse_mounts_one_at_a_time(flavour, most):
    """Two backends, two clients, one daemon: at most one command that mounts is with it."""
    together = threading.Barrier(2)
    at_once: list[int] = []

    class Meets:
        def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
            if any(word.startswith("canmount=") for word in words):  # what is made beside others, and mounts nothing
                return None
            try:
                together.wait(timeout=0.2 if most == 1 else 20)
                at_once.append(2)
            except threading.BrokenBarrierError:
                at_once.append(1)
                together.reset()
            return None

        def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
            return None

    host = SimulatedHost(f"met-{most}", flavour=flavour, pools={"tank": GIB}, hooks=Meets())
    clients = [Zfs(host, flavour), Zfs(host, flavour)]
    threads = [
        threading.Thread(target=zfs.create, args=(TANK.child(f"a{number}"), {}), kwargs={"parents": False})
        for number, zfs in enumerate(clients)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert max(at_once) == most

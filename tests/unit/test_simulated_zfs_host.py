"""The simulated host as a tool of tests: faults on demand, replays, copies of its state, speed."""

from __future__ import annotations

import time

import pytest

from penstock.errors import Unavailable, UnknownResult
from penstock.units import GIB, MIB
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost, simulated_zfs_fuse

A = Dataset("tank/a")
SLOWEST_S = 0.001  # far above what it needs (about 30 µs), so that a busy machine does not fail it


class Trouble:
    """Raises or answers once, at the given moment, for words that contain `word`."""

    def __init__(self, moment: str, word: str, outcome: Exception | Answer) -> None:
        self.moment, self.word, self.outcome = moment, word, outcome

    def _strike(self, moment: str, words: tuple[str, ...]) -> Answer | None:
        if moment != self.moment or self.word not in words:
            return None
        self.moment = "over"
        if isinstance(self.outcome, Exception):
            raise self.outcome
        return self.outcome

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        return self._strike("before", words)

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        return self._strike("after", words)


@pytest.mark.parametrize(("moment", "happened"), [("before", False), ("after", True)])
def test_trouble_comes_before_or_after_the_effect(moment, happened):
    host = SimulatedHost(pools={"tank": GIB}, hooks=Trouble(moment, "create", UnknownResult("late")))
    zfs = Zfs(host, OPENZFS)
    with pytest.raises(UnknownResult):
        zfs.create(A, {}, parents=False)
    assert zfs.exists(A) is happened


def test_an_answer_in_place_of_the_command():
    host = SimulatedHost(pools={"tank": GIB}, hooks=Trouble("before", "create", Answer(1, "", "I/O error")))
    with pytest.raises(Unavailable):
        Zfs(host, OPENZFS).create(A, {}, parents=False)


def test_trouble_in_a_pipe():
    host = SimulatedHost(pools={"tank": GIB})
    zfs = Zfs(host, OPENZFS)
    zfs.snapshot([Dataset("tank").snapshot("s")], {})
    host.hooks = Trouble("after", "receive", UnknownResult("late"))
    with pytest.raises(UnknownResult):
        zfs.copy(Dataset("tank").snapshot("s"), A, {"penstock:id": "1"})
    zfs.copy(Dataset("tank").snapshot("s"), A, {"penstock:id": "1"})
    assert not zfs.exists(A.snapshot("s"))


def test_files_and_programs():
    host = SimulatedHost()
    assert host.read_file("/etc/exports.d/x") is None
    host.write_file("/etc/exports.d/x", "text")
    assert host.read_file("/etc/exports.d/x") == "text"
    host.remove_file("/etc/exports.d/x")
    host.remove_file("/etc/exports.d/x")
    assert host.read_file("/etc/exports.d/x") is None
    with pytest.raises(Unavailable):
        host.run(["exportfs", "-ra"], timeout_s=1)
    host.programs["exportfs"] = lambda args, stdin: (0, " ".join(args), stdin)
    assert host.run(["/usr/sbin/exportfs", "-ra"], timeout_s=1, stdin="x").stdout == "-ra"


def test_state_is_saved_and_put_back():
    host = simulated_zfs_fuse(pools={"tank": GIB})
    zfs = Zfs(host, host.flavour, clock=host.clock)
    zfs.create(A, {"penstock:id": "1"}, parents=False)
    host.write("tank/a", MIB)
    zfs.snapshot([A.snapshot("s")], {})
    zfs.clone(A.snapshot("s"), A.child("c"), {})
    kept = host.saved()
    was = zfs.tree(Dataset("tank"), ["guid", "used", "origin", "penstock:id"], kinds=("filesystem", "snapshot"))
    zfs.promote(A.child("c"))
    host.use(kept)
    assert was == zfs.tree(Dataset("tank"), ["guid", "used", "origin", "penstock:id"], kinds=("filesystem", "snapshot"))


def test_two_runs_are_the_same_and_two_hosts_are_not():
    guids = []
    for name in ("one", "one", "two"):
        host = SimulatedHost(name, pools={"tank": GIB})
        guids.append(Zfs(host, OPENZFS).get(Dataset("tank"), ["guid"])["guid"].value)
    assert guids[0] == guids[1] != guids[2]


def test_a_reboot_mounts_and_closes():
    host = SimulatedHost(pools={"tank": GIB})
    zfs = Zfs(host, OPENZFS)
    zfs.create(A, {}, parents=False)
    zfs.create(A.child("b"), {"canmount": "noauto"}, parents=False)
    zfs.mount(A.child("b"))
    host.open_file("tank/a/b")
    host.reboot()
    mounted = [found["mounted"].value for found in zfs.tree(A, ["mounted"]).values()]
    assert mounted == ["yes", "no"]


def test_a_full_pool_is_full():
    host = SimulatedHost(pools={"tank": 8 * MIB})
    with pytest.raises(OSError, match="No space"):
        host.write("tank", 9 * MIB)
    host.write("tank", 7 * MIB)
    host.empty("tank")
    host.write("tank", 7 * MIB)


def test_speed():
    host = SimulatedHost(pools={"tank": GIB})
    zfs = Zfs(host, OPENZFS)
    for number in range(20):
        zfs.create(Dataset(f"tank/x{number}"), {"penstock:id": "1"}, parents=False)
    argv = ["zfs", "get", "-Hp", "-o", "name,property,value,source", "used,available,guid,quota,penstock:id", "tank/x1"]
    start = time.process_time()
    for _ in range(200):
        host.run(argv, timeout_s=1)
    assert (time.process_time() - start) / 200 < SLOWEST_S

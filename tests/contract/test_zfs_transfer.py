"""What `Transfer` promises between any two ZFS, by any route: the simulated ones pass it beside the real ones."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from penstock.errors import Cancelled, InsufficientCapacity, NotFound
from penstock.units import MIB
from penstock.zfs.faults import Busy, Diverged
from penstock.zfs.incremental import Full, Increment, UpToDate
from penstock.zfs.properties import local_value
from penstock.zfs.snapshots import points
from tests.contract.zfs_duo import MARKS, SIMULATED, Duo, duo_of, real

REAL = [
    pytest.param(("zfs-fuse", "direct"), marks=pytest.mark.lab, id="zfs-fuse-direct"),
    pytest.param(("zfs-fuse", "relay"), marks=pytest.mark.lab, id="zfs-fuse-relay"),
    pytest.param(("zfs-fuse", "one host"), marks=pytest.mark.lab, id="zfs-fuse-one-host"),
    pytest.param(("openzfs", "direct"), marks=pytest.mark.kernel, id="openzfs-direct"),
    pytest.param(("openzfs", "relay"), marks=pytest.mark.kernel, id="openzfs-relay"),
    pytest.param(("openzfs", "one host"), marks=pytest.mark.kernel, id="openzfs-one-host"),
]


@pytest.fixture(params=[*((name, "direct") for name in SIMULATED), *REAL], ids=lambda param: param[0])
def duo(request: Any) -> Iterator[Duo]:
    kind, way = request.param
    if kind in SIMULATED:
        machines = SIMULATED[kind]()
    else:
        hosts = request.getfixturevalue("lab_ssh_hosts" if kind == "zfs-fuse" else "kernel_hosts")
        hosts = (hosts[0], hosts[0]) if way == "one host" else hosts
        machines = real(hosts, direct=way == "direct")
    with duo_of(machines, way) as found:
        yield found


def guids(duo: Duo) -> list[int]:
    return [point.guid for point in points(duo.target.zfs, duo.into)]


class TestTransfer:
    """The contract."""

    def test_first_copy_takes_older_snapshots_along(self, duo):
        duo.snapshot("s1", 2)
        duo.snapshot("s2")
        to = duo.snapshot("s3", 1)
        transfer = duo.transfer(to)
        assert isinstance(transfer.plan(), Full)
        assert transfer.estimate_bytes() > 2 * MIB
        done = transfer.run()
        source = points(duo.source.zfs, duo.a)
        assert guids(duo) == [point.guid for point in source]
        assert (done.newest.guid, done.route, done.resumed) == (source[-1].guid, duo.route_name, False)
        assert done.sent_bytes > 2 * MIB
        found = duo.target.zfs.get(duo.into, ["mounted", *MARKS])
        assert found["mounted"].value == "no"
        assert {name: local_value(found, name) for name in MARKS} == MARKS
        assert duo.target_content() == duo.source.content(duo.a)

    def test_only_the_newest_when_told_so(self, duo):
        duo.snapshot("s1", 1)
        duo.send(duo.snapshot("s2", 1), keeps_between=False)
        duo.snapshot("s3", 1)
        duo.send(duo.snapshot("s4", 1), keeps_between=False)
        assert [point.name for point in points(duo.target.zfs, duo.into)] == ["s2", "s4"]
        assert duo.target_content() == duo.source.content(duo.a)

    def test_increments_and_nothing(self, duo):
        duo.send(duo.snapshot("s1", 1))
        for name in ("s2", "s3", "s4"):
            to = duo.snapshot(name, 1)
        plan = duo.transfer(to).plan()
        assert isinstance(plan, Increment)
        assert [point.name for point in plan.between] == ["s2", "s3"]
        assert duo.send(to).newest.name == "s4"
        assert isinstance(duo.transfer(to).plan(), UpToDate)
        assert duo.transfer(to).estimate_bytes() == 0
        again = duo.send(to)
        assert (again.sent_bytes, again.newest.name) == (0, "s4")
        assert duo.target_content() == duo.source.content(duo.a)

    def test_the_base_is_found_by_guid(self, duo):
        duo.send(duo.snapshot("s1", 1))
        duo.target.zfs.rename(duo.into.snapshot("s1"), duo.into.snapshot("elsewhere"))
        duo.send(duo.snapshot("s2", 1))
        assert [point.name for point in points(duo.target.zfs, duo.into)] == ["elsewhere", "s2"]

    def test_a_target_with_snapshots_of_its_own_has_diverged(self, duo):
        duo.send(duo.snapshot("s1", 1))
        duo.target.zfs.snapshot([duo.into.snapshot("own")], {})
        with pytest.raises(Diverged, match="own"):
            duo.send(duo.snapshot("s2", 1))
        assert duo.target.zfs.exists(duo.into.snapshot("own"))

    def test_a_target_that_was_written_has_diverged_and_keeps_it(self, duo):
        duo.send(duo.snapshot("s1", 1))
        duo.target.zfs.set(duo.into, {"readonly": "off"})
        duo.target.zfs.mount(duo.into)
        assert duo.target.write(duo.into, "own", 1)
        was = duo.target.content(duo.into)
        with pytest.raises(Diverged):
            duo.send(duo.snapshot("s2", 1))
        assert duo.target.content(duo.into) == was

    def test_a_stranger_is_left_alone(self, duo):
        duo.target.zfs.create(duo.into, {}, parents=False)
        duo.target.zfs.snapshot([duo.into.snapshot("theirs")], {})
        with pytest.raises(Diverged, match="theirs"):
            duo.send(duo.snapshot("s1", 1))
        assert len(guids(duo)) == 1

    def test_what_is_not_there_cannot_be_sent(self, duo):
        duo.snapshot("s1")
        with pytest.raises(NotFound):
            duo.send(duo.a.snapshot("absent"))
        duo.into = duo.into.child("below/nothing")
        with pytest.raises(NotFound):
            duo.send(duo.a.snapshot("s1"))

    # --- interrupted -------------------------------------------------------------------------------------------------

    def test_a_stopped_first_copy_is_gone_on_with(self, duo):
        to = duo.snapshot("s1", 24)
        with pytest.raises(Cancelled):
            duo.stopped(to)
        resumes = duo.resumes
        done = duo.send(to)
        assert done.resumed == resumes
        assert (done.sent_bytes < 24 * MIB) == (resumes and duo.is_real)
        found = duo.target.zfs.get(duo.into, list(MARKS))
        assert {name: local_value(found, name) for name in MARKS} == MARKS
        assert duo.target_content() == duo.source.content(duo.a)

    def test_a_stopped_increment_is_gone_on_with(self, duo):
        duo.send(duo.snapshot("s1", 1))
        duo.snapshot("s2", 24)
        to = duo.snapshot("s3", 1)
        with pytest.raises(Cancelled):
            duo.stopped(to)
        done = duo.send(to)
        assert done.newest.name == "s3"
        assert done.resumed == duo.resumes
        assert duo.target_content() == duo.source.content(duo.a)

    def test_what_was_begun_with_a_snapshot_that_is_gone_is_given_up(self, duo):
        base = duo.snapshot("s1", 1)
        duo.send(base)
        lost = duo.snapshot("s2", 24)
        with pytest.raises(Cancelled):
            duo.stopped(lost)
        duo.source.zfs.destroy_snapshots(duo.a, ["s2"], deferred=False)
        done = duo.send(duo.snapshot("s3", 1))
        assert (done.newest.name, done.resumed) == ("s3", False)
        assert [point.name for point in points(duo.target.zfs, duo.into)] == ["s1", "s3"]

    def test_stopped_before_it_begins(self, duo):
        to = duo.snapshot("s1", 1)
        with pytest.raises(Cancelled):
            duo.transfer(to).run(should_stop=lambda: True)
        assert not duo.target.zfs.exists(duo.into)

    def test_a_full_target_says_so_and_later_it_goes_on(self, duo):
        top = duo.into.parent
        duo.target.zfs.set(top, {"quota": str(8 * MIB)})
        to = duo.snapshot("s1", 24)
        with pytest.raises(InsufficientCapacity):
            duo.send(to)
        duo.target.zfs.set(top, {"quota": "none"})
        duo.send(to)
        assert duo.target_content() == duo.source.content(duo.a)

    def test_another_receive_is_busy(self, duo):
        if not duo.is_real:
            pytest.skip("the simulation has one thread")
        to = duo.snapshot("s1", 24)
        begun = threading.Event()
        duo.target.zfs = duo.target.hasty

        def told(moved_bytes: int) -> None:
            if moved_bytes:
                begun.set()

        with ThreadPoolExecutor(1) as thread:
            first = thread.submit(duo.transfer(to).run, told, bandwidth_limit_bytes_per_s=4 * MIB)
            assert begun.wait(60)
            with pytest.raises(Busy):
                duo.send(to)
            first.result(60)
        assert duo.target_content() == duo.source.content(duo.a)

    def test_the_limit_is_kept(self, duo):
        if not duo.is_real:
            pytest.skip("simulated streams take no time")
        to = duo.snapshot("s1", 12)
        seen: list[int] = []
        done = duo.transfer(to).run(seen.append, bandwidth_limit_bytes_per_s=4 * MIB)
        assert done.seconds > 2
        assert seen == sorted(seen)
        assert len(seen) > 2
        assert seen[-1] == done.sent_bytes

"""Holds, and whether a dataset was written since its newest snapshot: on every ZFS."""

from __future__ import annotations

import pytest

from penstock.errors import Invalid, NotFound
from penstock.zfs.changes import changes
from penstock.zfs.faults import Busy
from penstock.zfs.holds import hold, holds, release
from penstock.zfs.snapshots import look, points

TAG = "penstock:42"


class TestHolds:
    """Where there are none (zfs-fuse) nothing happens, and nothing fails."""

    def test_held_is_kept_until_released(self, machine, top):
        first, second = (top.snapshot(name) for name in ("s1", "s2"))
        for each in (first, second):
            machine.zfs.snapshot([each], {})
        for _ in range(2):
            hold(machine.zfs, [first, second], TAG)
        hold(machine.zfs, [second], "other")
        release(machine.zfs, [second], "never")
        if machine.zfs.flavour.can_hold:
            assert holds(machine.zfs, [first, second]) == {
                first: frozenset({TAG}),
                second: frozenset({TAG, "other"}),
            }
            with pytest.raises(Busy):
                machine.hasty.destroy_snapshots(top, ["s1"], deferred=False)
            machine.zfs.destroy_snapshots(top, ["s1"], deferred=True)
            assert machine.zfs.exists(first)
        else:
            assert holds(machine.zfs, [first, second]) == {}
            machine.zfs.destroy_snapshots(top, ["s1"], deferred=False)
        for _ in range(2):
            release(machine.zfs, [first, second], TAG)
        assert not machine.zfs.exists(first)
        release(machine.zfs, [second], "other")
        assert holds(machine.zfs, [second]) == {}

    def test_a_hold_where_some_have_it_already(self, machine, top):
        each = [top.snapshot(name) for name in ("s1", "s2", "s3")]
        for snapshot in each:
            machine.zfs.snapshot([snapshot], {})
        hold(machine.zfs, each[:1], TAG)
        hold(machine.zfs, each, TAG)
        if machine.zfs.flavour.can_hold:
            assert set(holds(machine.zfs, each)) == set(each)
            with pytest.raises(NotFound):
                hold(machine.zfs, [*each, top.snapshot("absent")], TAG)
        release(machine.zfs, each, TAG)

    def test_odd_tags_are_invalid(self, machine, top):
        for tag in ("", "-r", "a b", "x" * 300):
            with pytest.raises(Invalid):
                hold(machine.zfs, [top.snapshot("s")], tag)


class TestPoints:
    def test_points_are_in_order_of_age(self, machine, top):
        for name in ("zz", "b", "a"):
            machine.zfs.snapshot([top.snapshot(name)], {})
        machine.zfs.create(top.child("below"), {}, parents=False)
        machine.zfs.snapshot([top.child("below").snapshot("other")], {})
        found = points(machine.zfs, top)
        assert [point.name for point in found] == ["zz", "b", "a"]
        guid = machine.zfs.get(top.snapshot("b"), ["guid"])["guid"].value
        assert str(found[1].guid) == guid
        side = look(machine.zfs, top, ["mounted"])
        assert (side.points, side.properties["mounted"].value) == (found, "yes")
        with pytest.raises(NotFound):
            points(machine.zfs, top.child("absent"))


class TestChanges:
    def test_what_was_written_just_now_is_seen(self, machine, top):
        a, b = top.child("a"), top.child("b")
        for each in (a, b):
            machine.zfs.create(each, {"atime": "off"}, parents=False)
        assert changes(machine.zfs, top)[a].newest is None
        for each in (a, b):
            machine.write(each, "f", 1)
            machine.zfs.snapshot([each.snapshot("s1")], {})
        # a second one with nothing between: it shares all its blocks with the first
        machine.zfs.snapshot([b.snapshot("s2")], {})
        found = changes(machine.zfs, top)
        assert set(found) == {a, b}
        assert [found[each].written_bytes for each in (a, b)] == [0, 0]
        newest = found[b].newest
        assert newest is not None
        assert newest.name == "s2"
        assert found[b].is_unwritten_since(newest.guid)
        assert not found[b].is_unwritten_since(points(machine.zfs, b)[0].guid)
        machine.write(b, "g", 1)
        found = changes(machine.zfs, top)
        assert found[a].written_bytes == 0
        assert found[b].written_bytes >= 2**20
        assert not found[b].is_unwritten_since(newest.guid)

    def test_a_removed_file_is_seen(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {"atime": "off"}, parents=False)
        machine.write(a, "f", 1)
        machine.zfs.snapshot([a.snapshot("s1")], {})
        machine.remove_all(a)
        assert changes(machine.zfs, top)[a].written_bytes > 0

"""What `Zfs` promises about snapshots, clones, names, mounts and copies, on every ZFS: the second half of test_zfs."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.errors import Conflict, InsufficientCapacity, Invalid, NotFound, Unsupported
from penstock.units import MIB
from penstock.zfs.faults import Busy, Diverged, HasChildren, HasClones, NewerSnapshots, NotAClone
from penstock.zfs.names import SnapshotName
from penstock.zfs.properties import bytes_of, local_value
from tests.contract.zfs_machines import SimulatedMachine

CLIENTS = 10
ID = "penstock:id"


class TestSnapshotsAndNames:
    """The contract, continued."""

    # --- snapshots, clones -------------------------------------------------------------------------------------------

    def test_snapshots_of_several(self, machine, top):
        a, b = top.child("a"), top.child("b")
        for each in (a, b):
            machine.zfs.create(each, {}, parents=False)
        machine.zfs.snapshot([a.snapshot("s"), b.snapshot("s")], {ID: "8"})
        found = machine.zfs.tree(top, [ID, "guid"], kinds=("snapshot",))
        assert {name: local_value(each, ID) for name, each in found.items()} == {f"{a}@s": "8", f"{b}@s": "8"}
        assert len({each["guid"].value for each in found.values()}) == 2

    @pytest.mark.parametrize(("second", "fault"), [("b", Conflict), ("absent", NotFound)])
    def test_snapshots_of_several_are_all_or_none(self, machine, top, second, fault):
        a, b = top.child("a"), top.child("b")
        for each in (a, b):
            machine.zfs.create(each, {}, parents=False)
        machine.zfs.snapshot([b.snapshot("s")], {})
        with pytest.raises(fault):
            machine.zfs.snapshot([a.snapshot("s"), top.child(second).snapshot("s")], {})
        assert not machine.zfs.exists(a.snapshot("s"))
        assert machine.zfs.exists(b.snapshot("s"))

    def test_destroy_snapshots_is_repeatable(self, machine, top):
        for name in ("x", "y", "z"):
            machine.zfs.snapshot([top.snapshot(name)], {})
        for names in (["x", "absent", "y"], ["x", "y"], ["absent"]):
            machine.zfs.destroy_snapshots(top, names, deferred=False)
        assert list(machine.zfs.tree(top, ["guid"], kinds=("snapshot",))) == [f"{top}@z"]
        machine.zfs.destroy_snapshots(top.child("absent"), ["x"], deferred=False)

    def test_a_snapshot_with_a_clone_stays_until_the_clone_goes(self, machine, top):
        a, c = top.child("a"), top.child("c")
        machine.zfs.create(a, {}, parents=False)
        machine.zfs.snapshot([a.snapshot("s")], {})
        machine.zfs.clone(a.snapshot("s"), c, {ID: "2"})
        with pytest.raises(HasClones):
            machine.zfs.destroy_snapshots(a, ["s"], deferred=False)
        with pytest.raises(HasClones):
            machine.zfs.destroy(a, recursive=True)
        for _ in range(2):
            machine.zfs.destroy_snapshots(a, ["s"], deferred=True)
        assert machine.zfs.get(a.snapshot("s"), ["defer_destroy"])["defer_destroy"].value == "on"
        machine.zfs.destroy(c, recursive=False)
        assert not machine.zfs.exists(a.snapshot("s"))

    def test_clones_are_known_where_zfs_says_them(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {}, parents=False)
        for name in ("s", "t"):
            machine.zfs.snapshot([a.snapshot(name)], {})
        machine.zfs.clone(a.snapshot("s"), top.child("c"), {})
        if not machine.zfs.flavour.has_clones_property:
            with pytest.raises(Unsupported):
                machine.zfs.get(a.snapshot("s"), ["clones"])
            return
        found = machine.zfs.tree(a, ["clones"], kinds=("snapshot",), depth=1)
        assert {name: each["clones"].value for name, each in found.items()} == {f"{a}@s": f"{top}/c", f"{a}@t": "-"}
        assert machine.zfs.get(a, ["clones"])["clones"].value == "-"

    def test_a_clone_starts_as_the_snapshot(self, machine, top):
        a, c = top.child("a"), top.child("c")
        machine.zfs.create(a, {ID: "1", "refquota": "64M"}, parents=False)
        machine.write(a, "f", 2)
        was = machine.content(a)
        machine.zfs.snapshot([a.snapshot("s")], {})
        machine.write(a, "g", 2)
        machine.zfs.clone(a.snapshot("s"), c, {ID: "2"})
        assert machine.content(c) == was != machine.content(a)
        found = machine.zfs.get(c, [ID, "origin", "refquota", "used", "mounted"])
        assert [found[n].value for n in (ID, "origin", "refquota", "mounted")] == ["2", f"{a}@s", "0", "yes"]
        assert bytes_of(found, "used") < MIB
        with pytest.raises(Conflict):
            machine.zfs.clone(a.snapshot("s"), c, {})
        with pytest.raises(NotFound):
            machine.zfs.clone(a.snapshot("absent"), top.child("d"), {})
        with pytest.raises(NotFound):
            machine.zfs.clone(a.snapshot("s"), top.child("absent/d"), {})

    def test_promote_frees_the_original(self, machine, top):
        a, c = top.child("a"), top.child("c")
        machine.zfs.create(a, {}, parents=False)
        for name in ("r", "s", "t"):
            machine.write(a, name, 1)
            machine.zfs.snapshot([a.snapshot(name)], {})
        machine.zfs.clone(a.snapshot("s"), c, {})
        was = machine.content(c)
        machine.zfs.promote(c)
        origins = machine.zfs.tree(top, ["origin"], kinds=("filesystem", "snapshot"))
        assert sorted(origins) == [f"{top}", f"{a}", f"{a}@t", f"{c}", f"{c}@r", f"{c}@s"]
        assert (origins[str(a)]["origin"].value, origins[str(c)]["origin"].value) == (f"{c}@s", "-")
        with pytest.raises(NotAClone):
            machine.zfs.promote(c)
        machine.zfs.destroy(a, recursive=True)
        assert machine.content(c) == was

    def test_promote_with_one_name_twice(self, machine, top):
        a, c = top.child("a"), top.child("c")
        machine.zfs.create(a, {}, parents=False)
        machine.zfs.snapshot([a.snapshot("s")], {})
        machine.zfs.clone(a.snapshot("s"), c, {})
        machine.zfs.snapshot([c.snapshot("s")], {})
        with pytest.raises(Conflict):
            machine.zfs.promote(c)
        machine.zfs.rename(c.snapshot("s"), c.snapshot("u"))
        machine.zfs.promote(c)

    def test_rollback(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {}, parents=False)
        machine.write(a, "f", 1)
        was = machine.content(a)
        machine.zfs.snapshot([a.snapshot("s")], {})
        machine.write(a, "g", 1)
        machine.zfs.snapshot([a.snapshot("t")], {})
        with pytest.raises(NewerSnapshots):
            machine.zfs.rollback(a.snapshot("s"), destroy_newer=False)
        machine.zfs.rollback(a.snapshot("s"), destroy_newer=True)
        assert machine.content(a) == was
        assert not machine.zfs.exists(a.snapshot("t"))
        machine.zfs.rollback(a.snapshot("s"), destroy_newer=False)
        with pytest.raises(NotFound):
            machine.zfs.rollback(a.snapshot("absent"), destroy_newer=False)

    # --- destroy, rename, mounts -----------------------------------------------------------------------------------

    def test_destroy_right_after_create(self, machine, top):
        machine.zfs.create(top.child("a"), {}, parents=False)
        machine.zfs.destroy(top.child("a"), recursive=False)
        with pytest.raises(NotFound):
            machine.zfs.destroy(top.child("a"), recursive=False)

    def test_destroy_with_what_is_below(self, machine, top):
        machine.zfs.create(top.child("a/b"), {}, parents=True)
        machine.zfs.snapshot([top.child("a/b").snapshot("s")], {})
        for dataset in (top.child("a"), top.child("a/b")):
            with pytest.raises(HasChildren):
                machine.zfs.destroy(dataset, recursive=False)
        machine.zfs.destroy(top.child("a"), recursive=True)
        assert list(machine.zfs.tree(top, ["type"], kinds=("filesystem", "snapshot"))) == [str(top)]

    def test_rename_keeps_all(self, machine, top):
        a, b = top.child("a"), top.child("b")
        machine.zfs.create(a.child("below"), {}, parents=True)
        machine.zfs.set(a, {ID: "1"})
        machine.write(a, "f", 1)
        was = machine.content(a)
        machine.zfs.snapshot([a.snapshot("s")], {})
        machine.zfs.rename(a, b)
        found = machine.zfs.tree(top, [ID, "mounted", "mountpoint"], kinds=("filesystem", "snapshot"))
        assert list(found) == [str(top), str(b), f"{b}@s", f"{b}/below"]
        assert [found[f"{b}{end}"]["mounted"].value for end in ("", "/below")] == ["yes", "yes"]
        assert found[str(b)]["mountpoint"].value == f"/{b}"
        assert local_value(found[str(b)], ID) == "1"
        assert machine.content(b) == was

    def test_rename_refused(self, machine, top):
        a, b = top.child("a"), top.child("b")
        for each in (a, b):
            machine.zfs.create(each, {}, parents=False)
        for old, new, fault in [(a, b, Conflict), (top.child("x"), b, NotFound), (a, top.child("x/y"), NotFound)]:
            with pytest.raises(fault):
                machine.zfs.rename(old, new)
        with pytest.raises(Invalid):
            machine.zfs.rename(a, a.child("inside"))
        assert [e["mounted"].value for e in machine.zfs.tree(top, ["mounted"]).values()] == ["yes"] * 3

    def test_rename_of_a_snapshot(self, machine, top):
        for name in ("s", "t"):
            machine.zfs.snapshot([top.snapshot(name)], {})
        with pytest.raises(Conflict):
            machine.zfs.rename(top.snapshot("s"), top.snapshot("t"))
        with pytest.raises(NotFound):
            machine.zfs.rename(top.snapshot("absent"), top.snapshot("u"))
        machine.zfs.rename(top.snapshot("s"), top.snapshot("u"))
        assert set(machine.zfs.tree(top, ["guid"], kinds=("snapshot",))) == {f"{top}@t", f"{top}@u"}

    def test_mounts_are_repeatable(self, machine, top):
        machine.zfs.create(top.child("a"), {}, parents=False)
        for dataset, wanted in [(top, ["no", "no"]), (top, ["no", "no"])]:
            machine.zfs.unmount(dataset)
            assert [e["mounted"].value for e in machine.zfs.tree(top, ["mounted"]).values()] == wanted
        for dataset in (top, top, top.child("a")):
            machine.zfs.mount(dataset)
        assert [e["mounted"].value for e in machine.zfs.tree(top, ["mounted"]).values()] == ["yes", "yes"]
        for act in (machine.zfs.mount, machine.zfs.unmount):
            with pytest.raises(NotFound):
                act(top.child("absent"))

    def test_in_use_is_busy(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {}, parents=False)
        machine.write(a, "f", 1)
        with machine.open_file(a):
            for act in (
                lambda: machine.hasty.unmount(a),
                lambda: machine.hasty.destroy(a, recursive=False),
                lambda: machine.hasty.rename(a, top.child("b")),
            ):
                with pytest.raises(Busy):
                    act()
            assert machine.zfs.get(a, ["mounted"])["mounted"].value == "yes"
        machine.zfs.destroy(a, recursive=False)

    # --- copies ------------------------------------------------------------------------------------------------------

    def _original(self, machine, top) -> SnapshotName:
        a = top.child("a")
        machine.zfs.create(a, {ID: "1", "refquota": "64M"}, parents=False)
        machine.write(a, "f", 2)
        machine.zfs.snapshot([a.snapshot("s")], {ID: "11"})
        return a.snapshot("s")

    def test_a_copy_is_independent(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        was = machine.content(origin.dataset)
        for _ in range(2):
            machine.zfs.copy(origin, b, {ID: "2", "refquota": "16M"})
        found = machine.zfs.get(b, [ID, "refquota", "origin", "mounted"])
        assert [found[n].value for n in (ID, "origin", "mounted")] == ["2", "-", "yes"]
        assert (local_value(found, ID), bytes_of(found, "refquota")) == ("2", 16 * MIB)
        assert list(machine.zfs.tree(top.child("b"), ["guid"], kinds=("snapshot",))) == []
        machine.zfs.snapshot([b.snapshot("s")], {})
        machine.zfs.set(b, {"refquota": "32M"})
        machine.zfs.copy(origin, b, {ID: "2", "refquota": "16M"})
        assert machine.zfs.exists(b.snapshot("s"))
        assert bytes_of(machine.zfs.get(b, ["refquota"]), "refquota") == 32 * MIB
        machine.zfs.destroy(origin.dataset, recursive=True)
        assert machine.content(b) == was

    def test_an_interrupted_copy_is_finished(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        machine.zfs.commands.transfer(["send", str(origin)], ["receive", "-u", str(b)], timeout_s=60)
        if machine.zfs.flavour.receive_sets_properties:
            machine.zfs.set(b, {ID: "2"})
        machine.zfs.copy(origin, b, {ID: "2"})
        found = machine.zfs.get(b, [ID, "mounted"])
        assert (local_value(found, ID), found["mounted"].value) == ("2", "yes")
        assert not machine.zfs.exists(b.snapshot("s"))

    def test_a_copy_touches_no_stranger(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        machine.zfs.create(b, {ID: "other"}, parents=False)
        machine.zfs.snapshot([b.snapshot("s")], {})
        with pytest.raises(Conflict):
            machine.zfs.copy(origin, b, {ID: "2"})
        assert machine.zfs.exists(b.snapshot("s"))

    def test_a_copy_touches_no_stranger_that_has_the_same_data(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        machine.zfs.commands.transfer(["send", str(origin)], ["receive", "-u", str(b)], timeout_s=60)
        machine.zfs.set(b, {ID: "other"})
        with pytest.raises(Conflict):
            machine.zfs.copy(origin, b, {ID: "2"})
        assert machine.zfs.exists(b.snapshot("s"))

    def test_a_copy_that_cannot_be(self, machine, top):
        origin = self._original(machine, top)
        with pytest.raises(NotFound):
            machine.zfs.copy(top.snapshot("absent"), top.child("b"), {ID: "2"})
        with pytest.raises(NotFound):
            machine.zfs.copy(origin, top.child("x/b"), {ID: "2"})
        machine.zfs.create(top.child("small"), {"quota": "1M"}, parents=False)
        with pytest.raises(InsufficientCapacity):
            machine.zfs.copy(origin, top.child("small/b"), {ID: "2"})
        assert not machine.zfs.exists(top.child("small/b"))

    # --- streams -----------------------------------------------------------------------------------------------------

    def test_streams_go_by_guid(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        a = origin.dataset
        send = machine.zfs.commands.transfer
        send(["send", f"{a}@s"], ["receive", "-u", str(b)], timeout_s=60)
        machine.write(a, "g", 1)
        machine.zfs.snapshot([a.snapshot("t")], {})
        send(["send", "-i", "@s", f"{a}@t"], ["receive", "-u", str(b)], timeout_s=60)
        found = machine.zfs.tree(top, ["guid"], kinds=("snapshot",))
        assert found[f"{a}@t"]["guid"] == found[f"{b}@t"]["guid"]
        machine.zfs.mount(b)
        assert machine.content(b) == machine.content(a)
        assert local_value(machine.zfs.get(b, [ID]), ID) is None

    def test_diverged_data_is_never_overwritten(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        a = origin.dataset
        send = machine.zfs.commands.transfer
        send(["send", f"{a}@s"], ["receive", str(b)], timeout_s=60)
        machine.write(b, "own", 1)
        was = machine.content(b)
        machine.zfs.snapshot([a.snapshot("t")], {})
        with pytest.raises(Diverged):
            send(["send", "-i", "@s", f"{a}@t"], ["receive", "-u", str(b)], timeout_s=60)
        with pytest.raises(Conflict):
            send(["send", f"{a}@t"], ["receive", "-u", str(b)], timeout_s=60)
        assert machine.content(b) == was

    def test_many_at_once(self, machine, top):
        """More creates at once than one wedge zfs-fuse for good, so there they must not reach it at once."""
        if isinstance(machine, SimulatedMachine):
            pytest.skip("the simulation has one thread")
        datasets = [top.child(f"d{number}") for number in range(CLIENTS)]
        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(lambda dataset: machine.zfs.create(dataset, {ID: "1"}, parents=False), datasets))
            list(pool.map(lambda dataset: machine.zfs.destroy(dataset, recursive=False), datasets[1:]))
        assert list(machine.zfs.tree(top, ["mounted"])) == [str(top), str(datasets[0])]

    def test_received_properties_are_not_believed(self, machine, top):
        origin, b = self._original(machine, top), top.child("b")
        machine.zfs.commands.transfer(["send", "-p", str(origin)], ["receive", "-u", str(b)], timeout_s=60)
        found = machine.zfs.get(b, [ID])
        assert (found[ID].value, found[ID].source, local_value(found, ID)) == ("1", "received", None)

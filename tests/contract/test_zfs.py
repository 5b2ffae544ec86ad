"""What `Zfs` promises, on every ZFS: the simulated hosts are trusted because they pass this beside the real ones."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

from penstock.errors import Conflict, InsufficientCapacity, Invalid, NotFound, Unsupported
from penstock.units import MIB
from penstock.zfs import pools
from penstock.zfs.commands import mount_lock
from penstock.zfs.faults import TooSmall
from penstock.zfs.flavour import ZFS_FUSE, openzfs
from penstock.zfs.names import Dataset
from penstock.zfs.properties import bytes_of, local_value
from tests.waiting import until

ID = "penstock:id"
TANK = Dataset("tank")


class TestZfs:
    """The contract."""

    # --- the host ----------------------------------------------------------------------------------------------------

    def test_flavour(self, machine):
        assert machine.zfs.flavour in (ZFS_FUSE, openzfs("2.1.11"))

    def test_health(self, machine):
        assert pools.health(machine.zfs)["tank"] == "ONLINE"

    def test_space_of_a_quota(self, machine, top):
        machine.zfs.create(top.child("a"), {"quota": str(64 * MIB)}, parents=False)
        space = pools.space(machine.zfs, [top.child("a"), top.child("absent")])
        assert list(space) == [top.child("a")]
        assert space[top.child("a")].usable_bytes == 64 * MIB
        assert 0 < space[top.child("a")].used_bytes < MIB

    # --- create ------------------------------------------------------------------------------------------------------

    def test_create_with_properties(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {ID: "7", "refquota": "8M", "compression": "gzip"}, parents=False)
        found = machine.zfs.get(a, [ID, "refquota", "compression", "mounted", "mountpoint", "type", "origin", "quota"])
        assert local_value(found, ID) == "7"
        assert bytes_of(found, "refquota") == 8 * MIB
        assert bytes_of(found, "quota") == 0
        values = [found[name].value for name in ("compression", "mounted", "mountpoint", "type", "origin")]
        assert values == ["gzip", "yes", f"/{a}", "filesystem", "-"]

    @pytest.mark.parametrize("parents", [True, False])
    def test_create_twice_is_a_conflict_and_changes_nothing(self, machine, top, parents):
        a = top.child("a")
        machine.zfs.create(a, {ID: "1"}, parents=parents)
        with pytest.raises(Conflict):
            machine.zfs.create(a, {ID: "2"}, parents=parents)
        assert machine.zfs.get(a, [ID])[ID].value == "1"

    def test_only_the_mount_waits_for_others_who_mount(self, machine, top):
        if not machine.zfs.flavour.serial_mounts:
            pytest.skip("mounts of this ZFS do not wait for each other")
        a, none, beside = top.child("a"), top.child("none"), top.child("none/b")
        machine.zfs.create(none, {"mountpoint": "none"}, parents=False)
        others = mount_lock(machine.host.name)
        with ThreadPoolExecutor(2) as pool:
            with others:
                made = pool.submit(machine.zfs.create, a, {ID: "7", "refquota": "8M"}, parents=False)
                bare = pool.submit(machine.zfs.create, beside, {ID: "8"}, parents=False)
                until(lambda: self._values(machine, a, "canmount", "mounted") == ["on", "no"])
                assert not made.done()
            made.result(60)
            bare.result(60)
        assert self._values(machine, a, ID, "refquota", "canmount", "mounted") == ["7", str(8 * MIB), "on", "yes"]
        assert self._values(machine, beside, ID, "canmount", "mounted") == ["8", "on", "no"]
        with others, pytest.raises(Conflict):
            machine.zfs.create(a, {ID: "2"}, parents=False)
        assert self._values(machine, a, ID) == ["7"]

    @staticmethod
    def _values(machine, dataset, *names):
        found = machine.zfs.get_many([dataset], names).get(str(dataset), {})
        return [found[name].value for name in names if name in found]

    def test_create_needs_its_parent(self, machine, top):
        with pytest.raises(NotFound):
            machine.zfs.create(top.child("a/b/c"), {ID: "1"}, parents=False)
        machine.zfs.create(top.child("a/b/c"), {ID: "1"}, parents=True)
        assert local_value(machine.zfs.get(top.child("a/b"), [ID]), ID) is None

    def test_create_needs_its_pool(self, machine):
        with pytest.raises(NotFound):
            machine.zfs.create(Dataset("nopool/a"), {}, parents=False)

    @pytest.mark.parametrize("promise", ["reservation", "refreservation"])
    def test_create_promises_only_what_there_is(self, machine, top, promise):
        with pytest.raises(InsufficientCapacity):
            machine.zfs.create(top.child("a"), {promise: "100G"}, parents=False)
        assert not machine.zfs.exists(top.child("a"))

    @pytest.mark.parametrize(
        ("name", "value", "fault"),
        [
            ("nonsense", "1", Unsupported),
            ("quota", "plenty", Invalid),
            ("compression", "magic", Unsupported),
            ("mountpoint", "relative", Invalid),
        ],
    )
    def test_create_refuses_nonsense(self, machine, top, name, value, fault):
        with pytest.raises(fault):
            machine.zfs.create(top.child("a"), {name: value}, parents=False)
        assert not machine.zfs.exists(top.child("a"))

    def test_not_mounted_when_not_wanted(self, machine, top):
        machine.zfs.create(top.child("a"), {"canmount": "noauto"}, parents=False)
        machine.zfs.create(top.child("b"), {"mountpoint": "none"}, parents=False)
        found = machine.zfs.tree(top, ["mounted"])
        assert [each["mounted"].value for each in found.values()] == ["yes", "no", "no"]
        with pytest.raises(Invalid):
            machine.zfs.mount(top.child("b"))

    # --- looking -----------------------------------------------------------------------------------------------------

    def test_get_is_exact(self, machine, top):
        machine.zfs.create(top.child("a"), {}, parents=False)
        machine.zfs.set(top, {ID: "9"})
        found = machine.zfs.get(top.child("a"), [ID, "penstock:absent"])
        assert found[ID].value == "9"
        assert found[ID].source == f"inherited from {top}"
        assert local_value(found, ID) is None
        assert not found["penstock:absent"].is_set

    def test_get_of_what_is_absent(self, machine, top):
        for target in (top.child("x"), top.snapshot("x"), Dataset("nopool")):
            with pytest.raises(NotFound):
                machine.zfs.get(target, ["used"])

    def test_get_of_an_unknown_property(self, machine, top):
        with pytest.raises(Unsupported):
            machine.zfs.get(top, ["nonsense"])

    def test_get_many(self, machine, top):
        machine.zfs.snapshot([top.snapshot("s")], {ID: "3"})
        found = machine.zfs.get_many([top.snapshot("s"), top.child("absent"), top], [ID, "type"])
        assert {name: each["type"].value for name, each in found.items()} == {
            str(top): "filesystem",
            f"{top}@s": "snapshot",
        }
        assert local_value(found[f"{top}@s"], ID) == "3"
        assert machine.zfs.get_many([], ["type"]) == {}

    def test_tree(self, machine, top):
        machine.zfs.create(top.child("a/b"), {}, parents=True)
        machine.zfs.snapshot([top.child("a").snapshot("s")], {})
        assert list(machine.zfs.tree(top, ["used"])) == [f"{top}", f"{top}/a", f"{top}/a/b"]
        assert list(machine.zfs.tree(top, ["used"], depth=1)) == [f"{top}", f"{top}/a"]
        assert list(machine.zfs.tree(top, ["used"], depth=0)) == [f"{top}"]
        assert list(machine.zfs.tree(top, ["guid"], kinds=("snapshot",))) == [f"{top}/a@s"]
        both = machine.zfs.tree(top, ["used"], kinds=("filesystem", "snapshot"))
        assert list(both) == [f"{top}", f"{top}/a", f"{top}/a@s", f"{top}/a/b"]
        with pytest.raises(NotFound):
            machine.zfs.tree(top.child("absent"), ["used"])

    # --- properties --------------------------------------------------------------------------------------------------

    def test_set_several(self, machine, top):
        values = {ID: "a b=c", "penstock:epoch": "4", "refquota": "16M", "atime": "off"}
        machine.zfs.set(top, values)
        machine.zfs.set(top, values)
        found = machine.zfs.get(top, list(values))
        assert {name: local_value(found, name) for name in values} == values | {"refquota": str(16 * MIB)}

    def test_set_on_a_snapshot(self, machine, top):
        machine.zfs.snapshot([top.snapshot("s")], {})
        machine.zfs.set(top.snapshot("s"), {ID: "5"})
        assert local_value(machine.zfs.get(top.snapshot("s"), [ID]), ID) == "5"
        assert local_value(machine.zfs.get(top, [ID]), ID) is None

    def test_user_property_is_inherited_by_snapshots_and_not_believed(self, machine, top):
        machine.zfs.set(top, {ID: "5"})
        machine.zfs.snapshot([top.snapshot("s")], {})
        assert local_value(machine.zfs.get(top.snapshot("s"), [ID]), ID) is None

    def test_quota_can_be_taken_away(self, machine, top):
        machine.zfs.set(top, {"quota": "16M"})
        machine.zfs.set(top, {"quota": "none"})
        assert bytes_of(machine.zfs.get(top, ["quota"]), "quota") == 0

    def test_inherit_forgets(self, machine, top):
        machine.zfs.set(top, {ID: "5", "atime": "off"})
        for name in (ID, "atime", ID):
            machine.zfs.inherit(top, name)
        found = machine.zfs.get(top, [ID, "atime"])
        assert (found[ID].is_set, found["atime"].value, found["atime"].source) == (False, "on", "default")

    def test_set_of_what_is_absent(self, machine, top):
        for target in (top.child("x"), top.snapshot("x")):
            with pytest.raises(NotFound):
                machine.zfs.set(target, {ID: "1"})

    def test_mountpoint_moves_the_mount(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {}, parents=False)
        machine.zfs.set(a, {"mountpoint": f"/{top}/elsewhere"})
        found = machine.zfs.get(a, ["mountpoint", "mounted"])
        assert (found["mountpoint"].value, found["mounted"].value) == (f"/{top}/elsewhere", "yes")
        machine.zfs.set(a, {"mountpoint": "none"})
        assert machine.zfs.get(a, ["mounted"])["mounted"].value == "no"

    # --- space -------------------------------------------------------------------------------------------------------

    def test_what_is_written_is_counted(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {}, parents=False)
        assert machine.write(a, "f", 8)
        found = machine.zfs.get(a, ["used", "referenced"])
        assert bytes_of(found, "used") == pytest.approx(8 * MIB, abs=MIB)
        assert bytes_of(found, "referenced") == bytes_of(found, "used")
        assert bytes_of(machine.zfs.get(top, ["used"]), "used") == pytest.approx(8 * MIB, abs=MIB)

    def test_refquota_is_the_users_data(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {"refquota": "16M"}, parents=False)
        assert machine.write(a, "f", 8)
        machine.zfs.snapshot([a.snapshot("s")], {})
        found = machine.zfs.get(a, ["available"])
        assert bytes_of(found, "available") == pytest.approx(8 * MIB, abs=MIB)
        assert not machine.write(a, "g", 12)

    def test_quota_below_use_is_refused(self, machine, top):
        a = top.child("a")
        machine.zfs.create(a, {"refquota": "64M"}, parents=False)
        machine.write(a, "f", 8)
        for name in ("refquota", "quota"):
            with pytest.raises(TooSmall):
                machine.zfs.set(a, {name: "4M"})
        assert bytes_of(machine.zfs.get(a, ["refquota"]), "refquota") == 64 * MIB

    @pytest.mark.parametrize("promise", ["reservation", "refreservation"])
    def test_promises_are_taken_from_the_parent(self, machine, top, promise):
        machine.zfs.set(top, {"quota": "64M"})
        machine.zfs.create(top.child("a"), {promise: "32M"}, parents=False)
        space = pools.space(machine.zfs, [top, top.child("a")])
        assert space[top].available_bytes == pytest.approx(32 * MIB, abs=MIB)
        assert space[top.child("a")].available_bytes == pytest.approx(64 * MIB, abs=MIB)
        with pytest.raises(InsufficientCapacity):
            machine.zfs.create(top.child("b"), {promise: "48M"}, parents=False)
        with pytest.raises(InsufficientCapacity):
            machine.zfs.set(top.child("a"), {promise: "96M"})

    def test_refreservation_must_hold_again_after_a_snapshot(self, machine, top):
        machine.zfs.set(top, {"quota": "32M"})
        machine.zfs.create(top.child("a"), {"refreservation": "20M"}, parents=False)
        assert machine.write(top.child("a"), "f", 16)
        with pytest.raises(InsufficientCapacity):
            machine.zfs.snapshot([top.child("a").snapshot("s")], {})

    def test_readonly_is_kept(self, machine, top):
        machine.zfs.set(top, {"readonly": "on"})
        assert not machine.write(top, "f", 1)
        shown = machine.zfs.get(top, ["readonly"])["readonly"]
        fits = ("on", "local") if machine.zfs.flavour.shows_readonly_of_mounted else ("off", "temporary")
        assert (shown.value, shown.source) == fits
        machine.zfs.unmount(top)
        assert local_value(machine.zfs.get(top, ["readonly"]), "readonly") == "on"
        machine.zfs.mount(top)
        assert not machine.write(top, "f", 1)
        machine.zfs.set(top, {"readonly": "off"})
        assert machine.write(top, "f", 1)

    @pytest.mark.parametrize("name", ["My Files", "-r", ".hidden", "a...b", "x:y"])
    def test_odd_names_are_names(self, machine, top, name):
        dataset = top.child(name)
        machine.zfs.create(dataset, {ID: "one"}, parents=False)
        snapshot = dataset.snapshot("-d and more")
        machine.zfs.snapshot([snapshot], {})
        assert str(dataset) in machine.zfs.tree(top, [ID])
        assert machine.zfs.get(dataset, [ID])[ID].value == "one"
        assert machine.zfs.exists(snapshot)
        machine.zfs.destroy_snapshots(dataset, [snapshot.name], deferred=False)
        assert not machine.zfs.exists(snapshot)
        machine.zfs.destroy(dataset, recursive=False)
        assert not machine.zfs.exists(dataset)

"""Replicas of the ZFS driver between hosts: simulated ones of both flavours, and real ones with zfs-fuse or OpenZFS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import Conflict, Fault, SnapshotLost, Unavailable
from penstock.host.routes import SshRoutes
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.replication import Role
from penstock.units import GIB, MIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.lines import release_all
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Replicated, Site, Sites
from tests.contract.share_backends import CONTEXT, LAB_EXPORTS
from tests.contract.zfs_machines import RealMachine
from tests.simulation.replica_sites import Refuses, SimulatedShare, SimulatedSites
from tests.simulation.zfs_host import OPENZFS

NUMBERS = itertools.count()


class RealShare(Replicated):
    """On real hosts; what is written is random bytes in new files."""

    def machine(self, name: str) -> RealMachine:
        return RealMachine(self.sites.all[name].host)

    def write(self, name: str) -> None:
        if not self.machine(name).write(self.dataset(name), f"file{next(NUMBERS)}", 1):
            raise OSError(30, "refused")

    def content(self, name: str) -> Any:
        return self.machine(name).content(self.dataset(name))


@pytest.fixture(
    params=[
        "simulated-openzfs",
        "simulated-zfs-fuse",
        pytest.param("zfs-fuse", marks=pytest.mark.lab),
        pytest.param("openzfs", marks=pytest.mark.kernel),
    ]
)
def share(request: Any) -> Iterator[Any]:
    """A share on backend a; b (and, simulated, c) may have replicas."""
    if request.param.startswith("simulated"):
        flavour = OPENZFS if request.param.endswith("openzfs") else ZFS_FUSE
        simulated = SimulatedShare(SimulatedSites(flavour))
        simulated.create("a")
        yield simulated
        return
    sites = _real_sites(request)
    real = RealShare(sites)
    real.create("a")
    yield real
    for site in sites.all.values():
        clear(site)


def _real_sites(request: Any) -> Sites:
    pair = request.getfixturevalue("lab_ssh_hosts" if request.param == "zfs-fuse" else "kernel_hosts")
    hosts = dict(zip("ab", pair, strict=True))
    number = next(NUMBERS)
    sites = Sites({}, SshRoutes())
    for name, host in hosts.items():
        root = Dataset(f"tank/r{number}")
        RealMachine(host).zfs.create(root, {}, parents=False)
        if host.read_file(LAB_EXPORTS) is not None:
            host.write_file(LAB_EXPORTS, '%include "/etc/ganesha/exports.d/penstock.conf"\n')
        sites.all[name] = Site(name, host, None, root)
    sites.restart()
    return sites


def clear(site: Site) -> None:
    ours = [path for path in site.driver.storage.nfs.all() if path.startswith(f"/{site.root}")]
    site.driver.storage.nfs.remove(ours)
    for _ in range(3):
        for name in site.zfs.tree(site.root, ["origin"]):
            try:
                release_all(site.zfs, Dataset(name))
                site.zfs.destroy(Dataset(name), recursive=True)
            except Fault:
                continue
        if not site.zfs.exists(site.root):
            return
    raise AssertionError(f"{site.root} could not be removed")


def in_line(share: Any, *names: str) -> None:
    """The copies hold the same, have one base each, and nothing else lies about."""
    first = names[0]
    for name in names:
        assert share.content(name) == share.content(first)
        assert len(share.syncs(name)) == 1
        assert share.others(name) == []


def test_first_copy_and_increments(share: Any) -> None:
    share.write("a")
    assert share.add("b")["replica_state"] == "out_of_sync"
    assert share.add("b")["export_locations"][0]["path"].endswith(str(share.dataset("b")))
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")
    for _ in range(2):
        share.write("a")
        assert share.sync("b") == "in_sync"
        in_line(share, "a", "b")
    with pytest.raises(OSError, match=r"only|refused|not mounted"):
        share.write("b")
    share.write("a")
    share.sync("b")
    report = share.reports("b")  # before anybody reads: access times are changes, too
    assert (report.role, report.is_source_changed, report.is_complete) == (Role.REPLICA, False, True)
    share.write("a")
    assert share.reports("b").is_source_changed is True
    served = share.sites.all["b"].driver.storage.nfs.get(f"/{share.dataset('b')}")
    assert served is not None
    assert [client.writable for client in served.clients] == [False]


def test_planned_promotion_and_back(share: Any) -> None:
    share.write("a")
    share.add("b")
    share.sync("b")
    share.write("a")
    told = share.promote("b")
    assert (told.kind, told.epoch, told.recovery_point) == ("planned", 2, None)
    assert share.seen("a").role is Role.REPLICA
    assert not share.seen("a").is_mounted
    assert share.seen("b").is_mounted
    assert not share.seen("b").is_readonly
    share.write("b")
    assert share.sync("a") == "in_sync"
    in_line(share, "a", "b")
    assert share.promote("a").epoch == 3
    share.write("a")
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")


def test_an_old_active_that_comes_back_is_fenced_and_its_writes_are_kept(share: Any) -> None:
    share.write("a")
    share.add("b")
    share.sync("b")
    share.write("a")
    kept = share.content("a")
    share.sites.away.add("a")
    told = share.promote("b")
    assert (told.kind, told.epoch) == ("unplanned", 2)
    assert told.recovery_point is not None
    assert "away" in told.reason
    share.write("b")
    share.sites.away.clear()
    sent_before = share.content("b")
    assert share.sync("a") == "in_sync"
    assert share.content("a") == share.content("b") == sent_before
    (aside,) = share.others("a")
    assert aside == f"{share.dataset('a')}_diverged_1"
    seen = observe_share(share.sites.all["a"].zfs, Dataset(aside))
    assert seen is not None
    assert (seen.kind, seen.of, seen.is_mounted, seen.is_readonly) == (
        Kind.DIVERGED,
        share.models["a"].id,
        False,
        True,
    )
    zfs = share.sites.all["a"].zfs
    zfs.mount(Dataset(aside))
    machine_content = (
        share.machine("a").content(Dataset(aside)) if hasattr(share, "machine") else share.site("a").content(aside)
    )
    zfs.unmount(Dataset(aside))
    assert machine_content == kept
    assert share.reports("a").diverged == (aside,)
    (kept,) = share.driver("a").inventory().set_aside
    assert (kept.location, kept.instance_id) == (aside, share.models["a"].id)
    assert kept.used_bytes > 0
    assert share.promote("a").kind == "planned"
    assert share.sync("b") == "in_sync"
    assert share.content("a") == share.content("b")


def test_a_host_that_reboots_serves_nothing_before_it_was_compared(share: Any) -> None:
    if not hasattr(share, "site"):
        pytest.skip("the real power cut is in the integration tier")
    share.write("a")
    share.add("b")
    share.sync("b")
    share.sites.away.add("a")
    share.promote("b")
    share.sites.reboot("a")
    share.sites.away.clear()
    assert not share.seen("a").is_mounted
    assert share.writable() == ["b"]
    old = share.models["a"]
    for row in (old, type(old)(**{**{f: getattr(old, f) for f in old.__slots__}, "replica_state": "active"})):
        share.driver("a").ensure_shares(CONTEXT, [row])  # also with a database that knows nothing of the promotion
        assert share.seen("a").role is Role.DEMOTED
        assert share.writable() == ["b"]


def test_nothing_is_copied_from_an_active_one_that_nobody_mounted(share: Any) -> None:
    """Its last writes may be in the intent log, and what lacks them must not be called in sync."""
    if not hasattr(share, "site"):
        pytest.skip("the real power cut is in the integration tier")
    share.write("a")
    share.add("b")
    share.sync("b")
    share.sites.reboot("a")
    with pytest.raises(Unavailable):
        share.sync("b")
    report = share.reports("b")
    assert report is not None
    assert report.is_source_changed is None
    share.driver("a").ensure_shares(CONTEXT, [share.models["a"]])
    assert share.sync("b") == "in_sync"


def names_of_snapshots(share: Any, name: str) -> list[str]:
    found = share.sites.all[name].zfs.tree(share.dataset(name), ("type",), kinds=("snapshot",), depth=1)
    return [key.partition("@")[2] for key in found]


@pytest.mark.parametrize("asked", ["a", "ab"])
@pytest.mark.parametrize("has_instance", [True, False])
def test_a_snapshot_deleted_before_its_copy_was_marked_goes_everywhere(
    share: Any, asked: str, has_instance: bool
) -> None:
    """`asked`: whose hosts hear of the deletion; the other's next sync does the same. `has_instance`: has the copy?"""
    share.add("b")
    share.sync("b")
    item = share.take_snapshot()
    share.snapshots.clear()  # the sync knows nothing of it, as when it began before
    share.write("a")
    share.sync("b")
    name = next(name for name in names_of_snapshots(share, "a") if name not in share.syncs("a"))
    assert name in names_of_snapshots(share, "b")
    instances = [item[one] for one in ("ab" if has_instance else "a")]
    told = share.driver("a").delete_replicated_snapshot(CONTEXT, [share.models[one] for one in asked], instances)
    assert {one["id"] for one in told} == {item[one]["id"] for one in asked if item[one] in instances}
    assert name not in names_of_snapshots(share, "a")
    if "b" not in asked:
        assert name in names_of_snapshots(share, "b")
        share.write("a")
        share.sync("b")
    assert name not in names_of_snapshots(share, "b")
    in_line(share, "a", "b")


def test_a_snapshot_of_somebody_else_that_came_with_a_sync_stays(share: Any) -> None:
    """Only what has a name of ours is taken for a snapshot that its user deleted."""
    share.add("b")
    share.sync("b")
    zfs = share.sites.all["a"].zfs
    zfs.snapshot([share.dataset("a").snapshot("nightly")], {})
    share.write("a")
    share.sync("b")
    zfs.destroy_snapshots(share.dataset("a"), ["nightly"], deferred=False)
    share.write("a")
    share.sync("b")
    assert "nightly" in names_of_snapshots(share, "b")


def test_a_snapshot_that_the_active_one_lost_is_not_waited_for(share: Any) -> None:
    share.add("b")
    share.sync("b")
    item = share.take_snapshot()
    there = {**item, "a": replace(item["a"], status="available")}
    share.snapshots[:] = [there]
    asked = CONTEXT, share.list, share.models["b"], list(there.values()), there["b"]
    assert share.driver("b").update_replicated_snapshot(*asked) is None, "it comes with the next sync"
    zfs, dataset = share.sites.all["a"].zfs, share.dataset("a")
    name = next(name for name in names_of_snapshots(share, "a") if item["a"].snapshot_id.replace("-", "_") in name)
    zfs.destroy_snapshots(dataset, [name], deferred=False)
    with pytest.raises(SnapshotLost):
        share.driver("b").update_replicated_snapshot(*asked)
    assert share.sync("b") == "in_sync"


def test_snapshots_travel_and_are_the_replicas_own(share: Any) -> None:
    share.add("b")
    share.sync("b")
    share.write("a")
    item = share.take_snapshot()
    driver, models = share.driver("b"), share.list
    assert driver.update_replicated_snapshot(CONTEXT, models, share.models["b"], list(item.values()), item["b"]) is None
    share.write("a")
    assert share.sync("b") == "in_sync"
    told = driver.update_replicated_snapshot(CONTEXT, models, share.models["b"], list(item.values()), item["b"])
    assert told["status"] == "available"
    share.promote("b")
    share.sync("a")
    gone = share.driver("b").delete_replicated_snapshot(CONTEXT, share.list, list(item.values()))
    assert {one["id"] for one in gone} == {item["a"].id, item["b"].id}
    share.snapshots.clear()
    share.write("b")
    assert share.sync("a") == "in_sync"
    in_line(share, "a", "b")


def test_a_revert_is_followed(share: Any) -> None:
    share.write("a")
    share.add("b")
    item = share.take_snapshot()
    share.sync("b")
    share.write("a")
    share.sync("b")
    args = (share.models["a"], share.list, item["a"], list(item.values()), share.rules, [])
    share.driver("a").revert_to_replicated_snapshot(CONTEXT, *args)
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")


def test_a_rehearsal_touches_nothing(share: Any) -> None:
    share.write("a")
    share.add("b")
    with pytest.raises(Conflict):
        share.driver("b").rehearse_replica(share.models["b"], "10.0.0.9")
    share.sync("b")
    before = share.content("b")
    (location, *_) = share.driver("b").rehearse_replica(share.models["b"], "10.0.0.9")
    assert location["path"].endswith("_rehearsal")
    share.write("a")
    assert share.sync("b") == "in_sync"
    assert share.content("b") == share.content("a") != before
    assert share.driver("b").inventory().shares[0].id == share.models["b"].id
    for _ in range(2):
        share.driver("b").end_rehearsal(share.models["b"])
    assert share.others("b") == []
    share.write("a")
    assert share.sync("b") == "in_sync"
    in_line(share, "a", "b")


def test_deleting_leaves_a_plain_share(share: Any) -> None:
    share.write("a")
    share.add("b")
    share.sync("b")
    for _ in range(2):
        share.delete("b")
    assert share.seen("b") is None
    assert share.others("b") == []
    share.gone("b")
    seen = share.seen("a")
    assert (seen.marks.is_replicated, share.syncs("a")) == (False, [])
    if hasattr(share, "site") or share.sites.all["a"].zfs.flavour.rename_while_mounted:
        assert not seen.is_boot_safe  # zfs-fuse would have to unmount it
    share.driver("a").delete_share(CONTEXT, share.models["a"])
    assert share.seen("a") is None


def test_deleting_while_the_others_are_away(share: Any) -> None:
    share.write("a")
    share.add("b")
    share.sync("b")
    share.sites.away.add("a")
    share.delete("b")
    assert share.seen("b") is None
    share.sites.away.clear()
    share.gone("b")
    share.driver("a").ensure_shares(CONTEXT, [share.models["a"]])
    seen = share.seen("a")
    assert (seen.marks.is_replicated, share.syncs("a")) == (False, [])
    if hasattr(share, "site") or share.sites.all["a"].zfs.flavour.rename_while_mounted:
        assert not seen.is_boot_safe  # zfs-fuse would have to unmount it


def test_a_second_promotion_begun_meanwhile_ends_the_first(share: Any) -> None:
    if "c" not in share.sites.all:
        pytest.skip("needs three hosts")
    share.write("a")
    for name in "bc":
        share.add(name)
        share.sync(name)
    share.write("a")
    share.promote("b", epoch=2)
    share.publish("a", 1)  # a request that read the rows before the promotion of b was written
    told = share.promote("c", epoch=3)
    assert told.kind == "planned"
    assert share.writable() == ["c"]
    share.settle()
    in_line(share, "a", "b", "c")


def test_a_full_target_leaves_the_old_one_active(share: Any) -> None:
    if not hasattr(share, "site"):
        pytest.skip("pools are filled in the simulation")
    share.write("a")
    share.add("b")
    share.sync("b")
    filler = ("zfs", "create", "-o", f"refreservation={8 * GIB - 40 * MIB}", "tank/filler")
    assert share.site("b").run(filler, timeout_s=1).exit_code == 0
    share.site("a").write(str(share.dataset("a")), 100 * MIB)
    with pytest.raises(Fault):
        share.promote("b")
    assert share.writable() == ["a"]
    share.models["b"] = share.models["b"].__class__(
        **{**{f: getattr(share.models["b"], f) for f in share.models["b"].__slots__}, "replica_state": "out_of_sync"}
    )
    while share.site("b").run(("zfs", "destroy", "tank/filler"), timeout_s=1).exit_code:
        continue
    assert share.sync("b") == "in_sync"
    assert share.promote("b").kind == "planned"
    assert share.writable() == ["b"]


def test_a_replica_that_never_was_in_sync_is_not_promoted(share: Any) -> None:
    share.add("b")
    with pytest.raises(Conflict):
        share.promote("b")
    share.publish("a", 1)
    share.sites.away.add("b")
    with pytest.raises(Unavailable):
        share.sites.storage_of(share.models["b"].host)


def test_what_was_set_aside_is_held_by_nobody(share: Any) -> None:
    """Else whoever looked through it could not destroy it: a sync that broke off left its hold there."""
    if not hasattr(share, "site"):
        pytest.skip("syncs are broken off in the simulation")
    share.write("a")
    share.add("b")
    share.sync("b")
    share.write("a")
    share.sites.network.breaking = lambda: 0.1
    with pytest.raises(Fault):
        share.sync("b")
    share.sites.network.breaking = lambda: None
    share.sites.away.add("a")
    share.promote("b")
    share.sites.away.clear()
    assert share.sync("a") == "in_sync"
    (aside,) = share.others("a")
    snapshots = share.site("a").state.filesystems[aside].snapshots.values()
    assert snapshots
    assert [snapshot.holds for snapshot in snapshots if snapshot.holds] == []


def test_an_old_active_that_cannot_be_turned_round_does_not_keep_the_new_one_from_serving(share: Any) -> None:
    """Its pool may be why it was promoted away from."""
    if not hasattr(share, "site"):
        pytest.skip("commands are refused in the simulation")
    share.write("a")
    share.add("b")
    share.sync("b")
    share.write("a")
    share.sites.hook(Refuses("a", "penstock:role=replica"))
    assert share.promote("b").kind == "planned"
    assert share.writable() == ["b"]
    share.sites.hook(None)
    assert share.sync("a") == "in_sync"
    in_line(share, "a", "b")

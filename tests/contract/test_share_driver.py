"""What a ZFS share driver promises, on simulated and real hosts of both flavours of ZFS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest

from penstock.errors import (
    Conflict,
    Invalid,
    InvalidShare,
    ManageInvalidShare,
    ShareResourceNotFound,
    ShareShrinkingPossibleDataLoss,
    Unavailable,
    Unsupported,
)
from penstock.exports.model import ClientRule, Squash
from penstock.share.drivers.zfsonlinux.identity import ID, KIND, Kind, kind_of
from penstock.units import GIB, MIB
from penstock.zfs.flavour import ZFS_FUSE
from penstock.zfs.properties import bytes_of, local_value
from tests.contract.share_backends import CONTEXT, Backend, make_backend, tear_down
from tests.contract.zfs_machines import RealMachine, SimulatedMachine
from tests.driver_values import a_rule, a_share, a_snapshot
from tests.simulation.zfs_host import OPENZFS, SimulatedHost


@pytest.fixture(
    params=[
        "simulated-openzfs",
        "simulated-zfs-fuse",
        pytest.param("zfs-fuse", marks=pytest.mark.lab),
        pytest.param("openzfs", marks=pytest.mark.kernel),
    ]
)
def backend(request: Any) -> Iterator[Backend]:
    """A driver, set up, on a dataset of its own."""
    match request.param:
        case "zfs-fuse":
            made = make_backend(RealMachine(request.getfixturevalue("lab_host")))
        case "openzfs":
            made = make_backend(RealMachine(request.getfixturevalue("kernel_host")))
        case name:
            flavour = OPENZFS if name.endswith("openzfs") else ZFS_FUSE
            made = make_backend(SimulatedMachine(SimulatedHost(name, flavour=flavour, pools={"tank": 8 * GIB})))
    yield made
    tear_down(made)


# --- shares ----------------------------------------------------------------------------------------------------------


def test_a_share_is_a_mounted_dataset_of_its_size_marked_as_ours(backend: Backend) -> None:
    share = a_share()
    (location,) = backend.driver.create_share(CONTEXT, share)
    found = backend.zfs.get(backend.dataset(share), ["refquota", "quota", "mounted", "mountpoint", KIND, ID])
    assert bytes_of(found, "refquota") == GIB
    assert bytes_of(found, "quota") == 0
    assert found["mounted"].value == "yes"
    assert local_value(found, ID) == share.id
    assert location["path"] == f"192.0.2.5:{found['mountpoint'].value}"
    assert backend.write(share, "file")


def test_create_twice_is_create_once(backend: Backend) -> None:
    share = a_share()
    first = backend.driver.create_share(CONTEXT, share)
    backend.write(share, "file")
    before = backend.content(share)
    assert backend.driver.create_share(CONTEXT, share) == first
    assert backend.content(share) == before


def test_a_dataset_of_somebody_else_is_neither_adopted_nor_destroyed(backend: Backend) -> None:
    """One that is empty, too, and made after the share was asked for, would be what a power cut left of our own making:
    see test_unmarked.py."""
    share = a_share()
    backend.zfs.create(backend.dataset(share), {}, parents=False)
    backend.write(share, "theirs")
    with pytest.raises(Conflict):
        backend.driver.create_share(CONTEXT, share)
    backend.driver.delete_share(CONTEXT, share)
    assert backend.zfs.exists(backend.dataset(share))


def test_a_thick_share_has_its_size_set_aside(backend: Backend) -> None:
    share = a_share(extra_specs={"thin_provisioning": "<is> False"}, size=1)
    if isinstance(backend.machine.host, SimulatedHost):
        backend.driver.create_share(CONTEXT, share)
        found = backend.zfs.get(backend.dataset(share), ["refreservation"])
        assert bytes_of(found, "refreservation") == GIB
        backend.driver.extend_share(share, 2)
        backend.driver.shrink_share(replace(share, size=2), 1)
        assert bytes_of(backend.zfs.get(backend.dataset(share), ["refreservation"]), "refreservation") == GIB


def test_a_share_may_ask_for_compression(backend: Backend) -> None:
    share = a_share(extra_specs={"zfsonlinux:compression": "gzip-2", "dedupe": "<is> True"})
    backend.driver.create_share(CONTEXT, share)
    found = backend.zfs.get(backend.dataset(share), ["compression", "dedup"])
    assert (found["compression"].value, found["dedup"].value) == ("gzip-2", "on")
    with pytest.raises(Unsupported, match="squeeze"):
        backend.driver.create_share(CONTEXT, a_share(extra_specs={"zfsonlinux:compression": "squeeze"}))


def test_a_share_server_is_refused(backend: Backend) -> None:
    with pytest.raises(InvalidShare):
        backend.driver.create_share(CONTEXT, a_share(), share_server={"id": "x"})


def test_delete_takes_everything_and_may_be_repeated(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    rule = a_rule()
    backend.driver.update_access(CONTEXT, share, [rule], [rule], [])
    for _ in range(3):
        backend.driver.create_snapshot(CONTEXT, a_snapshot(share))
    backend.driver.delete_share(CONTEXT, share)
    assert not backend.zfs.exists(backend.dataset(share))
    assert backend.nfs.get(f"/{backend.dataset(share)}") is None
    backend.driver.delete_share(CONTEXT, share)


def test_a_share_that_is_not_mounted_can_be_closed_and_deleted(backend: Backend) -> None:
    """As a destroy leaves it that was cut off: then a delete that needs it mounted would never end."""
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    rule = a_rule()
    backend.driver.update_access(CONTEXT, share, [rule], [rule], [])
    backend.nfs.remove([f"/{backend.dataset(share)}"])
    backend.zfs.unmount(backend.dataset(share))
    with pytest.raises(Unavailable, match="not mounted"):
        backend.driver.update_access(CONTEXT, share, [rule], [], [])
    backend.driver.update_access(CONTEXT, share, [], [], [rule])
    backend.driver.delete_share(CONTEXT, share)
    assert not backend.zfs.exists(backend.dataset(share))


def test_delete_refuses_what_holds_datasets_of_others(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.zfs.create(backend.dataset(share).child("theirs"), {}, parents=False)
    with pytest.raises(Conflict, match="theirs"):
        backend.driver.delete_share(CONTEXT, share)
    assert backend.zfs.exists(backend.dataset(share).child("theirs"))


def test_resizing(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.driver.extend_share(share, 3)
    backend.driver.extend_share(share, 3)
    assert bytes_of(backend.zfs.get(backend.dataset(share), ["refquota"]), "refquota") == 3 * GIB
    backend.driver.shrink_share(replace(share, size=3), 2)
    assert bytes_of(backend.zfs.get(backend.dataset(share), ["refquota"]), "refquota") == 2 * GIB


def test_shrinking_below_the_data_is_refused_and_changes_nothing(backend: Backend) -> None:
    if not isinstance(backend.machine.host, SimulatedHost):
        pytest.skip("the labs' pools hold less than 1 GiB")
    share = a_share(size=4)
    backend.driver.create_share(CONTEXT, share)
    assert backend.write(share, "large", 1500)
    with pytest.raises(ShareShrinkingPossibleDataLoss) as caught:
        backend.driver.shrink_share(share, 1)
    assert caught.value.share_id == share.share_id
    assert caught.value.used_bytes is not None
    assert 1 * GIB < caught.value.used_bytes < 2 * GIB
    assert bytes_of(backend.zfs.get(backend.dataset(share), ["refquota"]), "refquota") == 4 * GIB


def test_a_missing_share_is_reported(backend: Backend) -> None:
    with pytest.raises(ShareResourceNotFound):
        backend.driver.extend_share(a_share(), 2)


# --- access ----------------------------------------------------------------------------------------------------------


def test_access_rules_are_the_whole_set(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    path = f"/{backend.dataset(share)}"
    rules = [a_rule("10.0.0.1"), a_rule("fd00::/64", "ro"), a_rule("10.1.0.0/16", metadata={"squash": "all_squash"})]
    assert backend.driver.update_access(CONTEXT, share, rules, rules, []) is None
    export = backend.nfs.get(path)
    assert export is not None
    assert set(export.clients) == {
        ClientRule("10.0.0.1", True, Squash.ROOT_SQUASH),
        ClientRule("fd00::/64", False, Squash.ROOT_SQUASH),
        ClientRule("10.1.0.0/16", True, Squash.ALL_SQUASH),
    }
    backend.driver.update_access(CONTEXT, share, rules[:1], [], rules[1:])
    export = backend.nfs.get(path)
    assert export is not None
    assert [client.client for client in export.clients] == ["10.0.0.1"]
    assert path in backend.nfs.in_force()
    backend.driver.update_access(CONTEXT, share, [], [], rules[:1])
    assert backend.nfs.get(path) is None


def test_rules_that_cannot_be_served_fail_alone(backend: Backend) -> None:
    share = a_share(extra_specs={"zfsonlinux:squash": "no_root_squash"})
    backend.driver.create_share(CONTEXT, share)
    good = a_rule("10.0.0.1")
    bad = [
        a_rule("alice", access_type="user"),
        a_rule("10.0.0.2", metadata={"squash": "orange"}),
        a_rule("10.0.0.1/32", "ro"),
        a_rule("10.0.0.300"),
    ]
    answer = backend.driver.update_access(CONTEXT, share, [good, *bad], [], [])
    assert answer == {rule.access_id: {"state": "error"} for rule in bad}
    export = backend.nfs.get(f"/{backend.dataset(share)}")
    assert export is not None
    assert export.clients == (ClientRule("10.0.0.1", True, Squash.NO_ROOT_SQUASH),)


def test_very_many_rules_are_remembered(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    rules = [a_rule(f"10.0.1.{number}") for number in range(1, 60)]
    backend.driver.update_access(CONTEXT, share, rules, rules, [])
    backend.driver.update_access(CONTEXT, share, rules[:50], [], rules[50:])
    (found,) = backend.driver.inventory().shares
    assert found.rules is not None
    assert {rule.id for rule in found.rules} == {rule.access_id for rule in rules[:50]}


# --- starting again --------------------------------------------------------------------------------------------------


def test_ensure_serves_again_what_the_server_lost(backend: Backend) -> None:
    shares = [a_share(), a_share()]
    for share in shares:
        backend.driver.create_share(CONTEXT, share)
        backend.driver.update_access(CONTEXT, share, [a_rule()], [], [])
    lost = a_share()
    backend.nfs.remove([f"/{backend.dataset(share)}" for share in shares])
    driver = backend.restarted()
    updates = driver.ensure_shares(CONTEXT, [*shares, lost])
    assert updates[lost.id] == {"status": "error"}
    for share in shares:
        path = f"/{backend.dataset(share)}"
        assert updates[share.id] == {"export_locations": driver.ensure_share(CONTEXT, share)}
        assert path in backend.nfs.in_force()


def test_ensure_mounts_what_is_not_mounted(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    backend.zfs.unmount(backend.dataset(share))
    backend.driver.ensure_shares(CONTEXT, [share])
    assert backend.zfs.get(backend.dataset(share), ["mounted"])["mounted"].value == "yes"


# --- snapshots -------------------------------------------------------------------------------------------------------


def test_a_share_from_a_snapshot_has_its_data_and_a_life_of_its_own(backend: Backend) -> None:
    parent = a_share()
    backend.driver.create_share(CONTEXT, parent)
    backend.write(parent, "file")
    then = backend.content(parent)
    snapshot = a_snapshot(parent)
    backend.driver.create_snapshot(CONTEXT, snapshot)
    backend.driver.create_snapshot(CONTEXT, snapshot)
    backend.write(parent, "later")
    child = a_share(size=2, snapshot_id=snapshot.snapshot_id)
    answer = backend.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    assert answer == backend.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    assert answer["status"] == "available"
    assert backend.content(child) == then
    found = backend.zfs.get(backend.dataset(child), ["refquota", "origin"])
    assert bytes_of(found, "refquota") == 2 * GIB
    assert found["origin"].value != "-"


def test_an_independent_copy_shares_nothing(backend: Backend) -> None:
    parent, snapshot = _share_with_snapshot(backend)
    child = a_share(extra_specs={"zfsonlinux:independent_copy": "True"})
    backend.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    backend.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    assert backend.content(child) == backend.content(parent)
    assert backend.zfs.get(backend.dataset(child), ["origin"])["origin"].value == "-"
    assert set(backend.zfs.tree(backend.dataset(child), ["type"], kinds=("snapshot",))) == set()
    backend.driver.delete_snapshot(CONTEXT, snapshot)
    assert backend.driver.inventory().tombstones == ()


def test_a_snapshot_on_a_backend_that_is_not_configured_is_refused(backend: Backend) -> None:
    _, snapshot = _share_with_snapshot(backend)
    with pytest.raises(Invalid, match="has no section"):
        backend.driver.create_share_from_snapshot(CONTEXT, a_share(host="other@zfs#tank"), snapshot)


def test_a_snapshot_with_a_clone_is_deleted_for_its_user_and_goes_with_the_clone(backend: Backend) -> None:
    parent, snapshot = _share_with_snapshot(backend)
    child = a_share()
    backend.driver.create_share_from_snapshot(CONTEXT, child, snapshot)
    backend.driver.delete_snapshot(CONTEXT, snapshot)
    backend.driver.delete_snapshot(CONTEXT, snapshot)
    inventory = backend.driver.inventory()
    assert inventory.snapshots == ()
    assert len(inventory.tombstones) == 1
    backend.driver.delete_share(CONTEXT, child)
    assert backend.driver.inventory().tombstones == ()
    assert backend.content(parent)


def test_a_share_with_clones_is_deleted_and_the_clones_live(backend: Backend) -> None:
    parent, first = _share_with_snapshot(backend)
    then = backend.content(parent)
    children = [a_share(), a_share()]
    backend.driver.create_share_from_snapshot(CONTEXT, children[0], first)
    backend.write(parent, "more")
    second = a_snapshot(parent)
    backend.driver.create_snapshot(CONTEXT, second)
    backend.driver.create_share_from_snapshot(CONTEXT, children[1], second)
    backend.driver.delete_share(CONTEXT, parent)
    backend.driver.delete_share(CONTEXT, parent)
    assert not backend.zfs.exists(backend.dataset(parent))
    assert backend.content(children[0]) == then
    for child in children:
        backend.driver.delete_share(CONTEXT, child)
    inventory = backend.driver.inventory()
    assert (inventory.shares, inventory.snapshots, inventory.tombstones) == ((), (), ())


def test_a_clone_of_somebody_else_is_left_alone_and_swept_around(backend: Backend) -> None:
    parent, snapshot = _share_with_snapshot(backend)
    (name,) = backend.zfs.tree(backend.dataset(parent), ["type"], kinds=("snapshot",))
    theirs = backend.root.child("theirs")
    backend.zfs.clone(backend.dataset(parent).snapshot(name.partition("@")[2]), theirs, {})
    backend.driver.delete_snapshot(CONTEXT, snapshot)
    backend.driver.delete_share(CONTEXT, parent)
    assert kind_of(backend.zfs.get(backend.dataset(parent), [KIND])) is Kind.TOMBSTONE
    assert backend.zfs.get(theirs, ["origin"])["origin"].value != "-"
    assert backend.driver.inventory().shares == ()
    backend.zfs.destroy(theirs, recursive=False)
    backend.driver.ensure_shares(CONTEXT, [a_share()])
    assert backend.driver.inventory().tombstones == ()


def test_reverting(backend: Backend) -> None:
    share, snapshot = _share_with_snapshot(backend)
    then = backend.content(share)
    rule = a_rule()
    backend.driver.update_access(CONTEXT, share, [rule], [rule], [])
    backend.write(share, "mistake")
    assert backend.content(share) != then
    backend.driver.revert_to_snapshot(CONTEXT, snapshot, [rule], [])
    backend.driver.revert_to_snapshot(CONTEXT, snapshot, [rule], [])
    assert backend.content(share) == then
    assert f"/{backend.dataset(share)}" in backend.nfs.in_force()
    newer = a_snapshot(share)
    backend.driver.create_snapshot(CONTEXT, newer)
    with pytest.raises(Conflict):
        backend.driver.revert_to_snapshot(CONTEXT, snapshot, [rule], [])
    assert len(backend.driver.inventory().snapshots) == 2


# --- taking over and letting go --------------------------------------------------------------------------------------


def test_taking_over_in_place_keeps_path_mount_and_data(backend: Backend) -> None:
    dataset = backend.root.child("theirs")
    backend.zfs.create(dataset, {"quota": str(3 * GIB)}, parents=False)
    backend.machine.write(dataset, "file", 1)
    before = backend.machine.content(dataset)
    share = a_share(path=f"192.0.2.5:/{dataset}")
    answer = backend.driver.manage_existing(share, {})
    assert answer == backend.driver.manage_existing(share, {})
    assert answer["size"] == 3
    assert answer["provider_location"] == str(dataset)
    assert [location["path"] for location in answer["export_locations"]] == [f"192.0.2.5:/{dataset}"]
    assert backend.machine.content(dataset) == before
    managed = replace(share, provider_location=str(dataset), size=3)
    backend.driver.extend_share(managed, 4)
    found = backend.zfs.get(dataset, ["quota", "refquota"])
    assert (bytes_of(found, "quota"), bytes_of(found, "refquota")) == (0, 4 * GIB)
    backend.driver.extend_share(replace(share), 5)  # also found when nobody told where it is
    with pytest.raises(ManageInvalidShare):
        backend.driver.manage_existing(a_share(path=f"192.0.2.5:/{dataset}"), {})
    backend.driver.unmanage(managed)
    backend.driver.unmanage(managed)
    assert kind_of(backend.zfs.get(dataset, [KIND])) is None
    backend.driver.delete_share(CONTEXT, managed)
    assert backend.machine.content(dataset) == before


def test_taking_over_with_size_and_rename(backend: Backend) -> None:
    dataset = backend.root.child("theirs")
    backend.zfs.create(dataset, {}, parents=False)
    share = a_share(path=f"192.0.2.5:/{dataset}")
    options = {"size": "2", "rename": "True"}
    answer = backend.driver.manage_existing(share, options)
    assert answer == backend.driver.manage_existing(share, options)
    assert answer["size"] == 2
    assert answer["provider_location"] == str(backend.dataset(share))
    assert not backend.zfs.exists(dataset)


@pytest.mark.parametrize("path", ["192.0.2.5:/nowhere", "192.0.2.5:/{root}", ""])
def test_what_cannot_be_taken_over(backend: Backend, path: str) -> None:
    with pytest.raises(ManageInvalidShare):
        backend.driver.manage_existing(a_share(path=path.format(root=backend.root)), {})


def test_taking_over_a_snapshot(backend: Backend) -> None:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    theirs = backend.dataset(share).snapshot("daily")
    backend.zfs.snapshot([theirs], {})
    snapshot = a_snapshot(share, provider_location=str(theirs))
    answer = backend.driver.manage_existing_snapshot(snapshot, {})
    assert (
        answer
        == backend.driver.manage_existing_snapshot(snapshot, {})
        == {
            "size": 1,
            "provider_location": str(theirs),
        }
    )
    assert len(backend.driver.inventory().snapshots) == 1
    backend.driver.unmanage_snapshot(snapshot)
    backend.driver.delete_snapshot(CONTEXT, snapshot)
    assert backend.zfs.exists(theirs)


# --- reports ---------------------------------------------------------------------------------------------------------


def test_stats_are_what_users_can_use(backend: Backend) -> None:
    backend.zfs.set(backend.root, {"quota": str(512 * MIB)})
    (pool,) = backend.driver.get_share_stats(refresh=True)["pools"]
    assert pool["pool_name"] == "tank"
    assert pool["total_capacity_gb"] == 0.5
    assert 0.45 < pool["free_capacity_gb"] <= 0.5


def test_usage_is_the_users_data(backend: Backend) -> None:
    share, _ = _share_with_snapshot(backend)
    assert backend.write(share, "large", 30)
    (usage,) = backend.driver.update_share_usage_size(CONTEXT, [share, a_share()])
    assert usage["id"] == share.id
    assert 0.02 < usage["used_size"] < 0.2


def test_the_inventory_tells_who_owns_what(backend: Backend) -> None:
    share, snapshot = _share_with_snapshot(backend)
    rule = a_rule()
    backend.driver.update_access(CONTEXT, share, [rule], [rule], [])
    inventory = backend.restarted().inventory()
    (found,) = inventory.shares
    assert (found.id, found.share_id, found.project_id) == (share.id, share.share_id, share.project_id)
    assert (found.name, found.size_gib) == (share.display_name, 1)
    assert found.rules is not None
    assert [(r.id, r.access_to, r.access_level) for r in found.rules] == [(rule.access_id, "10.0.0.1", "rw")]
    (taken,) = inventory.snapshots
    assert (taken.snapshot_id, taken.instance_id) == (snapshot.snapshot_id, share.id)


def _share_with_snapshot(backend: Backend) -> tuple[Any, Any]:
    share = a_share()
    backend.driver.create_share(CONTEXT, share)
    assert backend.write(share, "file")
    snapshot = a_snapshot(share)
    backend.driver.create_snapshot(CONTEXT, snapshot)
    return share, snapshot

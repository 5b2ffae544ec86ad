"""The ZFS appliance driver against the appliance server: what it asks, how often, and what is there afterwards.

The request counts are those of the protocol page, section 6.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from penstock.errors import Conflict, Invalid
from penstock.units import GIB
from penstock.volume.drivers.zfssa.zfssaiscsi import ZFSSAISCSIDriver
from penstock.volume.errors import (
    InvalidConnectorException,
    ManageExistingAlreadyManaged,
    ManageExistingInvalidReference,
    SnapshotIsBusy,
    VolumeBackendAPIException,
    VolumeIsBusy,
    VolumeNotFound,
)
from penstock.volume.models import VolumeModel, VolumeTypeModel
from tests.contract.appliance_boxes import (
    IQNS,
    Box,
    connector,
    listening,
    make_driver,
    set_up,
    simulated_box,
    snapshot,
    volume,
)


@pytest.fixture(params=["openzfs", "zfs-fuse"])
def box(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Box]:
    with listening(simulated_box("box", tmp_path, request.param), tmp_path) as found:
        yield found


@pytest.fixture
def driver(box: Box, tmp_path: Path) -> ZFSSAISCSIDriver:
    found = set_up(make_driver(box, tmp_path))
    box.requests.clear()
    return found


def luns(box: Box, project: str = "volumes") -> list[str]:
    found = box.site.zfs.tree(box.site.project("tank", project), ["type"], depth=1)
    return sorted(name.rpartition("/")[2] for name in found if name.count("/") == 3)


def count(box: Box) -> int:
    found = len(box.requests)
    box.requests.clear()
    return found


# --- beginning ------------------------------------------------------------------------------------------------------


def test_set_up_takes_25_requests_on_a_virgin_appliance_and_15_on_a_restart(box: Box, tmp_path: Path) -> None:
    make_driver(box, tmp_path).do_setup(None)
    assert count(box) == 25
    again = make_driver(box, tmp_path)
    again.do_setup(None)
    assert count(box) == 15
    again.check_for_setup_error()
    assert count(box) == 4  # pool, project, two initiators


# --- volumes --------------------------------------------------------------------------------------------------------


def test_a_volume_is_made_grown_and_deleted(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume()
    assert driver.create_volume(one) is None
    assert count(box) == 1
    assert luns(box) == [one.name]
    driver.extend_volume(one, 3)
    assert count(box) == 1
    assert driver._volumes.find(one.name).size_bytes == 3 * GIB
    count(box)
    driver.delete_volume(one)
    assert count(box) == 2
    assert luns(box) == []


def test_what_is_asked_twice_is_done_once(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one, two, taken = volume(1), volume(2), snapshot(volume(1))
    for _ in range(2):
        driver.create_volume(one)
        driver.extend_volume(one, 1)
        driver.create_snapshot(taken)
        driver.create_volume_from_snapshot(two, taken)
    for _ in range(2):
        driver.delete_volume(two)
        driver.delete_snapshot(taken)
        driver.delete_volume(one)
    assert luns(box) == []


def test_a_lun_of_that_name_that_is_not_ours_is_left_alone(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume()
    driver.create_volume(one)
    with pytest.raises(Conflict):
        driver.create_volume(volume(size=2))
    with pytest.raises(Conflict):
        driver.create_cloned_volume(one, one)
    assert luns(box) == [one.name]
    assert driver._volumes.find(one.name).size_bytes == GIB


def test_a_type_says_how_its_luns_are(box: Box, driver: ZFSSAISCSIDriver) -> None:
    specs = {"zfssa:sparse": "False", "zfssa:compression": "gzip", "zfssa:volblocksize": "64k"}
    driver.create_volume(volume(volume_type=VolumeTypeModel("t", "t", extra_specs=specs)))
    found = box.site.zfs.get(
        box.site.lun("tank", "volumes", volume().name), ["compression", "recordsize", "refreservation"]
    )
    assert [found[name].value for name in ("compression", "recordsize", "refreservation")] == [
        "gzip",
        "65536",
        str(GIB),
    ]


# --- snapshots and clones -------------------------------------------------------------------------------------------


def test_snapshots_and_volumes_from_them(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one, two, three = volume(1), volume(2), volume(3, size=4)
    driver.create_volume(one)
    count(box)
    taken = snapshot(one)
    driver.create_snapshot(taken)
    assert count(box) == 1
    driver.create_volume_from_snapshot(two, taken)
    assert count(box) == 2
    driver.create_volume_from_snapshot(three, taken)
    assert count(box) == 3
    assert driver._volumes.find(three.name).size_bytes == 4 * GIB
    with pytest.raises(SnapshotIsBusy):
        driver.delete_snapshot(taken)
    with pytest.raises(VolumeIsBusy):
        driver.delete_volume(one)
    for each in (two, three):
        count(box)
        driver.delete_volume(each)
        assert count(box) == 3
    driver.delete_snapshot(taken)
    assert count(box) == 2
    driver.delete_volume(one)


def test_a_snapshot_has_the_size_the_volume_had(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume(1)
    driver.create_volume(one)
    taken = snapshot(one)
    driver.create_snapshot(taken)
    driver.extend_volume(one, 3)
    driver.create_volume_from_snapshot(volume(2, size=1), taken)
    driver.create_volume_from_snapshot(volume(3, size=3), taken)
    assert driver._volumes.find(volume(2).name).size_bytes == GIB
    assert driver._volumes.find(volume(3).name).size_bytes == 3 * GIB


def test_a_volume_is_cloned_and_both_are_deleted(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one, two, three = volume(1), volume(2), volume(3, size=2)
    driver.create_volume(one)
    count(box)
    driver.create_cloned_volume(two, one)
    assert count(box) == 3
    driver.create_cloned_volume(three, one)
    assert count(box) == 4
    assert driver._volumes.find(two.name).origin.snapshot == f"tmp-snapshot-{two.id}"
    with pytest.raises(VolumeIsBusy):
        driver.delete_volume(one)
    count(box)
    driver.delete_volume(two)
    assert count(box) == 3
    driver.delete_volume(three)
    driver.delete_volume(one)
    assert luns(box) == []


def test_a_smaller_clone_is_refused_and_leaves_nothing(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume(1, size=2)
    driver.create_volume(one)
    count(box)
    with pytest.raises(Invalid):
        driver.create_cloned_volume(volume(2, size=1), one)
    assert count(box) == 0


def test_a_volume_whose_clone_cannot_grow_leaves_no_snapshot(tmp_path: Path) -> None:
    with listening(simulated_box("box", tmp_path, size=4 * GIB), tmp_path) as box:
        driver = set_up(make_driver(box, tmp_path, zfssa_lun_sparse="False"))
        one = volume(1, size=1)
        driver.create_volume(one)
        with pytest.raises(VolumeBackendAPIException):
            driver.create_cloned_volume(volume(2, size=100), one)
        assert luns(box) == [one.name]
        driver.delete_volume(one)
        assert luns(box) == []


def test_nothing_is_cloned_of_what_is_not_there(driver: ZFSSAISCSIDriver) -> None:
    with pytest.raises(VolumeNotFound):
        driver.create_cloned_volume(volume(2), volume(1))
    with pytest.raises(VolumeNotFound):
        driver.create_snapshot(snapshot(volume(1)))


# --- hosts ----------------------------------------------------------------------------------------------------------


def test_two_hosts_see_a_volume_under_one_number_until_they_leave(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume()
    driver.create_volume(one)
    count(box)
    first = driver.initialize_connection(one, connector(IQNS[0]))
    assert count(box) == 5  # the target's name is asked for once
    second = driver.initialize_connection(one, connector(IQNS[1]))
    assert count(box) == 4
    assert first == second
    number = first["data"]["target_lun"]
    assert first["driver_volume_type"] == "iscsi"
    assert first["data"]["target_luns"] == [number]
    assert set(box.exports.seen) == set(IQNS)
    driver.terminate_connection(one, connector(IQNS[0]))
    assert count(box) == 3
    assert list(box.exports.seen) == [IQNS[1]]
    assert list(box.exports.seen[IQNS[1]]) == [number]
    driver.terminate_connection(one, None)
    assert box.exports.seen == {}


def test_a_connector_that_names_no_initiator_hides_nothing(box: Box, driver: ZFSSAISCSIDriver) -> None:
    driver.create_volume(volume())
    driver.initialize_connection(volume(), connector(IQNS[0]))
    for nobody in ({}, {"host": "x"}, {"initiator": ""}):
        driver.terminate_connection(volume(), nobody, force=True)
    assert list(box.exports.seen) == [IQNS[0]]


def test_masking_shows_each_host_its_own(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one, two = volume(1), volume(2)
    driver.create_volume(one)
    driver.create_volume(two)
    first = driver.initialize_connection(one, connector(IQNS[0]))["data"]["target_lun"]
    second = driver.initialize_connection(two, connector(IQNS[1]))["data"]["target_lun"]
    assert first != second
    assert {name: list(seen) for name, seen in box.exports.seen.items()} == {IQNS[0]: [first], IQNS[1]: [second]}


def test_a_host_that_is_gone_twice_or_whose_volume_is_gone(box: Box, driver: ZFSSAISCSIDriver) -> None:
    one = volume()
    driver.terminate_connection(one, connector())
    driver.create_volume(one)
    driver.initialize_connection(one, connector())
    for _ in range(2):
        driver.terminate_connection(one, connector())
    assert box.exports.seen == {}


def test_hosts_nobody_knows_and_connectors_without_a_name(driver: ZFSSAISCSIDriver) -> None:
    driver.create_volume(volume())
    with pytest.raises(InvalidConnectorException, match="no initiator group"):
        driver.initialize_connection(volume(), connector("iqn.2026-11.org.example:stranger"))
    with pytest.raises(InvalidConnectorException):
        driver.initialize_connection(volume(), {"host": "x"})


@pytest.mark.parametrize("name", ["not-an-iqn", "*", "iqn.2026-11.org.x:a b", "default", ""])
def test_what_names_no_one_initiator_is_refused_before_anything_is_asked(
    box: Box, driver: ZFSSAISCSIDriver, name: str
) -> None:
    count(box)
    with pytest.raises(Invalid):
        driver.validate_connector({"initiator": name, "ip": "10.0.0.1"})
    assert count(box) == 0


def test_the_default_group_is_open_to_all_where_it_is_configured(box: Box, tmp_path: Path) -> None:
    driver = set_up(make_driver(box, tmp_path, zfssa_initiator_config="", zfssa_initiator_group="default"))
    driver.create_volume(volume())
    found = driver.initialize_connection(volume(), connector("iqn.2026-11.org.example:stranger"))
    assert found["data"]["target_lun"] == 1
    assert list(box.exports.seen) == ["*"]


def test_the_groups_of_old_firmware_are_one(box: Box, driver: ZFSSAISCSIDriver) -> None:
    box.site.scalar_presentation = True
    driver.create_volume(volume())
    found = driver.initialize_connection(volume(), connector(IQNS[0]))
    assert found["data"]["target_lun"] == 1
    with pytest.raises(VolumeBackendAPIException, match="one group only"):
        driver.initialize_connection(volume(), connector(IQNS[1]))


def test_a_target_with_chap_tells_hosts_its_pair(box: Box, tmp_path: Path) -> None:
    driver = set_up(make_driver(box, tmp_path, zfssa_target_user="tgt", zfssa_target_password="twelve-letters"))
    driver.create_volume(volume())
    data = driver.initialize_connection(volume(), connector())["data"]
    assert (data["auth_method"], data["auth_username"], data["auth_password"]) == ("CHAP", "tgt", "twelve-letters")
    (target,) = box.exports.targets.values()
    assert target.initiators[0].chap.secret == "twelve-letters"
    kept = box.site.zfs.get(box.site.settings, ["all"])
    assert not any("twelve-letters" in found.value for found in kept.values())


def test_many_at_once_get_a_number_each_and_leave_nothing(box: Box, driver: ZFSSAISCSIDriver) -> None:
    made = [volume(number) for number in range(1, 25)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(driver.create_volume, made))
        seen = pool.map(lambda each: driver.initialize_connection(each, connector(IQNS[int(each.id[-1]) % 2])), made)
        assert sorted(info["data"]["target_lun"] for info in seen) == list(range(1, 25))
        list(pool.map(lambda each: driver.terminate_connection(each, None), made))
        list(pool.map(driver.delete_volume, made))
    assert (luns(box), box.exports.seen) == ([], {})


# --- stats ----------------------------------------------------------------------------------------------------------


def test_stats_take_three_requests_and_tell_no_password(box: Box, driver: ZFSSAISCSIDriver) -> None:
    assert not driver.get_volume_stats()
    found = driver.get_volume_stats(refresh=True)
    assert count(box) == 3
    assert found["vendor_name"] == "Oracle"
    assert found["location_info"] == "127.0.0.1::tank:volumes:tgt-grp:"
    assert 60 < found["free_capacity_gb"] <= found["total_capacity_gb"] <= 64
    assert driver.get_volume_stats() == found


def test_a_pool_of_the_other_head_counts_once_that_head_is_stripped(box: Box, driver: ZFSSAISCSIDriver) -> None:
    from penstock.appliance.site import OWNER, OWNER_ASN, Peer

    box.site.zfs.set(box.site.root("tank"), {OWNER: "other", OWNER_ASN: "other-asn"})
    with pytest.raises(Invalid, match="owned by other"):
        driver.get_volume_stats(refresh=True)
    box.site.peer = Peer("other-asn", "other", "AKCS_STRIPPED")
    count(box)
    assert driver.get_volume_stats(refresh=True)["zfssa_poolprofile"] == "zfs"
    assert count(box) == 4


# --- managing -------------------------------------------------------------------------------------------------------


def _foreign(box: Box, driver: ZFSSAISCSIDriver, name: str, **more: object) -> None:
    driver.zfssa.create_lun("tank", "volumes", {"name": name, "volsize": 3 * GIB - 512, **more})
    box.requests.clear()


def test_a_lun_is_managed_and_let_go(box: Box, driver: ZFSSAISCSIDriver) -> None:
    _foreign(box, driver, "theirs")
    reference = {"source-name": "theirs"}
    assert driver.manage_existing_get_size(volume(), reference) == 3
    count(box)
    for _ in range(2):
        driver.manage_existing(volume(), reference)
    assert luns(box) == [volume().name]
    count(box)
    driver.unmanage(volume())
    assert count(box) == 1
    driver.unmanage(volume())
    assert luns(box) == [f"unmanaged-{volume().name}"]


def test_managing_takes_two_requests(box: Box, driver: ZFSSAISCSIDriver) -> None:
    _foreign(box, driver, "theirs")
    driver.manage_existing(volume(), {"source-name": "theirs"})
    assert count(box) == 2


@pytest.mark.parametrize("reference", [{}, {"source-name": ""}, {"source-name": "absent"}, {"source-id": "x"}])
def test_references_that_name_nothing(driver: ZFSSAISCSIDriver, reference: dict[str, str]) -> None:
    with pytest.raises(ManageExistingInvalidReference):
        driver.manage_existing_get_size(volume(), reference)


def test_strict_managing_wants_the_property_to_be_false(box: Box, tmp_path: Path) -> None:
    driver = set_up(make_driver(box, tmp_path, zfssa_manage_policy="strict"))
    _foreign(box, driver, "bare")
    _foreign(box, driver, "free", **{"custom:cinder_managed": False})
    driver.create_volume(volume(9))
    with pytest.raises(Invalid, match="no property"):
        driver.manage_existing(volume(1), {"source-name": "bare"})
    with pytest.raises(ManageExistingAlreadyManaged):
        driver.manage_existing(volume(1), {"source-name": volume(9).name})
    listed = driver.get_manageable_volumes([volume(9)], None, 10, 0, ["reference"], ["asc"])
    assert {row["reference"]["source-name"]: row["reason_not_safe"] for row in listed} == {
        "bare": "cinder_managed schema not present",
        "free": None,
        volume(9).name: "already managed",
    }
    driver.manage_existing(volume(1), {"source-name": "free"})


def test_manageable_volumes_are_sorted_and_paged(box: Box, driver: ZFSSAISCSIDriver) -> None:
    for number in (3, 1, 2):
        driver.create_volume(volume(number, size=4 - number))
    known: list[VolumeModel] = []
    by_size = driver.get_manageable_volumes(known, None, 10, 0, ["size"], ["desc"])
    assert [row["size"] for row in by_size] == [3, 2, 1]
    assert by_size[0]["reason_not_safe"] == "managed by another cinder instance?"
    page = driver.get_manageable_volumes(known, {"source-name": volume(1).name}, 1, 0, ["reference"], ["asc"])
    assert [row["reference"]["source-name"] for row in page] == [volume(2).name]


def test_a_migrated_volume_gets_its_name_back(box: Box, driver: ZFSSAISCSIDriver) -> None:
    driver.create_volume(volume(2))
    for _ in range(2):
        assert driver.update_migrated_volume(None, volume(1), volume(2), "available") == {"_name_id": None}
    assert luns(box) == [volume(1).name]

"""What LIO is told, and what saveconfig.json says: pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.errors import Unsupported
from penstock.exports import lio_plan
from penstock.exports.iscsi import ANYBODY, Chap, Initiator, IscsiTarget, Lun, Portal, target_to_json
from penstock.exports.iscsi_lio import LioIscsi
from tests.simulation.zfs_host import SimulatedHost

IQN = "iqn.2026-11.org.openstack:volume-1"
ALICE, BOB = "iqn.2026-11.lab.c1:alice", "iqn.2026-11.lab.c1:bob"
STORE = "core/iblock_3/penstock-serial-1"
TOP = f"iscsi/{IQN}/tpgt_1"


def wanted(*initiators: Initiator, **rest: Any) -> dict[str, Any]:
    target = target_to_json(IscsiTarget(IQN, (Lun(1, "/dev/zvol/tank/v", "serial-1"),), initiators, **rest))
    target["luns"][0].update(store=STORE, name="penstock-serial-1", plugin="block")
    return target


def seen(want: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """As LIO is when it is what `want` says."""
    acls = {
        name: {"luns": lio_plan.mapped(want, one), "auth": lio_plan.secrets(want, one)}
        for name, one in lio_plan.named(want).items()
    }
    return {
        "luns": {1: STORE},
        "acls": acls,
        "auth": lio_plan.secrets(want, lio_plan.anybody(want)),
        "attributes": lio_plan.attributes(want),
        "portals": lio_plan.portals(want),
        "enabled": True,
        **parts,
    }


def test_what_is_so_needs_nothing() -> None:
    for want in (wanted(), wanted(Initiator(ALICE)), wanted(Initiator(ANYBODY, Chap("u", "s" * 12)))):
        assert lio_plan.plan(IQN, want, seen(want)) == []


def test_a_new_target_is_enabled_last_and_secrets_come_before_luns() -> None:
    steps = lio_plan.plan(IQN, wanted(Initiator(ALICE, Chap("u", "s" * 12))), None)
    assert steps[:2] == [("mkdir", f"iscsi/{IQN}"), ("mkdir", TOP)]
    assert steps[-1] == ("write", f"{TOP}/enable", "1")
    paths = [step[1] for step in steps]
    assert paths.index(f"{TOP}/attrib/authentication") < paths.index(f"{TOP}/acls/{ALICE}")
    assert paths.index(f"{TOP}/acls/{ALICE}/auth/password") < paths.index(f"{TOP}/acls/{ALICE}/lun_1")


def test_who_lost_its_leave_goes_first_and_others_are_not_touched() -> None:
    have = seen(wanted(Initiator(ALICE), Initiator(BOB)))
    assert lio_plan.plan(IQN, wanted(Initiator(ALICE)), have) == [
        ("unlink", f"{TOP}/acls/{BOB}/lun_1"),
        ("rmdir", f"{TOP}/acls/{BOB}/lun_1"),
        ("rmdir", f"{TOP}/acls/{BOB}"),
    ]


def test_a_target_for_anybody_is_made_anew_for_somebody() -> None:
    steps = lio_plan.plan(IQN, wanted(Initiator(ALICE)), seen(wanted(Initiator(ANYBODY))))
    assert ("rmdir", f"iscsi/{IQN}") in steps
    assert steps[-1] == ("write", f"{TOP}/enable", "1")


def test_removal_takes_the_leaves_first() -> None:
    steps = lio_plan.plan_removal(IQN, seen(wanted(Initiator(ALICE), portals=(Portal("10.0.0.1"),))))
    assert [step[1] for step in steps if step[0] == "rmdir"] == [
        f"{TOP}/acls/{ALICE}/lun_1",
        f"{TOP}/acls/{ALICE}",
        f"{TOP}/lun/lun_1",
        f"{TOP}/np/10.0.0.1:3260",
        TOP,
        f"iscsi/{IQN}",
    ]


def test_saveconfig_keeps_what_is_not_ours() -> None:
    foreign = {"wwn": "iqn.2003-01.org:other", "tpgs": [{"luns": [{"storage_object": "/backstores/block/other"}]}]}
    before = json.dumps({"targets": [foreign], "storage_objects": [{"name": "other"}], "fabric_modules": ["x"]})
    store = {"penstock-serial-1": {"is_device": True, "attributes": {"emulate_tpu": 1}}}
    want = wanted(Initiator(ALICE, Chap("u", "s" * 12)))
    after = json.loads(lio_plan.saved(before, {IQN: want}, store))
    assert [one["wwn"] for one in after["targets"]] == [foreign["wwn"], IQN]
    assert [one["name"] for one in after["storage_objects"]] == ["other", "penstock-serial-1"]
    assert after["targets"][1]["tpgs"][0]["node_acls"][0]["chap_password"] == "s" * 12
    gone = json.loads(lio_plan.saved(json.dumps(after), {IQN: None}, {}))
    assert gone == json.loads(before)


def test_what_lio_cannot_do() -> None:
    server = LioIscsi(SimulatedHost("sim"))
    with pytest.raises(Unsupported, match="address"):
        server.check(IscsiTarget(IQN, (), (Initiator(ANYBODY),), ("10.0.0.1",)))
    with pytest.raises(Unsupported, match="two labels"):
        server.check(IscsiTarget(IQN, (), (Initiator("iqn.2026-11.lab:x"),)))


def test_the_size_of_a_file_is_told_beside_that_of_its_sectors() -> None:
    """As Linux 6.1 tells it (drivers/target: target_core_configfs.c, target_core_file.c)."""
    status = "Status: ACTIVATED  Max Queue Depth: 0  SectorSize: 512  HwMaxSectors: 16384\n"
    assert (
        lio_plan.size_told(f"{status}        TCM FILEIO ID: 0        File: /tank/v  Size: 16777216  Mode: O_DSYNC\n")
        == 2**24
    )
    assert lio_plan.size_told(status) == 0

"""What may be exported by iSCSI, and how a tgtd is brought there: pure."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.errors import Invalid, Unsupported
from penstock.exports import tgt_plan, tgt_shown
from penstock.exports.iscsi import (
    ANYBODY,
    Chap,
    Initiator,
    IscsiTarget,
    Lun,
    Portal,
    target_from_json,
    target_to_json,
)
from penstock.exports.iscsi_tgt import TgtIscsi
from tests.simulation.zfs_host import SimulatedHost

IQN = "iqn.2010-10.org.openstack:volume-1"
ALICE = "iqn.1994-05.com.redhat:ALICE"
CHAP, MUTUAL = Chap("alice", "open-Sesame-12"), Chap("target", "its-own-Secret")
LUN = Lun(1, "/dev/zvol/tank/volume-1", "serial-1")
SIZES = {LUN.path: 2**30}

FULL = IscsiTarget(IQN, (LUN,), (Initiator(ALICE, CHAP, (1,)),), (), MUTUAL, (Portal("10.0.0.1"), Portal("fd00::1")))


@pytest.mark.parametrize("name", ["", "iqn.2026-11", "iqn.26-1.org:x", "iqn.2026-11.org:a/b", "iqn.2026-11.org:A"])
def test_bad_names_are_refused(name: str) -> None:
    with pytest.raises(Invalid):
        IscsiTarget(name)


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda: Chap("a b", "secret"), id="space in a user name"),
        pytest.param(lambda: Chap("a", "sec,ret"), id="comma in a secret"),
        pytest.param(lambda: Chap("a", "sec\nret"), id="line break in a secret"),
        pytest.param(lambda: Lun(1, "relative", "s"), id="relative path"),
        pytest.param(lambda: Lun(1, "/a,b", "s"), id="comma in a path"),
        pytest.param(lambda: Lun(256, "/a", "s"), id="number too large"),
        pytest.param(lambda: Lun(1, "/a", "s" * 37), id="serial too long"),
        pytest.param(lambda: Lun(1, "/a", "s", 1000), id="odd block size"),
        pytest.param(lambda: Portal("host"), id="portal by name"),
        pytest.param(lambda: Portal("10.0.0.1", 0), id="no port"),
        pytest.param(lambda: IscsiTarget(IQN, (LUN, LUN)), id="a LUN twice"),
        pytest.param(lambda: IscsiTarget(IQN, (LUN,), (Initiator(ALICE), Initiator(ALICE))), id="an initiator twice"),
        pytest.param(lambda: IscsiTarget(IQN, (), (Initiator(ALICE, CHAP), Initiator(IQN))), id="CHAP for some"),
        pytest.param(lambda: IscsiTarget(IQN, (), (Initiator(ALICE), Initiator(ANYBODY))), id="anybody and somebody"),
        pytest.param(lambda: IscsiTarget(IQN, (), (Initiator(ALICE),), mutual=MUTUAL), id="one side proves itself"),
        pytest.param(lambda: IscsiTarget(IQN, (), (Initiator(ALICE),), ("10.0.0.1",)), id="name and address"),
        pytest.param(lambda: IscsiTarget(IQN, (LUN,), (Initiator(ALICE, None, (2,)),)), id="a LUN there is not"),
    ],
)
def test_wrong_values_cannot_be_built(make: Any) -> None:
    with pytest.raises(Invalid):
        make()


def test_secrets_are_not_printed() -> None:
    assert CHAP.secret not in repr(FULL)
    assert MUTUAL.secret not in str(FULL)


def test_there_and_back() -> None:
    assert target_from_json(json.loads(json.dumps(target_to_json(FULL)))) == FULL


def test_allowing_and_refusing() -> None:
    opened = IscsiTarget(IQN, (LUN,), (Initiator(ANYBODY),), ("10.0.0.0/24",))
    assert opened.allowing(Initiator(ALICE)) == IscsiTarget(IQN, (LUN,), (Initiator(ALICE),))
    assert opened.refusing(ANYBODY) == IscsiTarget(IQN, (LUN,))
    assert FULL.refusing(ALICE).names == []


def steps(wanted: IscsiTarget | None, seen: dict[str, Any] | None, record: dict[str, str] | None = None) -> list[str]:
    """Each step's verb, with what it is about."""
    want = None if wanted is None else target_to_json(wanted)
    found = tgt_plan.plan({IQN: want}, {} if seen is None else {IQN: seen}, record or {}, SIZES)
    about = ("name", "entry", "user", "lun", "sid")
    return [" ".join(str(step[key]) for key in ("do", *about) if key in step) for step in found]


def seen(**parts: Any) -> dict[str, Any]:
    lun = {"Backing store path": LUN.path, "SCSI SN": "serial-1", "SCSI ID": "serial-1", "megabytes": 1074}
    return {**tgt_shown.unseen(4), "luns": {1: {**lun, "block_size": 512}}, **parts}


TGT = TgtIscsi(SimulatedHost("sim"))
PLAIN = IscsiTarget(IQN, (LUN,), (Initiator(ALICE),))
SECRET = IscsiTarget(IQN, (LUN,), (Initiator(ALICE, CHAP),))
KNOWN = {"alice": tgt_plan.secret_digest("alice", CHAP.secret)}


@pytest.mark.parametrize(
    ("wanted", "found", "expected"),
    [
        pytest.param(None, None, [], id="absent stays absent"),
        pytest.param(None, seen(), ["remove target"], id="removed"),
        pytest.param(
            PLAIN, None, [f"add target {IQN}", "add lun 1", "name lun 1", f"allow initiator-name={ALICE}"], id="new"
        ),
        pytest.param(PLAIN, seen(acl=[ALICE]), [], id="already so"),
        pytest.param(
            PLAIN, seen(acl=["ALL"]), [f"allow initiator-name={ALICE}", "refuse initiator-address=ALL"], id="narrowed"
        ),
        pytest.param(
            PLAIN.refusing(ALICE),
            seen(acl=[ALICE], sessions=[{"sid": 3, "initiator": ALICE, "connections": [{"cid": 0, "address": "::1"}]}]),
            [f"refuse initiator-name={ALICE}", "log out 3"],
            id="who lost its leave is logged out",
        ),
        pytest.param(
            SECRET, seen(acl=[ALICE], incoming=["alice"]), [], id="with its secret",
        ),
    ],
)  # fmt: skip
def test_plan(wanted: IscsiTarget | None, found: dict[str, Any] | None, expected: list[str]) -> None:
    assert steps(wanted, found, KNOWN) == expected


def test_a_changed_secret_never_leaves_the_target_open() -> None:
    made = steps(SECRET, seen(acl=[ALICE], incoming=["alice"]), {"alice": "another"})
    assert made == [
        f"refuse initiator-name={ALICE}",
        "make account alice",
        "bind account alice",
        f"allow initiator-name={ALICE}",
    ]


def test_a_secret_comes_before_who_needs_it_is_let_in_and_goes_after() -> None:
    assert steps(SECRET, None)[3:] == ["make account alice", "bind account alice", f"allow initiator-name={ALICE}"]
    opened = IscsiTarget(IQN, (LUN,), (Initiator(ALICE),))
    assert steps(opened, seen(acl=[ALICE], incoming=["alice"]), KNOWN) == [
        "unbind account alice",
        "forget account alice",
    ]


ANOTHER = IscsiTarget("iqn.2026-11.org:o", (LUN,), (Initiator(ALICE, Chap("alice", "another-Secret-1")),))


def served(
    *wanted: IscsiTarget, bound: dict[str, str] | None = None, record: dict[str, str] | None = None
) -> tuple[dict[str, list[str]], set[str]]:
    """Who is let in by target, and the targets that lack somebody; `bound` are user names by target in tgtd."""
    seen = {name: {**tgt_shown.unseen(5), "incoming": [user]} for name, user in (bound or {}).items()}
    found, left_out = tgt_plan.servable({one.iqn: target_to_json(one) for one in wanted}, seen, record or {})
    return {iqn: [one["name"] for one in want["initiators"]] for iqn, want in found.items() if want}, set(left_out)


def test_a_user_name_keeps_the_secret_it_has() -> None:
    one, other = {IQN: [ALICE]}, {ANOTHER.iqn: [ALICE]}
    none = {IQN: [], ANOTHER.iqn: []}
    assert served(SECRET, bound={ANOTHER.iqn: "alice"}, record={"alice": "x"}) == ({IQN: []}, {IQN})
    assert served(SECRET, bound={ANOTHER.iqn: "alice"}) == ({IQN: []}, {IQN})  # and what it is nobody knows
    assert served(SECRET, bound={ANOTHER.iqn: "alice"}, record=KNOWN) == (one, set())
    assert served(SECRET, ANOTHER, bound={IQN: "alice"}, record=KNOWN) == (none | one, {ANOTHER.iqn})
    its_own = {"alice": tgt_plan.secret_digest("alice", "another-Secret-1")}
    assert served(SECRET, ANOTHER, bound={ANOTHER.iqn: "alice"}, record=its_own) == (none | other, {IQN})
    assert served(SECRET, ANOTHER, record=its_own) == (none | one, {ANOTHER.iqn})  # forgotten with its account
    assert served(SECRET, bound={IQN: "alice"}, record={"alice": "x"}) == (one, set())  # changed


def test_two_secrets_of_one_name_within_a_target_and_of_its_own() -> None:
    both = IscsiTarget(IQN, (LUN,), (Initiator(ALICE, CHAP), Initiator("iqn.2026-11.org:b", Chap("alice", "other"))))
    assert served(both) == ({IQN: [ALICE]}, {IQN})
    mutual = IscsiTarget(IQN, (LUN,), (Initiator(ALICE, Chap("bob", "s")),), mutual=Chap("alice", "its-own"))
    assert served(ANOTHER, mutual) == ({IQN: [ALICE], ANOTHER.iqn: []}, {ANOTHER.iqn})
    assert served(mutual, bound={ANOTHER.iqn: "alice"}) == ({IQN: []}, {IQN})


def test_a_secret_of_several_targets_is_made_once_while_nobody_gets_in() -> None:
    again = IscsiTarget(ANOTHER.iqn, (LUN,), (Initiator(ALICE, CHAP),))
    want = {one.iqn: target_to_json(one) for one in (SECRET, again)}
    have = {IQN: seen(acl=[ALICE], incoming=["alice"]), again.iqn: {**seen(acl=[ALICE], incoming=["alice"]), "tid": 5}}
    made = [(step["do"], step.get("tid")) for step in tgt_plan.plan(want, have, {}, SIZES)]
    assert made == [
        ("refuse", 4),
        ("refuse", 5),
        ("make account", None),
        ("bind account", 4),
        ("allow", 4),
        ("bind account", 5),
        ("allow", 5),
    ]


def test_grown_and_moved_luns() -> None:
    half = seen(acl=[ALICE])
    half["luns"][1]["megabytes"] = 537
    assert steps(PLAIN, half) == ["reopen lun 1"]
    half["luns"][1]["Backing store path"] = "/dev/zvol/tank/other"
    assert steps(PLAIN, half) == ["remove lun 1", "add lun 1", "name lun 1"]


SHOWN = """Target 1: iqn.2026-11.org.x:one
    System information:
        Driver: iscsi
        State: ready
    I_T nexus information:
        I_T nexus: 3
            Initiator: iqn.2026-11.org.x:alice alias: a
            Connection: 0
                IP Address: 10.0.0.7
    LUN information:
        LUN: 0
            Type: controller
            SCSI ID: IET     00010000
            Size: 0 MB, Block size: 1
        LUN: 1
            Type: disk
            SCSI ID: serial-1
            SCSI SN: serial-1
            Size: 1074 MB, Block size: 512
            Backing store path: /tank/one
    Account information:
        alice
        server (outgoing)
    ACL information:
        iqn.2026-11.org.x:alice
        255.255.255.255
Target 12: iqn.2026-11.org.x:two
    System information:
        Driver: iscsi
    I_T nexus information:
    LUN information:
        LUN: 0
            Type: controller
    Account information:
        bob
    ACL information:
        ALL
\0"""


def test_what_tgtd_shows() -> None:
    one, two = "iqn.2026-11.org.x:one", "iqn.2026-11.org.x:two"
    found = tgt_shown.targets(SHOWN)
    connection = {"cid": 0, "address": "10.0.0.7"}
    assert found[one] == {
        **seen(incoming=["alice"], outgoing=["server"], acl=["iqn.2026-11.org.x:alice"]),
        "tid": 1,
        "sessions": [{"sid": 3, "initiator": "iqn.2026-11.org.x:alice", "connections": [connection]}],
        "luns": {
            1: {
                "Type": "disk",
                "SCSI ID": "serial-1",
                "SCSI SN": "serial-1",
                "megabytes": 1074,
                "block_size": 512,
                "Backing store path": "/tank/one",
            }
        },
    }
    assert found[two] == {**tgt_shown.unseen(12), "incoming": ["bob"], "acl": ["ALL"]}
    only = tgt_shown.targets(SHOWN, {two})
    assert only[two] == found[two]
    assert {key: only[one][key] for key in ("tid", "incoming", "outgoing", "luns", "sessions")} == {
        **{key: found[one][key] for key in ("tid", "incoming", "outgoing")},
        "luns": {},
        "sessions": [],
    }
    assert tgt_shown.targets("", set()) == {}


def test_only_a_lun_with_nothing_under_way_is_idle() -> None:
    head = "tgt lun sid rd_subm(bytes,cmds) rd_done(bytes,cmds) wr_subm(bytes,cmds) wr_done(bytes,cmds) errs\n"
    assert tgt_shown.is_idle(head + "1 1 5 4096,1 4096,1 8192,2 8192,2 0\n", 1)
    busy = head + "1 1 5 4096,1 4096,1 8192,2 4096,1 0\n"
    assert not tgt_shown.is_idle(busy, 1)
    assert tgt_shown.is_idle(busy, 2)


def test_portals_that_are_listened_on_are_not_added() -> None:
    wanted = [target_to_json(FULL), target_to_json(IscsiTarget(IQN, portals=(Portal("10.0.0.1", 3261),)))]
    found = tgt_plan.plan_portals(wanted, "Portal: 0.0.0.0:3260,1\n")
    assert [step["portal"] for step in found] == ["10.0.0.1:3261", "[fd00::1]:3260"]


def test_what_tgt_cannot_do() -> None:
    two = (LUN, Lun(2, "/dev/zvol/tank/b", "b"))
    with pytest.raises(Unsupported, match="LUN 0"):
        TGT.check(IscsiTarget(IQN, (Lun(0, "/a", "a"),)))
    with pytest.raises(Unsupported, match="shows every LUN"):
        TGT.check(IscsiTarget(IQN, two, (Initiator(ALICE, None, (1,)),)))


def test_tgt_admin_never_opens_a_target_of_names_to_everybody() -> None:
    assert f"initiator-address {tgt_shown.NOBODY}" in TGT.render(PLAIN)
    assert "<target" not in TGT.render(PLAIN.refusing(ALICE))

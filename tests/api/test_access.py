"""Access rules: allow, deny, list; formats, duplicates, and how old versions show states."""

from __future__ import annotations

import pytest

from penstock.domain.access import AccessState, AccessType, parse_access_to, same_client
from penstock.domain.pools import PoolRef
from penstock.errors import InvalidShareAccess
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import act, add_type, calls, finish_rules, make_share, message, methods
from tests.api.conftest import Client


@pytest.fixture
def share(plane: ControlPlane, member: Client, backend: PoolRef) -> str:
    add_type(plane)
    return str(make_share(plane, member)["id"])


def ip(address: str, level: str | None = None) -> dict[str, str | None]:
    return {"access_type": "ip", "access_to": address, "access_level": level}


def test_allow_list_deny(plane: ControlPlane, member: Client, share: str) -> None:
    answer = act(member, share, "allow_access", {**ip("10.0.0.0/24", "ro"), "metadata": {"k": "v"}})
    assert answer.status_code == 200
    rule = answer.json()["access"]
    assert set(rule) == {
        "id", "share_id", "access_type", "access_to", "access_level", "access_key", "state", "created_at",
        "updated_at", "metadata",
    }  # fmt: skip
    assert (rule["state"], rule["access_level"], rule["metadata"]) == ("queued_to_apply", "ro", {"k": "v"})
    assert calls(plane)[-1][1:3] == (f"share:{share}", "update_access")
    assert member.get(f"shares/{share}").json()["share"]["access_rules_status"] == "syncing"
    finish_rules(plane, share)
    (listed,) = member.get("share-access-rules", share_id=share).json()["access_list"]
    assert listed["state"] == "active"
    assert "share_id" not in listed
    assert member.get(f"share-access-rules/{rule['id']}").json()["access"]["share_id"] == share
    assert act(member, share, "deny_access", {"access_id": rule["id"]}).status_code == 202
    assert act(member, share, "deny_access", {"access_id": rule["id"]}).status_code == 202
    assert methods(plane) == ["create_share_instance", "update_access", "update_access"]
    assert member.get(f"share-access-rules/{rule['id']}").json()["access"]["state"] == "queued_to_deny"
    finish_rules(plane, share)
    assert member.get(f"share-access-rules/{rule['id']}").status_code == 404
    assert act(member, share, "deny_access", {"access_id": rule["id"]}).status_code == 404


def test_old_versions(plane: ControlPlane, member: Client, share: str) -> None:
    old = member.at("2.6")
    rule = act(old, share, "os-allow_access", ip("1.2.3.4")).json()["access"]
    assert rule["state"] == "new"
    assert set(rule) == {"id", "share_id", "access_type", "access_to", "access_level", "state"}
    assert act(member.at("2.27"), share, "access_list").json()["access_list"][0]["state"] == "new"
    assert member.at("2.27").get(f"shares/{share}").json()["share"]["access_rules_status"] == "out_of_sync"
    finish_rules(plane, share)
    assert act(old, share, "os-access_list").json()["access_list"][0]["state"] == "active"
    assert act(old, share, "allow_access", ip("1.2.3.5")).status_code == 404
    assert act(member, share, "access_list").status_code == 404
    assert member.at("2.44").get("share-access-rules", share_id=share).status_code == 404
    assert act(old, share, "os-deny_access", {"access_id": rule["id"]}).status_code == 202


def test_before_2_28_no_rule_is_added_while_one_is_in_error(plane: ControlPlane, member: Client, share: str) -> None:
    act(member, share, "allow_access", ip("1.2.3.4"))
    finish_rules(plane, share, AccessState.ERROR)
    assert act(member.at("2.27"), share, "allow_access", ip("1.2.3.5")).status_code == 400
    assert act(member.at("2.28"), share, "allow_access", ip("1.2.3.5")).status_code == 200


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ("10.20.30.40", "10.20.30.40/32"),
        ("10.10.30.40/32", "10.10.30.40"),
        ("fd8c:b029:bba6:ac54::1", "FD8C:B029:BBA6:AC54:0::1/128"),
        ("10.0.0.0/8", "10.0.0.0/8"),
    ],
)
def test_duplicates(plane: ControlPlane, member: Client, share: str, first: str, second: str) -> None:
    assert act(member, share, "allow_access", ip(first)).status_code == 200
    again = act(member, share, "allow_access", ip(second))
    assert again.status_code == 400
    assert "already" in message(again)
    assert methods(plane)[1:] == ["update_access"]


@pytest.mark.parametrize(
    "address",
    [
        "1.2.3.256", "1.1.1.-", "1.2.3.4/33", "1.2.3.*", "1.2.3.*/23", "1.2.3.1|23", "1.2.3.1/-1", "1.2.3.1/",
        "ad80::abaa:0:c2:2/-3", "AD80:ABAA::|26", "2001:DB8:2de:0:0:0:0:e13:200a", "10.0.0.5/24",
        "10.0.0.0/255.0.0.0", "::ffff:10.0.0.1", "::ffff:0:0/96", "::ffff:10.0.0.0/120", "fe80::1%eth0", "",
        "1.2.3.4\n", "host", "0x10.1.1.1", "1", "10.0.0.0/٨", "1.2.3.4/24/24",
    ],
)  # fmt: skip
def test_malformed_addresses(plane: ControlPlane, member: Client, share: str, address: str) -> None:
    assert act(member, share, "allow_access", ip(address)).status_code == 400
    assert member.get("share-access-rules", share_id=share).json()["access_list"] == []
    assert methods(plane) == ["create_share_instance"]


def test_ipv6_since_2_38(member: Client, share: str) -> None:
    assert act(member.at("2.37"), share, "allow_access", ip("fd00::/64")).status_code == 400
    made = act(member.at("2.38"), share, "allow_access", ip("FD00:0::1")).json()["access"]
    assert made["access_to"] == "fd00::1"


@pytest.mark.parametrize(
    ("access_type", "text", "is_good"),
    [
        ("user", "alice", True), ("user", "DOM\\alice", True), ("user", "try+", False), ("user", "", False),
        ("user", "abc", False), ("user", "a" * 255, True), ("user", "a" * 256, False), ("user", "al\nice", False),
        ("cert", "client1.com", True), ("cert", " ", False), ("cert", "a" * 64, True), ("cert", "a" * 65, False),
        ("cephx", "alice bob", True), ("cephx", "jane.doe", False), ("cephx", "björn", False), ("cephx", "", False),
    ],
)  # fmt: skip
def test_other_types(access_type: str, text: str, is_good: bool) -> None:
    if is_good:
        assert parse_access_to(AccessType(access_type), text) == text
        return
    with pytest.raises(InvalidShareAccess):
        parse_access_to(AccessType(access_type), text)


def test_same_client() -> None:
    assert same_client(AccessType.IP, "10.0.0.0", "10.0.0.0/32")
    assert not same_client(AccessType.IP, "10.0.0.0", "10.0.0.0/31")
    assert not same_client(AccessType.USER, "alice", "Alice")


@pytest.mark.parametrize(
    "wanted",
    [
        {"access_type": "wrong", "access_to": "1.2.3.4"},
        {"access_type": "ip", "access_to": "1.2.3.4", "access_level": "su"},
        {"access_type": "ip", "access_to": 7},
        {"access_type": "ip"},
        {"access_type": "ip", "access_to": "1.2.3.4", "unknown": 1},
        {"access_type": "ip", "access_to": "1.2.3.4", "metadata": {"": "x"}},
        "text",
        None,
    ],
)
def test_malformed_bodies(plane: ControlPlane, member: Client, share: str, wanted: object) -> None:
    assert act(member, share, "allow_access", wanted).status_code == 400
    assert methods(plane) == ["create_share_instance"]


def test_state_and_place_are_needed(plane: ControlPlane, member: Client, admin: Client, share: str) -> None:
    act(admin, share, "reset_status", {"status": "error"})
    assert act(member, share, "allow_access", ip("1.2.3.4")).status_code == 400
    lost = member.post("shares", {"share": {"share_proto": "NFS", "size": 500, "share_type": "gold"}})
    lost_id = lost.json()["share"]["id"]
    assert act(admin, lost_id, "allow_access", ip("1.2.3.4")).status_code == 400
    assert act(member, "unknown", "allow_access", ip("1.2.3.4")).status_code == 404


def test_metadata(plane: ControlPlane, member: Client, other: Client, share: str) -> None:
    rule = act(member, share, "allow_access", {**ip("1.2.3.4"), "metadata": {"a": "1"}}).json()["access"]["id"]
    act(member, share, "allow_access", ip("1.2.3.5"))
    path = f"share-access-rules/{rule}/metadata"
    assert member.put(path, {"metadata": {"b": "2"}}).json() == {"metadata": {"a": "1", "b": "2"}}
    found = member.get("share-access-rules", share_id=share, metadata="{'b': '2'}").json()["access_list"]
    assert [item["id"] for item in found] == [rule]
    assert other.put(path, {"metadata": {"b": "3"}}).status_code == 404
    assert member.delete(f"{path}/a").status_code == 200
    assert member.delete(f"{path}/a").status_code == 404
    assert member.put(path, {"metadata": {"k" * 256: "x"}}).status_code == 400


def test_lists_need_a_visible_share(member: Client, other: Client, share: str) -> None:
    assert member.get("share-access-rules").status_code == 400
    assert member.get("share-access-rules", share_id="unknown").status_code == 400
    assert other.get("share-access-rules", share_id=share).status_code == 400
    assert act(other.at("2.44"), share, "access_list").status_code == 404

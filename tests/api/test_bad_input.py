"""Bad input: each gets its published status and a sentence, and changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from penstock.store.schema import metadata
from tests.api.arranging import act, add_type, make_share, make_snapshot
from tests.api.conftest import Client


def everything(plane: ControlPlane) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with plane.database.read() as tx:
        return {table.name: sorted(map(repr, tx.execute(table.select()))) for table in metadata.sorted_tables}


@pytest.fixture
def share(plane: ControlPlane, member: Client, backend: PoolRef) -> str:
    add_type(plane)
    return str(make_share(plane, member, name="home")["id"])


@pytest.fixture(autouse=True)
def unchanged(plane: ControlPlane, share: str, snapshot: str) -> Iterator[None]:
    """Nothing is different afterwards."""
    before = everything(plane)
    yield
    assert everything(plane) == before


@pytest.fixture
def snapshot(plane: ControlPlane, member: Client, share: str) -> str:
    return str(make_snapshot(plane, member, share)["id"])


def check(answer: Any, status: int) -> None:
    """That status, in the published form, with a sentence."""
    assert answer.status_code == status, answer.text
    (fault,) = answer.json().values()
    assert fault["code"] == status
    assert len(fault["message"]) > 10
    assert "Traceback" not in answer.text


@pytest.mark.parametrize(
    "size", [0, -1, 1.5, True, "", "#$%", "1.0", "1e3", None, [], {}, 2**31, 10**30, "9" * 40, "٣"]
)
def test_sizes_of_new_shares(member: Client, size: object) -> None:
    check(member.post("shares", {"share": {"share_proto": "NFS", "share_type": "gold", "size": size}}), 400)


@pytest.mark.parametrize("size", [0, -1, 1.5, True, "", "x", None, [], 2, 10**30])
@pytest.mark.parametrize("action", ["extend", "shrink"])
def test_sizes_of_resizes(member: Client, share: str, action: str, size: object) -> None:
    check(act(member, share, action, {"new_size": size}), 400)


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "a\rb", "a\x7fb", "x" * 256, 7, True, ["x"], {"a": "b"}])
def test_names(member: Client, share: str, snapshot: str, name: object) -> None:
    for field in ("name", "display_name"):
        check(
            member.post("shares", {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold", field: name}}), 400
        )
        check(member.put(f"shares/{share}", {"share": {field: name}}), 400)
        check(member.post("snapshots", {"snapshot": {"share_id": share, field: name}}), 400)
        check(member.put(f"snapshots/{snapshot}", {"snapshot": {field: name}}), 400)


@pytest.mark.parametrize("description", ["a\x00b", "x" * 256, 7])
def test_descriptions(member: Client, share: str, description: object) -> None:
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold", "description": description}}
    check(member.post("shares", body), 400)
    check(member.put(f"shares/{share}", {"share": {"display_description": description}}), 400)


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"share_proto": "nonexistent"}, 400),
        ({"share_proto": ""}, 400),
        ({"share_proto": None}, 400),
        ({"share_proto": "GLUSTERFS"}, 400),
        ({"unknown": 1}, 400),
        ({"is_public": "truebar"}, 400),
        ({"is_public": []}, 400),
        ({"share_type": "no such type"}, 404),
        ({"share_type": "../../etc"}, 404),
        ({"share_type": "gold", "volume_type": "gold"}, 400),
        ({"snapshot_id": "no such snapshot"}, 404),
        ({"availability_zone": "fake_az"}, 404),
        ({"share_network_id": "wrong_sn_id"}, 404),
        ({"share_group_id": "wrong_group_id"}, 404),
        ({"metadata": {"": "v"}}, 400),
        ({"metadata": {"k": None}}, 400),
        ({"metadata": {"k": "v" * 1024}}, 400),
        ({"metadata": {"k" * 256: "v"}}, 400),
        ({"metadata": {"k\n": "v"}}, 400),
        ({"metadata": {"k": "v\x00"}}, 400),
        ({"metadata": "text"}, 400),
        ({"metadata": {"__affinity_same_host": "x"}}, 403),
        ({"scheduler_hints": {"same_host": "no such share"}}, 404),
        ({"scheduler_hints": {"nonsense": "x"}}, 400),
        ({"scheduler_hints": {"same_host": ",".join(["x"] * 51)}}, 400),
    ],
)
def test_fields_of_new_shares(member: Client, fields: dict[str, Any], status: int) -> None:
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold", **fields}}
    check(member.post("shares", body), status)


@pytest.mark.parametrize("body", [None, [], "text", {}, {"share": None}, {"share": []}, {"other": {}}, {"share": {}}])
def test_bodies_of_new_shares(member: Client, body: object) -> None:
    check(member.post("shares", body), 400)


@pytest.mark.parametrize(
    "content", [b"", b"{", b"\xff\xfe", b"[" * 5000, b'{"share": {"size": 1}, "share": 2}', b"NaN"]
)
def test_bodies_that_are_not_json(member: Client, share: str, content: bytes) -> None:
    headers = {"X-Auth-Token": "member", "Content-Type": "application/json"}
    for path in ("/v2/shares", f"/v2/shares/{share}/action", "/v2/snapshots", "/v2/shares/manage"):
        answer = member.http.post(path, content=content, headers=headers | {"X-OpenStack-Manila-API-Version": "2.73"})
        assert answer.status_code in (400, 403), (path, answer.text)


def test_wrong_content_type(member: Client) -> None:
    headers = {"X-Auth-Token": "member", "Content-Type": "text/xml"}
    check(member.http.post("/v2/shares", content=b"<share/>", headers=headers), 400)


def test_oversized_body(member: Client) -> None:
    body = {"share": {"share_proto": "NFS", "size": 1, "metadata": {f"k{n}": "v" * 1000 for n in range(200)}}}
    check(member.post("shares", body), 413)


@pytest.mark.parametrize(
    "share_id", ["wrong_share_id", "x" * 300, "%00", "a%0Ab", "'; DROP TABLE shares;--", "..%2F..", "%F0%9F%98%80"]
)
def test_ids_that_are_none(member: Client, share_id: str) -> None:
    for answer in (
        member.get(f"shares/{share_id}"),
        member.delete(f"shares/{share_id}"),
        member.put(f"shares/{share_id}", {"share": {"display_name": "x"}}),
        act(member, share_id, "extend", {"new_size": 9}),
        member.get(f"snapshots/{share_id}"),
        member.get(f"share-access-rules/{share_id}"),
    ):
        assert answer.status_code in (400, 404), answer.text
    check(member.post("snapshots", {"snapshot": {"share_id": "'\""}}), 404)


def test_other_projects(other: Client, share: str, snapshot: str) -> None:
    check(other.post("snapshots", {"snapshot": {"share_id": share}}), 404)
    check(other.post("shares", {"share": {"share_proto": "NFS", "snapshot_id": snapshot}}), 404)
    check(other.delete(f"snapshots/{snapshot}"), 404)
    check(other.put(f"snapshots/{snapshot}", {"snapshot": {"display_name": "x"}}), 404)
    check(other.put(f"shares/{share}/metadata", {"metadata": {"a": "b"}}), 404)
    check(act(other, share, "allow_access", {"access_type": "ip", "access_to": "1.2.3.4"}), 404)
    check(act(other, share, "deny_access", {"access_id": "x"}), 404)
    check(act(other, share, "revert", {"snapshot_id": snapshot}), 404)
    body = {"share": {"share_proto": "NFS", "size": 1, "share_type": "gold", "scheduler_hints": {"same_host": share}}}
    check(other.post("shares", body), 404)


@pytest.mark.parametrize(
    ("action", "arguments", "status"),
    [
        ("extend", None, 400),
        ("extend", {}, 400),
        ("extend", {"new_size": 3, "unknown": 1}, 400),
        ("extend", {"new_size": 3, "force": "maybe"}, 400),
        ("os-extend", {"new_size": 3}, 404),
        ("revert", {"snapshot_id": ""}, 400),
        ("revert", {}, 400),
        ("deny_access", {}, 400),
        ("deny_access", {"access_id": "wrong_rule_id"}, 404),
        ("nonsense", {}, 400),
        ("reset_status", {"status": "error"}, 403),
        ("force_delete", None, 403),
        ("unmanage", None, 403),
        ("migration_start", {}, 404),
    ],
)
def test_actions(member: Client, share: str, action: str, arguments: object, status: int) -> None:
    check(act(member, share, action, arguments), status)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": "-1"}, {"limit": "x"}, {"offset": "-1"}, {"offset": "1.5"}, {"sort_key": "nonsense"},
        {"sort_dir": "sideways"}, {"is_public": "perhaps"}, {"metadata": "{"}, {"metadata": "[1]"},
        {"metadata": "__import__('os')"}, {"metadata": "{'a': 1}"}, {"with_count": "maybe"}, {"all_tenants": "who"},
        {"metadata": "(" * 9000},
    ],
)  # fmt: skip
def test_queries(member: Client, params: dict[str, str]) -> None:
    check(member.get("shares/detail", **params), 400)


def test_two_actions_at_once(member: Client, share: str) -> None:
    check(member.post(f"shares/{share}/action", {"extend": {"new_size": 3}, "shrink": {"new_size": 1}}), 400)


def test_no_token_and_wrong_token(http: Any) -> None:
    check(Client(http, None).get("shares"), 401)
    check(Client(http, "expired").get("shares"), 401)

"""Share types, their extra specs and access, as published."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.services.control_plane import ControlPlane
from tests.api.conftest import OTHER_PROJECT, PROJECT, Client

DHSS = {"driver_handles_share_servers": "False"}


def make(admin: Client, name: str = "gold", **fields: Any) -> dict[str, Any]:
    body = {"name": name, "extra_specs": DHSS, **fields}
    answer = admin.post("types", {"share_type": body})
    assert answer.status_code == 200, answer.text
    return answer.json()["share_type"]


def test_create_answers_in_both_names(admin: Client) -> None:
    answer = admin.post("types", {"share_type": {"name": "gold", "extra_specs": DHSS, "description": "fast"}}).json()
    assert answer["share_type"] == answer["volume_type"]
    made = answer["share_type"]
    assert made == {
        "id": made["id"],
        "name": "gold",
        "description": "fast",
        "share_type_access:is_public": True,
        "extra_specs": DHSS,
        "required_extra_specs": DHSS,
        "is_default": False,
    }


@pytest.mark.parametrize(
    ("version", "present", "absent"),
    [
        ("2.6", {"os-share-type-access:is_public"}, {"share_type_access:is_public", "description", "is_default"}),
        ("2.7", {"share_type_access:is_public"}, {"os-share-type-access:is_public", "description"}),
        ("2.41", {"description"}, {"is_default"}),
        ("2.46", {"description", "is_default"}, set()),
    ],
)
def test_keys_by_version(admin: Client, version: str, present: set[str], absent: set[str]) -> None:
    make(admin)
    shown = admin.at(version).get("types").json()["share_types"][0]
    assert present <= set(shown)
    assert not absent & set(shown)


def test_before_2_24_snapshots_are_implied(admin: Client) -> None:
    made = admin.at("2.6").post("types", {"share_type": {"name": "old", "extra_specs": DHSS}}).json()["share_type"]
    assert made["extra_specs"] == {**DHSS, "snapshot_support": "True"}
    assert made["required_extra_specs"] == made["extra_specs"]
    refused = admin.at("2.23").delete(f"types/{made['id']}/extra_specs/snapshot_support")
    assert refused.status_code == 403
    assert admin.at("2.24").delete(f"types/{made['id']}/extra_specs/snapshot_support").status_code == 202


def test_booleans_in_extra_specs_become_text(admin: Client) -> None:
    made = make(admin, extra_specs={"driver_handles_share_servers": False, "snapshot_support": True})
    assert made["extra_specs"] == {"driver_handles_share_servers": "False", "snapshot_support": "True"}


@pytest.mark.parametrize(
    "fields",
    [
        pytest.param({"name": ""}, id="empty-name"),
        pytest.param({"name": "  "}, id="blank-name"),
        pytest.param({"name": "x" * 256}, id="long-name"),
        pytest.param({"name": "a\x00b"}, id="nul"),
        pytest.param({"name": 7}, id="number"),
        pytest.param({"extra_specs": {}}, id="no-dhss"),
        pytest.param({"extra_specs": {"driver_handles_share_servers": "maybe"}}, id="dhss-not-boolean"),
        pytest.param({"extra_specs": {**DHSS, "snapshot_support": "?"}}, id="snapshots-not-boolean"),
        pytest.param({"extra_specs": {**DHSS, "availability_zones": "a,,b"}}, id="empty-zone"),
        pytest.param({"extra_specs": {**DHSS, "k" * 256: "v"}}, id="long-key"),
        pytest.param({"extra_specs": {**DHSS, "k": "v" * 256}}, id="long-value"),
        pytest.param({"extra_specs": {**DHSS, "a b": "v"}}, id="key-with-blank"),
        pytest.param({"extra_specs": "no"}, id="specs-text"),
        pytest.param({"description": "d" * 256}, id="long-description"),
        pytest.param({"share_type_access:is_public": "perhaps"}, id="visibility"),
    ],
)
def test_create_refuses(admin: Client, fields: dict[str, Any]) -> None:
    answer = admin.post("types", {"share_type": {"name": "gold", "extra_specs": DHSS, **fields}})
    assert answer.status_code == 400
    assert answer.json()["badRequest"]["message"]
    assert admin.get("types").json()["share_types"] == []


def test_description_needs_2_41(admin: Client) -> None:
    body = {"share_type": {"name": "gold", "extra_specs": DHSS, "description": "d"}}
    assert admin.at("2.40").post("types", body).status_code == 400


def test_names_are_unique(admin: Client) -> None:
    make(admin)
    assert admin.post("types", {"share_type": {"name": "gold", "extra_specs": DHSS}}).status_code == 409


def test_update(admin: Client) -> None:
    first, second = make(admin), make(admin, "silver", description="old")
    path = f"types/{second['id']}"
    assert admin.put(path, {"share_type": {"name": "gold"}}).status_code == 409
    assert admin.put(path, {"share_type": {"name": ""}}).status_code == 400
    assert admin.put(path, {"share_type": {}}).status_code == 400
    assert admin.at("2.49").put(path, {"share_type": {"name": "x"}}).status_code == 404
    changed = admin.put(path, {"share_type": {"description": "", "share_type_access:is_public": False}})
    assert changed.json()["share_type"]["description"] is None
    assert changed.json()["share_type"]["share_type_access:is_public"] is False
    assert admin.get(f"types/{first['id']}").json()["share_type"]["name"] == "gold"


def test_default(admin: Client, member: Client, plane: ControlPlane) -> None:
    assert member.get("types/default").status_code == 404
    made = make(admin)
    plane.conf.set_override("default_share_type", "gold")
    shown = member.get("types/default").json()["share_type"]
    assert (shown["id"], shown["is_default"]) == (made["id"], True)


def test_private_types_open_by_project(admin: Client, member: Client, other: Client) -> None:
    made = make(admin, **{"share_type_access:is_public": False})
    path = f"types/{made['id']}"
    assert admin.get("types").json()["share_types"] == []  # an administrator too sees what is open to its project
    assert [item["id"] for item in admin.get("types", is_public="all").json()["share_types"]] == [made["id"]]
    assert member.get("types", is_public="all").json()["share_types"] == []
    assert member.get(path).status_code == 404

    assert admin.post(f"{path}/action", {"addProjectAccess": {"project": PROJECT}}).status_code == 202
    assert admin.post(f"{path}/action", {"addProjectAccess": {"project": PROJECT}}).status_code == 409
    listed = admin.get(f"{path}/share_type_access").json()["share_type_access"]
    assert listed == [{"share_type_id": made["id"], "project_id": PROJECT}]
    assert member.get(path).status_code == 200
    assert other.get(path).status_code == 404

    assert admin.post(f"{path}/action", {"removeProjectAccess": {"project": OTHER_PROJECT}}).status_code == 404
    assert admin.post(f"{path}/action", {"removeProjectAccess": {"project": PROJECT}}).status_code == 202
    assert member.get(path).status_code == 404


def test_access_of_a_public_type(admin: Client) -> None:
    path = f"types/{make(admin)['id']}"
    assert admin.get(f"{path}/share_type_access").status_code == 404
    assert admin.post(f"{path}/action", {"addProjectAccess": {"project": PROJECT}}).status_code == 409
    assert admin.post(f"{path}/action", {"removeProjectAccess": {"project": PROJECT}}).status_code == 409
    assert admin.post(f"{path}/action", {"explode": {}}).status_code == 400
    assert admin.post(f"{path}/action", {"addProjectAccess": {}}).status_code == 400


def test_members_see_only_what_a_share_can_do(admin: Client, member: Client) -> None:
    made = make(admin, extra_specs={**DHSS, "snapshot_support": "True", "zfsonlinux:compression": "lz4"})
    shown = member.get(f"types/{made['id']}").json()["share_type"]["extra_specs"]
    assert shown == {
        **DHSS,
        "snapshot_support": "True",
        "create_share_from_snapshot_support": "False",
        "revert_to_snapshot_support": "False",
        "mount_snapshot_support": "False",
    }
    old = member.at("2.23").get(f"types/{made['id']}").json()["share_type"]["extra_specs"]
    assert old == {**DHSS, "snapshot_support": "True"}


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "types", {"share_type": {"name": "x", "extra_specs": DHSS}}),
        ("PUT", "types/{id}", {"share_type": {"name": "x"}}),
        ("DELETE", "types/{id}", None),
        ("POST", "types/{id}/action", {"addProjectAccess": {"project": PROJECT}}),
        ("GET", "types/{id}/extra_specs", None),
        ("GET", "types/{id}/extra_specs/key", None),
        ("POST", "types/{id}/extra_specs", {"extra_specs": {"a": "b"}}),
        ("PUT", "types/{id}/extra_specs/a", {"a": "b"}),
        ("DELETE", "types/{id}/extra_specs/a", None),
    ],
)
def test_members_change_nothing(admin: Client, member: Client, method: str, path: str, body: Any) -> None:
    made = make(admin)
    assert member.request(method, path.replace("{id}", made["id"]), body).status_code == 403
    assert admin.get(f"types/{made['id']}").json()["share_type"] == made


def test_extra_specs(admin: Client) -> None:
    path = f"types/{make(admin)['id']}/extra_specs"
    assert admin.post(path, {"extra_specs": {"a": "1", "b": "2"}}).json() == {"extra_specs": {"a": "1", "b": "2"}}
    assert admin.put(f"{path}/a", {"a": "3"}).json() == {"a": "3"}
    assert admin.get(f"{path}/a").json() == {"a": "3"}
    assert admin.delete(f"{path}/b").status_code == 202
    assert admin.get(path).json() == {"extra_specs": {**DHSS, "a": "3"}}


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "types/{id}/extra_specs", {"extra_specs": {}}, 400),
        ("POST", "types/{id}/extra_specs", {"extra_specs": ""}, 400),
        ("POST", "types/{id}/extra_specs", {"extra_specs": {"": "v"}}, 400),
        ("PUT", "types/{id}/extra_specs/a", {"b": "c"}, 400),
        ("PUT", "types/{id}/extra_specs/a", {"a": "1", "b": "c"}, 400),
        ("PUT", "types/{id}/extra_specs/", {"a": "1"}, 404),
        ("GET", "types/{id}/extra_specs/", None, 404),
        ("GET", "types/{id}/extra_specs/none", None, 404),
        ("GET", "types//extra_specs", None, 404),
        ("POST", "types/extra_specs", {"extra_specs": {"a": "b"}}, 404),
        ("GET", "types/nope/extra_specs", None, 404),
        ("DELETE", "types/{id}/extra_specs/none", None, 404),
        ("DELETE", "types/{id}/extra_specs/driver_handles_share_servers", None, 403),
        ("DELETE", "types/nope", None, 404),
    ],
)
def test_extra_specs_refuse(admin: Client, method: str, path: str, body: Any, status: int) -> None:
    made = make(admin)
    assert admin.request(method, path.replace("{id}", made["id"]), body).status_code == status
    assert admin.get(f"types/{made['id']}").json()["share_type"] == made


def test_filter_by_zone_keeps_types_without_zones(admin: Client) -> None:
    make(admin, "anywhere")
    zoned = make(admin, "zoned", extra_specs={**DHSS, "availability_zones": "az1,  az2, az 3"})
    assert zoned["extra_specs"]["availability_zones"] == "az1,az2,az 3"

    def names(zones: str) -> set[str]:
        found = admin.get("types", extra_specs=str({"availability_zones": zones})).json()["share_types"]
        return {item["name"] for item in found}

    assert names("az 3, az1") == {"anywhere", "zoned"}
    assert names("az9") == {"anywhere"}


def test_delete(admin: Client) -> None:
    made = make(admin)
    assert admin.delete(f"types/{made['id']}").status_code == 202
    assert admin.get(f"types/{made['id']}").status_code == 404

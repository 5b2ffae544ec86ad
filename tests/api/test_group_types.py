"""Share group types, their group specs and access, as published."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.services.control_plane import ControlPlane
from tests.api.arranging import add_type
from tests.api.conftest import PROJECT, Client

EXPERIMENTAL = {"X-OpenStack-Manila-API-Experimental": "True"}


@pytest.fixture
def share_type(plane: ControlPlane) -> str:
    return add_type(plane)


def make(admin: Client, name: str = "together", **fields: Any) -> dict[str, Any]:
    answer = admin.post("share-group-types", {"share_group_type": {"name": name, "share_types": ["gold"], **fields}})
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()["share_group_type"]
    return made


def test_what_is_made_is_shown_and_listed(admin: Client, member: Client, share_type: str) -> None:
    made = make(admin, group_specs={"a": "1"})
    assert made == {
        "id": made["id"],
        "name": "together",
        "is_public": True,
        "share_types": [share_type],
        "group_specs": {"a": "1"},
        "is_default": False,
    }
    assert member.get(f"share-group-types/{made['id']}").json() == {"share_group_type": made}
    assert member.get("share-group-types").json() == {"share_group_types": [made]}
    assert member.get("share-group-types", group_specs="{'a': '2'}").json() == {"share_group_types": []}
    before = member.at("2.65").get("share-group-types", group_specs="{'a': '2'}")
    assert before.json() == {"share_group_types": [made]}
    assert "is_default" not in member.at("2.45", **EXPERIMENTAL).get(f"share-group-types/{made['id']}").json()


def test_one_share_type_needs_no_list(admin: Client, share_type: str) -> None:
    assert make(admin, share_types=share_type)["share_types"] == [share_type]


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"name": ""}, 400),
        ({"name": None}, 400),
        ({"name": "x" * 256}, 400),
        ({"share_types": []}, 400),
        ({"share_types": ["nothing"]}, 404),
        ({"group_specs": "text"}, 400),
        ({"group_specs": {"a": 1}}, 400),
        ({"name": "taken"}, 409),
    ],
)
def test_what_cannot_be_made(admin: Client, share_type: str, fields: dict[str, Any], status: int) -> None:
    made = make(admin, "taken")
    body = {"share_group_type": {"name": "new", "share_types": ["gold"], **fields}}
    assert admin.post("share-group-types", body).status_code == status
    assert admin.get("share-group-types").json()["share_group_types"] == [made]


def test_experimental_before_2_55(admin: Client, share_type: str) -> None:
    make(admin)
    assert admin.at("2.54").get("share-group-types").status_code == 404
    assert admin.at("2.30", **EXPERIMENTAL).get("share-group-types").status_code == 404
    assert admin.at("2.31", **EXPERIMENTAL).get("share-group-types").status_code == 200


def test_only_administrators_change_types(admin: Client, member: Client, share_type: str) -> None:
    path = f"share-group-types/{make(admin)['id']}"
    assert member.post("share-group-types", {"share_group_type": {"name": "mine"}}).status_code == 403
    assert member.delete(path).status_code == 403
    assert member.get(f"{path}/group-specs").status_code == 403
    assert member.get(f"{path}/access").status_code == 403


def test_group_specs_are_set_changed_and_removed(admin: Client, share_type: str) -> None:
    specs = f"share-group-types/{make(admin, group_specs={'a': '1'})['id']}/group-specs"
    assert admin.post(specs, {"group_specs": {"b": "2"}}).json() == {"group_specs": {"b": "2"}}
    assert admin.put(f"{specs}/a", {"a": "3"}).json() == {"a": "3"}
    assert admin.put(f"{specs}/a", {"b": "3"}).status_code == 400
    assert admin.get(specs).json() == {"group_specs": {"a": "3", "b": "2"}}
    assert admin.delete(f"{specs}/a").status_code == 204
    assert admin.delete(f"{specs}/a").status_code == 404
    assert admin.get(f"{specs}/a").status_code == 404
    assert admin.get(f"{specs}/b").json() == {"b": "2"}


def test_a_private_type_is_open_to_whom_it_is_opened(admin: Client, member: Client, share_type: str) -> None:
    path = f"share-group-types/{make(admin, is_public=False)['id']}"
    project = {"project": PROJECT}
    assert member.get(path).status_code == 404
    assert admin.get("share-group-types").json()["share_group_types"] == []
    assert len(admin.get("share-group-types", is_public="all").json()["share_group_types"]) == 1
    assert admin.post(f"{path}/action", {"addProjectAccess": project}).status_code == 202
    assert admin.post(f"{path}/action", {"addProjectAccess": project}).status_code == 409
    assert member.get(path).status_code == 200
    granted = {"share_group_type_id": path.rpartition("/")[2], "project_id": PROJECT}
    assert admin.get(f"{path}/access").json() == {"share_group_type_access": [granted]}
    assert admin.post(f"{path}/action", {"removeProjectAccess": project}).status_code == 202
    assert admin.post(f"{path}/action", {"removeProjectAccess": project}).status_code == 404
    assert member.get("share-group-types").json() == {"share_group_types": []}


def test_a_public_type_has_no_list_of_projects(admin: Client, share_type: str) -> None:
    path = f"share-group-types/{make(admin)['id']}"
    assert admin.get(f"{path}/access").status_code == 404
    assert admin.post(f"{path}/action", {"addProjectAccess": {"project": PROJECT}}).status_code == 409


def test_the_default_is_configured(plane: ControlPlane, admin: Client, share_type: str) -> None:
    assert admin.get("share-group-types/default").status_code == 404
    plane.conf.set_override("default_share_group_type", "together")
    made = make(admin)
    assert made["is_default"] is True
    assert admin.get("share-group-types/default").json() == {"share_group_type": made}


def test_its_share_types_stay(admin: Client, share_type: str) -> None:
    path = f"share-group-types/{make(admin)['id']}"
    assert admin.delete(f"types/{share_type}").status_code == 400
    assert admin.delete(path).status_code == 204
    assert admin.delete(f"types/{share_type}").status_code == 202


def test_delete(admin: Client, share_type: str) -> None:
    path = f"share-group-types/{make(admin)['id']}"
    assert admin.delete(path).status_code == 204
    assert admin.delete(path).status_code == 404

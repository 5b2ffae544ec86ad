"""Types of volume groups."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.services.control_plane import ControlPlane
from tests.api.conftest import Client


def make(vadmin: Client, name: str = "tied", **wanted: Any) -> dict[str, Any]:
    answer = vadmin.post("group_types", {"group_type": {"name": name, **wanted}})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()["group_type"]
    return found


def test_life(vadmin: Client, vmember: Client) -> None:
    made = make(vadmin, description="of one moment", group_specs={"consistent_group_snapshot_enabled": "<is> True"})
    path = f"group_types/{made['id']}"
    assert set(made) == {"id", "name", "description", "is_public", "group_specs"}
    assert vmember.get(path).json() == {"group_type": made}
    assert vmember.get("group_types").json() == {"group_types": [made]}
    changed = vadmin.put(path, {"group_type": {"name": "other", "description": ""}}).json()["group_type"]
    assert (changed["name"], changed["description"]) == ("other", None)
    assert vmember.put(path, {"group_type": {"name": "x"}}).status_code == 403
    assert vmember.delete(path).status_code == 403
    assert vadmin.at("3.10").get("group_types").status_code == 404
    assert vadmin.delete(path).status_code == 202
    assert vadmin.get(path).status_code == 404


def test_specs(vadmin: Client, vmember: Client) -> None:
    path = f"group_types/{make(vadmin)['id']}/group_specs"
    answer = vadmin.post(path, {"group_specs": {"a": "1", "b": "2"}})
    assert (answer.status_code, answer.json()) == (202, {"group_specs": {"a": "1", "b": "2"}})
    assert vadmin.put(f"{path}/a", {"a": "3"}).json() == {"a": "3"}
    assert vadmin.get(f"{path}/a").json() == {"a": "3"}
    assert vadmin.get(path).json() == {"group_specs": {"a": "3", "b": "2"}}
    assert vadmin.delete(f"{path}/b").status_code == 202
    assert vadmin.delete(f"{path}/b").status_code == 404
    assert vadmin.put(f"{path}/a", {"b": "3"}).status_code == 400
    assert vadmin.post(path, {"group_specs": {}}).status_code == 400
    assert vmember.post(path, {"group_specs": {"a": "1"}}).status_code == 403


@pytest.mark.parametrize("fields", [{}, {"name": ""}, {"name": 5}, {"name": "x" * 256}, {"name": "x", "colour": "red"}])
def test_what_cannot_be_a_type(vadmin: Client, fields: dict[str, Any]) -> None:
    assert vadmin.post("group_types", {"group_type": fields}).status_code == 400
    assert vadmin.get("group_types").json() == {"group_types": []}


def test_private_and_default_types(vadmin: Client, vmember: Client, plane: ControlPlane) -> None:
    made = make(vadmin, is_public=False)
    assert vmember.get(f"group_types/{made['id']}").status_code == 404
    assert vmember.get("group_types").json() == {"group_types": []}
    assert vadmin.get("group_types", is_public="None").json() == {"group_types": [made]}
    assert vadmin.post("group_types", {"group_type": {"name": "tied"}}).status_code == 409
    assert vadmin.get("group_types/default").status_code == 404
    plane.conf.set_override("default_group_type", "tied")
    assert vadmin.get("group_types/default").json()["group_type"]["id"] == made["id"]

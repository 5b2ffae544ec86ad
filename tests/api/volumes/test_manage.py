"""Taking over what exists, other types and other places: what is refused, and what is asked of the backend."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import calls
from tests.api.conftest import Client
from tests.api.volumes.arranging import act, add_volume_type, make_snapshot, make_volume

POOL = "store1@block#tank"
UNKNOWN = "00000000-0000-4000-8000-000000000000"


@pytest.fixture
def volume_id(plane: ControlPlane, vbackend: PoolRef, vmember: Client) -> str:
    add_volume_type(plane)
    return str(make_volume(plane, vmember)["id"])


@pytest.mark.parametrize("path", ["os-volume-manage", "manageable_volumes"])
def test_taking_over_a_volume(plane: ControlPlane, vadmin: Client, vmember: Client, volume_id: str, path: str) -> None:
    body = {"volume": {"host": POOL, "ref": {"source-name": "old"}, "name": "found", "bootable": True}}
    assert vmember.post(path, body).status_code == 403
    answer = vadmin.post(path, body)
    made = answer.json()["volume"]
    assert (answer.status_code, made["status"], made["bootable"]) == (202, "managing", "true")
    (_, key, method, arguments) = calls(plane)[-1]
    assert (key, method, arguments["ref"]) == (f"volume:{made['id']}", "manage_existing", {"source-name": "old"})
    assert vadmin.at("3.7").post("manageable_volumes", body).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"host": POOL}, 400),
        ({"ref": {"source-name": "old"}}, 400),
        ({"host": POOL, "ref": {}}, 400),
        ({"host": POOL, "ref": {"source-name": 5}}, 400),
        ({"host": POOL, "ref": 5}, 400),
        ({"host": "nowhere@x#y", "ref": {"source-name": "old"}}, 404),
        ({"host": "store1@block#none", "ref": {"source-name": "old"}}, 400),
        ({"host": f"{POOL}#more", "ref": {"source-name": "old"}}, 400),
        ({"host": POOL, "ref": {"source-name": "old"}, "volume_type": "none"}, 404),
        ({"host": POOL, "ref": {"source-name": "old"}, "metadata": {"k": 5}}, 400),
        ({"cluster": "c", "ref": {"source-name": "old"}}, 400),
        ({"host": POOL, "ref": {"source-name": "old"}, "colour": "red"}, 400),
    ],
)
def test_what_cannot_be_taken_over(
    plane: ControlPlane, vadmin: Client, volume_id: str, fields: dict[str, Any], status: int
) -> None:
    before = len(calls(plane))
    assert vadmin.post("manageable_volumes", {"volume": fields}).status_code == status
    assert len(calls(plane)) == before


def test_taking_over_a_snapshot(plane: ControlPlane, vadmin: Client, vmember: Client, volume_id: str) -> None:
    body = {"snapshot": {"volume_id": volume_id, "ref": {"source-name": "old"}, "name": "found"}}
    assert vmember.post("manageable_snapshots", body).status_code == 403
    answer = vadmin.post("os-snapshot-manage", body)
    assert (answer.status_code, answer.json()["snapshot"]["status"]) == (202, "managing")
    assert calls(plane)[-1][2] == "manage_existing_snapshot"
    missing = {"snapshot": {"volume_id": UNKNOWN, "ref": {"source-name": "old"}}}
    assert vadmin.post("manageable_snapshots", missing).status_code == 404


def test_what_is_listed_needs_a_host(vadmin: Client, vmember: Client, volume_id: str) -> None:
    for path in ("manageable_volumes", "os-volume-manage/detail", "manageable_snapshots/detail"):
        assert vadmin.get(path).status_code == 400
        assert vadmin.get(path, host="nowhere@x").status_code == 404
        assert vadmin.get(path, host=POOL, marker="nothing").status_code == 400
        assert vadmin.get(path, host=POOL, sort="colour").status_code == 400
        assert vmember.get(path, host=POOL).status_code == 403


def test_letting_go(plane: ControlPlane, vadmin: Client, vmember: Client, volume_id: str) -> None:
    assert act(vmember, volume_id, "os-unmanage").status_code == 403
    snapshot_id = make_snapshot(plane, vmember, volume_id)["id"]
    assert act(vadmin, volume_id, "os-unmanage").status_code == 400
    assert vadmin.post(f"snapshots/{snapshot_id}/action", {"os-unmanage": None}).status_code == 202
    assert vmember.get(f"snapshots/{snapshot_id}").json()["snapshot"]["status"] == "unmanaging"


def test_other_types(plane: ControlPlane, vadmin: Client, vmember: Client, volume_id: str) -> None:
    add_volume_type(plane, "silver")
    add_volume_type(plane, "away", volume_backend_name="OTHER")
    add_volume_type(plane, "closed", is_public=False)
    for bad, status in (
        ({"new_type": "none"}, 404),
        ({"new_type": "closed"}, 404),
        ({"new_type": "gold"}, 400),
        ({"new_type": ""}, 400),
        ({"new_type": "silver", "migration_policy": "perhaps"}, 400),
        ({}, 400),
    ):
        assert act(vmember, volume_id, "os-retype", bad).status_code == status, bad
    assert act(vmember, volume_id, "os-retype", {"new_type": "away"}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"  # nobody can have it so
    assert vmember.get("messages", resource_uuid=volume_id).json()["messages"]
    assert act(vmember, volume_id, "os-retype", {"new_type": "silver"}).status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "retyping"
    (silver,) = (item["id"] for item in vmember.get("types").json()["volume_types"] if item["name"] == "silver")
    assert vadmin.delete(f"types/{silver}").status_code == 400  # a volume is about to have it


def test_other_places(plane: ControlPlane, vadmin: Client, vmember: Client, volume_id: str) -> None:
    assert act(vmember, volume_id, "os-migrate_volume", {"host": POOL}).status_code == 403
    for bad, status in (
        ({"host": POOL}, 400),  # there already
        ({"host": "nowhere@x#y"}, 404),
        ({"host": "store1@block#none"}, 400),
        ({}, 400),
        ({"cluster": "c"}, 400),
        ({"host": POOL, "lock_volume": "perhaps"}, 400),
        ({"host": POOL, "colour": "red"}, 400),
    ):
        assert act(vadmin, volume_id, "os-migrate_volume", bad).status_code == status, bad
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"

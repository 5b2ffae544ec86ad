"""Giving volumes to other projects."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from penstock.store.schema import volume_transfers
from tests.api.arranging import calls
from tests.api.conftest import OTHER_PROJECT, PROJECT, Client
from tests.api.volumes.arranging import act, add_volume_type, make_snapshot, make_volume

BASE = {"id", "volume_id", "name", "links", "created_at"}
NEW, OLD = "volume-transfers", "os-volume-transfer"


@pytest.fixture
def volume_id(plane: ControlPlane, vbackend: PoolRef, vmember: Client) -> str:
    add_volume_type(plane)
    return str(make_volume(plane, vmember)["id"])


def offer(client: Client, volume_id: str, path: str = NEW, **wanted: Any) -> dict[str, Any]:
    answer = client.post(path, {"transfer": {"volume_id": volume_id, **wanted}})
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()["transfer"]
    return found


def take(client: Client, offered: dict[str, Any], path: str = NEW, key: str | None = None) -> Any:
    return client.post(f"{path}/{offered['id']}/accept", {"accept": {"auth_key": key or offered["auth_key"]}})


@pytest.mark.parametrize(
    ("path", "version", "more"),
    [
        (OLD, "3.0", set()),
        (OLD, "3.54", set()),
        (NEW, "3.55", {"no_snapshots"}),
        (NEW, "3.57", {"no_snapshots", "source_project_id", "destination_project_id", "accepted"}),
        (OLD, "3.71", {"no_snapshots", "source_project_id", "destination_project_id", "accepted"}),
    ],
)
def test_life(
    plane: ControlPlane, vmember: Client, vother: Client, volume_id: str, path: str, version: str, more: set[str]
) -> None:
    ours, theirs = vmember.at(version), vother.at(version)
    offered = offer(ours, volume_id, path, name="gift")
    assert set(offered) == BASE | more | {"auth_key"}
    assert ours.get(f"volumes/{volume_id}").json()["volume"]["status"] == "awaiting-transfer"
    shown = ours.get(f"{path}/{offered['id']}").json()["transfer"]
    assert set(shown) == BASE | more
    assert ours.get(f"{path}/detail").json()["transfers"] == [shown]
    assert set(ours.get(path).json()["transfers"][0]) == {"id", "volume_id", "name", "links"}
    assert theirs.get(path).json()["transfers"] == []
    assert theirs.get(f"{path}/{offered['id']}").status_code == 404
    taken = take(theirs, offered, path)
    assert (taken.status_code, set(taken.json()["transfer"])) == (202, {"id", "volume_id", "name", "links"})
    assert ours.get(f"volumes/{volume_id}").status_code == 404
    volume = theirs.get(f"volumes/{volume_id}").json()["volume"]
    assert (volume["status"], volume["os-vol-tenant-attr:tenant_id"]) == ("available", OTHER_PROJECT)
    assert ours.get(f"{path}/{offered['id']}").status_code == 404
    assert take(theirs, offered, path).status_code == 404
    assert calls(plane)[-1][2] == "accept_transfer"


def test_the_newer_path_is_of_3_55(vmember: Client, volume_id: str) -> None:
    assert vmember.at("3.54").get(NEW).status_code == 404
    body = {"transfer": {"volume_id": volume_id, "no_snapshots": True}}
    assert vmember.at("3.54").post(OLD, body).status_code == 400


def test_only_a_hash_of_the_key_is_kept(plane: ControlPlane, vmember: Client, volume_id: str) -> None:
    offered = offer(vmember, volume_id)
    with plane.database.read() as tx:
        row = tx.execute(select(volume_transfers)).one()
    assert offered["auth_key"] not in repr(tuple(row))


def test_other_keys_do_not_open_it(vmember: Client, vother: Client, volume_id: str) -> None:
    offered = offer(vmember, volume_id)
    assert take(vother, offered, key="x" * 32).status_code == 403
    for bad in ({}, {"accept": {}}, {"accept": {"auth_key": 5}}, {"accept": {"auth_key": ""}}):
        assert vother.post(f"{NEW}/{offered['id']}/accept", bad).status_code == 400
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "awaiting-transfer"
    assert take(vother, offered).status_code == 202


def test_taken_back(vmember: Client, vother: Client, volume_id: str) -> None:
    offered = offer(vmember, volume_id)
    assert vother.delete(f"{NEW}/{offered['id']}").status_code == 404
    assert vmember.delete(f"{NEW}/{offered['id']}").status_code == 202
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"
    assert take(vother, offered).status_code == 404
    offer(vmember, volume_id)


def test_offered_volumes_stay_as_they_are(vmember: Client, volume_id: str) -> None:
    offer(vmember, volume_id)
    assert vmember.delete(f"volumes/{volume_id}").status_code == 400
    assert act(vmember, volume_id, "os-extend", {"new_size": 5}).status_code == 400
    assert vmember.post(NEW, {"transfer": {"volume_id": volume_id}}).status_code == 400
    assert vmember.post("snapshots", {"snapshot": {"volume_id": volume_id}}).status_code == 400


@pytest.mark.parametrize("no_snapshots", [True, False])
def test_snapshots_go_along_or_stay(
    plane: ControlPlane, vmember: Client, vother: Client, volume_id: str, no_snapshots: bool
) -> None:
    snapshot_id = make_snapshot(plane, vmember, volume_id)["id"]
    assert take(vother, offer(vmember, volume_id, no_snapshots=no_snapshots)).status_code == 202
    assert vmember.get(f"snapshots/{snapshot_id}").status_code == (200 if no_snapshots else 404)
    assert vother.get(f"snapshots/{snapshot_id}").status_code == (404 if no_snapshots else 200)


def test_the_taker_needs_room_and_the_type(
    plane: ControlPlane, vadmin: Client, vmember: Client, vother: Client, volume_id: str
) -> None:
    offered = offer(vmember, volume_id)
    vadmin.put(f"os-quota-sets/{OTHER_PROJECT}", {"quota_set": {"volumes": 0}})
    assert take(vother, offered).status_code == 413
    vadmin.delete(f"os-quota-sets/{OTHER_PROJECT}")
    type_id = vmember.get(f"volumes/{volume_id}").json()["volume"]["volume_type_id"]
    vadmin.put(f"types/{type_id}", {"volume_type": {"is_public": False}})
    assert take(vother, offered).status_code == 400
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["os-vol-tenant-attr:tenant_id"] == PROJECT


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ({"transfer": {}}, 400),
        ({"transfer": {"volume_id": "none"}}, 404),
        ({"transfer": {"volume_id": 5}}, 400),
        ({"transfer": {"volume_id": "none", "name": "x" * 256}}, 400),
        ({"transfer": {"volume_id": "none", "colour": "red"}}, 400),
    ],
)
def test_what_cannot_be_offered(vmember: Client, volume_id: str, body: dict[str, Any], status: int) -> None:
    assert vmember.post(NEW, body).status_code == status
    assert vmember.get(NEW).json() == {"transfers": []}

"""Backups: what is shown in each version, refused, and asked of the backend; records."""

from __future__ import annotations

import base64
import json
from typing import Any

import pytest

from penstock.domain.backups import BackupStatus
from penstock.domain.pools import PoolRef
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.services.control_plane import ControlPlane
from penstock.store import backups
from tests.api.arranging import calls
from tests.api.conftest import PROJECT, USER, Client
from tests.api.volumes.arranging import add_volume_type, finish_volume, make_snapshot, make_volume

UNKNOWN = "00000000-0000-4000-8000-000000000000"
BASE = {
    "id",
    "name",
    "links",
    "description",
    "status",
    "size",
    "object_count",
    "availability_zone",
    "container",
    "created_at",
    "updated_at",
    "fail_reason",
    "volume_id",
    "is_incremental",
    "has_dependent_backups",
    "snapshot_id",
    "data_timestamp",
}


@pytest.fixture
def volume_id(plane: ControlPlane, vbackend: PoolRef, vmember: Client) -> str:
    add_volume_type(plane)
    return str(make_volume(plane, vmember)["id"])


def back_up(plane: ControlPlane, client: Client, volume_id: str, **wanted: Any) -> str:
    """An available backup of a volume."""
    answer = client.post("backups", {"backup": {"volume_id": volume_id, **wanted}})
    assert answer.status_code == 202, answer.text
    backup_id = str(answer.json()["backup"]["id"])
    with plane.database.begin() as tx:
        backup = backups.get(tx, backup_id)
        assert backup is not None
        backups.change(tx, backup, BackupStatus.AVAILABLE, now=plane.clock.utc(), object_count=3)
    finish_volume(plane, volume_id)
    return backup_id


@pytest.mark.parametrize(
    ("version", "more"),
    [
        ("3.0", set()),
        ("3.43", {"metadata"}),
        ("3.56", {"metadata", "user_id"}),
    ],
)
def test_keys_of_each_version(
    plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str, version: str, more: set[str]
) -> None:
    client = vmember.at(version)
    backup_id = back_up(plane, client, volume_id, name="mon")
    shown = client.get(f"backups/{backup_id}").json()["backup"]
    assert set(shown) == BASE | more
    assert (shown["status"], shown["size"], shown["object_count"]) == ("available", 2, 3)
    assert client.get("backups/detail").json()["backups"] == [shown]
    assert set(client.get("backups").json()["backups"][0]) == {"id", "name", "links"}
    seen = vadmin.at("3.18").get(f"backups/{backup_id}").json()["backup"]
    assert seen["os-backup-project-attr:project_id"] == PROJECT


def test_life(plane: ControlPlane, vmember: Client, vother: Client, volume_id: str) -> None:
    made = vmember.post("backups", {"backup": {"volume_id": volume_id, "name": "mon", "metadata": {"a": "b"}}})
    backup_id = made.json()["backup"]["id"]
    assert made.json()["backup"] == {
        "id": backup_id,
        "name": "mon",
        "links": made.json()["backup"]["links"],
        "metadata": {"a": "b"},
    }
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "backing-up"
    assert calls(plane)[-1][2] == "create_backup"
    assert vother.get(f"backups/{backup_id}").status_code == 404
    assert vother.get("backups").json() == {"backups": []}
    assert vmember.get(f"backups/{backup_id}").json()["backup"]["user_id"] == USER
    assert vmember.delete(f"backups/{backup_id}").status_code == 400  # it is being made
    changed = vmember.put(f"backups/{backup_id}", {"backup": {"name": "tue", "metadata": {"c": "d"}}})
    assert (changed.status_code, changed.json()["backup"]["metadata"]) == (200, {"c": "d"})
    assert vmember.put(f"backups/{backup_id}", {"backup": {}}).status_code == 400
    assert vmember.at("3.8").put(f"backups/{backup_id}", {"backup": {"name": "x"}}).status_code == 404


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({}, 400),
        ({"volume_id": UNKNOWN}, 404),
        ({"volume_id": 5}, 400),
        ({"snapshot_id": UNKNOWN}, 404),
        ({"incremental": True}, 400),  # there is nothing it could build on
        ({"incremental": "perhaps"}, 400),
        ({"name": "x" * 256}, 400),
        ({"metadata": {"k": 5}}, 400),
        ({"colour": "red"}, 400),
    ],
)
def test_what_cannot_be_backed_up(vmember: Client, volume_id: str, fields: dict[str, Any], status: int) -> None:
    body = fields if not fields or "volume_id" in fields else {"volume_id": volume_id, **fields}
    assert vmember.post("backups", {"backup": body}).status_code == status
    assert vmember.get("backups").json() == {"backups": []}
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "available"


def test_metadata_are_of_3_43(vmember: Client, volume_id: str) -> None:
    body = {"backup": {"volume_id": volume_id, "metadata": {"a": "b"}}}
    assert vmember.at("3.42").post("backups", body).status_code == 400


def test_of_snapshots_and_incremental(plane: ControlPlane, vmember: Client, volume_id: str) -> None:
    full = back_up(plane, vmember, volume_id)
    snapshot_id = make_snapshot(plane, vmember, volume_id)["id"]
    answer = vmember.post(
        "backups", {"backup": {"volume_id": volume_id, "snapshot_id": snapshot_id, "incremental": True}}
    )
    made = vmember.get(f"backups/{answer.json()['backup']['id']}").json()["backup"]
    assert (made["is_incremental"], made["snapshot_id"]) == (True, snapshot_id)
    assert vmember.get(f"backups/{full}").json()["backup"]["has_dependent_backups"] is True
    assert vmember.delete(f"backups/{full}").status_code == 400


def test_lists(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    one, two = (back_up(plane, vmember, volume_id, name=name) for name in ("one", "two"))

    def ids(client: Client = vmember, **query: Any) -> set[str]:
        return {item["id"] for item in client.get("backups", **query).json()["backups"]}

    assert ids(name="one") == {one}
    assert ids(**{"name~": "tw"}) == {two}
    assert ids(status="error") == set()
    assert ids(volume_id=volume_id) == {one, two}
    assert ids(vadmin, all_tenants="1", project_id=PROJECT) == {one, two}
    assert ids(sort="name:asc", limit=1) == {one}
    page = vmember.get("backups", limit=1, with_count="True").json()
    assert (page["count"], page["backups_links"][0]["rel"]) == (2, "next")
    assert vmember.get("backups", colour="red").status_code == 400


def test_restoring(plane: ControlPlane, vmember: Client, volume_id: str) -> None:
    backup_id = back_up(plane, vmember, volume_id, name="mon")
    path = f"backups/{backup_id}/restore"
    small = make_volume(plane, vmember, size=1)["id"]
    assert vmember.post(path, {"restore": {"volume_id": small}}).status_code == 400
    assert vmember.post(path, {"restore": {"volume_id": UNKNOWN}}).status_code == 404
    assert vmember.post(path, {"restore": {"colour": "red"}}).status_code == 400
    assert vmember.post(f"backups/{UNKNOWN}/restore", {"restore": {}}).status_code == 404
    new = vmember.post(path, {"restore": {"name": "back"}})
    assert (new.status_code, new.json()["restore"]["volume_name"]) == (202, "back")
    assert vmember.get(f"volumes/{new.json()['restore']['volume_id']}").json()["volume"]["size"] == 2


def test_restoring_onto_a_volume(plane: ControlPlane, vmember: Client, volume_id: str) -> None:
    backup_id = back_up(plane, vmember, volume_id)
    answer = vmember.post(f"backups/{backup_id}/restore", {"restore": {"volume_id": volume_id}})
    assert answer.json()["restore"] == {"backup_id": backup_id, "volume_id": volume_id, "volume_name": ""}
    assert vmember.get(f"volumes/{volume_id}").json()["volume"]["status"] == "restoring-backup"
    finish_volume(plane, volume_id, VolumeEvent.FAILED)


def test_records(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    backup_id = back_up(plane, vmember, volume_id, name="mon", metadata={"a": "b"})
    assert vmember.get(f"backups/{backup_id}/export_record").status_code == 403
    record = vadmin.get(f"backups/{backup_id}/export_record").json()
    assert set(record["backup-record"]) == {"backup_service", "backup_url"}
    assert vadmin.post("backups/import_record", record).status_code == 409
    with plane.database.begin() as tx:
        backups.delete_backup(tx, backup_id)
    assert vmember.post("backups/import_record", record).status_code == 403
    answer = vadmin.post("backups/import_record", record)
    assert (answer.status_code, set(answer.json()["backup"])) == (201, {"id", "name", "links"})
    back = vadmin.get(f"backups/{backup_id}").json()["backup"]
    assert (back["status"], back["name"], back["size"], back["metadata"]) == ("available", "mon", 2, {"a": "b"})


def test_records_that_are_none(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    backup_id = back_up(plane, vmember, volume_id)
    good = vadmin.get(f"backups/{backup_id}/export_record").json()["backup-record"]
    with plane.database.begin() as tx:
        backups.delete_backup(tx, backup_id)
    fields = json.loads(base64.urlsafe_b64decode(good["backup_url"]))
    changed = [
        {"id": "none"},
        {"host": "nowhere@x"},
        {"parent_id": UNKNOWN},
        {"size_gib": -1},
        {"size_gib": 2**40},
        {"name": "x" * 256},
        {"colour": "red"},
        {"created_at": "yesterday"},
    ]
    texts = ["", "%%%", "AAAA", *(_record({**fields, **change}) for change in changed)]
    for text in texts:
        answer = vadmin.post("backups/import_record", {"backup-record": {**good, "backup_url": text}})
        assert answer.status_code == 400, text
    other = {"backup-record": {**good, "backup_service": "cinder.backup.drivers.swift"}}
    assert vadmin.post("backups/import_record", other).status_code == 400
    assert vadmin.get("backups", all_tenants="1").json() == {"backups": []}


def test_states_by_hand(plane: ControlPlane, vmember: Client, vadmin: Client, volume_id: str) -> None:
    path = f"backups/{back_up(plane, vmember, volume_id)}/action"
    assert vmember.post(path, {"os-reset_status": {"status": "error"}}).status_code == 403
    assert vadmin.post(path, {"os-reset_status": {"status": "glad"}}).status_code == 400
    assert vadmin.post(path, {"os-reset_status": {"status": "error"}}).status_code == 202
    assert vmember.post(path, {"os-force_delete": {}}).status_code == 403
    assert vadmin.post(path, {"os-force_delete": {}}).status_code == 202


def test_no_clusters_and_nothing_to_clean_up(vadmin: Client, vmember: Client) -> None:
    assert vadmin.get("clusters/detail").json() == {"clusters": []}
    assert vadmin.get("clusters/none").status_code == 404
    assert vadmin.put("clusters/enable", {"name": "none"}).status_code == 404
    assert vadmin.at("3.6").get("clusters").status_code == 404
    assert vadmin.post("workers/cleanup", {"host": "store1"}).json() == {"cleaning": [], "unavailable": []}
    assert vadmin.post("workers/cleanup", {"colour": "red"}).status_code == 400
    assert vmember.post("workers/cleanup", {}).status_code == 403


def _record(fields: dict[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode()

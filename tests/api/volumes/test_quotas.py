"""Quota sets and class sets of volumes, and limits."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.conftest import OTHER_PROJECT, PROJECT, Client
from tests.api.volumes.test_types import make

NAMES = ("volumes", "snapshots", "gigabytes", "per_volume_gigabytes", "backups", "backup_gigabytes", "groups")


def test_limits_and_usage(vadmin: Client, vmember: Client, vother: Client) -> None:
    make(vadmin)
    shown = vmember.get(f"os-quota-sets/{PROJECT}").json()["quota_set"]
    assert shown["id"] == PROJECT
    assert (shown["volumes"], shown["gigabytes"], shown["per_volume_gigabytes"]) == (10, 1000, -1)
    assert set(shown) == {"id", *NAMES, "volumes_gold", "snapshots_gold", "gigabytes_gold"}
    used = vmember.get(f"os-quota-sets/{PROJECT}", usage="True").json()["quota_set"]
    assert used["volumes"] == {"limit": 10, "in_use": 0, "reserved": 0}
    assert vmember.get(f"os-quota-sets/{PROJECT}/defaults").json()["quota_set"]["volumes"] == 10
    assert vother.get(f"os-quota-sets/{PROJECT}").status_code == 403


def test_setting(vadmin: Client, vmember: Client) -> None:
    make(vadmin)
    path = f"os-quota-sets/{PROJECT}"
    body = {"quota_set": {"volumes": "7", "gigabytes_gold": 5, "tenant_id": PROJECT}}
    assert vmember.put(path, body).status_code == 403
    answer = vadmin.put(path, body).json()["quota_set"]
    assert (answer["volumes"], answer["gigabytes_gold"], "id" in answer) == (7, 5, False)
    assert vmember.get(path).json()["quota_set"]["volumes"] == 7
    assert vadmin.get(f"os-quota-sets/{OTHER_PROJECT}").json()["quota_set"]["volumes"] == 10
    assert vadmin.delete(path).status_code == 200
    assert vmember.get(path).json()["quota_set"]["volumes"] == 10


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"quota_set": {}},
        {"quota_set": []},
        {"quota_set": {"volumes": -2}},
        {"quota_set": {"volumes": "many"}},
        {"quota_set": {"volumes": 2**31}},
        {"quota_set": {"volumes": None}},
        {"quota_set": {"shares": 5}},
        {"quota_set": {"volumes_none": 5}},
        {"quota_set": {"volumes": 5}, "more": 1},
    ],
)
def test_what_cannot_be_set(vadmin: Client, body: dict[str, Any]) -> None:
    assert vadmin.put(f"os-quota-sets/{PROJECT}", body).status_code == 400
    assert vadmin.get(f"os-quota-sets/{PROJECT}").json()["quota_set"]["volumes"] == 10


def test_classes(vadmin: Client, vmember: Client) -> None:
    body = {"quota_class_set": {"volumes": 3}}
    assert vmember.get("os-quota-class-sets/default").status_code == 403
    assert vadmin.put("os-quota-class-sets/default", body).json()["quota_class_set"]["volumes"] == 3
    assert vadmin.get("os-quota-class-sets/default").json()["quota_class_set"]["id"] == "default"
    assert vmember.get(f"os-quota-sets/{PROJECT}").json()["quota_set"]["volumes"] == 3


def test_the_short_form(vadmin: Client, vmember: Client) -> None:
    absolute = vmember.get("limits").json()["limits"]["absolute"]
    assert absolute == {
        "maxTotalVolumes": 10,
        "totalVolumesUsed": 0,
        "maxTotalVolumeGigabytes": 1000,
        "totalGigabytesUsed": 0,
        "maxTotalSnapshots": 10,
        "totalSnapshotsUsed": 0,
        "maxTotalBackups": 10,
        "totalBackupsUsed": 0,
        "maxTotalBackupGigabytes": 1000,
        "totalBackupGigabytesUsed": 0,
    }
    vadmin.put(f"os-quota-sets/{PROJECT}", {"quota_set": {"volumes": 7}})
    assert vadmin.get("limits", project_id=PROJECT).json()["limits"]["absolute"]["maxTotalVolumes"] == 7
    assert vadmin.at("3.38").get("limits", project_id=PROJECT).json()["limits"]["absolute"]["maxTotalVolumes"] == 10
    assert vmember.get("limits", project_id=OTHER_PROJECT).json()["limits"]["absolute"]["maxTotalVolumes"] == 7

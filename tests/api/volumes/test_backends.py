"""Volume services, hosts, zones, pools, capabilities, extensions, and filters of lists."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from tests.api.conftest import Client
from tests.api.volumes.test_types import make

HOST = "store1@block"


def test_services(vadmin: Client, vbackend: PoolRef, backend: PoolRef, admin: Client) -> None:
    (service,) = vadmin.get("os-services").json()["services"]
    assert service == {
        "binary": "cinder-volume",
        "host": HOST,
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "updated_at": service["updated_at"],
        "disabled_reason": None,
        "cluster": None,
        "replication_status": "disabled",
        "active_backend_id": None,
        "frozen": False,
        "backend_state": "up",
    }
    assert "cluster" not in vadmin.at("3.6").get("os-services").json()["services"][0]
    assert "backend_state" not in vadmin.at("3.48").get("os-services").json()["services"][0]
    assert vadmin.get("os-services", host="other").json() == {"services": []}
    assert vadmin.get("os-services", binary="cinder-volume", host="store1").json()["services"]
    assert [item["binary"] for item in admin.get("services").json()["services"]] == ["manila-share"]


def test_disabling(vadmin: Client, vbackend: PoolRef) -> None:
    name = {"host": HOST, "binary": "cinder-volume"}
    answer = vadmin.put("os-services/disable", name).json()
    assert answer == {**name, "service": "cinder-volume", "disabled": True, "status": "disabled"}
    why = {**name, "disabled_reason": "new disks"}
    assert vadmin.put("os-services/disable-log-reason", why).json()["disabled_reason"] == "new disks"
    (service,) = vadmin.get("os-services").json()["services"]
    assert (service["status"], service["disabled_reason"]) == ("disabled", "new disks")
    assert vadmin.get("os-availability-zone").json()["availabilityZoneInfo"][0]["zoneState"] == {"available": False}
    enabled = vadmin.put("os-services/enable", {"host": HOST, "service": "cinder-volume"}).json()
    assert (enabled["disabled"], enabled["disabled_reason"]) == (False, None)
    assert vadmin.get("os-availability-zone").json() == {
        "availabilityZoneInfo": [{"zoneName": "nova", "zoneState": {"available": True}}]
    }


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("os-services/disable", {"host": "nowhere", "binary": "cinder-volume"}, 404),
        ("os-services/disable", {"host": HOST}, 400),
        ("os-services/disable", {}, 400),
        ("os-services/disable-log-reason", {"host": HOST, "binary": "cinder-volume"}, 400),
        (
            "os-services/disable-log-reason",
            {"host": HOST, "binary": "cinder-volume", "disabled_reason": "x" * 256},
            400,
        ),
        (f"os-hosts/{HOST}", {"status": "perhaps"}, 400),
        ("os-hosts/nowhere", {"status": "disable"}, 404),
    ],
)
def test_services_that_cannot_be_changed(
    vadmin: Client, vbackend: PoolRef, path: str, body: dict[str, Any], status: int
) -> None:
    assert vadmin.put(path, body).status_code == status
    assert vadmin.get("os-services").json()["services"][0]["status"] == "enabled"


def test_freezing_what_is_not_there(vadmin: Client, vmember: Client, vbackend: PoolRef) -> None:
    for action in ("freeze", "thaw"):
        assert vadmin.put(f"os-services/{action}", {"host": "nowhere"}).status_code == 400
        assert vmember.put(f"os-services/{action}", {"host": HOST}).status_code == 403


def test_share_services_are_not_ours_to_change(vadmin: Client, backend: PoolRef) -> None:
    body = {"host": backend.service_host, "binary": "manila-share"}
    assert vadmin.put("os-services/disable", body).status_code == 404


def test_hosts(vadmin: Client, vbackend: PoolRef) -> None:
    (host,) = vadmin.get("os-hosts").json()["hosts"]
    assert host == {
        "host_name": HOST,
        "service": "cinder-volume",
        "zone": "nova",
        "service-status": "available",
        "service-state": "enabled",
        "last-update": host["last-update"],
    }
    (total,) = vadmin.get(f"os-hosts/{HOST}").json()["host"]
    assert total == {
        "resource": {
            "host": HOST,
            "project": "(total)",
            "volume_count": "0",
            "total_volume_gb": "0",
            "snapshot_count": "0",
            "total_snapshot_gb": "0",
        }
    }
    assert vadmin.get("os-hosts/nowhere").status_code == 404
    assert vadmin.put(f"os-hosts/{HOST}", {"status": "disable"}).json() == {"host": HOST, "status": "disabled"}


def test_pools(vadmin: Client, vbackend: PoolRef, backend: PoolRef, admin: Client) -> None:
    assert vadmin.get("scheduler-stats/get_pools").json() == {"pools": [{"name": "store1@block#tank"}]}
    (pool,) = vadmin.get("scheduler-stats/get_pools", detail="True").json()["pools"]
    assert pool["capabilities"]["storage_protocol"] == "iSCSI"
    assert pool["capabilities"]["timestamp"]
    assert vadmin.get("scheduler-stats/get_pools", name="x@y#z").json() == {"pools": []}
    assert vadmin.get("scheduler-stats/get_pools", storage_protocol="FC").json() == {"pools": []}
    assert len(vadmin.at("3.27").get("scheduler-stats/get_pools", storage_protocol="FC").json()["pools"]) == 1
    make(vadmin, "away", extra_specs={"volume_backend_name": "OTHER"})
    assert vadmin.get("scheduler-stats/get_pools", volume_type="away").json() == {"pools": []}
    assert vadmin.get("scheduler-stats/get_pools", volume_type="none").status_code == 404
    assert [item["name"] for item in admin.get("scheduler-stats/pools").json()["pools"]] == [str(backend)]


def test_capabilities(vadmin: Client, vbackend: PoolRef) -> None:
    found = vadmin.get(f"capabilities/{HOST}").json()
    assert found["namespace"] == f"OS::Storage::Capabilities::{HOST}"
    assert (found["vendor_name"], found["driver_version"], found["pool_name"]) == ("Penstock", "1.0", None)
    assert set(found["properties"]) == {"thin_provisioning_support", "QoS_support"}
    assert vadmin.get("capabilities/nowhere").status_code == 404


def test_only_administrators_look_at_backends(vmember: Client, vbackend: PoolRef) -> None:
    for path in ("os-services", "os-hosts", f"os-hosts/{HOST}", "scheduler-stats/get_pools", f"capabilities/{HOST}"):
        assert vmember.get(path).status_code == 403, path
    assert vmember.get("os-availability-zone").status_code == 200


def test_extensions_and_filters(vmember: Client) -> None:
    assert "Hosts" in {item["name"] for item in vmember.get("extensions").json()["extensions"]}
    assert vmember.get("extensions/os-hosts").json()["extension"]["alias"] == "os-hosts"
    assert vmember.get("extensions/none").status_code == 404
    found = vmember.get("resource_filters", resource="backup").json()
    assert found == {"resource_filters": [{"resource": "backup", "filters": ["name", "status", "volume_id"]}]}
    assert vmember.at("3.32").get("resource_filters").status_code == 404

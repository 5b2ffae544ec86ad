"""Services, availability zones, pools, messages."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.context import RequestContext
from penstock.domain.message_codes import MessageAction, MessageDetail, MessageResource
from penstock.domain.pools import PoolRef
from penstock.ids import new_id
from penstock.services import messages
from penstock.services.control_plane import ControlPlane
from tests.api.conftest import PROJECT, USER, Client
from tests.api.test_types import DHSS, make


def test_services(admin: Client, member: Client, backend: PoolRef, clock: ManualClock) -> None:
    (service,) = admin.get("services").json()["services"]
    assert service == {
        "id": 1,
        "binary": "manila-share",
        "host": backend.service_host,
        "zone": "nova",
        "status": "enabled",
        "state": "up",
        "updated_at": service["updated_at"],
    }
    assert member.get("services").status_code == 403
    clock.advance(61)
    assert admin.get("services").json()["services"][0]["state"] == "down"


@pytest.mark.parametrize(
    ("name", "value", "found"),
    [
        ("host", "store1@alpha", 1),
        ("host", "store1", 0),
        ("binary", "manila-share", 1),
        ("binary", "x", 0),
        ("zone", "nova", 1),
        ("zone", "x", 0),
        ("status", "enabled", 1),
        ("status", "disabled", 0),
        ("state", "up", 1),
        ("state", "down", 0),
        ("colour", "blue", 1),
    ],
)
def test_service_filters(admin: Client, backend: PoolRef, name: str, value: str, found: int) -> None:
    assert len(admin.get("services", **{name: value}).json()["services"]) == found


def test_disable_and_enable(admin: Client, member: Client, backend: PoolRef) -> None:
    body = {"host": backend.service_host, "binary": "manila-share"}
    assert admin.put("services/disable", body).json()["disabled"] is True
    assert admin.get("services").json()["services"][0]["status"] == "disabled"
    assert admin.at("2.6").put("os-services/enable", body).json()["disabled"] is False
    assert admin.put("services/enable", {"host": "x", "binary": "y"}).status_code == 404
    assert admin.put("services/enable", {"host": "x"}).status_code == 400
    assert member.put("services/enable", body).status_code == 403


@pytest.mark.parametrize(
    ("path", "version", "status"),
    [
        ("services", "2.6", 404),
        ("os-services", "2.7", 404),
        ("os-services", "2.6", 200),
        ("availability-zones", "2.6", 404),
        ("os-availability-zone", "2.7", 404),
        ("os-availability-zone", "2.6", 200),
        ("messages", "2.36", 404),
        ("extensions", "2.73", 200),
    ],
)
def test_paths_by_version(admin: Client, path: str, version: str, status: int) -> None:
    assert admin.at(version).get(path).status_code == status


def test_zones(member: Client, backend: PoolRef) -> None:
    (zone,) = member.get("availability-zones").json()["availability_zones"]
    assert set(zone) == {"id", "name", "created_at", "updated_at"}
    assert zone["name"] == "nova"


def test_pools(admin: Client, member: Client, backend: PoolRef) -> None:
    (pool,) = admin.get("scheduler-stats/pools").json()["pools"]
    assert pool == {"name": "store1@alpha#tank", "host": "store1", "backend": "alpha", "pool": "tank"}
    (pool,) = admin.get("scheduler-stats/pools/detail").json()["pools"]
    assert pool["capabilities"]["total_capacity_gb"] == 100.0
    assert member.get("scheduler-stats/pools").status_code == 403


@pytest.mark.parametrize(
    ("query", "status", "found"),
    [
        ({"host": "^store1$", "backend": "^alpha$", "pool": "^tank$"}, 200, 1),
        ({"host": "foo", "backend": "bar", "pool": "shark"}, 200, 0),
        ({"pool": "("}, 400, None),
        ({"share_type": "any"}, 200, 1),
        ({"share_type": "elsewhere"}, 200, 0),
        ({"share_type": "nope"}, 404, None),
    ],
)
def test_pool_filters(admin: Client, backend: PoolRef, query: dict[str, str], status: int, found: int | None) -> None:
    make(admin, "any")
    make(admin, "elsewhere", extra_specs={**DHSS, "share_backend_name": "OMEGA"})
    answer = admin.get("scheduler-stats/pools", **query)
    assert answer.status_code == status
    assert found is None or len(answer.json()["pools"]) == found


@pytest.fixture
def told(plane: ControlPlane, clock: ManualClock) -> list[str]:
    """Resource ids of three messages, a minute apart."""
    context = RequestContext(USER, PROJECT)
    ids = [new_id() for _ in range(3)]
    for resource_id in ids:
        with plane.database.begin() as tx:
            messages.add(
                tx,
                plane,
                context,
                resource_type=MessageResource.SHARE,
                resource_id=resource_id,
                action=MessageAction.ALLOCATE_HOST,
                detail=MessageDetail.NO_VALID_HOST,
                text="No storage could be allocated for this share request.",
            )
        clock.advance(60)
    return ids


def listed(client: Client, **query: Any) -> list[str]:
    return [item["resource_id"] for item in client.get("messages", **query).json()["messages"]]


def test_messages(member: Client, other: Client, told: list[str]) -> None:
    assert listed(member) == told[::-1]
    assert listed(other) == []
    (message,) = member.get("messages", resource_id=told[0]).json()["messages"]
    assert set(message) == {
        "created_at",
        "action_id",
        "detail_id",
        "expires_at",
        "id",
        "message_level",
        "request_id",
        "resource_type",
        "resource_id",
        "user_message",
        "project_id",
        "links",
    }
    assert (message["action_id"], message["message_level"]) == ("001", "ERROR")
    path = f"messages/{message['id']}"
    assert member.get(path).json() == {"message": message}
    assert other.get(path).status_code == 404
    assert other.delete(path).status_code == 404
    assert member.delete(path).status_code == 204
    assert member.delete(path).status_code == 404
    assert listed(member) == told[:0:-1]


def test_messages_in_parts(member: Client, told: list[str]) -> None:
    answer = member.get("messages", sort_key="created_at", sort_dir="asc", limit=2).json()
    assert [item["resource_id"] for item in answer["messages"]] == told[:2]
    (link,) = answer["messages_links"]
    assert link["rel"] == "next"
    rest = member.http.get(link["href"], headers={"X-Auth-Token": "member", "X-OpenStack-Manila-API-Version": "2.73"})
    assert [item["resource_id"] for item in rest.json()["messages"]] == told[2:]


@pytest.mark.parametrize(
    "query",
    [
        {"limit": "-1"},
        {"limit": "x"},
        {"limit": "9" * 40},
        {"offset": "-1"},
        {"offset": "x"},
        {"sort_key": "colour"},
        {"sort_dir": "up"},
        {"created_since": "yesterday"},
        {"created_before": "x"},
    ],
)
def test_bad_queries(member: Client, query: dict[str, str]) -> None:
    assert member.get("messages", **query).status_code == 400


def test_messages_by_time(member: Client, told: list[str], clock: ManualClock) -> None:
    assert listed(member, created_since="2026-01-01 00:00:30") == told[:0:-1]
    assert listed(member, created_before="2026-01-01T00:01:00Z") == told[1::-1]


def test_messages_expire(member: Client, plane: ControlPlane, told: list[str], clock: ManualClock) -> None:
    clock.advance(plane.conf.message_ttl)
    assert messages.prune(plane) == 3
    assert listed(member) == []


def test_expired_now(member: Client, told: list[str]) -> None:
    assert listed(member.at("2.51"), created_since="ignored before 2.52") == told[::-1]

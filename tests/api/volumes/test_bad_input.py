"""Garbage of every kind at every path: each gets a published fault with a sentence, and changes nothing."""

from __future__ import annotations

import re
from typing import Any

import pytest

from penstock.api.routing import Route
from penstock.api.volumes.routes import RESOURCES
from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from penstock.store.schema import metadata
from tests.api.conftest import Client
from tests.api.volumes.arranging import add_volume_type, make_snapshot, make_volume

ROUTES = [route for routes in RESOURCES for route in routes.all]
WRITING = [route for route in ROUTES if route.method in ("POST", "PUT")]
READING = [route for route in ROUTES if route.method == "GET"]
PARTS = re.compile(r"\{[^}]+\}")
GARBAGE: tuple[Any, ...] = (
    None,
    [],
    "text",
    7,
    {"": {}},
    {"colour": "red"},
    {"a": {"b": {"c": [1, None, {"d": "e"}]}}},
)
QUERIES = (
    "limit=-1",
    "limit=x",
    "offset=-1",
    "sort=colour",
    "sort_key=colour",
    "sort=name:up",
    "marker=%00",
    "all_tenants=perhaps",
    "metadata=%7B",
    "name=%00",
    "with_count=perhaps",
    "created_at=lt:x",
    "is_public=perhaps",
    "usage=perhaps",
    "detail=perhaps",
    "extra_specs=x",
)


def everything(plane: ControlPlane) -> dict[str, list[Any]]:
    """All rows of all tables."""
    with plane.database.read() as tx:
        return {table.name: sorted(map(repr, tx.execute(table.select()))) for table in metadata.sorted_tables}


@pytest.fixture
def ids(plane: ControlPlane, vbackend: PoolRef, vadmin: Client) -> dict[str, str]:
    """Things the administrator has, so that a path leads somewhere."""
    type_id = add_volume_type(plane)
    volume_id = str(make_volume(plane, vadmin)["id"])
    snapshot_id = str(make_snapshot(plane, vadmin, volume_id)["id"])
    specs = vadmin.post("qos-specs", {"qos_specs": {"name": "slow"}}).json()["qos_specs"]["id"]
    return {"type_id": type_id, "volume_id": volume_id, "snapshot_id": snapshot_id, "specs_id": specs}


def path_of(route: Route, ids: dict[str, str]) -> str:
    return PARTS.sub(lambda match: ids.get(match[0][1:-1], "00000000-0000-4000-8000-000000000000"), route.pattern)


def check(answer: Any, what: str) -> None:
    """A published fault with a sentence; or, of some questions, an answer."""
    assert answer.status_code < 500, f"{what}: {answer.text}"
    if answer.status_code >= 400:
        assert answer.headers["content-type"] == "application/json", f"{what}: {answer.status_code} {answer.text[:200]}"
        (fault,) = answer.json().values()
        assert fault["code"] == answer.status_code
        assert len(fault["message"]) > 10, what
        assert "Traceback" not in answer.text


@pytest.mark.parametrize("body", GARBAGE, ids=repr)
def test_bodies(plane: ControlPlane, vadmin: Client, ids: dict[str, str], body: Any) -> None:
    before = everything(plane)
    for route in WRITING:
        sent = {route.action: body} if route.action else body
        if route.action and body is None:
            continue  # nothing is what some actions take
        answer = vadmin.request(route.method, path_of(route, ids), sent)
        what = f"{route.method} {route.pattern} {route.action or ''} {sent}"
        check(answer, what)
        if route.action != "os-complete" and route.pattern != "workers/cleanup":  # clients send anything, or nothing
            assert answer.status_code >= 400, what
    assert everything(plane) == before


@pytest.mark.parametrize("text", ["{", "", "[1,", "\x00", "nul", '{"volume": NaN}', "[" * 5000])
def test_bodies_that_are_not_json(plane: ControlPlane, vadmin: Client, ids: dict[str, str], text: str) -> None:
    before = everything(plane)
    for route in WRITING:
        path = f"/volume/v3/{path_of(route, ids)}"
        headers = {"X-Auth-Token": "admin", "OpenStack-API-Version": "volume 3.71", "Content-Type": "application/json"}
        answer = vadmin.http.request(route.method, path, content=text, headers=headers)
        check(answer, f"{route.method} {route.pattern}")
    assert everything(plane) == before


@pytest.mark.parametrize("query", QUERIES)
def test_queries(plane: ControlPlane, vadmin: Client, vmember: Client, ids: dict[str, str], query: str) -> None:
    before = everything(plane)
    for route in READING:
        if route.pattern.endswith(("associate", "disassociate", "disassociate_all")):
            continue  # published: these change things
        for client in (vadmin, vmember):
            check(client.request("GET", f"{path_of(route, ids)}?{query}"), f"GET {route.pattern}?{query}")
    assert everything(plane) == before


@pytest.mark.parametrize(
    "part", ["%00", "x" * 300, "..", "%2e%2e", "a%0ab", "\u0663", "%ff", " ", "'; DROP TABLE volumes"]
)
def test_ids_that_are_none(plane: ControlPlane, vadmin: Client, ids: dict[str, str], part: str) -> None:
    before = everything(plane)
    for route in ROUTES:
        if "{" not in route.pattern or route.pattern.startswith(("os-quota", "default-types", "capabilities")):
            continue
        body = {route.action: {}} if route.action else {}
        answer = vadmin.request(route.method, PARTS.sub(part, route.pattern), body if route.method != "GET" else None)
        check(answer, f"{route.method} {route.pattern} {part}")
    assert everything(plane) == before


def test_every_path_needs_a_token(vadmin: Client) -> None:
    for route in ROUTES:
        assert vadmin.http.request(route.method, f"/volume/v3/{PARTS.sub('x', route.pattern)}").status_code == 401


def test_readers_change_nothing(plane: ControlPlane, vreader: Client, ids: dict[str, str]) -> None:
    before = everything(plane)
    for route in ROUTES:
        if route.method == "GET" and not route.pattern.endswith(("associate", "disassociate", "disassociate_all")):
            continue
        answer = vreader.request(route.method, path_of(route, ids), {route.action: {}} if route.action else {})
        assert answer.status_code in (400, 403, 404), f"{route.method} {route.pattern} {route.action}: {answer.text}"
    assert everything(plane) == before


@pytest.mark.parametrize("name", ["a\x00b", "a\nb", "x" * 256, " ", 5, None])
def test_a_name_of_qos_specs_is_one_line(plane: ControlPlane, vadmin: Client, name: object) -> None:
    before = everything(plane)
    answer = vadmin.post("qos-specs", {"qos_specs": {"name": name, "consumer": "back-end"}})
    assert (answer.status_code, everything(plane)) == (400, before)


@pytest.mark.parametrize("ref", ["a\x00b", "x" * 5000, {"source-name": "x" * 5000}, {"source-id": "\x00"}])
def test_a_reference_is_no_longer_than_a_name_can_be(vadmin: Client, ids: dict[str, str], ref: object) -> None:
    answer = vadmin.post("manageable_snapshots", {"snapshot": {"volume_id": ids["volume_id"], "ref": ref}})
    assert answer.status_code == 400
    assert len(answer.text) < 400


def test_a_sentence_quotes_little_of_what_was_sent(plane: ControlPlane, vadmin: Client) -> None:
    wanted = {"provider": "luks", "control_location": "x" * 70_000}
    answer = vadmin.post(f"types/{add_volume_type(plane, name='t')}/encryption", {"encryption": wanted})
    assert answer.status_code == 400
    assert "control_location" in answer.text
    assert len(answer.text) < 400

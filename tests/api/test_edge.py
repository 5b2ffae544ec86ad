"""What every request meets before it has a meaning: size, form, path, method, ids, and errors of ours."""

from __future__ import annotations

import re
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import BackendFault, QuotaExceeded, Unavailable
from penstock.services.control_plane import ControlPlane
from tests.api.conftest import Client, FixedTokens

REQUEST_ID = re.compile(r"req-[0-9a-f-]{36}")
JSON = {"Content-Type": "application/json"}


def raw(client: Client, content: Any, **headers: str) -> Any:
    headers = {"X-Auth-Token": "admin", "X-OpenStack-Manila-API-Version": "2.73", **JSON, **headers}
    return client.http.post("/v2/types", content=content, headers=headers)


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        pytest.param(b"{", "not JSON", id="cut"),
        pytest.param(b"", "needs a JSON body", id="empty"),
        pytest.param(b"\xff\xfe", "not JSON", id="not-utf8"),
        pytest.param(b"[]", "Expected `object`", id="list"),
        pytest.param(b'{"share_type": 7}', "share_type", id="wrong-type"),
        pytest.param(b'{"share_type": {}} x', "not JSON", id="more-behind"),
    ],
)
def test_bodies_that_cannot_be(admin: Client, content: bytes, kind: str) -> None:
    answer = raw(admin, content)
    assert answer.status_code == 400
    assert kind in answer.json()["badRequest"]["message"]


def test_deep_nesting_is_refused(admin: Client) -> None:
    assert raw(admin, b'{"share_type":' + b"[" * 50_000 + b"]" * 50_000 + b"}").status_code == 400


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "application/x-www-form-urlencoded", "json"])
def test_other_content_types_are_refused(admin: Client, kind: str) -> None:
    answer = raw(admin, b"{}", **{"Content-Type": kind})
    assert answer.status_code == 400
    assert "Content-Type" in answer.json()["badRequest"]["message"]


@pytest.mark.parametrize("kind", ["application/json; charset=UTF-8", "application/vnd.openstack.share+json"])
def test_json_by_any_name(admin: Client, kind: str) -> None:
    assert "share_type" in raw(admin, b"{}", **{"Content-Type": kind}).json()["badRequest"]["message"]


def test_large_bodies_are_refused(admin: Client, plane: ControlPlane) -> None:
    most = plane.conf.oslo_middleware.max_request_body_size
    answer = raw(admin, b" " * (most + 1))
    assert answer.status_code == 413
    assert answer.json()["overLimit"]["code"] == 413

    def stream() -> Any:
        for _ in range(most // 1024 + 1):
            yield b" " * 1024

    assert raw(admin, stream()).status_code == 413
    assert raw(admin, b" " * most).status_code == 400


@pytest.mark.parametrize(
    ("method", "path", "status", "name"),
    [
        ("GET", "/nope", 404, "itemNotFound"),
        ("GET", "/v1", 404, "itemNotFound"),
        ("GET", "/v2/nope", 404, "itemNotFound"),
        ("GET", "/v2/types/a/b/c", 404, "itemNotFound"),
        ("GET", "/v2/types/", 404, "itemNotFound"),
        ("PATCH", "/v2/types", 405, "badMethod"),
        ("POST", "/", 405, "badMethod"),
        ("GET", "/v2/types/a%00b", 400, "badRequest"),
        ("BREW", "/v2/types", 405, "badMethod"),
    ],
)
def test_paths_and_methods(http: TestClient, method: str, path: str, status: int, name: str) -> None:
    answer = http.request(method, path, headers={"X-Auth-Token": "admin", "X-OpenStack-Manila-API-Version": "2.73"})
    assert answer.status_code == status
    assert answer.json()[name]["code"] == status
    if status == 405:
        assert "GET" in answer.headers["allow"]


def test_head_is_get_without_the_body(http: TestClient) -> None:
    headers = {"X-Auth-Token": "admin"}
    got, asked = http.get("/v2/types", headers=headers), http.head("/v2/types", headers=headers)
    assert asked.status_code == 200
    assert asked.content == b""
    assert asked.headers["content-length"] == got.headers["content-length"]


@pytest.mark.parametrize("token", [None, "nobody", "x" * 10_000])
def test_no_token_no_answer(http: TestClient, token: str | None) -> None:
    answer = http.get("/v2/types", headers={} if token is None else {"X-Auth-Token": token})
    assert answer.status_code == 401
    assert answer.json()["unauthorized"]["code"] == 401
    assert answer.headers["www-authenticate"].startswith("Keystone")


def test_unscoped_tokens_are_for_identity_only(http: TestClient) -> None:
    assert http.get("/v2/types", headers={"X-Auth-Token": "unscoped"}).status_code == 403


def test_request_ids(http: TestClient) -> None:
    mine = "req-11111111-2222-3333-4444-555555555555"
    answer = http.get("/v2/", headers={"X-OpenStack-Request-ID": mine})
    made = answer.headers["x-openstack-request-id"]
    assert REQUEST_ID.fullmatch(made)
    assert made != mine
    assert answer.headers["x-compute-request-id"] == made


@pytest.mark.parametrize("host", ["a b", 'evil"><', "x" * 300])
def test_odd_hosts_are_not_repeated(http: TestClient, host: str) -> None:
    assert host not in http.get("/", headers={"Host": host}).text


def test_configured_address(plane: ControlPlane) -> None:
    plane.conf.set_override("public_endpoint", "https://storage.example.org/", group="identity")
    answer = TestClient(make_app(plane, tokens=FixedTokens())).get("/v2/")
    assert answer.json()["versions"][0]["links"][1]["href"] == "https://storage.example.org/v2/"


def failing(error: Exception) -> Routes:
    routes = Routes()

    @routes.get("failing")
    def fail(request: ApiRequest) -> Answer:
        raise error

    return routes


@pytest.mark.parametrize(
    ("error", "status", "name", "told"),
    [
        pytest.param(QuotaExceeded("over"), 413, "overLimit", "over", id="quota"),
        pytest.param(Unavailable("later"), 503, "serviceUnavailable", "later", id="unavailable"),
        pytest.param(BackendFault("what"), 500, "computeFault", "what", id="backend"),
        pytest.param(ZeroDivisionError("secret of ours"), 500, "computeFault", "req-", id="crash"),
    ],
)
def test_faults(plane: ControlPlane, error: Exception, status: int, name: str, told: str) -> None:
    http = TestClient(make_app(plane, tokens=FixedTokens(), resources=[failing(error)]))
    answer = http.get("/v2/failing", headers={"X-Auth-Token": "admin"})
    assert answer.status_code == status
    assert told in answer.json()[name]["message"]
    assert "secret" not in answer.text
    if status == 413:
        assert answer.headers["retry-after"] == "0"
        assert answer.json()[name]["retryAfter"] == "0"


def test_health_and_metrics(http: TestClient) -> None:
    assert http.get("/healthz").json()["status"] == "ok"
    http.get("/v2/")
    found = http.get("/metrics")
    assert found.headers["content-type"].startswith("text/plain")
    assert 'penstock_api_requests_total{method="GET",route="/v2",status="200"}' in found.text

"""The volume API's version documents, negotiation and paths."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from penstock.api.microversion import VOLUME_MAX
from tests.api.conftest import PROJECT, Client

STANDARD = "OpenStack-API-Version"


@pytest.mark.parametrize(
    ("path", "status"), [("/volume", 300), ("/volume/", 300), ("/volume/v3", 200), ("/volume/v3/", 200)]
)
def test_discovery_needs_no_token(http: TestClient, path: str, status: int) -> None:
    answer = http.get(path)
    assert answer.status_code == status
    (version,) = answer.json()["versions"]
    assert (version["id"], version["status"]) == ("v3.0", "CURRENT")
    assert (version["min_version"], version["version"]) == ("3.0", VOLUME_MAX)
    assert {"rel": "self", "href": "http://testserver/volume/v3/"} in version["links"]


@pytest.mark.parametrize("path", ["/volume/", "/volume/v3/"])
def test_version_documents_are_only_read(http: TestClient, path: str) -> None:
    answer = http.post(path)
    assert answer.status_code == 405
    assert answer.json()["badMethod"]["code"] == 405


def test_no_other_versions(http: TestClient) -> None:
    answer = http.get("/volume/v2/volumes", headers={"X-Auth-Token": "member"})
    assert answer.status_code == 404
    assert "itemNotFound" in answer.json()


@pytest.mark.parametrize(
    ("headers", "status", "version"),
    [
        pytest.param({}, 200, "3.0", id="none"),
        pytest.param({STANDARD: "volume 3.0"}, 200, "3.0", id="lowest"),
        pytest.param({STANDARD: f"volume {VOLUME_MAX}"}, 200, VOLUME_MAX, id="highest"),
        pytest.param({STANDARD: "volume latest"}, 200, VOLUME_MAX, id="latest"),
        pytest.param({STANDARD: "compute 2.90, volume 3.27"}, 200, "3.27", id="several"),
        pytest.param({STANDARD: "compute 2.90"}, 200, "3.0", id="not-for-us"),
        pytest.param({STANDARD: "volume 3.2.1"}, 400, None, id="three-parts"),
        pytest.param({STANDARD: "volume 3.07"}, 400, None, id="leading-zero"),
        pytest.param({STANDARD: "volume three"}, 400, None, id="word"),
        pytest.param({STANDARD: "volume 2.9"}, 406, None, id="too-old"),
        pytest.param({STANDARD: "volume 3.999"}, 406, None, id="too-new"),
    ],
)
@pytest.mark.parametrize("path", ["/volume/v3/types", f"/volume/v3/{PROJECT}/types"])
def test_negotiation(http: TestClient, path: str, headers: dict[str, str], status: int, version: str | None) -> None:
    answer = http.get(path, headers={**headers, "X-Auth-Token": "member"})
    assert answer.status_code == status
    if version is not None:
        assert answer.headers[STANDARD] == f"volume {version}"
        assert answer.headers["vary"] == STANDARD
    else:
        (body,) = answer.json().values()
        assert body["code"] == status


def test_the_answer_to_an_unknown_version(vmember: Client) -> None:
    message = f"Version 9.9 is not supported by the API. Minimum is 3.0 and maximum is {VOLUME_MAX}."
    assert vmember.at("9.9").get("types").json() == {"computeFault": {"code": 406, "message": message}}


def test_a_resource_that_a_version_does_not_have(vadmin: Client) -> None:
    assert vadmin.at("3.61").get("default-types").status_code == 404
    assert vadmin.at("3.62").get("default-types").status_code == 200


def test_another_projects_path(vmember: Client, vadmin: Client) -> None:
    assert vmember.get(f"{'2' * 32}/types").status_code == 400
    assert vadmin.get(f"{'2' * 32}/types").status_code == 200


def test_tokens_are_needed(http: TestClient) -> None:
    assert http.get("/volume/v3/types").status_code == 401
    assert http.get("/volume/v3/types", headers={"X-Auth-Token": "unscoped"}).status_code == 403

"""Version documents and negotiation."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from penstock.api.microversion import MAX, ApiVersion, versions
from penstock.errors import Invalid
from tests.api.conftest import Client

OWN, STANDARD = "X-OpenStack-Manila-API-Version", "OpenStack-API-Version"


def test_root_lists_every_api_without_a_token(http: TestClient) -> None:
    answer = http.get("/")
    assert answer.status_code == 300
    assert OWN not in answer.headers
    assert "vary" not in answer.headers
    share, identity = answer.json()["versions"]
    assert (share["id"], share["status"], share["min_version"], share["version"]) == ("v2.0", "CURRENT", "2.0", MAX)
    assert share["links"][1] == {"rel": "self", "href": "http://testserver/v2/"}
    assert identity["links"][0]["href"] == "http://testserver/v3/"


@pytest.mark.parametrize("path", ["/", "/v2", "/v2/"])
@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
def test_version_documents_are_only_read(http: TestClient, path: str, method: str) -> None:
    answer = http.request(method, path)
    assert answer.status_code == 405
    assert answer.headers["allow"] == "GET"
    assert answer.json()["badMethod"]["code"] == 405


@pytest.mark.parametrize("path", ["/v2", "/v2/"])
def test_v2_is_open_and_says_its_version(http: TestClient, path: str) -> None:
    answer = http.get(path)
    assert answer.status_code == 200
    assert [item["id"] for item in answer.json()["versions"]] == ["v2.0"]
    assert answer.headers[OWN] == "2.0"
    assert answer.headers[STANDARD] == "shared-file-system 2.0"
    assert OWN in answer.headers["vary"].split(",")


@pytest.mark.parametrize(
    ("headers", "status", "version"),
    [
        pytest.param({}, 200, "2.0", id="none"),
        pytest.param({OWN: "2.0"}, 200, "2.0", id="lowest"),
        pytest.param({OWN: MAX}, 200, MAX, id="highest"),
        pytest.param({OWN: "latest"}, 200, MAX, id="latest"),
        pytest.param({STANDARD: "shared-file-system 2.7"}, 200, "2.7", id="standard"),
        pytest.param({STANDARD: "volume 3.60, shared-file-system 2.7"}, 200, "2.7", id="several"),
        pytest.param({STANDARD: "volume 3.60"}, 200, "2.0", id="not-for-us"),
        pytest.param({OWN: "2.9", STANDARD: "shared-file-system 2.7"}, 200, "2.9", id="both"),
        pytest.param({OWN: "1.2.1"}, 400, None, id="three-parts"),
        pytest.param({OWN: "2.07"}, 400, None, id="leading-zero"),
        pytest.param({OWN: "two"}, 400, None, id="word"),
        pytest.param({OWN: "2.999999"}, 400, None, id="long"),
        pytest.param({OWN: "1.9"}, 406, None, id="too-old"),
        pytest.param({OWN: "2.999"}, 406, None, id="too-new"),
        pytest.param({STANDARD: "shared-file-system 3.66"}, 406, None, id="standard-too-new"),
    ],
)
@pytest.mark.parametrize("path", ["/v2/", "/v2/types"])
def test_negotiation(http: TestClient, path: str, headers: dict[str, str], status: int, version: str | None) -> None:
    answer = http.get(path, headers={**headers, "X-Auth-Token": "member"})
    assert answer.status_code == status
    if version is not None:
        assert answer.headers[OWN] == version
        assert answer.headers[STANDARD] == f"shared-file-system {version}"
    else:
        (body,) = answer.json().values()
        assert body["code"] == status


def test_the_answer_to_an_unknown_version(http: TestClient) -> None:
    answer = http.get("/v2/", headers={OWN: "9.9"})
    assert answer.json() == {
        "computeFault": {
            "code": 406,
            "message": f"Version 9.9 is not supported by the API. Minimum is 2.0 and maximum is {MAX}.",
        }
    }


def test_versions_compare_by_number() -> None:
    assert ApiVersion.parse("2.9") < ApiVersion.parse("2.10")
    assert ApiVersion.parse("2.10").at_least("2.10")
    assert not ApiVersion.parse("2.9").at_least("2.10")
    assert ApiVersion.parse("2.6") in versions("2.0", "2.6")
    assert ApiVersion.parse("2.7") not in versions("2.0", "2.6")
    with pytest.raises(Invalid):
        ApiVersion.parse("2.\u0667")


def test_project_in_the_path(admin: Client, member: Client) -> None:
    project = "1" * 32
    assert member.get(f"{project}/types").status_code == 200
    assert member.at("2.60").get(f"{project}/types").status_code == 200
    assert member.get(f"{'2' * 32}/types").status_code == 400
    assert admin.get(f"{project}/types").status_code == 200
    assert member.get(f"{project}/").status_code == 404
    assert member.get(project).status_code == 404

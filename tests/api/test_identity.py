"""The built-in Identity v3 subset: logging in, tokens, accounts, credentials."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.clock import ManualClock
from penstock.domain.identity import Role, with_implied
from penstock.errors import Invalid, Unauthorized
from penstock.identity import accounts_file
from penstock.identity.bootstrap import Account, bootstrap
from penstock.identity.keystone import caller_of
from penstock.identity.lockout import FREE_FAILURES, Lockout, TooManyFailedLogins
from penstock.services.control_plane import ControlPlane
from penstock.store.schema import identity_tokens, identity_users
from tests.api.conftest import QUICK

DOMAIN = {"name": "Default"}
PASSWORD = "secret"


@dataclass
class Site:
    """An application with an administrator, and ann, a member of the project one."""

    http: TestClient
    plane: ControlPlane

    def log_in(self, name: str = "ann", password: str = PASSWORD, scope: Any = None, **user: Any) -> Any:
        user = {"name": name, "domain": DOMAIN, "password": password, **user}
        auth: dict[str, Any] = {"identity": {"methods": ["password"], "password": {"user": user}}}
        if scope is not None:
            auth["scope"] = scope
        return self.http.post("/v3/auth/tokens", json={"auth": auth})

    def token(self, name: str = "ann", password: str = PASSWORD, **options: Any) -> str:
        answer = self.log_in(name, password, **options)
        assert answer.status_code == 201, answer.text
        return str(answer.headers["x-subject-token"])

    def ask(self, token: str, method: str, path: str, body: Any = None, **headers: str) -> Any:
        return self.http.request(method, f"/v3/{path}", json=body, headers={"X-Auth-Token": token, **headers})

    @property
    def admin(self) -> str:
        return self.token("admin", "root")


@pytest.fixture
def site(plane: ControlPlane) -> Iterator[Site]:
    accounts = [Account("ann", "one", ("member",), "secret"), Account("rea", "one", ("reader",), "secret")]
    bootstrap(plane.database, plane.clock, admin_password="root", accounts=accounts, passwords=QUICK)
    with TestClient(make_app(plane), raise_server_exceptions=False) as http:
        yield Site(http, plane)


def test_discovery(site: Site) -> None:
    for path, prefix in (("/v3", "/v3/"), ("/identity/v3", "/v3/"), ("/v3/", "/v3/")):
        version = site.http.get(path).json()["version"]
        assert version["id"].startswith("v3.")
        assert version["links"][0]["href"] == f"http://testserver{prefix}"
    roots = site.http.get("/identity")
    assert roots.status_code == 300
    assert roots.json()["versions"]["values"][0]["links"][0]["href"] == "http://testserver/identity/v3/"


def test_the_form_of_a_token(site: Site) -> None:
    answer = site.log_in(scope={"project": {"name": "one", "domain": DOMAIN}})
    assert answer.status_code == 201
    token = answer.json()["token"]
    assert token["methods"] == ["password"]
    assert token["user"]["name"] == "ann"
    assert token["user"]["domain"] == {"id": "default", "name": "Default"}
    assert token["project"]["name"] == "one"
    assert token["is_domain"] is False
    assert [role["name"] for role in token["roles"]] == ["member", "reader"]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", token["expires_at"])
    assert len(token["audit_ids"]) == 1
    found = {service["type"]: service["endpoints"] for service in token["catalog"]}
    assert set(found) == {"identity", "shared-file-system", "sharev2", "block-storage", "volumev3"}
    assert {item["interface"] for item in found["sharev2"]} == {"public", "internal", "admin"}
    assert {item["url"] for item in found["shared-file-system"]} == {"http://testserver/v2"}
    assert {item["region_id"] for item in found["identity"]} == {"RegionOne"}


@pytest.mark.parametrize(
    ("scope", "project"),
    [
        pytest.param(None, "one", id="default-project"),
        pytest.param("unscoped", None, id="unscoped"),
        pytest.param({"project": {"name": "one", "domain": {"id": "default"}}}, "one", id="by-name"),
    ],
)
def test_scopes(site: Site, scope: Any, project: str | None) -> None:
    token = site.log_in(scope=scope).json()["token"]
    assert token.get("project", {}).get("name") == project
    assert ("catalog" in token) is (project is not None)
    assert ("roles" in token) is (project is not None)


def test_scope_by_id(site: Site) -> None:
    project = site.log_in().json()["token"]["project"]
    assert site.log_in(scope={"project": {"id": project["id"]}}).json()["token"]["project"] == project


@pytest.mark.parametrize(
    ("user", "scope", "status"),
    [
        pytest.param({"password": "wrong"}, None, 401, id="password"),
        pytest.param({"name": "nobody"}, None, 401, id="user"),
        pytest.param({"domain": {"name": "Other"}}, None, 401, id="domain"),
        pytest.param({}, {"project": {"name": "admin", "domain": DOMAIN}}, 401, id="no-role"),
        pytest.param({}, {"project": {"name": "nope", "domain": DOMAIN}}, 401, id="project"),
        pytest.param({}, {"domain": {"id": "default"}}, 401, id="domain-scope"),
        pytest.param({}, {"system": {"all": True}}, 401, id="system-scope"),
        pytest.param({}, {"project": {}}, 400, id="empty-scope"),
        pytest.param({}, "everything", 400, id="odd-scope"),
        pytest.param({"password": 7}, None, 400, id="number"),
        pytest.param({"name": None}, None, 400, id="nobody-named"),
    ],
)
def test_logins_refused(site: Site, user: dict[str, Any], scope: Any, status: int) -> None:
    answer = site.log_in(**user, scope=scope)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status
    assert answer.json()["error"]["title"]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 400),
        ([], 400),
        ({"auth": {}}, 400),
        ({"auth": {"identity": {"methods": []}}}, 401),
        ({"auth": {"identity": {"methods": ["password"]}}}, 400),
        ({"auth": {"identity": {"methods": ["magic"]}}}, 401),
        ({"auth": {"identity": {"methods": ["token"], "token": {"id": "x"}}}}, 401),
    ],
)
def test_login_bodies(site: Site, body: Any, status: int) -> None:
    assert site.http.post("/v3/auth/tokens", json=body).status_code == status


def test_look_at_and_end_a_token(site: Site) -> None:
    token = site.token()
    shown = site.ask(token, "GET", "auth/tokens", **{"X-Subject-Token": token})
    assert shown.status_code == 200
    assert shown.json()["token"]["user"]["name"] == "ann"
    assert shown.headers["x-subject-token"] == token
    assert site.ask(token, "HEAD", "auth/tokens", **{"X-Subject-Token": token}).status_code == 200
    other = site.token("rea")
    assert site.ask(other, "GET", "auth/tokens", **{"X-Subject-Token": token}).status_code == 403
    assert site.ask(other, "DELETE", "auth/tokens", **{"X-Subject-Token": token}).status_code == 403
    assert site.ask(site.admin, "GET", "auth/tokens", **{"X-Subject-Token": token}).status_code == 200
    assert site.ask(token, "DELETE", "auth/tokens", **{"X-Subject-Token": token}).status_code == 204
    assert site.ask(token, "GET", "auth/projects").status_code == 401
    assert site.ask(other, "GET", "auth/tokens", **{"X-Subject-Token": token}).status_code == 404
    assert site.ask(other, "DELETE", "auth/tokens", **{"X-Subject-Token": token}).status_code == 404
    assert site.ask(other, "GET", "auth/tokens").status_code == 400


def test_tokens_expire(site: Site, clock: ManualClock) -> None:
    token = site.token()
    clock.advance(site.plane.conf.token.expiration - 1)
    assert site.ask(token, "GET", "auth/projects").status_code == 200
    clock.advance(1)
    assert site.ask(token, "GET", "auth/projects").status_code == 401
    assert site.http.get("/v2/types", headers={"X-Auth-Token": token}).status_code == 401


def test_a_token_for_a_token_lasts_no_longer(site: Site, clock: ManualClock) -> None:
    first = site.log_in(scope="unscoped")
    clock.advance(600)
    identity = {"methods": ["token"], "token": {"id": first.headers["x-subject-token"]}}
    scope = {"project": {"name": "one", "domain": DOMAIN}}
    second = site.http.post("/v3/auth/tokens", json={"auth": {"identity": identity, "scope": scope}})
    assert second.status_code == 201
    assert second.json()["token"]["methods"] == ["token", "password"]
    assert second.json()["token"]["expires_at"] == first.json()["token"]["expires_at"]


def test_no_secret_is_stored(site: Site) -> None:
    token = site.token()
    with site.plane.database.read() as tx:
        kept = str(tx.execute(identity_tokens.select()).all()) + str(tx.execute(identity_users.select()).all())
    assert token not in kept
    assert "secret" not in kept
    assert "argon2id" in kept


def test_guessing_gets_slow(site: Site, clock: ManualClock) -> None:
    for _ in range(FREE_FAILURES):
        assert site.log_in(password="wrong").status_code == 401
    blocked = site.log_in()
    assert blocked.status_code == 429
    assert int(blocked.headers["retry-after"]) >= 1
    assert site.log_in("rea").status_code == 201
    clock.advance(60)
    assert site.log_in().status_code == 201


def test_lockout_waits_longer_each_time_and_forgets() -> None:
    clock = ManualClock()
    lockout = Lockout(clock)
    waits = []
    for _ in range(FREE_FAILURES + 8):
        lockout.failed("x")
        try:
            lockout.check("x")
            waits.append(0)
        except TooManyFailedLogins as refusal:
            waits.append(refusal.retry_after_s)
            clock.advance(refusal.retry_after_s)
    assert waits[: FREE_FAILURES - 1] == [0] * (FREE_FAILURES - 1)
    assert waits[FREE_FAILURES - 1 :] == sorted(waits[FREE_FAILURES - 1 :])
    assert waits[-1] <= 61
    clock.advance(3600)
    lockout.failed("x")
    lockout.check("x")


def test_roles_bring_others_along() -> None:
    known = [Role("admin", "1"), Role("member", "2"), Role("reader", "3"), Role("service", "4")]
    assert [role.name for role in with_implied([known[0]], known)] == ["admin", "member", "reader"]
    assert [role.name for role in with_implied([known[3]], known)] == ["service"]


def test_accounts(site: Site) -> None:
    admin = site.admin
    project = site.ask(admin, "POST", "projects", {"project": {"name": "two", "domain_id": "default"}})
    assert project.status_code == 201
    project_id = project.json()["project"]["id"]
    body = {"user": {"name": "bob", "password": "pw", "email": "b@x", "domain_id": "default"}}
    user_id = site.ask(admin, "POST", "users", body).json()["user"]["id"]
    roles = site.ask(admin, "GET", "roles?name=member").json()["roles"]
    assert [role["name"] for role in roles] == ["member"]
    path = f"projects/{project_id}/users/{user_id}/roles/{roles[0]['id']}"

    scope = {"project": {"id": project_id}}
    assert site.log_in("bob", "pw", scope).status_code == 401
    assert site.ask(admin, "HEAD", path).status_code == 404
    assert site.ask(admin, "PUT", path).status_code == 204
    assert site.ask(admin, "PUT", path).status_code == 204
    assert site.ask(admin, "HEAD", path).status_code == 204
    bob = site.token("bob", "pw", scope=scope)
    assert [item["name"] for item in site.ask(bob, "GET", "auth/projects").json()["projects"]] == ["two"]
    assert [item["name"] for item in site.ask(bob, "GET", f"users/{user_id}/projects").json()["projects"]] == ["two"]
    assert site.ask(bob, "GET", f"projects/{project_id}").status_code == 200
    assert site.ask(bob, "GET", f"users/{user_id}").json()["user"]["name"] == "bob"

    found = site.ask(admin, "GET", f"role_assignments?user.id={user_id}&include_names").json()["role_assignments"]
    assert [(item["user"]["name"], item["role"]["name"], item["scope"]["project"]["name"]) for item in found] == [
        ("bob", "member", "two")
    ]
    listed = site.ask(admin, "GET", f"projects/{project_id}/users/{user_id}/roles").json()["roles"]
    assert [role["name"] for role in listed] == ["member"]

    assert site.ask(admin, "DELETE", path).status_code == 204
    assert site.ask(admin, "DELETE", path).status_code == 404
    assert site.ask(bob, "GET", "auth/projects").status_code == 401
    assert site.ask(admin, "DELETE", f"users/{user_id}").status_code == 204
    assert site.ask(admin, "DELETE", f"users/{user_id}").status_code == 404
    assert site.ask(admin, "DELETE", f"projects/{project_id}").status_code == 204


def test_changes_take_effect_at_once(site: Site) -> None:
    admin, token = site.admin, site.token()
    user_id = site.log_in().json()["token"]["user"]["id"]
    assert site.ask(token, "GET", "auth/projects").status_code == 200
    assert site.ask(admin, "PATCH", f"users/{user_id}", {"user": {"enabled": False}}).status_code == 200
    assert site.ask(token, "GET", "auth/projects").status_code == 401
    assert site.log_in().status_code == 401
    assert site.ask(admin, "PATCH", f"users/{user_id}", {"user": {"enabled": True, "password": "new"}}).json()["user"][
        "enabled"
    ]
    assert site.log_in().status_code == 401
    assert site.log_in(password="new").status_code == 201


def test_own_password(site: Site) -> None:
    token = site.token()
    user_id = site.log_in().json()["token"]["user"]["id"]
    path = f"users/{user_id}/password"
    wrong = {"user": {"original_password": "x", "password": "new"}}
    assert site.ask(token, "POST", path, wrong).status_code == 403
    right = {"user": {"original_password": "secret", "password": "new"}}
    assert site.ask(site.token("rea"), "POST", path, right).status_code == 403
    assert site.ask(token, "POST", path, right).status_code == 204
    assert site.ask(token, "GET", "auth/projects").status_code == 401
    assert site.log_in(password="new").status_code == 201


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", "projects", None),
        ("POST", "projects", {"project": {"name": "x"}}),
        ("GET", "users", None),
        ("POST", "users", {"user": {"name": "x"}}),
        ("GET", "roles", None),
        ("POST", "roles", {"role": {"name": "x"}}),
        ("GET", "role_assignments", None),
        ("GET", "services", None),
        ("GET", "endpoints", None),
        ("GET", "users/{admin}", None),
        ("GET", "users/{admin}/application_credentials", None),
    ],
)
def test_members_administer_nothing(site: Site, method: str, path: str, body: Any) -> None:
    admin_id = site.log_in("admin", "root").json()["token"]["user"]["id"]
    assert site.ask(site.token(), method, path.replace("{admin}", admin_id), body).status_code == 403


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("POST", "projects", {"project": {"name": "one"}}, 409),
        ("POST", "projects", {"project": {"name": ""}}, 400),
        ("POST", "projects", {"project": {}}, 400),
        ("POST", "projects", {"project": {"name": "x", "domain_id": "other"}}, 404),
        ("POST", "projects", {"project": {"name": "a\nb"}}, 400),
        ("PATCH", "projects/nope", {"project": {"name": "x"}}, 404),
        ("POST", "users", {"user": {"name": "ann"}}, 409),
        ("POST", "users", {"user": {"name": "x" * 256}}, 400),
        ("POST", "users", {"user": {"name": "x", "enabled": "yes"}}, 400),
        ("POST", "roles", {"role": {"name": "admin"}}, 409),
        ("GET", "users/nope", None, 404),
        ("GET", "roles/nope", None, 404),
        ("GET", "domains/nope", None, 404),
        ("GET", "regions/nope", None, 404),
        ("GET", "cupboards", None, 404),
        ("PUT", "users", {}, 405),
        ("PUT", "projects/nope/users/nope/roles/nope", None, 404),
    ],
)
def test_what_accounts_refuse(site: Site, method: str, path: str, body: Any, status: int) -> None:
    answer = site.ask(site.admin, method, path, body)
    assert answer.status_code == status
    assert answer.json()["error"]["code"] == status


def test_standard_roles_stay(site: Site) -> None:
    admin = site.admin
    (role,) = site.ask(admin, "GET", "roles?name=admin").json()["roles"]
    assert site.ask(admin, "DELETE", f"roles/{role['id']}").status_code == 409
    made = site.ask(admin, "POST", "roles", {"role": {"name": "auditor"}}).json()["role"]
    assert site.ask(admin, "GET", f"roles/{made['id']}").json()["role"]["name"] == "auditor"
    assert site.ask(admin, "DELETE", f"roles/{made['id']}").status_code == 204


def test_domains_regions_services_endpoints(site: Site) -> None:
    admin = site.admin
    assert [item["id"] for item in site.ask(admin, "GET", "domains?name=default").json()["domains"]] == ["default"]
    assert site.ask(admin, "GET", "domains?name=other").json()["domains"] == []
    assert site.ask(admin, "GET", "domains/default").json()["domain"]["name"] == "Default"
    assert [item["id"] for item in site.ask(admin, "GET", "regions").json()["regions"]] == ["RegionOne"]
    (service,) = site.ask(admin, "GET", "services?type=sharev2").json()["services"]
    assert site.ask(admin, "GET", f"services/{service['id']}").json()["service"] == service
    found = site.ask(admin, "GET", f"endpoints?service_id={service['id']}&interface=public").json()["endpoints"]
    assert [item["url"] for item in found] == ["http://testserver/v2"]
    assert site.ask(admin, "GET", f"endpoints/{found[0]['id']}").json()["endpoint"] == found[0]
    assert site.ask(site.token(), "GET", "auth/catalog").json()["catalog"]
    assert site.ask(site.token(scope="unscoped"), "GET", "auth/catalog").status_code == 403


def test_projects_by_name(site: Site) -> None:
    admin = site.admin
    assert [item["name"] for item in site.ask(admin, "GET", "projects?name=one").json()["projects"]] == ["one"]
    assert site.ask(admin, "GET", "projects?name=nope").json()["projects"] == []
    assert site.ask(admin, "GET", "projects?domain_id=other").json()["projects"] == []


def by_credential(site: Site, **proof: Any) -> Any:
    identity = {"methods": ["application_credential"], "application_credential": proof}
    return site.http.post("/v3/auth/tokens", json={"auth": {"identity": identity}})


def test_application_credentials(site: Site) -> None:
    token = site.token()
    user_id = site.log_in().json()["token"]["user"]["id"]
    path = f"users/{user_id}/application_credentials"
    made = site.ask(token, "POST", path, {"application_credential": {"name": "ci"}})
    assert made.status_code == 201
    made = made.json()["application_credential"]
    assert [role["name"] for role in made["roles"]] == ["member", "reader"]
    assert site.ask(token, "POST", path, {"application_credential": {"name": "ci"}}).status_code == 409
    assert "secret" not in site.ask(token, "GET", path).json()["application_credentials"][0]

    logged_in = by_credential(site, id=made["id"], secret=made["secret"])
    assert logged_in.status_code == 201
    assert logged_in.json()["token"]["project"]["name"] == "one"
    assert logged_in.json()["token"]["methods"] == ["application_credential"]
    named = by_credential(site, name="ci", user={"name": "ann", "domain": DOMAIN}, secret=made["secret"])
    assert named.status_code == 201
    assert by_credential(site, id=made["id"], secret="wrong").status_code == 401
    assert by_credential(site, id="nope", secret="wrong").status_code == 401
    assert by_credential(site, name="ci", secret=made["secret"]).status_code == 401

    program = logged_in.headers["x-subject-token"]
    assert site.ask(program, "GET", "auth/projects").status_code == 200
    assert site.ask(site.token("rea"), "GET", f"{path}/{made['id']}").status_code == 403
    assert site.ask(token, "DELETE", f"{path}/{made['id']}").status_code == 204
    assert site.ask(program, "GET", "auth/projects").status_code == 401
    assert by_credential(site, id=made["id"], secret=made["secret"]).status_code == 401


def test_application_credentials_expire(site: Site, clock: ManualClock) -> None:
    token = site.token()
    user_id = site.log_in().json()["token"]["user"]["id"]
    path = f"users/{user_id}/application_credentials"
    assert (
        site.ask(token, "POST", path, {"application_credential": {"name": "x", "expires_at": "soon"}}).status_code
        == 400
    )
    wanted = {"name": "x", "secret": "s3", "expires_at": "2026-01-01T00:10:00Z"}
    made = site.ask(token, "POST", path, {"application_credential": wanted}).json()["application_credential"]
    logged_in = by_credential(site, id=made["id"], secret="s3")
    assert logged_in.json()["token"]["expires_at"] == "2026-01-01T00:10:00.000000Z"
    clock.advance(600)
    assert by_credential(site, id=made["id"], secret="s3").status_code == 401


def test_bootstrap_is_safe_to_repeat(site: Site) -> None:
    plane = site.plane
    bootstrap(plane.database, plane.clock, admin_password=None)
    assert site.log_in("admin", "root").status_code == 201
    bootstrap(plane.database, plane.clock, admin_password="other")
    assert site.log_in("admin", "root").status_code == 401
    assert site.log_in("admin", "other").status_code == 201
    assert len(site.ask(site.token("admin", "other"), "GET", "projects").json()["projects"]) == 2
    with pytest.raises(Invalid, match="wizard"):
        bootstrap(plane.database, plane.clock, admin_password=None, accounts=[Account("x", "y", ("wizard",))])


def test_what_keystone_says() -> None:
    token = {
        "user": {"id": "u", "name": "ann"},
        "project": {"id": "p", "name": "one"},
        "roles": [{"id": "1", "name": "member"}],
        "expires_at": "2100-01-01T00:00:00.000000Z",
    }
    caller = caller_of({"token": token})
    assert (caller.user_id, caller.project_id, caller.roles) == ("u", "p", ("member",))
    assert caller_of({"token": {**token, "project": None, "roles": []}}).project_id is None
    with pytest.raises(Unauthorized):
        caller_of({"token": {**token, "expires_at": "2001-01-01T00:00:00Z"}})


def test_accounts_file(tmp_path: Path, plane: ControlPlane) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text(
        "accounts:\n- {user: ann, project: one, password: pw}\n- {user: rea, project: one, roles: [reader]}\n"
    )
    accounts = accounts_file.read(path)
    assert accounts == [Account("ann", "one", ("member",), "pw"), Account("rea", "one", ("reader",))]
    assert "pw" not in repr(accounts)
    bootstrap(plane.database, plane.clock, admin_password="root", accounts=accounts, passwords=QUICK)
    http = TestClient(make_app(plane))
    assert Site(http, plane).log_in("ann", "pw").status_code == 201


@pytest.mark.parametrize("text", ["accounts: 7", "{", "users: []", "accounts: [{user: ann, colour: red}]", ""])
def test_accounts_file_refuses(tmp_path: Path, text: str) -> None:
    path = tmp_path / "accounts.yaml"
    path.write_text(text)
    with pytest.raises(Invalid, match=r"accounts\.yaml"):
        accounts_file.read(path)
    with pytest.raises(Invalid):
        accounts_file.read(tmp_path / "none")

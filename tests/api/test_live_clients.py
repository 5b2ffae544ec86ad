"""The field's own clients against a listening server: discovery, logging in, and each resource of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import keystoneauth1.exceptions
import openstack
import pytest
from keystoneauth1 import session
from keystoneauth1.identity import v3
from manilaclient import client as manila
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.clock import SystemClock
from penstock.config.loading import load
from penstock.identity.bootstrap import Account, bootstrap
from penstock.operations.queue import OperationQueue
from penstock.services.control_plane import ControlPlane
from penstock.store import backends
from tests.api.conftest import QUICK
from tests.databases import in_file, in_memory
from tests.serving import serving

ROOT = "root"


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a server with an administrator, a member and one service."""
    folder: Path = tmp_path_factory.mktemp("live")
    conf, clock = load(), SystemClock()
    conf.set_override("state_path", str(folder))
    database = in_file(folder / "penstock.sqlite")
    bootstrap(
        database, clock, admin_password="root", accounts=[Account("ann", "one", ("member",), "secret")], passwords=QUICK
    )
    with database.begin() as tx:
        backends.heartbeat(tx, binary="manila-share", host="h@b", zone="nova", ready=True, now=clock.utc())
    plane = ControlPlane(database, OperationQueue(clock), clock, conf)
    with serving(make_app(plane)) as address:
        yield address
    database.close()


def login(url: str, name: str = "admin", password: str = ROOT, project: str = "admin") -> session.Session:
    auth = v3.Password(
        auth_url=url,
        username=name,
        password=password,
        project_name=project,
        user_domain_name="Default",
        project_domain_name="Default",
    )
    return session.Session(auth=auth)


@pytest.mark.parametrize("path", ["/v3", "/identity/v3"])
def test_keystoneauth(url: str, path: str) -> None:
    found = login(url + path)
    assert found.get_endpoint(service_type="shared-file-system", interface="public") == f"{url}/v2"
    assert found.get_endpoint(service_type="sharev2", interface="public") == f"{url}/v2"
    with pytest.raises(keystoneauth1.exceptions.Unauthorized):
        login(url + path, password="wrong").get_token()


@pytest.mark.parametrize("path", ["", "/", "/v3", "/identity"])
def test_openstacksdk_from_any_address(url: str, path: str) -> None:
    cloud = openstack.connection.Connection(
        auth={
            "auth_url": url + path,
            "username": "admin",
            "password": "root",
            "project_name": "admin",
            "user_domain_name": "Default",
            "project_domain_name": "Default",
        },
        region_name="RegionOne",
    )
    assert cloud.authorize()
    assert [zone.name for zone in cloud.shared_file_system.availability_zones()] == ["nova"]
    assert cloud.shared_file_system.get_endpoint_data().max_microversion is not None
    assert list(cloud.shared_file_system.shares()) == []
    assert [project.name for project in cloud.identity.projects()] == ["admin", "one"]
    assert [domain.id for domain in cloud.identity.domains()] == ["default"]


def test_openstacksdk_administers(url: str) -> None:
    cloud = openstack.connection.Connection(session=login(f"{url}/v3"), region_name="RegionOne")
    user = cloud.identity.create_user(name="bob", password="pw")
    project = cloud.identity.create_project(name="two")
    role = cloud.identity.find_role("member")
    cloud.identity.assign_project_role_to_user(project, user, role)
    assert login(f"{url}/v3", "bob", "pw", "two").get_project_id() == project.id
    cloud.identity.delete_user(user)
    cloud.identity.delete_project(project)
    assert cloud.identity.find_user("bob") is None


def test_application_credential_of_openstacksdk(url: str) -> None:
    cloud = openstack.connection.Connection(session=login(f"{url}/v3", "ann", "secret", "one"))
    made = cloud.identity.create_application_credential(user=cloud.current_user_id, name="ci")
    auth = v3.ApplicationCredential(
        auth_url=f"{url}/v3", application_credential_id=made.id, application_credential_secret=made.secret
    )
    assert session.Session(auth=auth).get_project_id() == cloud.current_project_id


def test_manilaclient(url: str) -> None:
    share = manila.Client("2.75", session=login(f"{url}/v3"))
    made = share.share_types.create("gold", spec_driver_handles_share_servers=False, description="fast")
    made.set_keys({"zfsonlinux:compression": "lz4"})
    assert share.share_types.get(made.id).get_keys() == {
        "driver_handles_share_servers": "False",
        "zfsonlinux:compression": "lz4",
    }
    assert [item.name for item in share.share_types.list()] == ["gold"]
    project_id = share.client.session.get_project_id() if hasattr(share.client, "session") else "p" * 32
    assert share.quotas.update(project_id, shares=7).shares == 7
    assert share.quotas.get(project_id, detail=True).shares["limit"] == 7
    assert share.quota_classes.get("default").shares == 50
    assert {limit.name: limit.value for limit in share.limits.get().absolute}["maxTotalShares"] >= 7
    assert [item.host for item in share.services.list()] == ["h@b"]
    assert share.services.disable("h@b", "manila-share").disabled
    assert share.pools.list() == []
    assert share.messages.list() == []
    share.share_types.delete(made)
    assert share.share_types.list() == []


def test_another_keystone(url: str, tmp_path: Path) -> None:
    """`auth_strategy = keystone`, with the server of this module as the Keystone."""
    path = tmp_path / "penstock.conf"
    path.write_text(
        "[DEFAULT]\nauth_strategy = keystone\n"
        f"[keystone_authtoken]\nwww_authenticate_uri = {url}/v3\nauth_url = {url}/v3\nauth_type = password\n"
        "username = admin\npassword = root\nproject_name = admin\n"
        "user_domain_name = Default\nproject_domain_name = Default\nservice_token_roles_required = true\n"
    )
    database = in_memory()
    plane = ControlPlane(database, OperationQueue(SystemClock()), SystemClock(), load([path]))
    http = TestClient(make_app(plane))
    token = login(f"{url}/v3", "ann", "secret", "one").get_token()
    assert http.get("/v2/types", headers={"X-Auth-Token": str(token)}).json() == {"share_types": [], "volume_types": []}
    assert http.get("/v2/types", headers={"X-Auth-Token": "wrong"}).status_code == 401
    assert http.get("/v2/services", headers={"X-Auth-Token": str(token)}).status_code == 404
    assert http.get("/v3").status_code == 404
    database.close()

"""The stock clients, unmodified, against the application on a loopback port."""

from __future__ import annotations

from collections.abc import Iterator

import openstack
import pytest
from manilaclient import client as manila
from openstack.exceptions import ConflictException, HttpException, NotFoundException

from penstock.api.app import make_app
from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import add_type, finish_rules, finish_share, finish_snapshot, methods
from tests.api.conftest import FixedTokens
from tests.serving import serving


@pytest.fixture
def url(plane: ControlPlane, backend: PoolRef) -> Iterator[str]:
    """``http://127.0.0.1:<port>`` of a running server."""
    add_type(plane)
    plane.conf.set_override("default_share_type", "gold")
    with serving(make_app(plane, tokens=FixedTokens())) as address:
        yield address


def sdk(url: str, token: str) -> openstack.connection.Connection:
    return openstack.connection.Connection(
        auth_type="admin_token",
        auth={"token": token, "endpoint": f"{url}/v2"},
        shared_file_system_endpoint_override=f"{url}/v2",
        shared_file_system_default_microversion="2.75",
    )


def test_openstacksdk(plane: ControlPlane, url: str) -> None:
    files = sdk(url, "member").shared_file_system
    share = files.create_share(share_protocol="NFS", size=1, name="home", metadata={"k": "v"})
    assert share.status == "creating"
    finish_share(plane, share.id)
    share = files.get_share(share.id)
    assert (share.status, share.size, share.share_type_name, share.metadata) == ("available", 1, "gold", {"k": "v"})
    assert [found.id for found in files.shares(details=True, name="home")] == [share.id]
    assert [found.path for found in files.export_locations(share.id)] == [f"10.0.0.5:/tank/{share.id}"]

    rule = files.create_access_rule(share.id, access_type="ip", access_to="10.0.0.9", access_level="rw")
    finish_rules(plane, share.id)
    assert [found.state for found in files.access_rules(share)] == ["active"]
    assert files.get_access_rule(rule.id).access_to == "10.0.0.9"
    files.delete_access_rule(rule.id, share.id)
    finish_rules(plane, share.id)

    snapshot = files.create_share_snapshot(share_id=share.id, name="monday")
    finish_snapshot(plane, snapshot.id)
    assert [found.id for found in files.share_snapshots()] == [snapshot.id]
    clone = files.create_share(share_protocol="NFS", size=1, snapshot_id=snapshot.id)
    finish_share(plane, clone.id)

    files.resize_share(clone.id, 2)
    finish_share(plane, clone.id, size_gib=2, size_target_gib=None)
    files.resize_share(clone.id, 1)
    finish_share(plane, clone.id, size_gib=1, size_target_gib=None)
    files.update_share(clone.id, display_name="renamed")
    assert files.get_share(clone.id).name == "renamed"
    files.delete_share(clone.id)
    assert files.get_share(clone.id).status == "deleting"
    files.delete_share_snapshot(snapshot.id)
    with pytest.raises(HttpException, match="snapshots"):
        files.delete_share(share.id)
    with pytest.raises(NotFoundException):
        sdk(url, "other").shared_file_system.get_share(share.id)
    assert methods(plane)[-3:] == ["shrink_share", "delete_share_instance", "delete_snapshot"]


def test_openstacksdk_manages_a_share(plane: ControlPlane, url: str, backend: PoolRef) -> None:
    files = sdk(url, "admin").shared_file_system
    wanted = {"protocol": "NFS", "export_path": "10.0.0.5:/tank/old", "service_host": str(backend)}
    files.manage_share(**wanted, name="old", share_type="gold")
    (share,) = files.shares(details=True, name="old")
    finish_share(plane, share.id, size_gib=3)
    assert files.get_share(share.id).size == 3
    files.unmanage_share(share.id)
    assert methods(plane) == ["manage_share", "unmanage_share"]
    with pytest.raises((ConflictException, HttpException)):
        files.unmanage_share(share.id)


@pytest.mark.parametrize("version", ["2.6", "2.8", "2.44", "2.75"])
def test_manilaclient(plane: ControlPlane, url: str, version: str) -> None:
    client = manila.Client(version, input_auth_token="member", service_catalog_url=f"{url}/v2")
    share = client.shares.create("NFS", 1, name="home")
    finish_share(plane, share.id)
    assert client.shares.get(share.id).status == "available"
    assert [found.id for found in client.shares.list()] == [share.id]
    rule_id = client.shares.allow(share.id, "ip", "10.0.0.0/24", "ro")["id"]
    finish_rules(plane, share.id)
    if version == "2.75":
        rules = client.share_access_rules.access_list(share.id)
    else:
        rules = client.shares.access_list(share.id)
    assert [(found.id, found.state) for found in rules] == [(rule_id, "active")]
    client.shares.deny(share.id, rule_id)
    finish_rules(plane, share.id)
    client.shares.set_metadata(share.id, {"a": "b"})
    assert client.shares.get_metadata(share.id).to_dict() == {"a": "b"}
    client.shares.extend(share.id, 2)
    finish_share(plane, share.id, size_gib=2, size_target_gib=None)
    snapshot = client.share_snapshots.create(share.id, name="monday")
    finish_snapshot(plane, snapshot.id)
    assert [found.name for found in client.share_snapshots.list()] == ["monday"]
    client.share_snapshots.delete(snapshot.id)
    assert client.share_snapshots.get(snapshot.id).status == "deleting"


def test_manilaclient_uses_the_recycle_bin_and_metadata_of_snapshots(plane: ControlPlane, url: str) -> None:
    client = manila.Client("2.75", input_auth_token="member", service_catalog_url=f"{url}/v2")
    share = client.shares.create("NFS", 1, name="home")
    finish_share(plane, share.id)
    client.shares.soft_delete(share.id)
    assert client.shares.list() == []
    assert [found.id for found in client.shares.list(search_opts={"is_soft_deleted": True})] == [share.id]
    client.shares.restore(share.id)
    assert [found.id for found in client.shares.list()] == [share.id]
    snapshot = client.share_snapshots.create(share.id, metadata={"a": "1"})
    finish_snapshot(plane, snapshot.id)
    client.share_snapshots.set_metadata(snapshot.id, {"b": "2"})
    assert client.share_snapshots.get(snapshot.id).metadata == {"a": "1", "b": "2"}
    client.share_snapshots.delete_metadata(snapshot.id, ["a"])
    assert client.share_snapshots.get_metadata(snapshot.id).to_dict() == {"b": "2"}

"""Replicas by the field's own clients, and by ours, against a server whose backends replicate."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openstack
import pytest
import structlog
from click.testing import CliRunner, Result
from manilaclient import client as manila

from penstock.cli.main import main
from tests.api.live import PASSWORD, ZONES, replicating_server
from tests.api.test_live_clients import login
from tests.waiting import until_equal, until_raises


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    with replicating_server(tmp_path_factory.mktemp("replicating")) as address:
        yield address
    structlog.reset_defaults()


def test_openstacksdk(url: str) -> None:
    cloud = openstack.connection.Connection(
        session=login(f"{url}/v3", password=PASSWORD),
        region_name="RegionOne",
        shared_file_system_default_microversion="2.75",
    )
    share_api = cloud.shared_file_system
    share = share_api.create_share(share_protocol="NFS", size=1, name="docs")
    share = share_api.wait_for_status(share, "available", failures=["error"], interval=0.1, wait=60)
    replica = share_api.create_share_replica(share.id)
    until_equal(lambda: share_api.get_share_replica(replica.id).replica_state, "in_sync")
    assert len(list(share_api.share_replicas(share_id=share.id))) == 2
    share_api.promote_share_replica(replica.id)
    until_equal(lambda: share_api.get_share_replica(replica.id).replica_state, "active")
    until_equal(lambda: share_api.get_share(share.id).status, "available")
    (old,) = [one for one in share_api.share_replicas(share_id=share.id) if one.id != replica.id]
    until_equal(lambda: share_api.get_share_replica(old.id).replica_state, "in_sync")
    share_api.resync_share_replica(old.id)
    share_api.delete_share_replica(old.id)
    until_raises(lambda: share_api.get_share_replica(old.id), openstack.exceptions.NotFoundException)
    share_api.delete_share(share.id)
    until_raises(lambda: share_api.get_share(share.id), openstack.exceptions.NotFoundException)


def test_manilaclient(url: str) -> None:
    share_api = manila.Client("2.75", session=login(f"{url}/v3", password=PASSWORD))
    share = share_api.shares.create("NFS", 1, name="papers")
    until_equal(lambda: share_api.shares.get(share.id).status, "available")
    replica = share_api.share_replicas.create(share.id, availability_zone="north")
    until_equal(lambda: share_api.share_replicas.get(replica).replica_state, "in_sync")
    (location,) = [
        one for one in share_api.share_replica_export_locations.list(replica) if not getattr(one, "is_admin_only", 0)
    ]
    assert location.path not in [one.path for one in share_api.share_export_locations.list(share)]
    rule = share_api.shares.allow(share.id, "ip", "10.0.0.1", "rw")
    until_equal(lambda: [one.state for one in share_api.share_access_rules.access_list(share)], ["active"])
    snapshot = share_api.share_snapshots.create(share.id)
    until_equal(lambda: share_api.share_snapshots.get(snapshot).status, "available")
    copies = share_api.share_snapshot_instances.list(detailed=True, snapshot=snapshot)
    assert [copy.status for copy in copies] == ["available", "available"]
    share_api.share_replicas.promote(replica, 5)
    until_equal(lambda: share_api.share_replicas.get(replica).replica_state, "active")
    until_equal(lambda: share_api.shares.get(share.id).status, "available")
    share_api.shares.deny(share.id, rule["id"])
    until_equal(lambda: share_api.share_access_rules.access_list(share), [])
    (old,) = [one for one in share_api.share_replicas.list(share.id) if one.id != replica.id]
    until_equal(lambda: share_api.share_replicas.get(old).replica_state, "in_sync")
    share_api.share_replicas.reset_replica_state(old, "out_of_sync")
    share_api.share_replicas.resync(old)
    until_equal(lambda: share_api.share_replicas.get(old).replica_state, "in_sync")
    share_api.shares.extend(share.id, 2)
    until_equal(lambda: (share_api.shares.get(share.id).status, share_api.shares.get(share.id).size), ("available", 2))
    share_api.share_snapshots.delete(snapshot)
    until_equal(lambda: share_api.share_snapshots.list(search_opts={"share_id": share.id}), [])
    share_api.share_replicas.reset_state(old, "error_deleting")
    share_api.share_replicas.delete(old, force=True)
    until_equal(lambda: len(share_api.share_replicas.list(share.id)), 1)
    share_api.shares.delete(share.id)


def openstack_command(url: str, *words: str) -> Any:
    """``openstack share replica ...`` in JSON."""
    environment = {
        **os.environ,
        "OS_AUTH_URL": f"{url}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "admin",
        "OS_USER_DOMAIN_NAME": "Default",
        "OS_PROJECT_DOMAIN_NAME": "Default",
        "OS_IDENTITY_API_VERSION": "3",
        "OS_SHARE_API_VERSION": "2.75",
    }
    command = Path(sys.executable).with_name("openstack")
    done = subprocess.run([command, *words], env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if done.stdout.strip() else None


def test_openstack_share_replica(url: str) -> None:
    as_json = ("-f", "json")
    library = manila.Client("2.75", session=login(f"{url}/v3", password=PASSWORD))  # waits in less time
    share = library.shares.create("NFS", 1, name="films")
    until_equal(lambda: library.shares.get(share.id).status, "available")
    made = openstack_command(url, "share", "replica", "create", share.id, "--wait", *as_json)
    assert made["share_id"] == share.id
    until_equal(lambda: library.share_replicas.get(made["id"]).replica_state, "in_sync")
    shown = openstack_command(url, "share", "replica", "show", made["id"], *as_json)
    assert (shown["status"], shown["epoch"], shown["recovery_point_objective_seconds"]) == ("available", 1, 4)
    listed = openstack_command(url, "share", "replica", "list", "--share", share.id, *as_json)
    assert [one["ID"] for one in listed if one["Replica State"] != "active"] == [made["id"]]
    openstack_command(url, "share", "replica", "promote", made["id"], "--quiesce-wait-time", "3")
    until_equal(lambda: library.share_replicas.get(made["id"]).replica_state, "active")
    assert openstack_command(url, "share", "replica", "export", "location", "list", made["id"], *as_json)


class Commands:
    """``penstock`` against the server."""

    def __init__(self, url: str, password_file: Path) -> None:
        self._options = ["--url", url, "--user", "admin", "--project", "admin", "--password-file", str(password_file)]

    def run(self, *words: str) -> Result:
        return CliRunner().invoke(main, [*words, *self._options])

    def ok(self, *words: str) -> str:
        result = self.run(*words)
        assert result.exit_code == 0, result.output
        return result.output


@pytest.fixture
def penstock(url: str, tmp_path: Path) -> Commands:
    path = tmp_path / "password"
    path.write_text(PASSWORD)
    return Commands(url, path)


def test_penstock_replica(penstock: Commands) -> None:
    penstock.ok("share", "create", "1", "--name", "maps")
    made = json.loads(penstock.ok("replica", "create", "maps", "--synced", "--json"))
    assert (made["status"], made["replica_state"]) == ("available", "in_sync")
    (head, first, second) = penstock.ok("replica", "list", "maps").splitlines()
    assert head.split() == ["id", "share", "where", "status", "state", "lag", "objective"]
    assert first.split()[-4:] == ["active", "-", "4", "s"]
    assert second.split()[0] == made["id"]
    assert second.split()[-4:-3][0].isdigit()
    shown = penstock.ok("replica", "show", made["id"])
    assert "objective" in shown
    assert "paths" in shown
    assert penstock.ok("replica", "promote", made["id"], "--quiesce", "2") == f"Replica {made['id']} is active.\n"
    listed = json.loads(penstock.ok("replica", "list", "maps", "--json"))
    assert listed[0]["replica_state"] == "active"
    assert listed[0]["id"] == made["id"]
    old = listed[1]["id"]
    penstock.ok("replica", "resync", old)
    penstock.ok("replica", "delete", old)
    result = penstock.run("replica", "delete", made["id"])
    assert result.exit_code == 1
    assert "active" in result.stderr
    penstock.ok("share", "delete", "maps")
    assert "There are no replicas" not in penstock.ok("replica", "list", "--json")
    result = penstock.run("replica", "show", "nothing")
    assert result.exit_code == 1
    assert "There is no share replica nothing" in result.stderr


def test_penstock_replica_says_why_no_backend_fits(penstock: Commands) -> None:
    penstock.ok("share", "create", "1", "--name", "full")
    for _ in range(len(ZONES) - 1):
        penstock.ok("replica", "create", "full")
    result = penstock.run("replica", "create", "full")
    assert result.exit_code == 1
    assert "has a replica of the share already" in result.stderr

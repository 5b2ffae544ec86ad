"""``penstock volume`` and ``penstock backend drain`` against a live server on loopback, with a backend of volumes."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.clock import SystemClock
from penstock.identity.bootstrap import bootstrap
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.volume_backend import Dispatch
from penstock.zfs.flavour import ZFS_FUSE
from tests.cli.server import PASSWORD, Commands, served
from tests.simulation.volumes.zfs_plane import ZfsPlane
from tests.volume_plane import WorkingQueue

ME = "iqn.1994-05.com.redhat:me"


class Patient(WorkingQueue):
    """Waits for the worker's threads, as the daemon's does."""

    wait = OperationQueue.wait


class Served(ZfsPlane):
    queue_class = Patient


@pytest.fixture
def plane(tmp_path: Path) -> Iterator[Served]:
    """A control plane over a simulated storage host."""
    database = Database(f"sqlite:///{tmp_path / 'penstock.sqlite'}")
    metadata.create_all(database.engine)
    plane = Served(tmp_path, ZFS_FUSE, text="use_chap_auth = True\n", database=database, clock=SystemClock())
    bootstrap(database, plane.clock, admin_password=PASSWORD)
    yield plane
    database.close()


@pytest.fixture
def server(plane: Served, tmp_path: Path, elsewhere: None) -> Iterator[Commands]:
    manager = plane.manager
    worker = Worker(plane.database, plane.queue, plane.clock, manager.host, Dispatch(manager))
    with served(plane.plane, worker, tmp_path, "volume") as server:
        yield server


def test_the_life_of_a_volume(server: Commands, plane: Served) -> None:
    made = server.ok("create", "1", "--name", "data", "--description", "papers")
    assert re.search(r"status +available", made)
    login = server.ok("attach", "data", ME)
    assert re.search(r"target +iqn\.2010-10\.org\.openstack:volume-", login)
    assert re.search(r"CHAP secret +\w{20}", login)
    assert ME in server.ok("show", "data")
    assert "is 'in-use'" in server.fails("delete", "data") or "attached" in server.fails("delete", "data")
    server.ok("extend", "data", "2")
    assert "not attached by nobody" in server.fails("detach", "data", "nobody")
    assert server.ok("detach", "data", ME) == "1 detached.\n"
    server.ok("snapshot", "create", "data", "--name", "monday")
    assert "monday" in server.ok("snapshot", "list", "data")
    server.ok("revert", "data", "monday")
    assert "from snapshot" in server.ok("create", "2", "--name", "copy", "--snapshot", "monday")
    assert "from volume" in server.ok("create", "2", "--name", "twin", "--source", "data")
    assert "2 GiB" in server.ok("show", "data")
    server.ok("delete", "data", "--cascade")
    server.ok("delete", "copy", "twin")
    assert server.ok("list") == "There are no volumes.\n"
    assert plane.findings() == []


def test_json_lists_and_failures(server: Commands) -> None:
    made = json.loads(server.ok("create", "1", "--name", "data", "--json"))
    assert (made["status"], made["size"]) == ("available", 1)
    (listed,) = json.loads(server.ok("list", "--json"))
    assert listed["id"] == made["id"]
    assert server.ok("list", "--status", "error") == "There are no volumes.\n"
    assert "default" in server.ok("types")
    assert "There is no volume 'docs'" in server.fails("show", "docs")


def test_a_volume_moves_alone_and_with_all_of_its_pool(server: Commands) -> None:
    made = json.loads(server.ok("create", "1", "--name", "data", "--json"))
    here = made["os-vol-host-attr:host"]
    there = "host@dummy#pond" if here.endswith("tank") else "host@dummy#tank"
    assert "not the backend" not in server.ok("migrate", "data", there)
    assert there in server.ok("show", "data")
    server.ok("create", "1", "--name", "held")
    listed = server.run("backend", "drain", there, "--dry-run")
    assert "data" in listed.output
    drained = server.run("backend", "drain", there, "--to", here)
    assert drained.exit_code == 0, drained.output
    assert f"data: to {here}" in drained.output
    assert here in server.ok("show", "data")

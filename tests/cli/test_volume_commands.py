"""``penstock volume`` and ``penstock backend drain`` against a live server on loopback, with a backend of volumes."""

from __future__ import annotations

import json
import logging
import re
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
import uvicorn
from click.testing import CliRunner, Result

from penstock.api.app import make_app
from penstock.cli.main import main
from penstock.clock import SystemClock
from penstock.identity.bootstrap import bootstrap
from penstock.operations.queue import OperationQueue
from penstock.operations.worker import Worker
from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.volume_backend import Dispatch
from penstock.zfs.flavour import ZFS_FUSE
from tests.simulation.volumes.zfs_plane import ZfsPlane
from tests.volume_plane import WorkingQueue

PASSWORD = "the password"
ME = "iqn.1994-05.com.redhat:me"


class Patient(WorkingQueue):
    """Waits for the worker's threads, as the daemon's does."""

    wait = OperationQueue.wait


class Served(ZfsPlane):
    queue_class = Patient


@dataclass
class Server:
    """A control plane over a simulated storage host, served."""

    plane: ZfsPlane
    url: str
    password_file: Path

    def run(self, *words: str) -> Result:
        options = ["--url", self.url, "--user", "admin", "--project", "admin"]
        return CliRunner().invoke(main, [*words, *options, "--password-file", str(self.password_file)])

    def ok(self, *words: str) -> str:
        result = self.run("volume", *words)
        assert result.exit_code == 0, result.output
        return result.output

    def fails(self, *words: str) -> str:
        result = self.run("volume", *words)
        assert result.exit_code == 1, result.output
        return result.stderr


@pytest.fixture
def elsewhere() -> Iterator[None]:
    """The server's logs do not mix with what commands print."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.CRITICAL))
    yield
    structlog.reset_defaults()


@pytest.fixture
def server(tmp_path: Path, elsewhere: None) -> Iterator[Server]:
    database = Database(f"sqlite:///{tmp_path / 'penstock.sqlite'}")
    metadata.create_all(database.engine)
    text = "use_chap_auth = True\n"
    plane = Served(tmp_path, ZFS_FUSE, text=text, database=database, clock=SystemClock())
    bootstrap(database, plane.clock, admin_password=PASSWORD)
    worker = Worker(database, plane.queue, plane.clock, plane.manager.host, Dispatch(plane.manager))
    worker.start()
    listening = socket.create_server(("127.0.0.1", 0))
    app = uvicorn.Server(uvicorn.Config(make_app(plane.plane), log_config=None, access_log=False, lifespan="off"))
    thread = threading.Thread(target=app.run, kwargs={"sockets": [listening]})
    thread.start()
    while not app.started:
        time.sleep(0.01)
    password_file = tmp_path / "password"
    password_file.write_text(PASSWORD + "\n")
    yield Server(plane, f"http://127.0.0.1:{listening.getsockname()[1]}", password_file)
    app.should_exit = True
    thread.join(20)
    worker.stop()
    database.close()


def test_the_life_of_a_volume(server: Server) -> None:
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
    assert server.plane.findings() == []


def test_json_lists_and_failures(server: Server) -> None:
    made = json.loads(server.ok("create", "1", "--name", "data", "--json"))
    assert (made["status"], made["size"]) == ("available", 1)
    (listed,) = json.loads(server.ok("list", "--json"))
    assert listed["id"] == made["id"]
    assert server.ok("list", "--status", "error") == "There are no volumes.\n"
    assert "default" in server.ok("types")
    assert "There is no volume 'docs'" in server.fails("show", "docs")


def test_a_volume_moves_alone_and_with_all_of_its_pool(server: Server) -> None:
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

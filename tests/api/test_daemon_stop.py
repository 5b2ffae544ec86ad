"""A daemon that is told to stop: volumes may lie on its own shares, so they end while it still serves those."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path
from typing import Any

import pytest

from penstock.config.loading import load
from penstock.daemon import open_database
from penstock.domain.volumes import VolumeStatus
from penstock.store import volumes
from penstock.store.database import Database
from penstock.volume.drivers.dummy import DummyVolumeDriver
from tests.waiting import until

CONFIGURATION = """
[DEFAULT]
host = host
state_path = {folder}
enabled_share_backends = one
enabled_backends = two
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
log_format = json
[identity]
admin_password = secret
[database]
connection = sqlite:///{folder}/penstock.sqlite
[operations]
workers_per_backend = 1
[one]
share_driver = penstock.share.drivers.dummy.DummyDriver
[two]
volume_driver = tests.api.test_daemon_stop.OnSharesOfItsDaemon
"""


class Api:
    """The daemon's, as its administrator."""

    def __init__(self, port: int) -> None:
        self.root = f"http://127.0.0.1:{port}"
        user = {"name": "admin", "domain": {"id": "default"}, "password": "secret"}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        with self._open("POST", "/v3/auth/tokens", body, {}) as answer:
            self.token = answer.headers["X-Subject-Token"]
            self.project = json.load(answer)["token"]["project"]["id"]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        headers = {"X-Auth-Token": self.token, "OpenStack-API-Version": "volume 3.60"}
        with self._open(method, path.format(project=self.project), body, headers) as answer:
            return json.load(answer)

    def _open(self, method: str, path: str, body: Any, headers: dict[str, str]) -> Any:
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json", **headers}
        request = urllib.request.Request(self.root + path, data, headers, method=method)  # noqa: S310
        return urllib.request.urlopen(request, timeout=30)  # noqa: S310


class OnSharesOfItsDaemon(DummyVolumeDriver):
    """Makes a share for each volume; the test says when, by a file, while the daemon is being stopped."""

    def create_volume(self, volume: Any) -> Any:
        folder = Path(self.configuration.conf.state_path)
        (folder / "begun").touch()
        until((folder / "go").exists, timeout_s=120)
        api = Api(self.configuration.conf.osapi_share_listen_port)
        wanted = {"share": {"share_proto": "NFS", "size": 1, "share_type": "default"}}
        made = api.call("POST", "/v2/{project}/shares", wanted)["share"]["id"]
        until(lambda: api.call("GET", f"/v2/{{project}}/shares/{made}")["share"]["status"] == "available", timeout_s=60)
        return super().create_volume(volume)


class Stopping:
    """A daemon whose driver is in the middle of a creation, and which was told to stop."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        self.path, self.log = folder / "penstock.conf", folder / "log"
        self.path.write_text(CONFIGURATION.format(folder=folder, port=self.port))
        with self.log.open("w") as stderr:
            words = (sys.executable, "-m", "penstock.cli", "--config", str(self.path), "serve")
            self.daemon = subprocess.Popen(words, stderr=stderr, cwd=Path(__file__).parents[2])
        try:
            until(lambda: self.log.read_text().count("backend.ready") == 2 or self.has_ended, timeout_s=180)
            self.api = Api(self.port)
            self.volume = self.create()
            until((folder / "begun").exists, timeout_s=60)
            self.tell()
        except BaseException:
            self.daemon.kill()
            raise

    @property
    def has_ended(self) -> bool:
        return self.daemon.poll() is not None

    def create(self) -> str:
        wanted = {"volume": {"size": 1}}
        return str(self.api.call("POST", "/volume/v3/{project}/volumes", wanted)["volume"]["id"])

    def tell(self) -> None:
        self.daemon.send_signal(signal.SIGTERM)
        until(lambda: "daemon.stopping" in self.log.read_text() or self.has_ended, timeout_s=60)

    def rows(self) -> Database:
        return open_database(load([self.path]))


@pytest.fixture
def stopping(tmp_path: Path) -> Any:
    found = Stopping(tmp_path)
    try:
        yield found
    finally:
        (tmp_path / "go").touch()
        found.daemon.kill()
        found.daemon.wait(60)


def test_a_volume_on_shares_of_the_same_daemon_is_made_before_it_ends(stopping: Stopping) -> None:
    later = stopping.create()  # accepted, and for the next start
    (stopping.folder / "go").touch()
    assert stopping.daemon.wait(120) == 0
    assert "daemon.stopped" in stopping.log.read_text()
    with stopping.rows().read() as tx:
        made, accepted = (volumes.get(tx, volume_id) for volume_id in (stopping.volume, later))
    assert made is not None
    assert accepted is not None
    assert made.status is VolumeStatus.AVAILABLE
    assert accepted.status in (VolumeStatus.CREATING, VolumeStatus.AVAILABLE)


def test_told_again_it_answers_no_more_requests(stopping: Stopping) -> None:
    stopping.daemon.send_signal(signal.SIGTERM)

    def refuses() -> bool:
        try:
            socket.create_connection(("127.0.0.1", stopping.port), timeout=5).close()
        except ConnectionRefusedError:
            return True
        return False

    until(refuses, timeout_s=60)
    assert not stopping.has_ended

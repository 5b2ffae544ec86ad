"""A daemon's start: requests are answered first, storage is looked at then; and not at all when it cannot serve."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

from tests.waiting import until

CONFIGURATION = """
[DEFAULT]
host = host
state_path = {folder}
enabled_share_backends = one
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
log_format = json
[identity]
admin_password = secret
[database]
connection = sqlite:///{folder}/penstock.sqlite
[one]
share_driver = penstock.share.drivers.dummy.DummyDriver
"""


def configuration(folder: Path, port: int) -> Path:
    path = folder / "penstock.conf"
    path.write_text(CONFIGURATION.format(folder=folder, port=port))
    return path


def start(path: Path, log: Path) -> subprocess.Popen[bytes]:
    with log.open("w") as stderr:
        return subprocess.Popen((sys.executable, "-m", "penstock.cli", "--config", str(path), "serve"), stderr=stderr)


def test_who_finds_the_port_taken_touches_no_backend(tmp_path: Path) -> None:
    log = tmp_path / "log"
    with socket.create_server(("127.0.0.1", 0)) as taken:
        daemon = start(configuration(tmp_path, taken.getsockname()[1]), log)
        assert daemon.wait(180) != 0
    assert "address already in use" in log.read_text()
    assert "backend." not in log.read_text()


def test_it_listens_before_it_works(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    path, log = configuration(tmp_path, port), tmp_path / "log"
    daemon = start(path, log)
    try:
        until(lambda: "backend.ready" in log.read_text() or daemon.poll() is not None, timeout_s=180)
        assert daemon.poll() is None
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=10) as answer:
            assert answer.status == 200
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(60)
    told = log.read_text()
    assert told.index("daemon.serving") < told.index("backend.ready") < told.index("daemon.stopped")

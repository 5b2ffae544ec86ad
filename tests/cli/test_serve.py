"""``penstock serve`` as its operator meets it: a stop ends what runs and lets the backends go."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from alembic.script import ScriptDirectory

from penstock.store import upgrade
from tests.waiting import until

CONFIG = """
[DEFAULT]
state_path = {folder}
host = store1
enabled_share_backends = quick
osapi_share_listen = 127.0.0.1
osapi_share_listen_port = {port}
[quick]
share_driver = penstock.share.drivers.dummy.DummyDriver
driver_handles_share_servers = False
"""
START_S = 60.0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_in_order(tmp_path: Path, number: signal.Signals) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    config, log = tmp_path / "penstock.conf", tmp_path / "log"
    config.write_text(CONFIG.format(folder=tmp_path / "state", port=port))
    argv = (sys.executable, "-m", "penstock.cli", "--config", str(config), "serve")
    with log.open("wb") as told, subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=told, stderr=told) as daemon:
        try:
            _await_answer(daemon, port)
            daemon.send_signal(number)
            assert daemon.wait(30) == 0, log.read_text()
        finally:
            daemon.kill()
    assert "daemon.stopped" in log.read_text()  # the last word, after the backends and the database


def _await_answer(daemon: subprocess.Popen[bytes], port: int) -> None:
    def has_answered() -> bool:
        assert daemon.poll() is None, "the daemon has ended"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=5)
        except urllib.error.HTTPError:
            return True
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return False
        return True

    until(has_answered, timeout_s=START_S)


def test_a_start_imports_nothing_that_few_need() -> None:
    """Together they would be a quarter of the time until the first answer."""
    script = (
        "import sys; import penstock.daemon\n"
        "few = {'alembic', 'keystonemiddleware', 'keystoneauth1', 'requests'}\n"
        "assert not few & set(sys.modules), few & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_revisions_are_what_alembic_finds() -> None:
    scripts = ScriptDirectory(str(upgrade.MIGRATIONS))
    found = [script.revision for script in scripts.walk_revisions()]  # the last one first
    assert scripts.get_current_head() == upgrade.head()
    assert found == sorted(upgrade._revisions(), reverse=True)

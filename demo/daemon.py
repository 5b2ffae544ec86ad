"""The daemon of the demo: its configuration, its life as a process, its clouds.yaml."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

from demo.place import Backend, DemoError

PORT = 8786
URL = f"http://127.0.0.1:{PORT}"
START_TIMEOUT_S = 30.0
STOP_TIMEOUT_S = 30.0


class DemoDaemon:
    """``penstock serve`` with everything it keeps under `work`."""

    def __init__(self, work: Path) -> None:
        self._work = work
        self.config = work / "penstock.conf"
        self.clouds = work / "clouds.yaml"
        self.log = work / "penstock.log"
        self._pid = work / "penstock.pid"

    def up(self, backend: Backend) -> None:
        """Run it, unless it runs; returns once the API answers. Raises DemoError with the end of its log."""
        if self._running_pid() is None:
            self._write_config(backend)
            self._launch()
        self._await_api()
        self._write_clouds()

    def down(self) -> None:
        """Stop it and wait for its end. Safe to repeat."""
        pid = self._running_pid()
        if pid is None:
            return
        os.kill(pid, signal.SIGTERM)
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while self._running_pid() is not None:
            if time.monotonic() > deadline:
                os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)

    def is_running(self) -> bool:
        """Is the process there?"""
        return self._running_pid() is not None

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                (sys.executable, "-m", "penstock.cli", "--config", str(self.config), "serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid.write_text(str(process.pid))

    def _await_api(self) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                with urllib.request.urlopen(f"{URL}/healthz", timeout=2):  # noqa: S310 - a fixed http URL
                    return
            except (urllib.error.URLError, ConnectionError, TimeoutError):
                if self._running_pid() is None or time.monotonic() > deadline:
                    tail = "\n".join(self.log.read_text().splitlines()[-15:])
                    raise DemoError(f"penstock did not start; the end of {self.log}:\n{tail}") from None
                time.sleep(0.05)

    def _running_pid(self) -> int | None:
        try:
            pid = int(self._pid.read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if b"penstock" in command and state != "Z" else None

    def _write_config(self, backend: Backend) -> None:
        lines = (
            "[DEFAULT]",
            f"state_path = {self._work / 'state'}",
            "host = demo",
            "enabled_share_backends = zfs",
            "enabled_share_protocols = NFS",
            f"osapi_share_listen_port = {PORT}",
            "periodic_interval = 10",
            "",
            "[zfs]",
            "share_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver",
            "driver_handles_share_servers = False",
            "share_backend_name = zfs",
            *backend.lines,
            "",
        )
        self.config.write_text("\n".join(lines))

    def _write_clouds(self) -> None:
        password = (self._work / "state" / "admin-password").read_text().strip()
        self.clouds.touch(mode=0o600)
        self.clouds.write_text(
            "clouds:\n"
            "  penstock:\n"
            "    auth:\n"
            f"      auth_url: {URL}/v3\n"
            "      username: admin\n"
            f'      password: "{password}"\n'
            "      project_name: admin\n"
            "      user_domain_id: default\n"
            "      project_domain_id: default\n"
            "    region_name: RegionOne\n"
            '    shared_file_system_api_version: "2"\n'
        )

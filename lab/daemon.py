"""A real ``penstock serve`` for the demo, the tests and the bench: its configuration, its process, its clouds.yaml."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from openstack.config.loader import OpenStackConfig
from openstack.connection import Connection

from lab.network import LabError, await_true

START_TIMEOUT_S = 300.0  # a user-mode Linux machine may take long to answer, on a busy machine
VERSION = "2.75"
STOP_TIMEOUT_S = 30.0


class LabDaemon:
    """A daemon with everything it keeps under `work`: ``penstock.conf``, ``clouds.yaml``, log, state.

    `backends` is section → lines of it; one with a ``volume_driver`` has volumes, the others shares. `options` are
    lines of ``[DEFAULT]``. `inside` is an argv that enters a machine of the lab, where the daemon then runs, listening
    on that machine's `address`.
    """

    def __init__(
        self,
        work: Path,
        backends: Mapping[str, Sequence[str]],
        *,
        port: int = 8786,
        options: Sequence[str] = (),
        inside: tuple[str, ...] = (),
        address: str = "127.0.0.1",
    ) -> None:
        self.url = f"http://{address}:{port}"
        self.config = work / "penstock.conf"
        self.clouds = work / "clouds.yaml"
        self.log = work / "penstock.log"
        self._work = work
        self._pid = work / "penstock.pid"
        self._port = port
        self._backends = backends
        self._options = options
        self._inside = inside
        self._address = address

    def up(self) -> None:
        """Run it, unless it runs; returns once every backend is ready. Raises LabError with the end of its log."""
        self.start()
        self._await(self.is_ready)
        self._write_clouds()

    def start(self) -> None:
        """Run it, unless it runs, and wait for nothing."""
        if self.pid() is None:
            self._work.mkdir(parents=True, exist_ok=True, mode=0o700)
            self._write_config()
            self._launch()

    def kill(self) -> None:
        """SIGKILL, at whatever it is doing, and wait for its end. Safe to repeat."""
        pid = self.pid()
        if pid is not None:
            self._signal(pid, signal.SIGKILL)
            await_true("the end of penstock", lambda: self.pid() is None, timeout_s=10)

    def down(self) -> None:
        """Stop it and wait for its end. Safe to repeat."""
        pid = self.pid()
        if pid is None:
            return
        self._signal(pid, signal.SIGTERM)
        try:
            await_true("the end of penstock", lambda: self.pid() is None, timeout_s=STOP_TIMEOUT_S)
        except LabError:
            self.kill()

    def cloud(self) -> Connection:
        """openstacksdk, logged in as the administrator by the clouds.yaml."""
        config = OpenStackConfig(config_files=[str(self.clouds)], load_envvars=False)
        return Connection(config=config.get_one("penstock"))

    def told(self) -> str:
        """Its log."""
        return self.log.read_text()

    def _signal(self, pid: int, number: int) -> None:
        os.kill(pid, number)

    def _launch(self) -> None:
        with self.log.open("ab") as log:
            process = subprocess.Popen(
                (*self._inside, sys.executable, "-m", "penstock.cli", "--config", str(self.config), "serve"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._pid.write_text(str(process.pid))

    def answers(self) -> bool:
        """Does the API answer?"""
        return self._health() is not None

    def is_ready(self) -> bool:
        """Does the API answer, and is every backend ready?"""
        backends = (self._health() or {}).get("backends", {})
        return len(backends) >= len(self._backends) and all(backends.values())

    def _health(self) -> dict[str, Any] | None:
        try:
            with urllib.request.urlopen(f"{self.url}/healthz", timeout=2) as answer:  # noqa: S310 - an http URL
                return dict(json.load(answer))
        except (urllib.error.URLError, ConnectionError, TimeoutError):
            return None

    def _await(self, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while not is_so():
            if self.pid() is None or time.monotonic() > deadline:
                told = [line for line in self.told().splitlines() if "request " not in line]
                raise LabError("\n".join([f"penstock did not get ready; the end of {self.log}:", *told[-15:]]))
            time.sleep(0.05)

    def pid(self) -> int | None:
        """The process, None when it does not run. Where nsenter entered a machine for it, its child."""
        try:
            outer = int(self._pid.read_text())
            children = Path(f"/proc/{outer}/task/{outer}/children").read_text().split() if self._inside else []
        except (FileNotFoundError, ProcessLookupError):
            return None
        # what enters the machine runs short-lived programs of its own first, which are not the daemon
        return next((pid for pid in (*map(int, children), outer) if _is_daemon(pid)), None)

    def _write_config(self) -> None:
        lines = [
            "[DEFAULT]",
            f"state_path = {self._work / 'state'}",
            "host = lab",
            f"enabled_share_backends = {','.join(name for name in self._backends if not self._has_volumes(name))}",
            f"enabled_backends = {','.join(name for name in self._backends if self._has_volumes(name))}",
            f"osapi_share_listen = {self._address}",
            f"osapi_share_listen_port = {self._port}",
            *self._options,
        ]
        for section, own in self._backends.items():
            kind = "volume" if self._has_volumes(section) else "share"
            lines += ["", f"[{section}]", f"{kind}_backend_name = {section}", *own]
        self.config.write_text("\n".join([*lines, ""]))

    def _has_volumes(self, section: str) -> bool:
        return any(line.startswith("volume_driver") for line in self._backends[section])

    def _write_clouds(self) -> None:
        password = (self._work / "state" / "admin-password").read_text().strip()
        self.clouds.touch(mode=0o600)
        self.clouds.write_text(
            "clouds:\n"
            "  penstock:\n"
            "    auth:\n"
            f"      auth_url: {self.url}/v3\n"
            "      username: admin\n"
            f'      password: "{password}"\n'
            "      project_name: admin\n"
            "      user_domain_id: default\n"
            "      project_domain_id: default\n"
            "    region_name: RegionOne\n"
            '    shared_file_system_api_version: "2"\n'
            # openstacksdk sends 2.0 with most calls unless told otherwise, where extend and shrink have other names
            f'    shared_file_system_default_microversion: "{VERSION}"\n'
        )


def _is_daemon(pid: int) -> bool:
    """Is it ``penstock serve``, or what is about to become it?"""
    try:
        command = Path(f"/proc/{pid}/cmdline").read_bytes()
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    # for an instant after its exec a process has no words yet
    return state != "Z" and (not command or b"penstock.cli" in command)

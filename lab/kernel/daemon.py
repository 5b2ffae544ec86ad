"""``penstock serve`` in a kernel machine: it attaches volumes by that machine's kernel."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from lab.daemon import LabDaemon
from lab.network import LabError
from penstock.host.runner import Host

LAUNCH = 'log=$1; shift; cd /; mkdir -p "${log%/*}"; setsid "$@" >>"$log" 2>&1 </dev/null & echo $!'
TIMEOUT_S = 60.0


class MachineDaemon(LabDaemon):
    """As LabDaemon, in a workplace of a machine, at its address. Its state and log stay there; the configuration is
    read from `work` here, so it is written once."""

    def __init__(
        self,
        machine: Host,
        work: Path,
        backends: Mapping[str, Sequence[str]],
        *,
        address: str,
        port: int = 8786,
        options: Sequence[str] = (),
    ) -> None:
        super().__init__(work, backends, port=port, options=options, address=address)
        self._machine = machine
        self._number: int | None = None

    def told(self) -> str:
        return self._machine.read_file(str(self.log)) or ""

    def pid(self) -> int | None:
        if self._number is None:
            return None
        about = [f"/proc/{self._number}/{name}" for name in ("stat", "cmdline")]
        stat, _, command = self._machine.run(["cat", *about], timeout_s=TIMEOUT_S).stdout.partition("\n")
        state = stat.rpartition(")")[2].split()[:1]
        # for a while after its exec a process has no words yet
        is_daemon = state not in ([], ["Z"]) and (not command or "penstock.cli" in command)
        return self._number if is_daemon else None

    def _signal(self, pid: int, number: int) -> None:
        self._machine.run(["kill", f"-{number}", str(pid)], timeout_s=TIMEOUT_S)

    def _launch(self) -> None:
        words = (sys.executable, "-m", "penstock.cli", "--config", str(self.config), "serve")
        done = self._machine.run(["sh", "-c", LAUNCH, "sh", str(self.log), *words], timeout_s=TIMEOUT_S)
        if done.exit_code != 0:
            raise LabError(f"{self._machine.name}: {done.stderr}")
        self._number = int(done.stdout)

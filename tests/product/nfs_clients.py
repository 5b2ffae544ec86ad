"""NFS clients as users have them: libnfs in a namespace, and the kernel's in a machine of its own."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

from penstock.host.runner import Completed, Host
from tests.contract import nfs_session
from tests.waiting import until

TIMEOUT_S = 120.0
SESSION = Path(nfs_session.__file__)


@dataclass
class NfsClient(ABC):
    """A machine that uses shares. A location is what the API tells: ``10.0.0.5:/tank/share``."""

    host: Host
    address: str

    @abstractmethod
    def write(self, location: str, name: str, text: str) -> bool:
        """Write a new file; whether that worked."""

    @abstractmethod
    def read(self, location: str, name: str) -> str | None:
        """What is in the file; None when it cannot be read."""

    @abstractmethod
    def fill(self, location: str, name: str, size_mib: int) -> str:
        """Write that much into a new file; what the client complained of, empty when nothing."""

    @abstractmethod
    def can_list(self, location: str) -> bool:
        """Can it mount the share and look?"""

    @abstractmethod
    def while_mounted(self, location: str, change: Callable[[], None]) -> tuple[bool, bool]:
        """Mount, use, `change` something, use again without mounting again: did both uses work?

        The share must hold the files ``file`` and ``other``.
        """

    def may(self, location: str) -> str:
        """``rw``, ``ro``, or nothing, by trying."""
        if not self.can_list(location):
            return ""
        return "rw" if self.write(location, f"try{time.time_ns()}", "x") else "ro"


@dataclass
class LibnfsClient(NfsClient):
    """libnfs's programs (4.0, whose URLs want IPv6 addresses without brackets).

    Reads by NFSv4. Writes by NFSv3: nfs-cp's v4 writes are larger than NFS-Ganesha 4.3 takes.
    """

    def write(self, location: str, name: str, text: str) -> bool:
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(text)
            file.flush()
            return self._copy(file.name, location, name).exit_code == 0

    def read(self, location: str, name: str) -> str | None:
        done = self._run("nfs-cat", self._url(location, name))
        return done.stdout if done.exit_code == 0 else None

    def fill(self, location: str, name: str, size_mib: int) -> str:
        with tempfile.NamedTemporaryFile() as file:
            file.truncate(size_mib << 20)
            done = self._copy(file.name, location, name)
        return "" if done.exit_code == 0 else done.stdout + done.stderr or "it failed"

    def can_list(self, location: str) -> bool:
        return self._run("nfs-ls", self._url(location)).exit_code == 0

    def while_mounted(self, location: str, change: Callable[[], None]) -> tuple[bool, bool]:
        server, _, path = location.partition(":/")
        answers: list[Completed] = []
        with tempfile.TemporaryDirectory() as directory:
            argv = ["python3", str(SESSION), server, f"/{path}", "4", directory]
            thread = threading.Thread(target=lambda: answers.append(self._run(*argv)))
            thread.start()
            until(lambda: Path(directory, "ready").exists() or not thread.is_alive(), timeout_s=TIMEOUT_S)
            change()
            Path(directory, "go").touch()
            thread.join()
        assert answers[0].exit_code == 0, answers[0]
        seen: dict[str, dict[str, Any]] = json.loads(answers[0].stdout)
        return min(seen["before"].values()) >= 0, max(seen["after"].values()) >= 0

    def _copy(self, source: str, location: str, name: str) -> Completed:
        return self._run("nfs-cp", source, self._url(location, name, version=3))

    def _run(self, *argv: str) -> Completed:
        return self.host.run(argv, timeout_s=TIMEOUT_S)

    def _url(self, location: str, name: str = "", *, version: int = 4) -> str:
        server, _, path = location.partition(":/")
        path = f"{path}/{name}" if name else path
        return f"nfs://{server.strip('[]')}/{path}?version={version}"


@dataclass
class KernelClient(NfsClient):
    """``mount -t nfs`` in a machine with a kernel of its own; mounted for each use, NFSv4.2."""

    _numbers: count[int]

    def write(self, location: str, name: str, text: str) -> bool:
        return self._mounted(location, 'printf %s "$2" >"$1"', name, text).exit_code == 0

    def read(self, location: str, name: str) -> str | None:
        done = self._mounted(location, 'cat "$1"', name)
        return done.stdout if done.exit_code == 0 else None

    def fill(self, location: str, name: str, size_mib: int) -> str:
        done = self._mounted(location, 'dd if=/dev/zero "of=$1" bs=1M "count=$2" conv=fsync', name, str(size_mib))
        return "" if done.exit_code == 0 else done.stderr

    def can_list(self, location: str) -> bool:
        return self._mounted(location, "ls").exit_code == 0

    def while_mounted(self, location: str, change: Callable[[], None]) -> tuple[bool, bool]:
        top = f"/run/nfs{next(self._numbers)}"
        before = self._shell('mkdir "$1" && mount -t nfs -o vers=4.2,retry=0 "$2" "$1" && cat "$1/file"', top, location)
        change()
        after = self._shell('cat "$1/other" >/dev/null || : >"$1/new"', top)
        self._shell('umount -lf "$1"; rmdir "$1"', top)
        return before.exit_code == 0, after.exit_code == 0

    def _mounted(self, location: str, script: str, *words: str) -> Completed:
        top = f"/run/nfs{next(self._numbers)}"
        whole = (
            'top=$1; location=$2; shift 2; mkdir "$top"; '
            'mount -t nfs -o vers=4.2,retry=0 "$location" "$top" || exit 99; '
            f'(cd "$top" && {script}); code=$?; umount "$top"; rmdir "$top"; exit $code'
        )
        return self._shell(whole, top, location, *words)

    def _shell(self, script: str, *words: str) -> Completed:
        return self.host.run(["sh", "-c", script, "sh", *words], timeout_s=TIMEOUT_S)

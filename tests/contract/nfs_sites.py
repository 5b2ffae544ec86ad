"""Where NfsServer is held to its contract: a simulated host, Ganesha in namespaces, knfsd in the kernel lab."""

from __future__ import annotations

import itertools
import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from penstock.exports.nfs import NfsServer
from penstock.exports.nfs_ganesha import INDEX, GaneshaNfs
from penstock.exports.nfs_kernel import KernelNfs
from penstock.host.local import LocalHost
from penstock.host.message_bus import SystemBus
from penstock.host.runner import Completed, Host
from tests.simulation.nfs_host import ETAB, SimulatedNfs
from tests.simulation.zfs_host import SimulatedHost
from tests.waiting import until

SESSION = Path(__file__).with_name("nfs_session.py")
NUMBERS = itertools.count()


class Site(ABC):
    """One server, two clients, and directories to export."""

    server: NfsServer
    host: Host
    addresses: dict[str, str]  # of clients "c1" and "c2", which are in `network`
    network: str
    has_sessions = True
    versions: tuple[int, ...] = (3, 4)

    @abstractmethod
    def directory(self) -> str:
        """A new directory with the files ``file`` and ``other``, which everybody may write to."""

    @abstractmethod
    def allows(self, client: str, path: str, version: int) -> str | None:
        """What the client can do, by trying: ``rw``, ``ro``, or None when it cannot even mount."""

    @abstractmethod
    def forget(self, path: str) -> None:
        """Behind our back, make the running server stop serving the path."""

    @abstractmethod
    def restart(self, meanwhile: Callable[[], object] = tuple) -> None:
        """Start the server again: it serves what is configured. `meanwhile` is called while it does not run."""


class SimulatedSite(Site):
    has_sessions = False

    def __init__(self) -> None:
        self.host: SimulatedHost = SimulatedHost("sim")
        self.nfs = SimulatedNfs()
        self.nfs.install(self.host)
        self.server = KernelNfs(self.host)
        self.addresses = {"c1": "10.1.0.101", "c2": "10.1.0.102"}
        self.network = "10.1.0.0/24"

    def directory(self) -> str:
        return f"/tank/d{next(NUMBERS)}"

    def allows(self, client: str, path: str, version: int) -> str | None:
        return self.nfs.allows(self.host.state.files, path, self.addresses[client])

    def forget(self, path: str) -> None:
        self.host.state.files[ETAB] = ""
        self.host.run(["exportfs", "-f"], timeout_s=5)

    def restart(self, meanwhile: Callable[[], object] = tuple) -> None:
        self.nfs.stop(self.host.state.files)
        meanwhile()
        self.nfs.boot(self.host.state.files)


@dataclass
class RealSite(Site):
    """What both real servers share: clients that try by libnfs."""

    host: Host
    address: str
    clients: dict[str, Host]
    addresses: dict[str, str]

    def __post_init__(self) -> None:
        self.network = f"{self.address.rpartition('.')[0]}.0/24"
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make `server`."""

    def directory(self) -> str:
        dataset = f"tank/exports{next(NUMBERS)}"
        self.ran("zfs", "create", dataset)
        self.ran("chmod", "0777", f"/{dataset}")
        for name in ("file", "other"):
            self.host.write_file(f"/{dataset}/{name}", "hello")
        return f"/{dataset}"

    def ran(self, *argv: str) -> Completed:
        done = self.host.run(argv, timeout_s=60)
        assert done.exit_code == 0, done
        return done

    def allows(self, client: str, path: str, version: int) -> str | None:
        url, host = f"nfs://{self.address}{path}", self.clients[client]
        listed = host.run(["nfs-ls", f"{url}?version={version}"], timeout_s=60)
        if listed.exit_code != 0 or " file" not in listed.stdout:
            return None
        new = f"{url}/new{time.time_ns()}?version={version}"
        return "rw" if host.run(["nfs-cp", "/etc/hostname", new], timeout_s=60).exit_code == 0 else "ro"

    def session(
        self, client: str, path: str, version: int, directory: Path, change: Callable[[], None]
    ) -> dict[str, Any]:
        """What a client that stays mounted sees before and after `change`."""
        answers: list[Completed] = []
        argv = ["python3", str(SESSION), self.address, path, str(version), str(directory)]
        thread = threading.Thread(target=lambda: answers.append(self.clients[client].run(argv, timeout_s=120)))
        thread.start()
        until(lambda: (directory / "ready").exists() or not thread.is_alive())
        change()
        (directory / "go").touch()
        thread.join()
        assert answers[0].exit_code == 0, answers[0]
        found: dict[str, Any] = json.loads(answers[0].stdout)
        return found


class GaneshaSite(RealSite):
    def prepare(self) -> None:
        self.server = GaneshaNfs(self.host)
        self.host.write_file("/etc/ganesha/exports.conf", f'%include "{INDEX}"\n')
        self.server.verify()

    def bus(self, method: str, *arguments: str) -> Completed:
        return self.host.run(
            [
                *("dbus-send", "--system", "--print-reply", "--dest=org.ganesha.nfsd", "/org/ganesha/nfsd/ExportMgr"),
                *(f"org.ganesha.nfsd.exportmgr.{method}", *arguments),
            ],
            timeout_s=60,
        )

    def forget(self, path: str) -> None:
        lines = iter(self.bus("ShowExports").stdout.splitlines())
        for line in lines:
            if "uint16" in line and f'"{path}"' in next(lines):
                assert self.bus("RemoveExport", f"uint16:{line.split()[1]}").exit_code == 0

    def restart(self, meanwhile: Callable[[], object] = tuple) -> None:
        pid = (self.host.read_file("/run/ganesha/ganesha.pid") or "").strip()
        environment = (self.host.read_file(f"/proc/{pid}/environ") or "").split("\0")
        command = (self.host.read_file(f"/proc/{pid}/cmdline") or "").rstrip("\0").split("\0")
        self.ran("kill", "-9", pid)
        preload = [word for word in environment if word.startswith("LD_PRELOAD=")]
        until(lambda: self.host.run(["test", "-e", f"/proc/{pid}"], timeout_s=10).exit_code != 0)
        meanwhile()
        self.ran("env", *preload, *command)
        until(lambda: self.bus("ShowExports").exit_code == 0)


class ReachedByBus(LocalHost):
    """A host of the lab whose bus we speak to ourselves, as the daemon does on its own machine."""

    bus = None  # type: ignore[assignment]

    def __init__(self, host: LocalHost, pid: int) -> None:
        super().__init__(host.name, prefix=host._prefix)
        self.bus = SystemBus(host.name, f"/proc/{pid}/root/run/dbus/system_bus_socket")


class KernelSite(RealSite):
    def prepare(self) -> None:
        self.server = KernelNfs(self.host)
        self.server.verify()

    def forget(self, path: str) -> None:
        for line in self.ran("cat", ETAB).stdout.splitlines():
            name, _, client = line.partition("\t")
            if name == path:
                self.ran("exportfs", "-u", f"{client.partition('(')[0]}:{path}")

    def restart(self, meanwhile: Callable[[], object] = tuple) -> None:
        self.host.write_file(ETAB, "")
        self.ran("exportfs", "-f")
        meanwhile()
        self.ran("exportfs", "-ra")  # what nfs-server.service does before it starts nfsd

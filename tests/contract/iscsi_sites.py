"""Where IscsiExports is held to its contract: a simulated host, tgtd in namespaces, LIO in the kernel lab."""

from __future__ import annotations

import itertools
import re
import subprocess
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from urllib.parse import quote

from penstock.exports.iscsi import Chap, IscsiExports
from penstock.exports.iscsi_lio import LioIscsi
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.runner import Completed, Host
from tests.simulation.tgt_host import EMPTY, SimulatedTgt
from tests.simulation.zfs_host import SimulatedHost
from tests.waiting import until

NUMBERS = itertools.count(1)
MIB = 2**20


class IscsiSite(ABC):
    """One target server, clients c1 and c2 that log in without a kernel, and things to export."""

    server: IscsiExports
    host: Host
    address: str
    addresses: dict[str, str]
    has_addresses = True
    """Whether it can tell initiators by where they come from."""
    has_lun_masks = False
    """Whether initiators of one target can see different LUNs."""
    first_lun = 1
    writes_zeros_one_by_one = False
    """Is WRITE SAME a loop over single blocks there?"""
    has_numbers = False
    """Has a target a number, which somebody else may take first?"""

    @abstractmethod
    def backing(self, size_mib: int) -> str:
        """A new device or file."""

    @abstractmethod
    def resize(self, path: str, size_mib: int) -> None:
        """Make it larger."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """It is gone."""

    @abstractmethod
    def login(
        self, client: str, iqn: str, initiator: str, *, lun: int | None = None, chap: Chap | None = None,
        mutual: Chap | None = None,
        port: int = 3260,
    ) -> int | None:  # fmt: skip
        """The size in MiB of the LUN as the initiator sees it, by trying; None when it does not get in."""

    @abstractmethod
    def forget(self, iqn: str) -> None:
        """Behind our back, make the running server stop serving the target."""

    def intrude(self, iqn: str) -> None:
        """Behind our back, make a target of that name, where targets have numbers under the next one."""
        raise NotImplementedError

    @abstractmethod
    def restart(self) -> None:
        """Stop the server and start it as its service does, without us."""

    @abstractmethod
    def lose(self) -> None:
        """The server loses everything, and its service put nothing back."""

    @contextmanager
    @abstractmethod
    def staying(self, client: str, iqn: str, initiator: str) -> Iterator[None]:
        """An initiator that is logged in meanwhile."""


class SimulatedTgtSite(IscsiSite):
    has_numbers = True

    def __init__(self) -> None:
        self.host: SimulatedHost = SimulatedHost("sim")
        self._sizes: dict[str, int] = {}
        self.tgt = SimulatedTgt(self.host, self._sizes.get)
        self.server = TgtIscsi(self.host)
        self.address = "10.1.0.11"
        self.addresses = {"c1": "10.1.0.101", "c2": "10.1.0.102"}

    def backing(self, size_mib: int) -> str:
        path = f"/tank/backing{next(NUMBERS)}"
        self.resize(path, size_mib)
        return path

    def resize(self, path: str, size_mib: int) -> None:
        self._sizes[path] = size_mib * MIB

    def remove(self, path: str) -> None:
        del self._sizes[path]

    def login(
        self, client: str, iqn: str, initiator: str, *, lun: int | None = None, chap: Chap | None = None,
        mutual: Chap | None = None,
        port: int = 3260,
    ) -> int | None:  # fmt: skip
        words = None if chap is None else (chap.username, chap.secret)
        found = self.tgt.login(iqn, initiator, self.addresses[client], words)
        size = None if found is None else found.get(lun or self.first_lun)
        return None if size is None else size // MIB

    def forget(self, iqn: str) -> None:
        for target in self.tgt._targets().items():
            if target[1]["name"] == iqn:
                self.tgt.call(1, 1, int(target[0]), force=1)

    def intrude(self, iqn: str) -> None:
        number = max(map(int, self.tgt._targets()), default=0) + 1
        assert self.tgt.call(1, 0, number, params=f"targetname={iqn}") == (0, "")

    def restart(self) -> None:
        self.tgt.stop()
        self.host.state.files.pop("/run/penstock-tgt-accounts.json", None)
        self.tgt.boot()

    def lose(self) -> None:
        self.tgt._keep(EMPTY)

    @contextmanager
    def staying(self, client: str, iqn: str, initiator: str) -> Iterator[None]:
        self.tgt.log_in(iqn, initiator, self.addresses[client])
        yield


@dataclass
class RealIscsiSite(IscsiSite):
    """Clients that try by libiscsi, and stay by QEMU."""

    host: Host
    address: str
    clients: dict[str, Host]
    addresses: dict[str, str]
    namespaces: dict[str, str]

    def __post_init__(self) -> None:
        self.prepare()

    @abstractmethod
    def prepare(self) -> None:
        """Make `server`."""

    def ran(self, *argv: str, stdin: str | None = None) -> Completed:
        done = self.host.run(argv, timeout_s=60, stdin=stdin)
        assert done.exit_code == 0, done
        return done

    def url(self, iqn: str, lun: int, chap: Chap | None = None, mutual: Chap | None = None, port: int = 3260) -> str:
        """What libiscsi and QEMU take."""
        user = f"{quote(chap.username)}%{quote(chap.secret)}@" if chap else ""
        query = f"?target_user={quote(mutual.username)}&target_password={quote(mutual.secret)}" if mutual else ""
        return f"iscsi://{user}{self.address}:{port}/{iqn}/{lun}{query}"

    def login(
        self, client: str, iqn: str, initiator: str, *, lun: int | None = None, chap: Chap | None = None,
        mutual: Chap | None = None,
        port: int = 3260,
    ) -> int | None:  # fmt: skip
        url = self.url(iqn, self.first_lun if lun is None else lun, chap, mutual, port)
        done = self.clients[client].run(["iscsi-readcapacity16", "-i", initiator, url], timeout_s=60)
        last = re.search(r"LOGICAL BLOCK ADDRESS:(\d+)", done.stdout)
        length = re.search(r"LENGTH IN BYTES:(\d+)", done.stdout)
        return (int(last[1]) + 1) * int(length[1]) // MIB if last and length else None

    @contextmanager
    def staying(self, client: str, iqn: str, initiator: str) -> Iterator[None]:
        """QEMU reads and waits; ends well only if its session does."""
        words = ["qemu-io", "--image-opts", "-c", "read 0 512", "-c", "sleep 1000000"]
        image = f"driver=iscsi,transport=tcp,portal={self.address},target={iqn},lun={self.first_lun}"
        inside = ("ip", "netns", "exec", self.namespaces[client])
        process = subprocess.Popen([*inside, *words, f"{image},initiator-name={initiator}"], stdout=subprocess.DEVNULL)
        try:
            until(lambda: any(one.initiator == initiator for one in self.server.sessions(iqn)), timeout_s=20)
            yield
        finally:
            process.kill()
            process.wait()


class TgtSite(RealIscsiSite):
    writes_zeros_one_by_one = True
    has_numbers = True

    def prepare(self) -> None:
        self.server = TgtIscsi(self.host)

    def backing(self, size_mib: int) -> str:
        path = f"/tank/backing{next(NUMBERS)}"
        self.resize(path, size_mib)
        return path

    def resize(self, path: str, size_mib: int) -> None:
        self.ran("truncate", "-s", f"{size_mib}M", path)

    def remove(self, path: str) -> None:
        self.ran("rm", path)

    def intrude(self, iqn: str) -> None:
        shown = self.ran("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show").stdout
        tid = max(map(int, re.findall(r"^Target (\d+):", shown, re.MULTILINE)), default=0) + 1
        self.ran("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "new", "--tid", str(tid), "-T", iqn)

    def forget(self, iqn: str) -> None:
        shown = self.ran("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show").stdout
        tid = next(line.split()[1].rstrip(":") for line in shown.splitlines() if line.endswith(f": {iqn}"))
        self.ran("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "delete", "--tid", tid, "--force")

    def restart(self) -> None:
        self.lose()
        self.ran("tgt-admin", "-e", "-c", "/etc/tgt/targets.conf")

    def lose(self) -> None:
        pid = self.ran("pidof", "tgtd").stdout.split()
        self.ran("kill", "-9", *pid)
        until(lambda: self.host.run(["pidof", "tgtd"], timeout_s=10).exit_code != 0)
        self.ran("rm", "-f", "/run/tgtd/socket.0.lock")
        started = time.monotonic()
        until(lambda: self.host.run(["tgtd"], timeout_s=20).exit_code == 0 or time.monotonic() - started > 20)
        show = ["tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show"]
        until(lambda: self.host.run(show, timeout_s=20).exit_code == 0)


# as Debian has it, and as tgt.service starts it
START_TGTD = (
    "install -d /etc/tgt/conf.d /run/tgtd && echo 'include /etc/tgt/conf.d/*.conf' >/etc/tgt/targets.conf && "
    "{ pidof tgtd || tgtd; }"
)
SHOW_TGT = ("tgtadm", "--lld", "iscsi", "--mode", "target", "--op", "show")


def start_tgtd(workplace: Host) -> Host:
    """This machine's tgtd in a kernel machine, until that ends. Where it runs LIO cannot have the usual port."""
    assert workplace.run(["sh", "-c", START_TGTD], timeout_s=60).exit_code == 0
    until(lambda: workplace.run(SHOW_TGT, timeout_s=60).exit_code == 0, timeout_s=60)
    return workplace


def stop_tgtd(workplace: Host) -> None:
    """Let LIO have its port again."""
    workplace.run(["sh", "-c", "kill -9 $(pidof tgtd)"], timeout_s=60)
    until(lambda: workplace.run(["pidof", "tgtd"], timeout_s=60).exit_code != 0, timeout_s=60)
    workplace.run(["sh", "-c", "rm -f /run/tgtd/socket.0.lock /etc/tgt/conf.d/*"], timeout_s=60)


def load_lio(machine: Host) -> Host:
    """A kernel machine's own target server."""
    script = "mountpoint -q /sys/kernel/config || mount -t configfs configfs /sys/kernel/config; "
    script += "modprobe -a target_core_mod iscsi_target_mod"
    assert machine.run(["sh", "-c", script], timeout_s=60).exit_code == 0
    return machine


class LioSite(RealIscsiSite):
    """zvols of a kernel machine."""

    has_addresses = False
    has_lun_masks = True

    def prepare(self) -> None:
        self.server = LioIscsi(load_lio(self.host))

    def backing(self, size_mib: int) -> str:
        name = f"tank/backing{next(NUMBERS)}"
        self.ran("zfs", "create", "-s", "-V", f"{size_mib}M", name)
        until(lambda: self.host.run(["test", "-e", f"/dev/zvol/{name}"], timeout_s=10).exit_code == 0)
        return f"/dev/zvol/{name}"

    def resize(self, path: str, size_mib: int) -> None:
        self.ran("zfs", "set", f"volsize={size_mib}M", path.removeprefix("/dev/zvol/"))

    def remove(self, path: str) -> None:
        self.ran("zfs", "destroy", path.removeprefix("/dev/zvol/"))

    def forget(self, iqn: str) -> None:
        self.ran("targetcli", f"/iscsi delete {iqn}")

    def restart(self) -> None:
        self.lose()
        self.ran("targetctl", "restore")

    def lose(self) -> None:
        self.ran("targetctl", "clear")


class LioFilesSite(LioSite):
    """Files of a kernel machine."""

    def backing(self, size_mib: int) -> str:
        path = f"/tank/backing{next(NUMBERS)}"
        self.resize(path, size_mib)
        return path

    def resize(self, path: str, size_mib: int) -> None:
        self.ran("truncate", "-s", f"{size_mib}M", path)

    def remove(self, path: str) -> None:
        self.ran("rm", path)

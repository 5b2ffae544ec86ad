"""Storage hosts without machines: namespaces, each with its own zfs-fuse, pool, NFS-Ganesha, tgtd, sshd; and clients.

Importable (`Lab`) and a program: ``python -m lab.hosts up 2 2``, see ``--help``.
"""

from __future__ import annotations

import argparse
import os
import secrets
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lab.network import HERE, LabError, Network, await_true, run
from penstock.host.local import LocalHost
from penstock.host.ssh import SshHost

FOLDER = Path(__file__).resolve().parent
ENTER = FOLDER / "enter"
FEATURES = ("zfs", "nfs", "ssh", "iscsi")
PROGRAMS = {
    "zfs": ("zfs-fuse", "zpool"),
    "nfs": ("ganesha.nfsd", "rpcbind", "gcc"),
    "ssh": ("sshd", "ssh-keygen", "sudo"),
    "iscsi": ("tgtd", "tgt-admin"),
}
ALWAYS = ("ip", "nsenter", "unshare", "dbus-daemon")
HOST_OCTET, CLIENT_OCTET = 10, 100
SYSTEM_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"
START_TIMEOUT_S = 60.0


def missing(features: tuple[str, ...] = FEATURES) -> str:
    """Why the lab cannot run here; empty when it can."""
    if os.geteuid() != 0:
        return "the namespace lab needs root"
    wanted = [*ALWAYS, *(program for feature in features for program in PROGRAMS[feature])]
    absent = [program for program in wanted if shutil.which(program, path=SYSTEM_PATH) is None]
    if absent:
        return f"missing programs: {', '.join(absent)} (script/setup --system installs them)"
    if "zfs" in features and not Path("/dev/fuse").exists():
        return "no /dev/fuse, which zfs-fuse needs (modprobe fuse, or give it to the container)"
    return ""


class Lab:
    """Hosts h1, h2 ... and clients c1, c2 ... on one bridge; all state under `directory`, all names from `tag`.

    Several labs run side by side when tag, directory and network prefix differ.
    """

    def __init__(
        self,
        tag: str = "lab",
        directory: Path = Path("/tmp/penstock-lab"),
        network_prefix: str = "10.77.0",
        features: tuple[str, ...] = FEATURES,
        pool_mib: int = 1024,
    ) -> None:
        self.network = Network(tag, network_prefix)
        self.directory = directory
        self._features = features
        self._pool_mib = pool_mib

    # -- what it consists of

    @property
    def key_path(self) -> Path:
        """Private key that root on every host accepts."""
        return self.directory / "id"

    @property
    def known_hosts_path(self) -> Path:
        """Host keys of all hosts, also of those not started yet."""
        return self.directory / "known_hosts"

    @property
    def password(self) -> str:
        """root's password on every host."""
        return (self.directory / "password").read_text()

    def address(self, name: str) -> str:
        """IPv4 address of a host or client."""
        octet = {"h": HOST_OCTET, "c": CLIENT_OCTET}[name[0]] + int(name[1:])
        return f"{self.network.prefix}.{octet}"

    def names(self, kind: str) -> list[str]:
        """Names of the hosts ("h") or clients ("c") there are, running or not."""
        names = (name.partition("-")[2] for name in self.network.namespaces())
        return sorted((name for name in names if name[0] == kind), key=lambda name: int(name[1:]))

    def host(self, name: str) -> LocalHost:
        """A storage host, by namespaces; stays valid over `kill` and `start`."""
        return LocalHost(name, prefix=(str(ENTER), str(self.directory), name))

    client = host

    def ssh_host(self, name: str, *, with_password: bool = False) -> SshHost:
        """The same machine as `host`, by ssh with the lab's key or with the password. Close it after use."""
        return SshHost(
            name,
            self.address(name),
            user="root",
            private_key_path=None if with_password else str(self.key_path),
            password=self.password if with_password else None,
            known_hosts_path=str(self.known_hosts_path),
            control_dir=self.directory / "ssh",
            connect_timeout_s=5,
        )

    # -- what happens to it

    def up(self, hosts: int, clients: int) -> Lab:
        """Have at least so many; what runs already stays, a host that does not run is started. Safe to repeat.

        Without our state (or after a reboot, with nothing but state) what is left under this tag is cleared first.
        """
        if not (self.directory / "tag").exists() or not self.network.namespaces():
            self.network.clear()
            self._prepare()
        self.network.up()
        for name in self._absent("c", clients):
            self.network.add_namespace(name, self.address(name))
        for name in self._absent("h", hosts):
            self._make_host(name)
        halted = [f"h{n}" for n in range(1, hosts + 1) if self._pid(f"h{n}") is None]
        for name in halted:
            self._launch(name)
        for name in halted:
            self._await_ready(name)
        return self

    def start(self, name: str) -> None:
        """Boot a host again after `kill`: its pool is imported, /etc/ganesha as it was, all else is fresh."""
        self._launch(name)
        self._await_ready(name)

    def kill(self, name: str) -> None:
        """Cut the power: SIGKILL to the host's pid 1, and with it to everything inside. Safe to repeat."""
        pid = self._pid(name)
        if pid is not None:
            os.kill(pid, signal.SIGKILL)
            await_true(f"the end of {name}", lambda: not self._is_alive(name), timeout_s=20)
        (self.directory / name / "pid").unlink(missing_ok=True)

    @contextmanager
    def cut(self, *ways: tuple[str, str]) -> Iterator[None]:
        """Until the end of the block, what the first of each pair sends to the second is lost; HERE is this machine.

        Not the other way round, unless that pair is given, too. Open connections hang, as on a real network.
        """
        done: list[tuple[str, str]] = []
        try:
            for sender, receiver in ways:
                address = f"{self.network.prefix}.1" if receiver == HERE else self.address(receiver)
                self.network.cut(sender, address)
                done.append((sender, address))
            yield
        finally:
            for sender, address in done:
                self.network.mend(sender, address)

    def down(self) -> None:
        """Leave nothing behind. Safe to repeat, also after a crashed run."""
        for name in self.names("h"):
            self.kill(name)
        self.network.clear()
        shutil.rmtree(self.directory, ignore_errors=True)

    # -- how

    def _absent(self, kind: str, count: int) -> list[str]:
        present = self.names(kind)
        return [name for name in (f"{kind}{n}" for n in range(1, count + 1)) if name not in present]

    def _prepare(self) -> None:
        reason = missing(self._features)
        if reason:
            raise LabError(reason)
        shutil.rmtree(self.directory, ignore_errors=True)
        self.directory.mkdir(mode=0o700, parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", "penstock lab", "-f", str(self.key_path))
        password = self.directory / "password"
        password.touch(mode=0o600)
        password.write_text(f'it\'s "{secrets.token_urlsafe(12)}" $x')  # quotes and spaces on purpose
        self.known_hosts_path.touch()
        if "nfs" in self._features:
            source, library = str(FOLDER / "futimens_clamp.c"), str(self.directory / "clamp.so")
            run("gcc", "-shared", "-fPIC", "-O2", "-o", library, source, "-ldl")
        (self.directory / "tag").write_text(self.network.tag)

    def _make_host(self, name: str) -> None:
        state = self.directory / name
        (state / "memory").mkdir(parents=True)
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", name, "-f", str(state / "host_key"))
        public = (state / "host_key.pub").read_text().rsplit(" ", 1)[0]
        with self.known_hosts_path.open("a") as known:
            known.write(f"{name},{self.address(name)} {public}\n")
        self.network.add_namespace(name, self.address(name))

    def _launch(self, name: str) -> None:
        if name not in self.names("h"):
            raise LabError(f"there is no host {name}")
        state = self.directory / name
        (state / "ready").unlink(missing_ok=True)
        environment = {
            "PATH": SYSTEM_PATH,
            "NAME": name,
            "LAB": str(self.directory),
            "REPO": str(FOLDER.parent),
            "ADDRESSES": "\n".join(f"{self.address(host)} {host}" for host in self.names("h")),
            "POOL_MIB": str(self._pool_mib),
            "FEATURES": " ".join(self._features),
        }
        namespaces = ("--mount", "--uts", "--ipc", "--pid", "--fork", "--propagation", "private")
        inside = ("ip", "netns", "exec", self.network.namespace(name), "unshare", *namespaces)
        with (state / "boot.log").open("ab") as log:
            outer = subprocess.Popen(
                (*inside, str(FOLDER / "boot-host")),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        children = Path(f"/proc/{outer.pid}/task/{outer.pid}/children")
        await_true(f"pid 1 of {name}", lambda: bool(children.read_text().strip()), timeout_s=10)
        (state / "pid").write_text(children.read_text().split()[0])

    def _await_ready(self, name: str) -> None:
        state = self.directory / name

        def settled() -> bool:
            return (state / "ready").exists() or not self._is_alive(name)

        await_true(f"the boot of {name} (see {state}/boot.log)", settled, timeout_s=START_TIMEOUT_S)
        if not (state / "ready").exists():
            raise LabError(f"{name} died while booting: {(state / 'boot.log').read_text()[-600:]}")

    def _pid(self, name: str) -> int | None:
        """Pid of the host's pid 1 seen from here, None when it does not run."""
        try:
            pid = int((self.directory / name / "pid").read_text())
        except FileNotFoundError:
            return None
        is_ours = Path(f"/proc/{pid}").exists() and b"boot-host" in Path(f"/proc/{pid}/cmdline").read_bytes()
        return pid if is_ours else None

    def _is_alive(self, name: str) -> bool:
        inside = run("ip", "netns", "pids", self.network.namespace(name))
        return bool(inside.split())


def main() -> int:
    """The command line: names and places from TAG, LAB and NETPFX in the environment."""
    parser = argparse.ArgumentParser(prog="python -m lab.hosts", description=main.__doc__)
    parser.add_argument("verb", choices=("up", "down", "status", "start", "kill", "exec"))
    parser.add_argument(
        "words", nargs=argparse.REMAINDER, help="up: HOSTS CLIENTS; start, kill: NAME; exec: NAME COMMAND"
    )
    arguments = parser.parse_args()
    if arguments.verb in ("start", "kill", "exec") and not arguments.words:
        parser.error(f"{arguments.verb} which machine?")
    tag = os.environ.get("TAG", "lab")
    directory = Path(os.environ.get("LAB", f"/tmp/penstock-{tag}"))
    lab = Lab(tag, directory, os.environ.get("NETPFX", "10.77.0"))
    try:
        return _carry_out(lab, arguments.verb, arguments.words)
    except LabError as err:
        print(f"lab: {err}", file=sys.stderr)
        return 1


def _carry_out(lab: Lab, verb: str, words: list[str]) -> int:
    if verb == "exec":
        os.execv(ENTER, (str(ENTER), str(lab.directory), *words))  # noqa: S606 (an argv, given by who runs it)
    elif verb == "up":
        hosts, clients = (*map(int, words), 2, 2)[:2]
        lab.up(hosts, clients)
    elif verb == "down":
        lab.down()
    elif verb in ("start", "kill"):
        (lab.start if verb == "start" else lab.kill)(words[0])
    for name in () if verb == "down" else [*lab.names("h"), *lab.names("c")]:
        print(name, lab.address(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

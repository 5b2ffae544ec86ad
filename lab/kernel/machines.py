"""Machines k1, k2 ... as user-mode Linux processes: OpenZFS, kernel NFS server and client, two data disks each.

Importable (`KernelLab`) and a program: ``python -m lab.kernel.machines up k1``, see ``--help``.
"""

from __future__ import annotations

import argparse
import functools
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from lab.kernel import workplace
from lab.network import HERE as THIS
from lab.network import NOBODY, LabError, Network, await_true, run
from penstock.errors import Fault
from penstock.host.ssh import SshHost

HERE = Path(__file__).resolve().parent
ARTEFACTS = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "penstock" / "kernel-lab"
# where `unpack` finds what `build` takes 10-25 minutes to make
PREBUILT = Path(os.environ.get("PENSTOCK_PREBUILT", HERE.parents[2] / "shared" / "lab" / "kernel-lab" / "prebuilt"))
ROOT_DISK = "root-journaled.ext4"
PROGRAMS = ("ip", "ssh", "ssh-keygen", "zstd", "mkfs.ext4", "dbus-uuidgen")
FIRST_OCTET = 20
MOST_MACHINES = 9
MEMORY = "768M"
DISK_MIB = 1024
BOOT_TIMEOUT_S = 600.0  # ten seconds on a quiet machine


def missing(artefacts: Path = ARTEFACTS) -> str:
    """Why the kernel lab cannot run here; empty when it can (unpacking on the way if need be)."""
    if os.geteuid() != 0:
        return "the kernel lab needs root"
    absent = [name for name in PROGRAMS if shutil.which(name, path="/usr/sbin:/usr/bin:/sbin:/bin") is None]
    if absent:
        return f"missing programs: {', '.join(absent)} (script/setup --system installs them)"
    if (artefacts / ROOT_DISK).exists() or PREBUILT.exists():
        return ""
    return f"no kernel lab in {artefacts}, nor prebuilt parts in {PREBUILT}: lab/kernel/build makes one"


class KernelLab:
    """Machines on the bridge of `tag`, which a `Lab` of the same tag and prefix shares; all state under `directory`."""

    def __init__(
        self,
        tag: str = "lab",
        directory: Path = Path("/tmp/penstock-kernel-lab"),
        network_prefix: str = "10.77.0",
        artefacts: Path = ARTEFACTS,
        disk_mib: int = DISK_MIB,
    ) -> None:
        self.network = Network(tag, network_prefix)
        self.directory = directory
        self._artefacts = artefacts
        self._disk_mib = disk_mib
        self._hosts: dict[str, SshHost] = {}

    @property
    def key_path(self) -> Path:
        """Private key that root on every machine accepts."""
        return self._artefacts / "id"

    @property
    def known_hosts_path(self) -> Path:
        return self.directory / "known_hosts"

    def address(self, name: str) -> str:
        """IPv4 address of a machine."""
        return f"{self.network.prefix}.{FIRST_OCTET + int(name[1:])}"

    def names(self) -> list[str]:
        """Machines that were booted once, running or not."""
        return sorted(path.stem for path in self.directory.glob("*.console"))

    def host(self, name: str) -> SshHost:
        """The machine, by ssh; stays valid over `kill` and `up`. `down` closes it."""
        if name not in self._hosts:
            self._hosts[name] = self._reached(name, ())
        return self._hosts[name]

    def workplace(self, name: str) -> SshHost:
        """The running machine, with the programs of this one: see `workplace`. Not after a power cut."""
        workplace.set_up(self.host(name), self.initiator(name))
        return self._reached(name, workplace.PREFIX)

    def initiator(self, name: str) -> str:
        """The iSCSI name of a machine with a workplace."""
        return f"iqn.2026-11.org.example:{name}"

    def _reached(self, name: str, prefix: tuple[str, ...]) -> SshHost:
        return SshHost(
            name,
            self.address(name),
            user="root",
            private_key_path=str(self.key_path),
            known_hosts_path=str(self.known_hosts_path),
            # all machines come from one image with one host key, made on this machine
            is_new_host_accepted=True,
            control_dir=self.directory / "ssh",
            connect_timeout_s=30,  # it may be busy
            prefix=prefix,
        )

    def up(self, *names: str) -> KernelLab:
        """Boot the machines that do not run, with their disks as they were, and wait until they serve."""
        reason = missing(self._artefacts)
        if reason:
            raise LabError(reason)
        if not (self._artefacts / ROOT_DISK).exists():
            environment = {**os.environ, "OUT": str(self._artefacts), "PREBUILT": str(PREBUILT)}
            subprocess.run([str(HERE / "unpack")], check=True, env=environment)
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.network.up()
        fresh = {name: self._boot(name) for name in names if self._pid(name) is None}
        for name, machine in fresh.items():
            serves = functools.partial(self._serves, name, machine)
            try:
                await_true(f"the boot of {name}", serves, timeout_s=BOOT_TIMEOUT_S)
            except LabError as err:  # its console is gone before anybody can look
                raise LabError(f"{err}; its console ends with {self.console(name)[-400:]!r}") from err
        return self

    def kill(self, name: str) -> None:
        """Cut the power: SIGKILL. `up` boots it again with its disks as they were. Safe to repeat."""
        pid = self._pid(name)
        if pid is not None:
            os.killpg(pid, signal.SIGKILL)
            await_true(f"the end of {name}", lambda: self._pid(name) is None, timeout_s=10)
        if name in self._hosts:
            self._hosts.pop(name).close()
        shutil.rmtree(self.directory / "uml" / name, ignore_errors=True)

    @contextmanager
    def cut(self, *ways: tuple[str, str], aside: str) -> Iterator[None]:
        """As `Lab.cut`, between machines and this one (`lab.network.HERE`).

        `aside` is a namespace on the same bridge: from there the machines are told, because this one may be cut off.
        What a machine forgets in a power cut is mended with that.
        """
        with ExitStack() as mends:  # all of them, whatever becomes of one
            for sender, receiver in ways:
                address = f"{self.network.prefix}.1" if receiver == THIS else self.address(receiver)
                if sender == THIS:
                    self.network.cut(sender, address)
                    mends.callback(self.network.mend, sender, address)
                else:
                    words = ("replace", address, "lladdr", NOBODY, "nud", "permanent", "dev", "eth0")
                    mends.callback(self._mend_from, aside, sender, address)
                    self._tell_from(aside, sender, "ip", "neigh", *words)
            yield

    def _mend_from(self, namespace: str, sender: str, address: str) -> None:
        """The end of a cut. A machine that was booted meanwhile knows of none."""
        self._tell_from(namespace, sender, "sh", "-c", f"'ip neigh del {address} dev eth0 || :'")

    def _tell_from(self, namespace: str, name: str, *words: str) -> None:
        settings = (f"UserKnownHostsFile={self.known_hosts_path}", "StrictHostKeyChecking=accept-new", "BatchMode=yes")
        options = [word for setting in settings for word in ("-o", setting)]
        login = (*options, "-i", str(self.key_path), f"root@{self.address(name)}")
        run("ip", "netns", "exec", namespace, "ssh", *login, *words)

    def reset(self, name: str) -> None:
        """Cut the power and forget everything the machine wrote. Safe to repeat."""
        self.kill(name)
        for path in self.directory.glob(f"{name}.*"):
            path.unlink()

    def down(self) -> None:
        """Leave nothing behind. Safe to repeat, also after a crashed run."""
        for name in self.names():
            self.kill(name)
            self.network.remove_tap(name)
        self.network.release()
        shutil.rmtree(self.directory, ignore_errors=True)

    def console(self, name: str) -> str:
        """What the machine said while booting."""
        return self._console(name).read_text(errors="replace")

    def _console(self, name: str) -> Path:
        return self.directory / f"{name}.console"

    def _boot(self, name: str) -> subprocess.Popen[bytes]:
        for disk in ("b", "c"):
            path = self.directory / f"{name}.disk{disk}"
            path.touch()
            os.truncate(path, self._disk_mib * 2**20)
        tap = self.network.add_tap(name)
        octet = FIRST_OCTET + int(name[1:])
        arguments = {
            "mem": MEMORY,
            "umid": name,
            "uml_dir": f"{self.directory}/uml/",
            # ubda is a copy-on-write layer over the shared root; ubdb and ubdc are the data disks
            "ubd0": f"{self.directory}/{name}.cow,{self._artefacts / ROOT_DISK}",
            "ubd1": f"{self.directory}/{name}.diskb",
            "ubd2": f"{self.directory}/{name}.diskc",
            "root": "/dev/ubda",
            "init": "/sbin/lab-init",
            "labname": name,
            "labip": f"{self.address(name)}/24",
            "labgw": f"{self.network.prefix}.1",
            "vec0": f"transport=tap,ifname={tap},depth=128,gro=1,mac=02:4b:4c:00:00:{octet:02x}",
            "con": "null",
            "con0": "null,fd:1",
            "con1": "null",
            "ssl": "null",
        }
        words = ["rw", "quiet", *(f"{key}{':' if key == 'vec0' else '='}{value}" for key, value in arguments.items())]
        (self.directory / "uml").mkdir(exist_ok=True)
        with self._console(name).open("wb") as console:
            machine = subprocess.Popen(
                [str(self._artefacts / "linux-uml"), *words],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=console,
                start_new_session=True,
            )
        (self.directory / f"{name}.pid").write_text(str(machine.pid))
        return machine

    def _serves(self, name: str, machine: subprocess.Popen[bytes]) -> bool:
        """Whether it is up; its own address book is written on the way, because the image knows other addresses."""
        if machine.poll() is not None:
            raise LabError(f"{name} died while booting: {self.console(name)[-600:]}")
        if "LAB-READY" not in self.console(name):
            return False
        names = "".join(f"{self.address(other)} {other}\n" for other in self.names())
        host = self.host(name)
        try:
            host.write_file("/etc/hosts", f"127.0.0.1 localhost\n{names}")
            # the machines have one host key, being of one image; so each knows the others, booted or not
            key = host.read_file("/etc/ssh/ssh_host_ed25519_key.pub") or ""
            all_names = ",".join(f"k{n},{self.address(f'k{n}')}" for n in range(1, MOST_MACHINES + 1))
            host.write_file("/root/.ssh/known_hosts", f"{all_names} {' '.join(key.split()[:2])}\n", mode=0o600)
        except Fault:
            return False
        return True

    def _pid(self, name: str) -> int | None:
        """Pid of the machine's process (also its group), None when it does not run."""
        try:
            pid = int((self.directory / f"{name}.pid").read_text())
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return None
        return pid if f"uml_dir={self.directory}/uml/".encode() in command else None


def main() -> int:
    """The command line: names and places from TAG, LAB and NETPFX in the environment."""
    parser = argparse.ArgumentParser(prog="python -m lab.kernel.machines", description=main.__doc__)
    parser.add_argument("verb", choices=("up", "down", "status", "kill", "reset", "exec", "console"))
    parser.add_argument("words", nargs=argparse.REMAINDER, help="machine names; exec: NAME COMMAND")
    arguments = parser.parse_args()
    if arguments.verb in ("kill", "reset", "exec", "console") and not arguments.words:
        parser.error(f"{arguments.verb} which machine?")
    tag = os.environ.get("TAG", "lab")
    directory = Path(os.environ.get("LAB", f"/tmp/penstock-kernel-{tag}"))
    lab = KernelLab(tag, directory, os.environ.get("NETPFX", "10.77.0"))
    try:
        return _carry_out(lab, arguments.verb, arguments.words)
    except (LabError, Fault) as err:
        print(f"kernel lab: {err}", file=sys.stderr)
        return 1


def _carry_out(lab: KernelLab, verb: str, words: list[str]) -> int:
    if verb == "exec":
        done = lab.host(words[0]).run(words[1:], timeout_s=600)
        sys.stdout.write(done.stdout)
        sys.stderr.write(done.stderr)
        return done.exit_code
    if verb == "up":
        lab.up(*(words or ["k1"]))
    elif verb == "down":
        lab.down()
    elif verb in ("kill", "reset"):
        for name in words:
            (lab.kill if verb == "kill" else lab.reset)(name)
    elif verb == "console":
        print(lab.console(words[0]))
        return 0
    for name in lab.names():
        print(name, lab.address(name))
    return 0


if __name__ == "__main__":
    sys.exit(main())

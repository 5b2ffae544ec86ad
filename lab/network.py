"""A bridge on this machine with network namespaces and taps on it; everything named after one tag."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from lab.pauses import pause

# IFNAMSIZ is 16 with the final NUL, and a name here is one letter, the tag, and a machine like h1
TAG_LIMIT = 11
HERE = "here"  # this machine, where tests and their daemon run
NOBODY = "02:00:00:00:00:00"


class LabError(Exception):
    """The lab could not be brought where it should be; the message says what to look at."""


def run(*argv: str, is_checked: bool = True) -> str:
    """Run a set-up command on this machine; its stdout. Raises LabError with its words when it fails."""
    done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=60)
    if is_checked and done.returncode != 0:
        raise LabError(f"{' '.join(argv)}: {done.stderr.strip() or done.returncode}")
    return done.stdout


def await_true(what: str, is_true: Callable[[], bool], *, timeout_s: float) -> None:
    """Poll a real machine's state, less often what takes long. Raises LabError past the deadline."""
    started = time.monotonic()
    while not is_true():
        waited_s = time.monotonic() - started
        if waited_s > timeout_s:
            raise LabError(f"{what}: not after {timeout_s:g} s")
        pause(waited_s, 0.05)


@dataclass(frozen=True, slots=True)
class Network:
    """``{prefix}.0/24`` on the bridge ``{tag}br``; this machine is ``{prefix}.1``."""

    tag: str
    prefix: str

    def __post_init__(self) -> None:
        if not self.tag.isalnum() or len(self.tag) > TAG_LIMIT:
            raise LabError(f"tag {self.tag!r}: letters and digits, at most {TAG_LIMIT}")

    @property
    def bridge(self) -> str:
        return f"{self.tag}br"

    def namespace(self, machine: str) -> str:
        return f"{self.tag}-{machine}"

    def up(self) -> None:
        """Make the bridge. Safe to repeat."""
        if not Path("/sys/class/net", self.bridge).exists():
            run("ip", "link", "add", self.bridge, "type", "bridge")
            run("ip", "addr", "add", f"{self.prefix}.1/24", "dev", self.bridge)
            run("ip", "link", "set", self.bridge, "up")

    def add_namespace(self, machine: str, address: str) -> None:
        """A namespace with lo and eth0 on the bridge."""
        name, link = self.namespace(machine), f"v{self.tag}{machine}"
        run("ip", "netns", "add", name)
        run("ip", "link", "add", link, "type", "veth", "peer", "name", "eth0", "netns", name)
        run("ip", "link", "set", link, "master", self.bridge, "up")
        run("ip", "-n", name, "addr", "add", f"{address}/24", "dev", "eth0")
        run("ip", "-n", name, "link", "set", "eth0", "up")
        run("ip", "-n", name, "link", "set", "lo", "up")

    def cut(self, sender: str, address: str) -> None:
        """From now on whatever `sender` sends to `address` is lost on the way; not what comes back.

        The sender is a machine, or HERE for this one. Silently, as on a real network: it goes to an Ethernet address
        that nobody has.
        """
        self._neighbour(sender, "replace", address, "lladdr", NOBODY, "nud", "permanent")

    def mend(self, sender: str, address: str) -> None:
        """The end of a `cut`."""
        self._neighbour(sender, "del", address)

    def _neighbour(self, sender: str, verb: str, address: str, *words: str) -> None:
        where = () if sender == HERE else ("-n", self.namespace(sender))
        run("ip", *where, "neigh", verb, address, *words, "dev", self.bridge if sender == HERE else "eth0")

    def add_tap(self, machine: str) -> str:
        """A tap on the bridge for a user-mode Linux machine; its name. Safe to repeat."""
        tap = f"u{self.tag}{machine}"
        if not Path("/sys/class/net", tap).exists():
            run("ip", "tuntap", "add", "dev", tap, "mode", "tap")
            run("ip", "link", "set", tap, "master", self.bridge, "up")
        return tap

    def namespaces(self) -> list[str]:
        """Namespaces of this tag, whoever made them."""
        listed = (line.split()[0] for line in run("ip", "netns", "list").splitlines() if line)
        return [name for name in listed if name.startswith(f"{self.tag}-")]

    def clear(self) -> None:
        """Kill whatever lives in this tag's namespaces, and remove them and the bridge. Safe to repeat."""
        for name in self.namespaces():
            self._kill_inside(name)
            run("ip", "netns", "del", name)
        for link in Path("/sys/class/net").glob(f"v{self.tag}[hc]*"):
            run("ip", "link", "del", link.name, is_checked=False)  # it may go with its namespace meanwhile
        self.release()

    def remove_tap(self, machine: str) -> None:
        """Undo `add_tap`. Safe to repeat."""
        if Path("/sys/class/net", f"u{self.tag}{machine}").exists():
            run("ip", "link", "del", f"u{self.tag}{machine}")
        self.release()

    def release(self) -> None:
        """Remove the bridge once nothing hangs on it: the namespace and the kernel lab may share it. Safe to repeat."""
        ports = Path("/sys/class/net", self.bridge, "brif")
        if ports.exists() and not any(ports.iterdir()):
            run("ip", "link", "del", self.bridge)

    def _kill_inside(self, namespace: str) -> None:
        def pids() -> list[int]:
            return [int(pid) for pid in run("ip", "netns", "pids", namespace).split()]

        for pid in pids():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        await_true(f"the end of all in {namespace}", lambda: not pids(), timeout_s=10)

"""A machine that uses volumes by its own kernel: attached by os-brick, as on a compute host, and attached for long."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lab.initiator import Initiator
from lab.network import LabError
from penstock.host.runner import Completed
from penstock.images.nodes import described

SERVER = Path(__file__).resolve().with_name("brick_server.py")
SOCKET = "/run/brick.sock"
NOBODY_LISTENS = 3
START = """
rm -f "$1"
setsid "$2" -W ignore "$3" "$1" >/run/brick.log 2>&1 </dev/null &
n=0
while [ ! -S "$1" ] && [ $n -lt 2000 ]; do n=$((n + 1)); sleep 0.1; done
[ -S "$1" ] || { cat /run/brick.log >&2; exit 1; }
"""
ASK = f"""
import socket, sys
server = socket.socket(socket.AF_UNIX)
try:
    server.connect(sys.argv[1])
except OSError:
    sys.exit({NOBODY_LISTENS})
server.sendall(sys.stdin.buffer.read())
server.shutdown(socket.SHUT_WR)
sys.stdout.buffer.write(server.makefile("rb").read())
"""
TIMEOUT_S = 240.0


@dataclass(frozen=True)
class KernelInitiator(Initiator):
    """`host` is a workplace of a kernel machine. A volume is attached at its first use, until `release`.

    What is read comes from the volume and not from the kernel's memory.
    """

    _devices: dict[str, dict[str, Any]] = field(default_factory=dict)

    def write(self, info: Mapping[str, Any], pattern: int, offset: int, length: int) -> None:
        done = self._on_device(info, f"write -P {pattern} {offset} {length}", "flush")
        _check(done.exit_code == 0, done)

    def holds(self, info: Mapping[str, Any], pattern: int, offset: int, length: int) -> bool:
        done = self._on_device(info, f"read -P {pattern} {offset} {length}")
        _check(done.exit_code == 0 or "verification failed" in done.stdout, done)
        return done.exit_code == 0

    def size_bytes(self, info: Mapping[str, Any]) -> int:
        """After a look whether it grew, as a compute host takes when it is told so."""
        path = self._path(info)
        if info["driver_volume_type"] == "iscsi":
            return int(self._brick("extend", info))
        return int(self._ran("stat", "-c", "%s", path).stdout)

    def is_let_in(self, info: Mapping[str, Any]) -> bool:
        """By QEMU's own initiator and NFS client, in a session of its own: the kernel's has logged in already."""
        node = self._node(info)
        with described(node) as words:
            secrets = [word.rpartition("file=")[2] for word in words.objects if "file=" in word]
            for path in secrets:  # which lie here, and not in the machine
                self.host.write_file(path, Path(path).read_text(), mode=0o600)
            argv = ["qemu-io", *words.objects, "--image-opts", "-c", "read 0 512", words.options(node, "raw")]
            done = self.host.run(argv, timeout_s=TIMEOUT_S)
            for path in secrets:
                self.host.remove_file(path)
        return done.exit_code == 0

    def release(self, info: Mapping[str, Any]) -> None:
        device = self._devices.pop(_key(info), None)
        if device is not None:
            self._brick("disconnect", info, device)
            if info["driver_volume_type"] == "nfs":
                self._unmount(Path(device["path"]).parent)

    def _unmount(self, place: Path) -> None:
        """os-brick leaves that to the compute service, which does it before the detach: of those done afterwards, when
        access to the share was revoked, one stayed mounted each time."""
        if not any(Path(other["path"]).is_relative_to(place) for other in self._devices.values()):
            self._ran("umount", str(place))

    def left_over(self) -> str:
        """Sessions and mounts that are there still."""
        sessions = self.host.run(["sh", "-c", "ls /sys/class/iscsi_session"], timeout_s=TIMEOUT_S).stdout
        mounts = self.host.run(["sh", "-c", "grep brick-mounts /proc/mounts"], timeout_s=TIMEOUT_S).stdout
        return sessions + mounts

    def _path(self, info: Mapping[str, Any]) -> str:
        if _key(info) not in self._devices:
            self._devices[_key(info)] = self._brick("connect", info)
        return str(self._devices[_key(info)]["path"])

    def _on_device(self, info: Mapping[str, Any], *commands: str) -> Completed:
        words = [word for command in commands for word in ("-c", command)]
        return self.host.run(["qemu-io", "-f", "raw", "-t", "none", *words, self._path(info)], timeout_s=TIMEOUT_S)

    def _brick(self, verb: str, info: Mapping[str, Any], device: Mapping[str, Any] | None = None) -> Any:
        asked = json.dumps({"verb": verb, "info": info, "device": device})
        done = self._ask(asked)
        if done.exit_code == NOBODY_LISTENS:
            self._ran("sh", "-c", START, "sh", SOCKET, sys.executable, str(SERVER))
            done = self._ask(asked)
        _check(done.exit_code == 0, done)
        told = json.loads(done.stdout)
        if "error" in told:
            raise LabError(f"os-brick: {verb}: {told['error'][-2000:]}")
        return told["answer"]

    def _ask(self, asked: str) -> Completed:
        return self.host.run(["python3", "-I", "-S", "-c", ASK, SOCKET], timeout_s=TIMEOUT_S, stdin=asked)

    def _ran(self, *argv: str) -> Completed:
        done = self.host.run(argv, timeout_s=TIMEOUT_S)
        _check(done.exit_code == 0, done)
        return done


def _key(info: Mapping[str, Any]) -> str:
    data = info.get("data", info)
    return str(data.get("target_iqn") or data["export"]) + str(data.get("target_lun", ""))


def _check(is_well: bool, done: Completed) -> None:
    if not is_well:
        raise LabError(f"{done.argv[0]}: {(done.stderr.strip() or done.stdout.strip())[-2000:]}")

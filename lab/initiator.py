"""A machine that uses volumes: what it says of itself, and its iSCSI initiator and NFS client, which are QEMU's own."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from lab.network import LabError
from penstock.host.runner import Completed, Host
from penstock.images.nodes import BlockNode, described
from penstock.volume.data_path.connection import node_of

TIMEOUT_S = 60.0


@dataclass(frozen=True)
class Initiator:
    """`host` is where its programs run, with an `address` of its own."""

    host: Host
    address: str
    name: str

    @property
    def connector(self) -> dict[str, Any]:
        """In os-brick's words."""
        return {
            "initiator": self.name,
            "ip": self.address,
            "host": self.host.name,
            "platform": "x86_64",
            "os_type": "linux",
            "multipath": False,
            "do_local_attach": False,
        }

    def write(self, info: Mapping[str, Any], pattern: int, offset: int, length: int) -> None:
        """Write that byte, to stay. Raises LabError."""
        done = self._qemu_io(info, f"write -P {pattern} {offset} {length}", "flush")
        _check(done.exit_code == 0, done)

    def holds(self, info: Mapping[str, Any], pattern: int, offset: int, length: int) -> bool:
        """Is every one of the bytes so? Raises LabError when they cannot be read."""
        done = self._qemu_io(info, f"read -P {pattern} {offset} {length}")
        _check(done.exit_code == 0 or "verification failed" in done.stdout, done)
        return done.exit_code == 0

    def is_let_in(self, info: Mapping[str, Any]) -> bool:
        """Can it read anything?"""
        return self._qemu_io(info, "read 0 512").exit_code == 0

    def size_bytes(self, info: Mapping[str, Any]) -> int:
        """As it sees it."""
        node = self._node(info)
        with described(node) as words:
            argv = ["qemu-img", "info", *words.objects, "--output=json", "--image-opts", words.options(node, "raw")]
            done = self.host.run(argv, timeout_s=TIMEOUT_S)
        _check(done.exit_code == 0, done)
        return int(json.loads(done.stdout)["virtual-size"])

    def release(self, info: Mapping[str, Any]) -> None:
        """Let the volume go, before it is detached. Here nothing is held: each use opens and closes it."""

    def _node(self, info: Mapping[str, Any]) -> BlockNode:
        return node_of(str(info["driver_volume_type"]), _data(info), initiator=self.name)

    def _qemu_io(self, info: Mapping[str, Any], *commands: str) -> Completed:
        node = self._node(info)
        with described(node) as words:
            argv = ["qemu-io", *words.objects, "--image-opts"]
            for command in commands:
                argv += ["-c", command]
            return self.host.run([*argv, words.options(node, "raw")], timeout_s=TIMEOUT_S)


def _check(is_well: bool, done: Completed) -> None:
    if not is_well:
        raise LabError(f"{done.argv[0]}: {done.stderr.strip() or done.stdout.strip()}")


def _data(info: Mapping[str, Any]) -> Mapping[str, Any]:
    """The connection's data: the attachments API tells them flat, the older action below ``data``."""
    found: Mapping[str, Any] = info.get("data", info)
    return found

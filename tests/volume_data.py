"""Reading and writing volumes as an attached machine does: by the connection information, through qemu-io."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field

from penstock.context import admin_context
from penstock.host.local import LocalHost
from penstock.host.runner import Completed, Host
from penstock.images.nodes import BlockNode, described
from penstock.volume.data_path.connection import node_of
from penstock.volume.data_path.local import attached_node
from penstock.volume.driver import BaseVD
from penstock.volume.models import VolumeModel

CONTEXT = admin_context("req-volume-data")
TIMEOUT_S = 60.0
STRANGER = "iqn.1993-08.org.debian:01:stranger"


@dataclass
class VolumeData:
    """Volumes of `driver`, attached to `host` for each use. `host` is where the connector's address is."""

    driver: BaseVD
    host: Host = field(default_factory=lambda: LocalHost("here"))
    everybody_is_let_in: bool = False

    def write(self, volume: VolumeModel, pattern: int, offset: int, length: int) -> None:
        """Write `length` bytes of `pattern` at `offset`, to stay."""
        with self._attached(volume) as node:
            done = self._qemu_io(node, f"write -P {pattern} {offset} {length}", "flush")
        assert done.exit_code == 0, (done.stdout, done.stderr)

    def holds(self, volume: VolumeModel, pattern: int, offset: int, length: int) -> bool:
        """Is every one of the bytes `pattern`?"""
        with self._attached(volume) as node:
            done = self._qemu_io(node, f"read -P {pattern} {offset} {length}")
        assert done.exit_code == 0 or "Pattern verification failed" in done.stdout, (done.stdout, done.stderr)
        return done.exit_code == 0

    def size_bytes(self, volume: VolumeModel) -> int:
        """The size the attached machine sees."""
        with self._attached(volume) as node, described(node) as words:
            argv = ["qemu-img", "info", *words.objects, "--output=json", "--image-opts", words.options(node, "raw")]
            done = self.host.run(argv, timeout_s=TIMEOUT_S)
        assert done.exit_code == 0, done.stderr
        return int(json.loads(done.stdout)["virtual-size"])

    def reached_by_a_stranger(self, volume: VolumeModel) -> bool:
        """Can an initiator that was not let in read, while another one is let in?"""
        here = self.driver.local_properties()
        attach_info, volume = self.driver.attach_here(CONTEXT, volume, here)
        try:
            conn = attach_info["conn"]
            node = node_of(conn["driver_volume_type"], conn["data"], initiator=STRANGER)
            return self._qemu_io(node, "read 0 512").exit_code == 0
        finally:
            self.driver.detach_here(CONTEXT, attach_info, volume, here)

    @contextlib.contextmanager
    def _attached(self, volume: VolumeModel) -> Iterator[BlockNode]:
        here = self.driver.local_properties()
        attach_info, volume = self.driver.attach_here(CONTEXT, volume, here)
        try:
            yield attached_node(attach_info)
        finally:
            self.driver.detach_here(CONTEXT, attach_info, volume, here)

    def _qemu_io(self, node: BlockNode, *commands: str) -> Completed:
        with described(node) as words:
            argv = ["qemu-io", *words.objects, "--image-opts"]
            for command in commands:
                argv += ["-c", command]
            return self.host.run([*argv, words.options(node, "raw")], timeout_s=TIMEOUT_S)

"""A copy onto a volume ends with the daemon that made it."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from penstock.units import MIB

COPY = """
import sys
from penstock.host.local import LocalHost
from penstock.images.nodes import file_node
from penstock.images.qemu_img import QemuImg
source, target = map(file_node, sys.argv[1:])
QemuImg(LocalHost("here")).write(source, "raw", target, size_bytes=2**26, target_is_zero=False, bps_limit=2**20)
"""


def copiers(target: Path) -> list[int]:
    """Processes that copy onto the file."""
    found = []
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            words = path.read_bytes()
            if words.startswith(b"qemu-img") and str(target).encode() in words:
                found.append(int(path.parent.name))
    return found


def test_a_copy_ends_with_the_daemon_that_was_killed(tmp_path: Path) -> None:
    """Else it would write over what the volume's user writes after the copy was made again."""
    source, target = tmp_path / "image", tmp_path / "volume"
    source.write_bytes(os.urandom(64 * MIB))
    target.write_bytes(bytes(64 * MIB))
    deadline = time.monotonic() + 30
    with subprocess.Popen([sys.executable, "-c", COPY, str(source), str(target)]) as daemon:
        while not copiers(target):
            assert time.monotonic() < deadline
        daemon.kill()
    while copiers(target):
        assert time.monotonic() < deadline

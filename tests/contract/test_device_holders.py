"""Who has a device open is told of real devices of this machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from penstock.host.local import LocalHost
from penstock.zfs.device_holders import holders

HOST = LocalHost("here")


@pytest.fixture
def device(tmp_path: Path) -> Iterator[str]:
    image = tmp_path / "image"
    image.touch()
    os.truncate(image, 8 * 2**20)
    made = subprocess.run(["losetup", "-f", "--show", str(image)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop devices here: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield path
    subprocess.run(["losetup", "-d", path], check=True)


def test_a_device_that_nobody_uses_is_held_by_nobody(device: str) -> None:
    assert holders(HOST, device) == ()


def test_a_program_that_has_it_open_is_named_by_whatever_path_it_came(device: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(device)
    with link.open("rb"):
        assert [told.rpartition(" ")[2] for told in holders(HOST, device)] == [str(os.getpid())]
    assert holders(HOST, str(link)) == ()


def test_a_device_that_the_kernel_uses_is_told(device: str) -> None:
    held = os.open(device, os.O_RDONLY | os.O_EXCL)  # what mounts and LIO do in the kernel
    try:
        assert "the kernel" in holders(HOST, device)
    finally:
        os.close(held)


def test_what_is_not_there_is_held_by_nobody() -> None:
    assert holders(HOST, "/dev/zvol/tank/nothing") == ()

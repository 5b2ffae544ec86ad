"""Who has a device open is told of real devices: loop devices of this machine, zvols of a kernel machine."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from lab.kernel.machines import KernelLab
from penstock.exports.iscsi import IscsiExports, IscsiTarget, Lun
from penstock.exports.iscsi_lio import LioIscsi
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.local import LocalHost
from penstock.host.runner import Completed, Host
from penstock.zfs.device_holders import holders, refuse_open
from penstock.zfs.faults import Busy
from penstock.zfs.names import Dataset
from tests.contract.iscsi_sites import load_lio, start_tgtd, stop_tgtd
from tests.contract.nfs_sites import until

HOST = LocalHost("here")
READ_FOR = 'exec 3<"$1"; setsid sleep "$2" >/dev/null 2>&1 </dev/null & echo $!'


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


class LosesTheLink(LocalHost):
    """udev takes the link away after the first look."""

    def run(self, argv: Sequence[str], **settings: Any) -> Completed:
        python, isolated, command, program, link, patience = argv
        program = (
            f"import os, time\ntime.sleep = lambda seconds: os.path.lexists({link!r}) and os.unlink({link!r})\n"
            + program
        )
        return super().run([python, isolated, command, program, link, patience], **settings)


def test_a_link_that_goes_while_it_is_looked_at_is_no_device_let_go(device: str, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(device)
    with link.open("rb"):
        told = holders(LosesTheLink("here"), str(link), patience_s=0.3)
    assert not link.is_symlink()
    assert [one.rpartition(" ")[2] for one in told] == [str(os.getpid())]


def test_what_is_not_there_is_held_by_nobody() -> None:
    assert holders(HOST, "/dev/zvol/tank/nothing") == ()


@pytest.mark.kernel
class TestZvols:
    """Served as the ZFS driver serves them, by a link in /run."""

    ZVOL = Dataset("tank/held")
    LINK = "/run/penstock-held"
    IQN = "iqn.2026-11.org.example:held"

    @pytest.fixture
    def machine(self, kernel_host: Host) -> Iterator[Host]:
        ran(kernel_host, "zfs", "create", "-s", "-V", "64M", str(self.ZVOL))
        ran(kernel_host, "ln", "-sfn", f"/dev/zvol/{self.ZVOL}", self.LINK)
        until(lambda: kernel_host.run(["test", "-e", self.LINK], timeout_s=60).exit_code == 0, timeout_s=60)
        yield kernel_host
        ran(kernel_host, "zfs", "destroy", str(self.ZVOL))

    @pytest.fixture(params=["lio", "tgt"])
    def server(self, request: pytest.FixtureRequest, machine: Host, kernel_lab: KernelLab) -> Iterator[IscsiExports]:
        if request.param == "lio":
            yield LioIscsi(load_lio(machine))
            return
        workplace = start_tgtd(kernel_lab.workplace("k1"))
        yield TgtIscsi(workplace)
        stop_tgtd(workplace)
        workplace.close()

    def test_one_that_nobody_uses_is_held_by_nobody(self, machine: Host) -> None:
        until(lambda: not holders(machine, f"/dev/zvol/{self.ZVOL}"), timeout_s=60)  # udev looks at new ones

    def test_a_program_that_has_it_open_is_named(self, machine: Host) -> None:
        pid = ran(machine, "sh", "-c", READ_FOR, "sh", self.LINK, "1000").strip()
        try:
            assert f"sleep {pid}" in holders(machine, f"/dev/zvol/{self.ZVOL}")
        finally:
            ran(machine, "kill", pid)

    def test_one_that_lets_it_go_soon_is_waited_for(self, machine: Host) -> None:
        """As udev does, which looks into each device that was written to."""
        ran(machine, "sh", "-c", READ_FOR, "sh", self.LINK, "3")
        assert holders(machine, f"/dev/zvol/{self.ZVOL}") != ()
        refuse_open(machine, self.ZVOL)

    def test_who_only_reads_keeps_it_open_for_those_who_write(self, machine: Host) -> None:
        """Why readers are holders, too: what ``readonly=on`` does not stop."""
        until(lambda: not holders(machine, f"/dev/zvol/{self.ZVOL}"), timeout_s=60)
        pid = ran(machine, "sh", "-c", READ_FOR, "sh", self.LINK, "1000").strip()
        write = ["dd", "if=/dev/zero", f"of={self.LINK}", "bs=4k", "count=1", "conv=notrunc,fsync"]
        ran(machine, "zfs", "set", "readonly=on", str(self.ZVOL))
        beside = machine.run(write, timeout_s=60)
        ran(machine, "kill", pid)
        until(lambda: not holders(machine, f"/dev/zvol/{self.ZVOL}"), timeout_s=60)
        alone = machine.run(write, timeout_s=60)
        assert (beside.exit_code == 0, alone.exit_code == 0) == (True, False)

    def test_the_target_server_that_serves_it_is_told_until_it_does_not(
        self, machine: Host, server: IscsiExports
    ) -> None:
        server.apply([IscsiTarget(self.IQN, (Lun(1, self.LINK, "held"),))])
        try:
            with pytest.raises(Busy, match="the kernel" if isinstance(server, LioIscsi) else "tgtd"):
                refuse_open(machine, self.ZVOL)
        finally:
            server.apply([], remove=[self.IQN])
        refuse_open(machine, self.ZVOL)


def ran(host: Host, *argv: str) -> str:
    done = host.run(argv, timeout_s=60)
    assert done.exit_code == 0, done
    return done.stdout

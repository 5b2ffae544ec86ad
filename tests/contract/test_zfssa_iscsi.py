"""The ZFS appliance driver and its appliances on real hosts: data through real iSCSI, in snapshots, clones, and moved.

Two namespace hosts, each with files on zfs-fuse and tgtd; a kernel machine with zvols and LIO. The initiator is qemu's,
on this machine.
"""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from lab.hosts import Lab
from lab.kernel.machines import KernelLab
from penstock.appliance import presenting
from penstock.appliance.iscsi_choice import choose
from penstock.clock import SystemClock
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.units import MIB
from penstock.volume.data_path.local import here
from penstock.volume.driver import BaseVD
from tests.contract.appliance_boxes import Box, connect_boxes, listening, make_box, make_driver, set_up
from tests.contract.iscsi_sites import load_lio
from tests.contract.volume_driver_contract import ELSEWHERE, VolumeDataContract, VolumeSteps
from tests.volume_data import VolumeData
from tests.volume_values import MemoryRecords

CHAP = {"zfssa_target_user": "box", "zfssa_target_password": "a-secret-of-ours"}


@pytest.fixture(scope="module")
def boxes(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Box, Box]]:
    folder = tmp_path_factory.mktemp("boxes")
    made = []
    for name, root in (("h1", "tank/appliance"), ("h2", "tank/other/appliance")):
        host = lab.ssh_host(name)
        made.append(make_box(name, folder, host, TgtIscsi(host), root=root))
    routes = SshRoutes()
    connect_boxes(made[0], made[1], f"{lab.address('h2')}:216", routes.between)
    with ExitStack() as stack:
        yield tuple(stack.enter_context(listening(box, folder)) for box in made)  # type: ignore[misc]
        for box in made:
            box.host.close()


def driver_for(box: Box, lab: Lab | KernelLab, folder: Path, **options: str) -> BaseVD:
    groups = {"here": [{"iqn": here("127.0.0.1").initiator}], "elsewhere": [{"iqn": ELSEWHERE["initiator"]}]}
    found = make_driver(
        box,
        folder,
        zfssa_initiator_config=str(groups),
        zfssa_target_portal=f"{lab.address(box.name)}:3260",
        **options,
    )
    found.db = MemoryRecords()  # type: ignore[assignment]
    return set_up(found)


def box_with_lio(name: str, folder: Path, host: Host, root: str = "tank/appliance") -> Box:
    """An appliance on a kernel machine."""
    chosen = choose(load_lio(host), "auto")
    assert chosen is not None
    return make_box(name, folder, host, chosen.exports, shows_some=chosen.shows_some, root=root)


@pytest.fixture(scope="module")
def kernel_box(kernel_host: Host, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Box]:
    folder = tmp_path_factory.mktemp("kernel")
    with listening(box_with_lio("k1", folder, kernel_host), folder) as found:
        yield found


@pytest.fixture(scope="module")
def kernel_boxes(
    kernel_hosts: tuple[Host, Host], kernel_lab: KernelLab, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Box, Box]]:
    folder = tmp_path_factory.mktemp("kernel2")
    names = ("k1", "k2")
    source, target = (
        box_with_lio(name, folder, host, root="tank/pair/appliance")
        for name, host in zip(names, kernel_hosts, strict=True)
    )
    connect_boxes(source, target, f"{kernel_lab.address('k2')}:216", SshRoutes().between)
    with listening(source, folder), listening(target, folder):
        yield source, target


class TestData(VolumeDataContract):
    @pytest.fixture(params=[pytest.param("tgt", marks=pytest.mark.lab), pytest.param("lio", marks=pytest.mark.kernel)])
    def driver(self, request: Any, tmp_path: Path) -> BaseVD:
        if request.param == "lio":
            return driver_for(request.getfixturevalue("kernel_box"), request.getfixturevalue("kernel_lab"), tmp_path)
        return driver_for(request.getfixturevalue("boxes")[0], request.getfixturevalue("lab"), tmp_path)

    @pytest.fixture
    def data(self, driver: BaseVD) -> VolumeData:
        return VolumeData(driver)

    @pytest.fixture
    def pool_host(self) -> str:
        return "host@h1#tank"


class TestTwoAppliances(VolumeSteps):
    @pytest.fixture(
        params=[
            pytest.param(("boxes", "lab"), id="tgt", marks=pytest.mark.lab),
            pytest.param(("kernel_boxes", "kernel_lab"), id="lio", marks=pytest.mark.kernel),
        ]
    )
    def two(self, request: Any) -> tuple[tuple[Box, Box], Lab | KernelLab]:
        boxes, lab = (request.getfixturevalue(name) for name in request.param)
        return boxes, lab

    def test_a_migrated_volume_has_its_data(self, two: tuple[tuple[Box, Box], Lab | KernelLab], tmp_path: Path) -> None:
        (source, target), lab = two
        section = f"\n[{target.name}]\nzfssa_rest_port = {target.port}\nsan_login = cinder\nsan_password = a password\n"
        driver = driver_for(source, lab, tmp_path, more=section, backends=f"{source.name}, {target.name}")
        there = driver_for(target, lab, tmp_path / "there", zfssa_replication_ip=lab.address(target.name))
        driver.zfssa.clock = SystemClock()  # type: ignore[attr-defined]
        volume = self.made(driver, self.new(f"host@{source.name}#tank"))
        data = VolumeData(driver)
        data.write(volume, 0xAB, 0, 4 * MIB)
        data.write(volume, 0xCD, 512 * MIB, MIB)
        host = {"host": f"host@{target.name}#tank", "capabilities": there.get_volume_stats(refresh=True)}
        assert driver.migrate_volume(None, volume, host) == (True, None)
        records: Any = there.db
        records.volumes[volume.id] = volume
        moved = VolumeData(there)
        assert moved.holds(volume, 0xAB, 0, 4 * MIB)
        assert moved.holds(volume, 0xCD, 512 * MIB, MIB)
        assert moved.size_bytes(volume) == volume.size * 2**30
        assert not source.site.zfs.exists(source.site.lun("tank", "volumes", volume.name))
        there.delete_volume(volume)


@pytest.mark.lab
class TestChapAndRestarts(VolumeSteps):
    def test_chap_lets_in_who_knows_the_secret(self, boxes: tuple[Box, Box], lab: Lab, tmp_path: Path) -> None:
        options = {**CHAP, "zfssa_target_group": "chap-grp", "zfssa_project": "secret"}
        driver = driver_for(boxes[0], lab, tmp_path, **options)
        volume = self.made(driver, self.new("host@h1#tank"))
        data = VolumeData(driver)
        data.write(volume, 0x77, 0, MIB)
        assert data.holds(volume, 0x77, 0, MIB)
        connector = driver.local_properties()
        found = driver.initialize_connection(volume, connector)["data"]
        try:
            with_secret = _inquiry(connector["initiator"], found, "box%a-secret-of-ours@")
            without = _inquiry(connector["initiator"], found, "")
            wrong = _inquiry(connector["initiator"], found, "box%another-secret@")
        finally:
            driver.terminate_connection(volume, connector)
        assert (with_secret, without != 0, wrong != 0) == (0, True, True)
        driver.delete_volume(volume)

    def test_a_restarted_appliance_and_target_server_show_the_same(
        self, boxes: tuple[Box, Box], lab: Lab, tmp_path: Path
    ) -> None:
        box = boxes[0]
        driver = driver_for(box, lab, tmp_path)
        volume = self.made(driver, self.new("host@h1#tank"))
        data = VolumeData(driver)
        data.write(volume, 0x55, 0, MIB)
        before = driver.initialize_connection(volume, driver.local_properties())
        # the server anew, with nothing but ZFS to know it from; and a tgtd that has lost everything
        again = make_box("h1", tmp_path, box.host, TgtIscsi(box.host))
        _lose_targets(box)
        presenting.put_back(again.site)
        assert _reads(driver, before, 0x55)
        driver.terminate_connection(volume, driver.local_properties())
        driver.delete_volume(volume)


def _inquiry(initiator: str, found: Any, login: str) -> int:
    url = f"iscsi://{login}{found['target_portal']}/{found['target_iqn']}/{found['target_lun']}"
    argv = ["iscsi-inq", "-i", initiator, url]
    return subprocess.run(argv, capture_output=True, check=False, timeout=30).returncode


def _lose_targets(box: Box) -> None:
    """What tgtd serves is gone, its configuration stays."""
    show = "tgtadm --lld iscsi --mode target --op show"
    numbers = f"$({show} | sed -n 's/^Target \\([0-9]*\\):.*/\\1/p')"
    script = f"for t in {numbers}; do tgtadm --lld iscsi --mode target --op delete --force --tid $t; done; {show}"
    done = box.host.run(["sh", "-c", script], timeout_s=20)
    assert done.stdout == ""


def _reads(driver: BaseVD, info: Any, pattern: int) -> bool:
    found = info["data"]
    values = {
        "driver": "raw",
        "file.driver": "iscsi",
        "file.transport": "tcp",
        "file.portal": found["target_portal"],
        "file.target": found["target_iqn"],
        "file.lun": found["target_lun"],
        "file.initiator-name": driver.local_properties()["initiator"],
    }
    options = ",".join(f"{name}={value}" for name, value in values.items())
    argv = ["qemu-io", "--image-opts", "-c", f"read -P {pattern} 0 1M", options]
    done = subprocess.run(argv, capture_output=True, check=False, timeout=30, text=True)
    assert done.returncode == 0 or "Pattern verification failed" in done.stdout, (done.stdout, done.stderr)
    return done.returncode == 0


@pytest.mark.kernel
class TestMasking(VolumeSteps):
    def test_an_initiator_sees_its_luns_only(self, kernel_box: Box, kernel_lab: KernelLab, tmp_path: Path) -> None:
        driver = driver_for(kernel_box, kernel_lab, tmp_path)
        mine, theirs = (self.made(driver, self.new("host@k1#tank")) for _ in range(2))
        me = driver.local_properties()
        seen = driver.initialize_connection(mine, me)["data"]
        other = driver.initialize_connection(theirs, ELSEWHERE)["data"]
        assert _inquiry(me["initiator"], seen, "") == 0
        assert _inquiry(me["initiator"], other, "") != 0
        assert _inquiry(ELSEWHERE["initiator"], other, "") == 0
        for volume in (mine, theirs):
            driver.terminate_connection(volume, None)
            driver.delete_volume(volume)

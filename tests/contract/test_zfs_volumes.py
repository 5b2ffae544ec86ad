"""The ZFS volume driver under the driver contract: simulated; zfs-fuse, files and tgt; OpenZFS, zvols and LIO."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.errors import Invalid
from penstock.host.runner import Host
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.volume_driver_contract import VolumeDataContract, VolumeDriverContract
from tests.contract.zfs_volumes import a_zfs_driver, simulated_site
from tests.simulation.zfs_host import OPENZFS
from tests.volume_data import VolumeData

POOL_HOST = "here@third#tank"


def with_volumes(host: Host) -> Host:
    """The machine, with a filesystem for volumes."""
    if host.run(["zfs", "list", "tank/volumes"], timeout_s=20).exit_code != 0:
        made = host.run(["zfs", "create", "tank/volumes"], timeout_s=60)
        assert made.exit_code == 0, made.stderr
    return host


@pytest.fixture
def pool_host() -> str:
    return POOL_HOST


@pytest.fixture
def lab_driver(request: Any, tmp_path: Path) -> ZFSVolumeDriver:
    lab = request.getfixturevalue("lab")
    return a_zfs_driver(with_volumes(lab.host("h1")), tmp_path, address=lab.address("h1"))


@pytest.fixture
def kernel_driver(request: Any, tmp_path: Path) -> ZFSVolumeDriver:
    host, machines = request.getfixturevalue("kernel_host"), request.getfixturevalue("kernel_lab")
    host.run(["sh", "-c", "mountpoint -q /sys/kernel/config || mount -t configfs c /sys/kernel/config"], timeout_s=60)
    host.run(["modprobe", "-a", "target_core_mod", "iscsi_target_mod"], timeout_s=60)
    text = "target_helper = lioadm\ntarget_prefix = iqn.2010-10.org.openstack:\n"
    return a_zfs_driver(with_volumes(host), tmp_path, address=machines.address("k1"), text=text)


@pytest.fixture(
    params=[
        "simulated-openzfs",
        "simulated-zfs-fuse",
        pytest.param("lab_driver", marks=pytest.mark.lab),
        pytest.param("kernel_driver", marks=pytest.mark.kernel),
    ]
)
def driver(request: Any, tmp_path: Path) -> Iterator[ZFSVolumeDriver]:
    if request.param.startswith("simulated"):
        flavour = OPENZFS if request.param.endswith("openzfs") else ZFS_FUSE
        host, _ = simulated_site(flavour, "tank")
        yield a_zfs_driver(host, tmp_path, text="zfs_volume_kind = file\n")
        return
    yield request.getfixturevalue(request.param)


class TestZfsVolumeDriver(VolumeDriverContract):
    @pytest.mark.parametrize("name", ["not-an-iqn", "*", "iqn.2026-11.org.x:a b", ""])
    def test_what_names_no_one_initiator_is_refused_before_anything_is_done(
        self, driver: ZFSVolumeDriver, name: str
    ) -> None:
        with pytest.raises(Invalid):
            driver.validate_connector({"initiator": name, "ip": "10.0.0.1"})


@pytest.fixture(
    params=[
        pytest.param("lab_driver", marks=pytest.mark.lab),
        pytest.param("kernel_driver", marks=pytest.mark.kernel),
    ]
)
def real_driver(request: Any) -> ZFSVolumeDriver:
    found: ZFSVolumeDriver = request.getfixturevalue(request.param)
    return found


class TestZfsVolumeData(VolumeDataContract):
    @pytest.fixture
    def driver(self, real_driver: ZFSVolumeDriver) -> ZFSVolumeDriver:
        return real_driver

    @pytest.fixture
    def data(self, driver: ZFSVolumeDriver) -> VolumeData:
        return VolumeData(driver)

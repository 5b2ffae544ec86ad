"""Volumes on NFS shares for real: our own share service on zfs-fuse and NFS-Ganesha, files through libnfs and qemu."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import hosts
from lab.hosts import Lab
from penstock.errors import InsufficientCapacity, Invalid, Unauthorized
from penstock.volume.driver import BaseVD
from penstock.volume.drivers.nfs_appliance.driver import NfsApplianceDriver
from penstock.volume.drivers.nfs_appliance.penstock_shares import PenstockShares
from penstock.volume.drivers.nfs_appliance.volumes import VOLUME_PREFIX
from penstock.volume.models import VolumeModel
from tests.contract.volume_driver_contract import CONTEXT, MIB, VolumeDataContract, VolumeDriverContract, VolumeSteps
from tests.places import Place
from tests.product.nfs_clients import LibnfsClient
from tests.product.running import PORTS, Product, password, running
from tests.product.sites import Site, over_ssh
from tests.volume_data import VolumeData
from tests.volume_values import MemoryRecords, a_volume_backend

pytestmark = pytest.mark.lab
QUICKLY = ("periodic_interval = 5", "[operations]", "max_retry_delay = 1")


@pytest.fixture(scope="session")
def share_lab(place: Place) -> Iterator[Lab]:
    reason = hosts.missing()
    if reason:
        pytest.skip(reason)
    lab = Lab(f"{place.tag}v", place.memory / "v", f"10.185.{place.number}", pool_mib=16384)
    lab.down()  # what a crashed run left here
    try:
        yield lab.up(1, 2)
    finally:
        lab.down()


@pytest.fixture(scope="session")
def shares(share_lab: Lab, place: Place) -> Iterator[Product]:
    """The share half of the product, on one host."""
    address = share_lab.address("h1")
    backends = {"one": over_ssh(address, share_lab.key_path, share_lab.known_hosts_path, "tank")}
    clients = [LibnfsClient(share_lab.client(name), share_lab.address(name)) for name in ("c1", "c2")]
    site = Site("volumes", share_lab.host("h1"), address, backends, clients[0], clients[1], None)
    with running(site, place.directory / "daemon-v", PORTS + 400 + place.number, QUICKLY) as product:
        yield product


def a_driver(shares: Product, lab: Lab, folder: Path, text: str = "") -> NfsApplianceDriver:
    """A driver whose appliance is the running product."""
    said = f"""
nas_user = admin
nas_password = {password(shares.work)}
nas_auth_url = {shares.daemon.url}
nas_timeout = 60
volume_data_path = userspace
{text}"""
    configuration = a_volume_backend(folder, said, default=f"my_ip = {lab.network.prefix}.1")
    driver = NfsApplianceDriver(configuration=configuration, db=MemoryRecords())
    driver.do_setup(CONTEXT)
    return driver


@pytest.fixture
def driver(shares: Product, share_lab: Lab, tmp_path: Path) -> Iterator[NfsApplianceDriver]:
    found = a_driver(shares, share_lab, tmp_path)
    found.check_for_setup_error()
    yield found
    shares.user.delete_all()
    left = shares.site.ran("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", "tank")
    assert left.split() == ["tank"]


@pytest.fixture
def pool_host() -> str:
    return "here@third#third"


@pytest.fixture
def data(driver: NfsApplianceDriver) -> VolumeData:
    return VolumeData(driver, everybody_is_let_in=True)  # by address, and a test has but one


class TestOnOurShares(VolumeDriverContract): ...


class TestDataOnOurShares(VolumeDataContract): ...


class TestForReal(VolumeSteps):
    @pytest.fixture
    def volume(self, driver: BaseVD) -> VolumeModel:
        return self.made(driver, self.new("here@third#third"))

    def test_who_is_let_in(
        self, driver: NfsApplianceDriver, shares: Product, share_lab: Lab, volume: VolumeModel
    ) -> None:
        """Nobody by default, not even us; the connector's address as long as it is connected."""
        location = str(volume.provider_location)
        friend, stranger = shares.site.friend, shares.site.stranger
        connector = {"ip": friend.address, "host": "c1"}
        assert [friend.can_list(location), stranger.can_list(location)] == [False, False]
        driver.initialize_connection(volume, connector)
        assert [friend.can_list(location), stranger.can_list(location)] == [True, False]
        driver.terminate_connection(volume, connector)
        assert not friend.can_list(location)
        assert shares.user.rules(str(volume.provider_id)) == {}

    def test_a_volume_can_be_written_full(
        self, driver: NfsApplianceDriver, data: VolumeData, volume: VolumeModel
    ) -> None:
        for at in range(0, 1024, 128):
            data.write(volume, 0x41 + at // 128, at * MIB, 128 * MIB)
        assert data.holds(volume, 0x41, 0, MIB)
        assert data.holds(volume, 0x48, 1023 * MIB, MIB)

    def test_the_share_is_named_after_its_volume(self, shares: Product, volume: VolumeModel) -> None:
        row = shares.user.show(str(volume.provider_id))
        assert (row["name"], row["size"]) == (VOLUME_PREFIX + volume.name, 2)

    def test_a_daemon_killed_in_the_middle(
        self, driver: NfsApplianceDriver, shares: Product, share_lab: Lab, tmp_path: Path, data: VolumeData
    ) -> None:
        """A share asked for by a driver that died is the one that the next driver completes."""
        volume = self.new("here@third#third")
        first = PenstockShares(driver.configuration)
        body = {"share_proto": "NFS", "size": 2, "name": "x", "metadata": {"penstock_volume": volume.name}}
        first._session.post("shares", {"share": body})
        volume = self.made(a_driver(shares, share_lab, tmp_path), volume)
        assert len(shares.user.all("shares")) == 1
        assert data.holds(volume, 0, 0, MIB)

    def test_no_pool_takes_it(self, driver: NfsApplianceDriver, shares: Product) -> None:
        with pytest.raises(InsufficientCapacity, match="No pool can take"):
            driver.create_volume(self.new("here@third#third", 500))
        assert shares.user.all("shares") == []

    def test_what_is_wrong_is_said_at_the_start(
        self, driver: NfsApplianceDriver, shares: Product, share_lab: Lab, tmp_path: Path
    ) -> None:
        with pytest.raises(Unauthorized):
            a_driver(shares, share_lab, tmp_path, "nas_password = wrong").check_for_setup_error()
        with pytest.raises(Invalid, match="no share type 'gold'"):
            a_driver(shares, share_lab, tmp_path, "nas_share_type = gold").check_for_setup_error()

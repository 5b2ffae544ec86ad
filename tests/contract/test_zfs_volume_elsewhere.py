"""A creation that one of two ZFS backends on one machine, with one target server, refuses: the other carries it out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.domain.volumes import VolumeStatus
from penstock.errors import Unavailable
from penstock.services.volumes import attachments, creation
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.creation import NewVolume
from penstock.units import GIB
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.test_volume_elsewhere import Four
from tests.contract.zfs_volumes import simulated_site
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_state import Pool
from tests.volume_plane import CONNECTOR, OWNER

NAMES = ("ssd", "hdd")
CONFIG = (
    "[DEFAULT]\nhost = host\nmy_ip = 10.1.0.1\nenabled_backends = ssd,hdd\ndefault_volume_type = default\n"
    + "".join(
        f"[{name}]\nvolume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver\nvolume_backend_name = {name}\n"
        f"zfs_zpool_list = {name}/volumes\ntarget_ip_address = 10.1.0.11\nvolume_data_path = userspace\n"
        "zfs_volume_kind = file\n"
        for name in NAMES
    )
)


class Hanging:
    """Commands that change the pool ssd take effect, but are never heard of again; with `is_whole` none is answered."""

    is_whole = False

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self.is_whole and any("ssd" in word for word in words):
            raise Unavailable("the pool ssd hangs")
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if "create" in words and any(word.startswith("ssd/volumes/") for word in words):
            self.is_whole = True
            raise Unavailable("the pool ssd hangs")
        return None


class Two(Four):
    """The backends ssd and hdd, with a pool each."""

    names = NAMES
    config = CONFIG

    def __init__(self, folder: Path, flavour: Any) -> None:
        self.machine, self.tgt = simulated_site(flavour, *NAMES)
        self.machine.state.pools["hdd"].size = 50 * GIB  # ssd is asked first
        super().__init__(folder)

    def driver_of(self, name: str, section: Any) -> Any:
        return ZFSVolumeDriver(
            configuration=section, host=f"host@{name}", storage_host=self.machine, clock=self.clock, sync_threads=0
        )

    def datasets(self) -> list[str]:
        return sorted(path.partition("/")[0] for path in self.machine.state.filesystems if path.count("/") == 2)


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def two(request: pytest.FixtureRequest, tmp_path: Path) -> Two:
    return Two(tmp_path, request.param)


def test_what_was_begun_is_taken_away_and_the_target_in_use_elsewhere_is_not(two: Two) -> None:
    two.machine.hooks = hanging = Hanging()
    volume = creation.create(two.plane, OWNER, NewVolume(size_gib=1))
    assert volume.host == "host@ssd#ssd"
    for _ in range(3):
        two.later()
    found = two.row(volume)
    assert (found.status, found.host) == (VolumeStatus.AVAILABLE, "host@hdd#hdd")
    two.queue.worker = two.workers["hdd"]
    attachments.create(two.plane, OWNER, NewAttachment(volume_id=volume.id, connector=CONNECTOR))
    (iqn,) = two.managers["hdd"].driver.storage.exports.observe().in_force

    def is_in_use() -> bool:
        return two.tgt.login(iqn, CONNECTOR["initiator"], CONNECTOR["ip"]) == {1: GIB}

    assert is_in_use()
    two.later()
    assert (is_in_use(), two.datasets(), two.pending) == (True, ["hdd", "ssd"], ["forget_refused"])
    hanging.is_whole = False
    pool: Pool = two.machine.state.pools["ssd"]
    pool.health = "UNAVAIL"  # not there yet, though the host answers
    two.later()
    assert two.pending == ["forget_refused"]
    pool.health = "ONLINE"
    two.later()
    assert (is_in_use(), two.datasets(), two.pending) == (True, ["hdd"], [])

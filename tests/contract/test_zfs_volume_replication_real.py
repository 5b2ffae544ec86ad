"""Replicated volumes of the ZFS driver on a real host, one side in one place of its pool and one in another: zfs-fuse
with files and tgt, OpenZFS with zvols and LIO or tgt.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from penstock.host.runner import Host
from penstock.ids import new_id
from penstock.volume.drivers.zfs.copies import observe_copy
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.drivers.zfs.fencing import UNPLANNED, activate
from penstock.volume.models import AttachmentModel, VolumeModel
from penstock.zfs.names import Dataset
from tests.contract.iscsi_sites import load_lio, start_tgtd, stop_tgtd
from tests.contract.nfs_sites import until
from tests.contract.volume_sides import CLIENT, CONTEXT, FAR, HOME, REPLICATED
from tests.volume_values import MemoryRecords, a_snapshot, a_volume, a_volume_backend

PLACES = {HOME: "tank/sides-home", FAR: "tank/sides-far"}


class OneHost:
    """A driver whose two sides are one machine, and a volume."""

    def __init__(self, host: Host, folder: Path, address: str, text: str = "") -> None:
        self.host = host
        for place in PLACES.values():
            self.run("zfs", "create", place)
        section = "\n".join(
            (
                f"zfs_zpool_list = {PLACES[HOME]}",
                f"target_ip_address = {address}",
                "volume_data_path = userspace",
                f"replication_device = backend_id:{FAR},zfs_zpool_list:{PLACES[FAR]},target_ip_address:{address}",
                text,
            )
        )
        self.driver = ZFSVolumeDriver(
            configuration=a_volume_backend(folder, section, default="my_ip = 10.1.0.1"),
            db=MemoryRecords(),
            host="here@third",
            storage_host=host,
            target_hosts={FAR: host},
            sync_threads=0,
        )
        self.driver.do_setup(CONTEXT)
        self.driver.check_for_setup_error()
        fields = {"volume_type": REPLICATED, "volume_type_id": REPLICATED.id}
        self.volume = a_volume(new_id(), 1, host="here@third#tank", **fields)
        self.known(self.driver.create_volume(self.volume))

    def run(self, *argv: str) -> str:
        done = self.host.run(argv, timeout_s=120)
        assert done.exit_code == 0, done
        return done.stdout

    def known(self, update: Any) -> VolumeModel:
        fields = {name: value for name, value in (update or {}).items() if hasattr(self.volume, name)}
        self.volume = self.volume.updated(fields)
        return self.volume

    @property
    def path(self) -> str:
        """Where the volume's data are, on the side that serves."""
        path = self.driver.storage.medium.path(self.driver.finder.existing(self.volume)[0])
        # udev names a new zvol some time after zfs has ended; until then a write would make a file of that name
        kind = "-b" if path.startswith("/dev/") else "-f"
        until(lambda: self.host.run(["test", kind, path], timeout_s=60).exit_code == 0)
        return path

    def write(self, seed: str) -> None:
        """A MiB that differs by the seed, at its place, to stay."""
        script = 'yes "$1" | head -c 1048576 | dd of="$2" bs=1M seek="$3" count=1 iflag=fullblock conv=notrunc,fsync'
        self.run("sh", "-c", script, "write", seed, self.path, str(sum(seed.encode()) % 64))

    def digest(self) -> str:
        return self.run("sh", "-c", 'sync; dd if="$1" bs=1M count=80 | sha256sum', "digest", self.path)

    def replicate(self) -> None:
        (report,) = self.driver.replicate(CONTEXT, [self.volume])
        assert report.fault is None, report

    def fail_over(self, to: str) -> None:
        self.driver.failover_host(CONTEXT, [self.volume], to, [])
        _, (update,), _ = self.driver.failover_host(CONTEXT, [self.volume], to, [])  # again changes nothing
        assert "recovery_point" not in update["updates"], update
        self.known(update["updates"])

    def attach(self) -> None:
        self.known(self.driver.create_export(CONTEXT, self.volume, CLIENT))
        self.driver.initialize_connection(self.volume, CLIENT)
        attachment = AttachmentModel(new_id(), self.volume.id, "attached", connector=dict(CLIENT))
        self.volume = dataclasses.replace(self.volume, volume_attachment=(attachment,))

    def destroy(self) -> None:
        self.driver.delete_volume(self.volume)
        for place in PLACES.values():
            left = self.run("zfs", "list", "-H", "-o", "name", "-t", "all", "-r", place).split()
            assert left == [place]
            self.driver.storage.zfs.destroy(Dataset(place), recursive=False)


@pytest.fixture
def lab_side(request: Any, tmp_path: Path) -> OneHost:
    lab = request.getfixturevalue("lab")
    return OneHost(lab.host("h1"), tmp_path, lab.address("h1"))


@pytest.fixture
def kernel_side(request: Any, tmp_path: Path) -> OneHost:
    host, machines = load_lio(request.getfixturevalue("kernel_host")), request.getfixturevalue("kernel_lab")
    return OneHost(host, tmp_path, machines.address("k1"), "target_helper = lioadm")


@pytest.fixture
def kernel_tgt_side(request: Any, tmp_path: Path) -> Iterator[OneHost]:
    request.getfixturevalue("kernel_host")  # its pool
    machines = request.getfixturevalue("kernel_lab")
    host = start_tgtd(machines.workplace("k1"))
    yield OneHost(host, tmp_path, machines.address("k1"))
    stop_tgtd(host)
    host.close()


EACH_HOST = pytest.mark.parametrize(
    "name",
    [
        pytest.param("lab_side", marks=pytest.mark.lab),
        pytest.param("kernel_side", marks=pytest.mark.kernel),
        pytest.param("kernel_tgt_side", marks=pytest.mark.kernel),
    ],
)


@EACH_HOST
def test_over_and_back(name: str, request: Any) -> None:
    one: OneHost = request.getfixturevalue(name)
    one.write("first")
    taken = a_snapshot(new_id(), one.volume)
    one.driver.create_snapshot(taken)
    one.replicate()
    one.attach()
    one.write("second")
    written = one.digest()
    one.fail_over(FAR)
    assert one.path.startswith(("/tank/sides-far", "/dev/zvol/tank/sides-far"))
    assert one.digest() == written
    one.driver.ensure_export(CONTEXT, one.volume)
    one.write("third")
    written = one.digest()
    one.fail_over(HOME)
    assert one.digest() == written
    one.driver.terminate_connection(one.volume, CLIENT)
    one.driver.revert_to_snapshot(CONTEXT, one.volume, dataclasses.replace(taken, volume=one.volume))
    one.replicate()
    one.driver.delete_snapshot(dataclasses.replace(taken, volume=one.volume))
    one.destroy()


@pytest.mark.lab
def test_a_stream_is_no_faster_than_its_limit(request: Any, tmp_path: Path) -> None:
    lab = request.getfixturevalue("lab")
    side = OneHost(lab.host("h1"), tmp_path, lab.address("h1"), "replication_bandwidth_limit = 1M")
    for seed in "abcd":
        side.write(seed)
    begun = time.monotonic()
    side.replicate()
    assert time.monotonic() - begun > 3
    side.destroy()


@EACH_HOST
def test_a_copy_that_was_made_active_and_never_served_costs_nothing(name: str, request: Any) -> None:
    """To be mounted, and made ready, does not look like data of its own."""
    one: OneHost = request.getfixturevalue(name)
    one.write("first")
    one.replicate()
    copy = observe_copy(one.volume, one.driver.sides.reach(FAR), is_served=False)
    activate(copy, 7, UNPLANNED)  # as an unplanned failover that ended before any row knew
    one.write("second")
    written = one.digest()
    one.fail_over(FAR)
    assert one.digest() == written
    one.fail_over(HOME)
    assert one.digest() == written
    one.destroy()

"""ZFS volume drivers for tests, and what a simulated host needs for them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from penstock.context import admin_context
from penstock.host.runner import Host
from penstock.units import GIB
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.drivers.zfs.links import FOLDER
from penstock.volume.drivers.zfs.media import FILE
from penstock.zfs.flavour import Flavour
from tests.simulation.tgt_host import SimulatedTgt
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork
from tests.volume_values import MemoryRecords, a_volume_backend

CONTEXT = admin_context("req-zfs-volumes")


class VolumeFiles:
    """``sh`` and ``stat`` on a simulated host, as `media.Files` uses them: files with a length and no bytes.

    A length is an empty block of the filesystem, so snapshots, clones, rollbacks and streams have it, too. Links in
    ``/run`` are files that say where they lead; `boot` forgets them, as a machine does.
    """

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        host.programs["sh"] = self._shell
        host.programs["stat"] = self._stat
        host.programs["rm"] = self._remove

    def boot(self) -> None:
        """The machine starts: nothing in ``/run`` is left."""
        self._remove([path for path in self._host.state.files if path.startswith(FOLDER)], "")

    def size_of(self, path: str) -> int | None:
        """Bytes, None when it is not there."""
        path = self._host.state.files.get(path, path) if path.startswith(FOLDER) else path
        filesystem = self._host.state.filesystems.get(path.strip("/").removesuffix(f"/{FILE}"))
        if filesystem is None or not filesystem.is_mounted:
            return None
        return max((block.content for block in filesystem.blocks.values() if block.size == 0), default=None)

    def _remove(self, args: Sequence[str], stdin: str) -> tuple[int, str, str]:
        for path in args:
            self._host.state.files.pop(path, None)
        return 0, "", ""

    def _shell(self, args: Sequence[str], stdin: str) -> tuple[int, str, str]:
        if "ln -sfn" in args[1]:
            folder, name, path = args[3:]
            self._host.state.files[f"{folder}/{name}"] = path
            return 0, "", ""
        if "truncate" not in args[1]:
            return 0, "", ""  # command -v
        size, path = int(args[3]), args[4]
        filesystem = self._host.state.filesystems.get(path.strip("/").removesuffix(f"/{FILE}"))
        if filesystem is None or not filesystem.is_mounted:
            return 1, "", f"truncate: {path}: No such file or directory"
        if (self.size_of(path) or 0) < size:
            self._host.model.write(filesystem, 0, content=size)
        return 0, "", ""

    def _stat(self, args: Sequence[str], stdin: str) -> tuple[int, str, str]:
        paths = args[args.index("--") + 1 :]
        sizes = {path: self.size_of(path) for path in paths}
        lines = "".join(f"{size} {path}\n" for path, size in sizes.items() if size is not None)
        return int(None in sizes.values()), lines, ""


def simulated_site(flavour: Flavour, *pools: str) -> tuple[SimulatedHost, SimulatedTgt]:
    """A machine with pools, a filesystem for volumes in each, and a tgtd."""
    host = SimulatedHost(f"sim-{flavour.name}", flavour=flavour, pools=dict.fromkeys(pools, 100 * GIB))
    for pool in pools:
        assert host.run(["zfs", "create", f"{pool}/volumes"], timeout_s=10).exit_code == 0
    tgt = SimulatedTgt(host, lambda _: None)
    files = VolumeFiles(host)
    tgt.size_of = files.size_of  # type: ignore[method-assign]
    return host, tgt


def a_zfs_driver(
    host: Host, folder: Path, *, address: str = "10.1.0.11", pools: Sequence[str] = ("tank",), text: str = ""
) -> ZFSVolumeDriver:
    """A driver of that host, set up."""
    roots = ",".join(f"{pool}/volumes" for pool in pools)
    folder.mkdir(exist_ok=True, parents=True)
    section = f"zfs_zpool_list = {roots}\ntarget_ip_address = {address}\nvolume_data_path = userspace\n{text}"
    driver = ZFSVolumeDriver(
        configuration=a_volume_backend(folder, section, default="my_ip = 10.1.0.1"),
        db=MemoryRecords(),
        host="here@third",
        storage_host=host,
        routes=SimulatedNetwork() if isinstance(host, SimulatedHost) else None,
    )
    driver.do_setup(CONTEXT)
    driver.check_for_setup_error()
    driver.set_throttle()
    driver.set_initialized()
    return driver

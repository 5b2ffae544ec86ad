"""Where the demo runs: a pool with an NFS and an iSCSI server, made for it or the machine's own, and two clients."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from lab.hosts import Lab

TAG = "demo"
PREFIX = "10.88.0"
POOL_MIB = 6144
LOCAL_POOL = "penstock-demo"


class DemoError(Exception):
    """The demo cannot go on; the message says what to do."""


DRIVER = (
    "share_driver = penstock.share.drivers.zfsonlinux.driver.ZFSonLinuxShareDriver",
    "driver_handles_share_servers = False",
)


VOLUMES_HERE = ("volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver", "use_chap_auth = True")
VOLUMES = "demo-volumes"
"""The dataset below which volumes are made."""


@dataclass(frozen=True, slots=True)
class Backend:
    """What the daemon must know: the lines of the backends' sections, and what it is in words.

    `volume_lines` is empty where no iSCSI target server is there.
    """

    lines: tuple[str, ...]
    description: str
    volume_lines: tuple[str, ...] = ()


class Place(Protocol):
    """A place to run the demo in."""

    def up(self) -> Backend:
        """Make what is missing. Safe to repeat."""
        ...

    def down(self) -> None:
        """Leave nothing behind. Safe to repeat."""
        ...


def clients(work: Path) -> Lab:
    """The two client machines: namespaces with nothing but an address."""
    return Lab(TAG, work / "lab", PREFIX, ("zfs", "nfs", "iscsi", "ssh"), POOL_MIB)


class Namespace:
    """A storage host of its own in namespaces: zfs-fuse, NFS-Ganesha and tgt, managed over ssh. Needs no modules."""

    def __init__(self, work: Path) -> None:
        self._lab = clients(work)

    def up(self) -> Backend:
        lab = self._lab.up(1, 2)
        address = lab.address("h1")
        root = f"tank/{VOLUMES}"
        made = lab.host("h1").run(["zfs", "create", root], timeout_s=60)
        if made.exit_code != 0 and "exists" not in made.stderr:
            raise DemoError(f"{root} could not be made: {made.stderr.strip()}")
        over_ssh = (
            f"zfs_service_ip = {address}",
            "zfs_use_ssh = True",
            "zfs_ssh_username = root",
            f"zfs_ssh_private_key_path = {lab.key_path}",
            f"zfs_ssh_known_hosts_file = {lab.known_hosts_path}",
        )
        return Backend(
            (*DRIVER, f"zfs_share_export_ip = {address}", "zfs_zpool_list = tank", *over_ssh),
            f"zfs-fuse, NFS-Ganesha and tgt on the host {address} (namespaces of this machine), over ssh",
            (*VOLUMES_HERE, f"target_ip_address = {address}", f"zfs_zpool_list = {root}", *over_ssh),
        )

    def down(self) -> None:
        self._lab.down()


class Local:
    """This machine's own ZFS and NFS server: the pool given, or a file-backed one made for the demo."""

    def __init__(self, work: Path, pool: str | None) -> None:
        self._lab = clients(work)
        self._given = pool
        self._file = work / "pool.img"

    def up(self) -> Backend:
        pool = self._given or self._file_backed_pool()
        if _zpool("list", "-H", "-o", "name", pool.split("/")[0]).returncode != 0:
            raise DemoError(f"There is no pool {pool}: give one that 'zpool list' shows, or none to have one made.")
        lab = self._lab.up(0, 2)
        address = f"{lab.network.prefix}.1"
        return Backend(
            (*DRIVER, f"zfs_share_export_ip = {address}", f"zfs_service_ip = {address}", f"zfs_zpool_list = {pool}"),
            f"this machine's ZFS (pool {pool}) and NFS server at {address}",
            self._volume_lines(pool, address),
        )

    def _volume_lines(self, pool: str, address: str) -> tuple[str, ...]:
        """Empty where neither tgt runs nor LIO is loaded."""
        servers = {"tgtadm": Path("/var/run/tgtd/socket.0"), "lioadm": Path("/sys/kernel/config/target")}
        helper = next((name for name, sign in servers.items() if sign.exists()), None)
        if helper is None:
            return ()
        root = f"{pool}/{VOLUMES}"
        if _run("zfs", "list", root).returncode != 0:
            made = _run("zfs", "create", root)
            if made.returncode != 0:
                raise DemoError(f"{root} could not be made: {made.stderr.strip()}")
        return (
            *VOLUMES_HERE,
            f"target_helper = {helper}",
            f"target_ip_address = {address}",
            f"zfs_zpool_list = {root}",
        )

    def down(self) -> None:
        self._lab.down()
        if self._given is not None:
            _run("zfs", "destroy", f"{self._given}/{VOLUMES}")  # empty by now, or not ours to destroy
        if self._file.exists():
            destroyed = _zpool("destroy", "-f", LOCAL_POOL)
            if destroyed.returncode != 0 and "no such pool" not in destroyed.stderr:
                raise DemoError(f"The pool {LOCAL_POOL} cannot be destroyed: {destroyed.stderr.strip()}")
            self._file.unlink()

    def _file_backed_pool(self) -> str:
        if not self._file.exists():
            self._file.parent.mkdir(parents=True, exist_ok=True)
            with self._file.open("wb") as file:
                file.truncate(POOL_MIB * 1024 * 1024)
            made = _zpool("create", LOCAL_POOL, str(self._file))
            if made.returncode != 0:
                self._file.unlink()
                raise DemoError(f"No pool could be made in {self._file}: {made.stderr.strip()}")
        return LOCAL_POOL


def choose(work: Path, pool: str | None) -> Place:
    """The given pool, else this machine's OpenZFS, else namespaces with zfs-fuse."""
    if pool is not None or Path("/sys/module/zfs").exists():
        return Local(work, pool)
    return Namespace(work)


def _zpool(*words: str) -> subprocess.CompletedProcess[str]:
    return _run("zpool", *words)


def _run(name: str, *words: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which(name, path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise DemoError(f"There is no {name} command: apt-get install zfsutils-linux (or zfs-fuse).")
    return subprocess.run((program, *words), capture_output=True, text=True, check=False, timeout=60)

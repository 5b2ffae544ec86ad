"""Where the demo runs: a pool and an NFS server, ours for the occasion or the machine's own, and two NFS clients."""

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


@dataclass(frozen=True, slots=True)
class Backend:
    """What the daemon must know: the lines of the backend's section, and what it is in words."""

    lines: tuple[str, ...]
    description: str


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
    return Lab(TAG, work / "lab", PREFIX, ("zfs", "nfs", "ssh"), POOL_MIB)


class Namespace:
    """A storage host of its own in namespaces, with zfs-fuse and NFS-Ganesha, managed over ssh. Needs no modules."""

    def __init__(self, work: Path) -> None:
        self._lab = clients(work)

    def up(self) -> Backend:
        lab = self._lab.up(1, 2)
        return Backend(
            (
                *DRIVER,
                f"zfs_share_export_ip = {lab.address('h1')}",
                f"zfs_service_ip = {lab.address('h1')}",
                "zfs_zpool_list = tank",
                "zfs_use_ssh = True",
                "zfs_ssh_username = root",
                f"zfs_ssh_private_key_path = {lab.key_path}",
                f"zfs_ssh_known_hosts_file = {lab.known_hosts_path}",
            ),
            f"zfs-fuse and NFS-Ganesha on the host {lab.address('h1')} (namespaces of this machine), over ssh",
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
        )

    def down(self) -> None:
        self._lab.down()
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
    program = shutil.which("zpool", path="/usr/sbin:/sbin:/usr/bin:/bin")
    if program is None:
        raise DemoError("There is no zpool command: apt-get install zfsutils-linux (or zfs-fuse).")
    return subprocess.run((program, *words), capture_output=True, text=True, check=False, timeout=60)

"""The ZFS host of one backend: how it is reached, which ZFS and which NFS server it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.clock import Clock, SystemClock
from penstock.errors import BackendFault
from penstock.exports.nfs import NfsServer, choose
from penstock.host.audit import AuditedHost
from penstock.host.modes import ModesHost
from penstock.host.runner import Host
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.zfs import reach
from penstock.zfs.beside import Beside, InThreads, in_turn
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import Flavour, detect

OPEN_UP_TIMEOUT_S = 30.0
LOOKS_BESIDE = 8  # at once; as many as a backend has workers by default


@dataclass(frozen=True, slots=True)
class Storage:
    """A host with its ZFS and its NFS server."""

    host: Host
    flavour: Flavour
    zfs: Zfs
    nfs: NfsServer

    def open_up(self, mountpoint: str, mode: str) -> None:
        """Let users write into a new share's top directory. Safe to repeat. A mount that hangs costs the deadline."""
        host = self.host
        if isinstance(host, ModesHost) and host.set_mode(mountpoint, int(mode, 8), timeout_s=OPEN_UP_TIMEOUT_S):
            return
        done = host.run(("chmod", mode, "--", mountpoint), timeout_s=OPEN_UP_TIMEOUT_S)
        if done.exit_code != 0:
            raise BackendFault(f"{mountpoint} could not be given mode {mode}: {done.stderr.strip()}")


def open_storage(
    settings: Settings,
    *,
    connect_timeout_s: int,
    host: Host | None,
    nfs: NfsServer | None,
    clock: Clock | None,
    before_command: Callable[[], None] | None = None,
) -> Storage:
    """Reach the host and see what it runs; `host` and `nfs` are given by tests. `before_command` as `AuditedHost` asks.

    Raises Unavailable, Unsupported.
    """
    beside: Beside = in_turn
    if host is None:
        host = AuditedHost(connect(settings, connect_timeout_s), before_command)
        beside = InThreads(LOOKS_BESIDE, host.name)
    flavour = detect(host)
    zfs = Zfs(host, flavour, timeout_s=settings.timeout_s, clock=clock or SystemClock(), beside=beside)
    return Storage(host, flavour, zfs, nfs or choose(host, settings.nfs_server))


def connect(settings: Settings, connect_timeout_s: int) -> Host:
    """This machine or another; nothing is contacted yet."""
    return reach.connect(settings.remote, connect_timeout_s, use_sudo=settings.use_sudo)

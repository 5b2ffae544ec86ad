"""The ZFS host of one backend: how it is reached, its ZFS, what volumes are on it, and its iSCSI target server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from penstock.clock import Clock, SystemClock
from penstock.errors import Unavailable
from penstock.exports.iscsi import IscsiExports
from penstock.exports.iscsi_lio import LioIscsi
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.audit import AuditedHost
from penstock.host.kept_commands import KeptCommands
from penstock.host.runner import Host
from penstock.volume.drivers.zfs import media
from penstock.volume.drivers.zfs.options import Settings
from penstock.zfs import reach
from penstock.zfs.beside import Beside, InThreads, in_turn
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import Flavour, detect

LOOKS_BESIDE = 8  # at once; as many as a backend has workers by default


@dataclass(frozen=True, slots=True)
class Storage:
    """A host with what runs on it. `looks` is its ZFS for looks alone, which are begun while others work."""

    host: Host
    flavour: Flavour
    zfs: Zfs
    looks: Zfs
    medium: media.Medium
    exports: IscsiExports


def open_storage(
    settings: Settings,
    *,
    connect_timeout_s: int,
    host: Host | None,
    exports: IscsiExports | None,
    clock: Clock | None,
    may_lack: bool = False,
    before_command: Callable[[], None] | None = None,
) -> Storage:
    """Reach the host and see what it runs; `host` and `exports` are given by tests. `before_command` as `AuditedHost`
    asks.

    Raises Unavailable (also when a pool or dataset of the settings is not there, unless it `may_lack` some),
    Unsupported.
    """
    beside: Beside = in_turn
    if host is None:
        host = AuditedHost(
            reach.connect(settings.remote, connect_timeout_s, use_sudo=settings.use_sudo), before_command
        )
        beside = InThreads(LOOKS_BESIDE, host.name)
    flavour = detect(host)
    zfs = Zfs(host, flavour, timeout_s=settings.timeout_s, clock=clock or SystemClock(), beside=beside)
    roots = list(settings.roots.values())
    found = zfs.get_many(roots, ("type", "mountpoint"))
    missing = [str(root) for root in roots if str(root) not in found]
    if missing and not may_lack:
        raise Unavailable(f"{host.name} has no {', '.join(missing)}: import the pool, or create it.")
    looks = zfs
    if isinstance(host, AuditedHost) and not settings.remote:  # over ssh nothing is started by us anyway
        looks = Zfs(KeptCommands(host), flavour, timeout_s=settings.timeout_s, clock=clock or SystemClock())
    medium = media.choose(settings.kind, zfs, host, flavour, found)
    server = LioIscsi(host) if settings.server == "lio" else TgtIscsi(host)
    return Storage(host, flavour, zfs, looks, medium, exports or server)

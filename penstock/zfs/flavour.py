"""Which ZFS a host runs, and what it can do, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from penstock.errors import Unsupported
from penstock.host.runner import Host
from penstock.zfs.faults import fault_of


@dataclass(frozen=True, slots=True)
class Flavour:
    """What this ZFS can do: facts probed on real ones, relied upon by tests/contract/test_zfs.py."""

    name: str
    version: str
    several_per_command: bool  # several properties in one `zfs set`, several snapshots in one `snapshot` or `destroy`
    receive_sets_properties: bool  # `zfs receive -o`
    rename_while_mounted: bool
    serial_mounts: bool  # commands that mount must run one at a time per daemon, or it hangs
    busy_patience_s: float  # how long "busy" may be the daemon's lateness and not a user
    get_by_kind: bool  # `zfs get -t`
    shows_readonly_of_mounted: bool  # zfs-fuse obeys readonly=on, but shows off (temporary) while it is mounted
    can_resume: bool  # `zfs receive -s`
    can_hold: bool
    can_bookmark: bool
    can_encrypt: bool  # the property `encryption`, raw sends
    has_written: bool  # the property `written`
    has_features: bool  # pools with feature flags
    send_reports: bool  # `zfs send -vP`, `-nvP`
    has_clones_property: bool  # `zfs get clones`
    has_zvols: bool
    compressions: frozenset[str]


GZIPS = frozenset({"gzip", *(f"gzip-{level}" for level in range(1, 10))})

ZFS_FUSE = Flavour(
    name="zfs-fuse",
    version="0.7.0",
    several_per_command=False,
    receive_sets_properties=False,
    rename_while_mounted=False,
    serial_mounts=True,
    busy_patience_s=6.0,
    get_by_kind=False,
    shows_readonly_of_mounted=False,
    can_resume=False,
    can_hold=False,
    can_bookmark=False,
    can_encrypt=False,
    has_written=False,
    has_features=False,
    send_reports=False,
    has_clones_property=False,
    has_zvols=False,
    compressions=frozenset({"on", "off", "lzjb", "zle"}) | GZIPS,
)


def openzfs(version: str) -> Flavour:
    """OpenZFS 2.0 or later; before, ``zstd`` and others are missing."""
    return Flavour(
        name="openzfs",
        version=version,
        several_per_command=True,
        receive_sets_properties=True,
        rename_while_mounted=True,
        serial_mounts=False,
        busy_patience_s=1.0,
        get_by_kind=True,
        shows_readonly_of_mounted=True,
        can_resume=True,
        can_hold=True,
        can_bookmark=True,
        can_encrypt=True,
        has_written=True,
        has_features=True,
        send_reports=True,
        has_clones_property=True,
        has_zvols=True,
        compressions=frozenset({"on", "off", "lzjb", "zle", "lz4", "zstd"}) | GZIPS,
    )


_VERSION = re.compile(r"^zfs-(\d+(?:\.\d+)*)", re.MULTILINE)
_OLD_POOL_VERSION = re.compile(r"ZFS pool version \d+\b")
DETECT_TIMEOUT_S = 30.0


def detect(host: Host) -> Flavour:
    """Ask the host which ZFS it runs. Raises Unsupported when neither, Unavailable when it has none or is away."""
    done = host.run(("zfs", "version"), timeout_s=DETECT_TIMEOUT_S)
    found = _VERSION.search(done.stdout)
    if done.exit_code == 0 and found:
        return openzfs(found[1])
    if "unrecognized command" not in done.stderr:
        raise fault_of(done)
    # zfs-fuse has no `version`, and neither had ZFS on Linux before 0.8: pool version 23 without feature flags tells
    done = host.run(("zpool", "upgrade"), timeout_s=DETECT_TIMEOUT_S)
    if done.exit_code == 0 and _OLD_POOL_VERSION.search(done.stdout):
        return ZFS_FUSE
    raise Unsupported(f"{host.name} runs neither OpenZFS 0.8 or later nor zfs-fuse: {done.stdout.strip()}")

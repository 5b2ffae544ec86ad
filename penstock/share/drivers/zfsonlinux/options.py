"""The driver's options: published names and defaults, and a few of our own; read once into `Settings`."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

from oslo_config import cfg

from penstock.config.backend import BackendConfiguration
from penstock.config.stream_options import LIMIT, STREAM_OPTIONS, parse_rate
from penstock.config.zfs_host_options import OUR_ZFS_HOST, PUBLISHED_ZFS_HOST
from penstock.errors import Invalid
from penstock.exports.model import Squash
from penstock.exports.nfs import Preference
from penstock.zfs.bases import OUR_ID, Naming
from penstock.zfs.names import Dataset
from penstock.zfs.reach import Remote, is_sudo_used, parse_roots, remote_of

OUR_NFS_HELPER = "penstock.share.drivers.zfsonlinux.utils.NFSviaZFSHelper"
PUBLISHED_NFS_HELPER = "manila.share.drivers.zfsonlinux.utils.NFSviaZFSHelper"
IGNORED_CREATION_OPTIONS = frozenset({"readonly", "quota", "refquota", "sharenfs", "sharesmb"})
OCTAL_MODE = re.compile(r"[0-7]{3,4}")

PUBLISHED = (
    cfg.StrOpt(
        "zfs_share_export_ip",
        help="Address under which clients reach the exports. Several, separated by commas, give several export "
        "locations, the first of them preferred; IPv6 is fine. Required.",
    ),
    cfg.StrOpt(
        "zfs_service_ip",
        help="Address of the ZFS host for administration: ssh goes here, and it gives an export location that only "
        "administrators see. Required when zfs_use_ssh is set.",
    ),
    cfg.ListOpt(
        "zfs_dataset_creation_options",
        help="Properties given to every new dataset, as 'name=value'. readonly, quota, refquota, sharenfs and "
        "sharesmb are left out: they are the driver's own.",
    ),
    cfg.StrOpt(
        "zfs_dataset_name_prefix", default="manila_share_", help="What the name of each new dataset starts with."
    ),
    cfg.StrOpt(
        "zfs_dataset_snapshot_name_prefix",
        default="manila_share_snapshot_",
        help="What the name of each new snapshot starts with.",
    ),
    cfg.ListOpt(
        "zfs_share_helpers",
        default=[f"NFS={PUBLISHED_NFS_HELPER}"],
        help="'protocol=class' pairs: what exports a dataset by each protocol. The published class name means "
        f"{OUR_NFS_HELPER}.",
    ),
    cfg.StrOpt(
        "zfs_replica_snapshot_prefix",
        default="tmp_snapshot_for_replication_",
        help="What the names of snapshots taken to update replicas start with.",
    ),
    cfg.StrOpt(
        "zfs_migration_snapshot_prefix",
        default="tmp_snapshot_for_share_migration_",
        help="What the names of snapshots taken to migrate shares start with.",
    ),
)
OUR_OWN = (
    cfg.StrOpt(
        "zfs_nfs_server",
        default="auto",
        choices=["auto", "kernel", "ganesha"],
        help="What serves NFS on the ZFS host: the kernel, NFS-Ganesha, or whichever is there (the kernel first).",
    ),
    cfg.StrOpt(
        "zfs_default_squash",
        default=Squash.ROOT_SQUASH.value,
        choices=[squash.value for squash in Squash],
        help="Whose requests become the anonymous user's, unless the share type (zfsonlinux:squash) or the access "
        "rule (metadata 'squash') says otherwise.",
    ),
    cfg.StrOpt(
        "zfs_share_mode",
        default="0777",
        help="Octal mode given once to the top directory of a new, empty share, so that its first user can write: "
        "with root squashed nobody could open it up later. Empty: leave it to root.",
    ),
    *STREAM_OPTIONS,
)
zfsonlinux_opts: tuple[cfg.Opt, ...] = PUBLISHED_ZFS_HOST + PUBLISHED + OUR_ZFS_HOST + OUR_OWN


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, parsed. `roots` is by zpool: the dataset below which shares are made. `remote` is None for here."""

    export_ips: tuple[str, ...]
    service_ip: str | None
    roots: dict[str, Dataset]
    creation_options: tuple[tuple[str, str], ...]
    ignored_options: tuple[str, ...]
    dataset_prefix: str
    snapshot_prefix: str
    helpers: dict[str, str]
    nfs_server: Preference
    squash: Squash
    share_mode: str | None
    remote: Remote | None
    use_sudo: bool
    timeout_s: float
    replica_snapshot_prefix: str
    migration_snapshot_prefix: str
    bandwidth_limit_bytes_per_s: int | None
    replication_route: str

    @property
    def ip_versions(self) -> list[int]:
        """IP versions of the export addresses, ascending."""
        return sorted({ipaddress.ip_address(ip).version for ip in self.export_ips})


def naming_of(settings: Settings) -> Naming:
    """How the backend calls snapshots: those taken to move data, and its users'."""
    return Naming(settings.replica_snapshot_prefix, re.escape(settings.snapshot_prefix) + OUR_ID)


def read_settings(configuration: BackendConfiguration) -> Settings:
    """The section's values, checked together. Raises Invalid, naming the option and what to write there."""
    creation, ignored = parse_creation_options(configuration.zfs_dataset_creation_options or ())
    remote = _remote(configuration)
    return Settings(
        export_ips=parse_addresses("zfs_share_export_ip", configuration.zfs_share_export_ip),
        service_ip=_service_ip(configuration.zfs_service_ip),
        roots=parse_roots(configuration.zfs_zpool_list or ()),
        creation_options=creation,
        ignored_options=ignored,
        dataset_prefix=configuration.zfs_dataset_name_prefix,
        snapshot_prefix=configuration.zfs_dataset_snapshot_name_prefix,
        helpers=parse_helpers(configuration.zfs_share_helpers or ()),
        nfs_server=Preference.AUTOMATIC
        if configuration.zfs_nfs_server == "auto"
        else Preference(configuration.zfs_nfs_server),
        squash=Squash(configuration.zfs_default_squash),
        share_mode=_mode(configuration.zfs_share_mode),
        remote=remote,
        use_sudo=is_sudo_used(configuration.zfs_use_sudo, remote),
        timeout_s=float(configuration.zfs_command_timeout),
        replica_snapshot_prefix=configuration.zfs_replica_snapshot_prefix,
        migration_snapshot_prefix=configuration.zfs_migration_snapshot_prefix,
        bandwidth_limit_bytes_per_s=parse_rate(LIMIT, configuration.replication_bandwidth_limit),
        replication_route=configuration.replication_route,
    )


def parse_addresses(option: str, text: str | None) -> tuple[str, ...]:
    """Comma-separated IP addresses in their normal form. Raises Invalid when there is none or one is wrong."""
    words = [word.strip().strip("[]") for word in (text or "").split(",") if word.strip()]
    if not words:
        raise Invalid(f"{option} is not set: give the address under which clients reach the exports.")
    try:
        return tuple(dict.fromkeys(str(ipaddress.ip_address(word)) for word in words))
    except ValueError as err:
        raise Invalid(f"{option}: {err}.") from err


def parse_creation_options(
    entries: tuple[str, ...] | list[str],
) -> tuple[tuple[tuple[str, str], ...], tuple[str, ...]]:
    """The properties to give, and the names of those left out. Raises Invalid for what is not ``name=value``."""
    wanted: dict[str, str] = {}
    ignored: list[str] = []
    for entry in entries:
        name, equals, value = (part.strip() for part in entry.partition("="))
        if not equals or not name or not value:
            raise Invalid(f"zfs_dataset_creation_options: '{entry}' is not of the form name=value.")
        if name in IGNORED_CREATION_OPTIONS:
            ignored.append(name)
        else:
            wanted[name] = value
    return tuple(wanted.items()), tuple(ignored)


def parse_helpers(entries: tuple[str, ...] | list[str]) -> dict[str, str]:
    """Protocol to dotted class name. Raises Invalid when there is none or one is no pair."""
    helpers: dict[str, str] = {}
    for entry in entries:
        protocol, equals, dotted = (part.strip() for part in entry.partition("="))
        if not equals or "." not in dotted:
            raise Invalid(f"zfs_share_helpers: '{entry}' is not of the form protocol=module.Class.")
        helpers[protocol.upper()] = OUR_NFS_HELPER if dotted == PUBLISHED_NFS_HELPER else dotted
    if not helpers:
        raise Invalid("zfs_share_helpers is empty: without a helper nothing can be exported.")
    return helpers


def _service_ip(text: str | None) -> str | None:
    return parse_addresses("zfs_service_ip", text)[0] if text else None


def _mode(text: str | None) -> str | None:
    if not text:
        return None
    if not OCTAL_MODE.fullmatch(text):
        raise Invalid(f"zfs_share_mode: '{text}' is not an octal mode such as 0777.")
    return text


def _remote(configuration: BackendConfiguration) -> Remote | None:
    return remote_of(
        configuration.zfs_use_ssh,
        configuration.zfs_service_ip,
        configuration.zfs_ssh_username,
        password=configuration.zfs_ssh_user_password,
        private_key_path=configuration.zfs_ssh_private_key_path,
        known_hosts_file=configuration.zfs_ssh_known_hosts_file,
    )

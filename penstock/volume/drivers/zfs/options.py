"""The driver's options, read once into `Settings`."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass

from oslo_config import cfg

from penstock.config.backend import BackendConfiguration
from penstock.config.stream_options import LIMIT, STREAM_OPTIONS, parse_rate
from penstock.config.zfs_host_options import ZFS_HOST_OPTIONS
from penstock.errors import Invalid
from penstock.exports.iscsi import Portal
from penstock.zfs.names import Dataset
from penstock.zfs.reach import Remote, is_sudo_used, parse_roots, remote_of

OUR_OWN = (
    cfg.StrOpt("zfs_service_ip", help="Address of the ZFS host for ssh. Required when zfs_use_ssh is set."),
    cfg.StrOpt(
        "zfs_volume_kind",
        default="auto",
        choices=["auto", "zvol", "file"],
        help="What a volume is on the ZFS host: a zvol, or a file on a filesystem of its own; auto: a zvol where that "
        "ZFS has them (zfs-fuse has none).",
    ),
    cfg.StrOpt(
        "zfs_volume_blocksize",
        default="",
        help="volblocksize of new zvols, such as 16K, unless the volume type says otherwise (zfs:volblocksize). Empty: "
        "what ZFS takes.",
    ),
    cfg.StrOpt(
        "zfs_volume_compression",
        default="",
        help="compression of new volumes unless the volume type says otherwise (zfs:compression). Empty: inherited.",
    ),
    cfg.BoolOpt(
        "zfs_volume_thin",
        default=True,
        help="New volumes take the space that is written; off: their whole size is set aside. A volume type decides "
        "for its volumes with the extra spec thin_provisioning.",
    ),
    cfg.IntOpt(
        "zfs_volume_replication_rpo_seconds",
        default=300,
        min=1,
        help="Recovery point objective of replicated volumes: by how many seconds a replica may lag. A volume type "
        "decides for its volumes with the extra spec replication_rpo_seconds.",
    ),
)
zfs_volume_opts: tuple[cfg.Opt, ...] = (*ZFS_HOST_OPTIONS, *OUR_OWN, *STREAM_OPTIONS)

BLOCK_SIZE = re.compile(r"(\d+)([KM]?)B?", re.IGNORECASE)
SMALLEST_BLOCK, LARGEST_BLOCK = 512, 2**24
SERVERS = {"tgtadm": "tgt", "lioadm": "lio"}


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, parsed. `roots` is by zpool: the dataset below which volumes are made. `remote` is None for here."""

    roots: dict[str, Dataset]
    remote: Remote | None
    use_sudo: bool
    timeout_s: float
    kind: str
    block_size: int | None
    compression: str | None
    is_thin: bool
    server: str
    target_prefix: str
    portals: tuple[Portal, ...]
    use_chap: bool
    chap_username: str
    chap_password: str
    tells_discard: bool
    rpo_s: int
    bandwidth_limit_bytes_per_s: int | None
    replication_route: str


def read_settings(configuration: BackendConfiguration) -> Settings:
    """The section's values, checked together. Raises Invalid, naming the option and what to write there."""
    remote = remote_of(
        configuration.zfs_use_ssh,
        configuration.zfs_service_ip,
        configuration.zfs_ssh_username,
        password=configuration.zfs_ssh_user_password,
        private_key_path=configuration.zfs_ssh_private_key_path,
        known_hosts_file=configuration.zfs_ssh_known_hosts_file,
    )
    if configuration.target_helper not in SERVERS:
        raise Invalid(f"target_helper is {configuration.target_helper}; this driver exports by tgtadm or lioadm.")
    if configuration.target_protocol != "iscsi":
        raise Invalid(f"target_protocol is {configuration.target_protocol}; this driver exports by iscsi.")
    return Settings(
        roots=parse_roots(configuration.zfs_zpool_list or ()),
        remote=remote,
        use_sudo=is_sudo_used(configuration.zfs_use_sudo, remote),
        timeout_s=float(configuration.zfs_command_timeout),
        kind=configuration.zfs_volume_kind,
        block_size=parse_block_size("zfs_volume_blocksize", configuration.zfs_volume_blocksize),
        compression=configuration.zfs_volume_compression.strip().lower() or None,
        is_thin=configuration.zfs_volume_thin,
        server=SERVERS[configuration.target_helper],
        target_prefix=configuration.target_prefix,
        portals=portals_of(
            [configuration.target_ip_address, *configuration.iscsi_secondary_ip_addresses], configuration.target_port
        ),
        use_chap=configuration.use_chap_auth,
        chap_username=configuration.chap_username,
        chap_password=configuration.chap_password,
        tells_discard=configuration.report_discard_supported,
        rpo_s=configuration.zfs_volume_replication_rpo_seconds,
        bandwidth_limit_bytes_per_s=parse_rate(LIMIT, configuration.replication_bandwidth_limit),
        replication_route=configuration.replication_route,
    )


def parse_block_size(name: str, text: str) -> int | None:
    """Bytes of ``8192``, ``16K`` or ``1M``, a power of two; None when empty. Raises Invalid."""
    if not text.strip():
        return None
    found = BLOCK_SIZE.fullmatch(text.strip())
    size = int(found[1]) * {"": 1, "K": 2**10, "M": 2**20}[found[2].upper()] if found else 0
    if not SMALLEST_BLOCK <= size <= LARGEST_BLOCK or size & (size - 1):
        raise Invalid(f"{name}: '{text}' is not a power of two from 512 to 16M, such as 16K.")
    return size


def portals_of(texts: Sequence[str], port: int) -> tuple[Portal, ...]:
    """Addresses by which volumes are reached, the first preferred. Raises Invalid."""
    try:
        addresses = dict.fromkeys(str(ipaddress.ip_address(text.strip().strip("[]"))) for text in texts)
    except ValueError as err:
        raise Invalid(f"target_ip_address or iscsi_secondary_ip_addresses: {err}.") from err
    return tuple(Portal(address, port) for address in addresses)

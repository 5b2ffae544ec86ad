"""The driver's options: published names and defaults (protocol page, section 4), and one of our own; read once.

Whether the appliance's certificate is verified, and by whom it may be signed, say the options that all volume drivers
have: ``driver_ssl_cert_verify`` (off, as published: appliances come with certificates they signed themselves) and
``driver_ssl_cert_path``.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from oslo_config import cfg

from penstock.config.backend import BackendConfiguration
from penstock.errors import Invalid
from penstock.volume.drivers.zfssa.connection import REST_PORT, Address
from penstock.volume.drivers.zfssa.session import Login
from penstock.volume.drivers.zfssa.values import DEFAULT_GROUP

BLOCK_SIZES = ["512", "1k", "2k", "4k", "8k", "16k", "32k", "64k", "128k"]
COMPRESSIONS = ["off", "lzjb", "gzip-2", "gzip", "gzip-9"]
LOGBIASES = ["latency", "throughput"]
DEFAULT_TIMEOUT_S = 60.0

SAN = (
    cfg.StrOpt("san_ip", default="", help="Address of the appliance's REST service."),
    cfg.StrOpt("san_login", default="admin", help="User on the appliance."),
    cfg.StrOpt("san_password", default="", secret=True, help="Password of that user."),
)
PUBLISHED = (
    cfg.StrOpt("zfssa_pool", help="Pool of the appliance in which volumes are kept. Required."),
    cfg.StrOpt("zfssa_project", help="Project in that pool; made when it is absent. Required."),
    cfg.StrOpt("zfssa_lun_volblocksize", default="8k", choices=BLOCK_SIZES, help="Block size of new volumes."),
    cfg.BoolOpt("zfssa_lun_sparse", default=False, help="New volumes are thin."),
    cfg.StrOpt(
        "zfssa_lun_compression", default="off", choices=COMPRESSIONS, help="Compression of new volumes and the project."
    ),
    cfg.StrOpt(
        "zfssa_lun_logbias",
        default="latency",
        choices=LOGBIASES,
        help="Write bias of new volumes and of the project.",
    ),
    cfg.StrOpt(
        "zfssa_initiator_config",
        default="",
        secret=True,
        help="Initiator groups and their initiators: {'group': [{'iqn': 'iqn...', 'user': '', 'password': ''}, ...], "
        "...}. Wins over zfssa_initiator_group and those below it.",
    ),
    cfg.StrOpt("zfssa_initiator_group", default="", help="One initiator group (deprecated: zfssa_initiator_config)."),
    cfg.StrOpt(
        "zfssa_initiator",
        default="",
        help="Names of the initiators of that group, separated by commas (deprecated: zfssa_initiator_config).",
    ),
    cfg.StrOpt("zfssa_initiator_user", default="", help="CHAP user of those initiators (deprecated)."),
    cfg.StrOpt("zfssa_initiator_password", default="", secret=True, help="Their CHAP password (deprecated)."),
    cfg.StrOpt("zfssa_target_group", default="tgt-grp", help="Target group, and alias of the target in it."),
    cfg.StrOpt("zfssa_target_user", default="", help="CHAP user of the target; with the password, CHAP is used."),
    cfg.StrOpt("zfssa_target_password", default="", secret=True, help="CHAP password of the target."),
    cfg.StrOpt("zfssa_target_portal", help="Where hosts reach the target: 'host:port'. Required."),
    cfg.StrOpt(
        "zfssa_target_interfaces",
        help="Network interfaces of the appliance the target answers on, separated by commas. Unset: the appliance "
        "decides.",
    ),
    cfg.IntOpt(
        "zfssa_rest_timeout",
        min=1,
        help=f"Seconds the appliance may take for one request. Unset: {DEFAULT_TIMEOUT_S:g}.",
    ),
    cfg.StrOpt(
        "zfssa_replication_ip",
        default="",
        help="Address by which other appliances replicate to this one. Needed where volumes are migrated to.",
    ),
    cfg.BoolOpt("zfssa_enable_local_cache", default=True, help="Keep images on the appliance, volumes cloned of them."),
    cfg.StrOpt("zfssa_cache_project", default="os-cinder-cache", help="Project in which images are kept."),
    cfg.StrOpt(
        "zfssa_manage_policy",
        default="loose",
        help="'strict': only LUNs whose property cinder_managed is false may be managed; 'loose': any LUN.",
    ),
)
OUR_OWN = (cfg.PortOpt("zfssa_rest_port", default=REST_PORT, help="Port of the appliance's REST service."),)
ZFSSA_OPTS: tuple[cfg.Opt, ...] = (*PUBLISHED, *OUR_OWN)


@dataclass(frozen=True, slots=True)
class Initiator:
    """A host that may be given volumes, with its CHAP pair where it has one."""

    iqn: str
    user: str = ""
    password: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, parsed. `initiators` is by group; `is_deprecated` tells how they were given."""

    address: Address
    login: Login
    pool: str
    project: str
    block_size: str
    is_sparse: bool
    compression: str
    logbias: str
    initiators: Mapping[str, tuple[Initiator, ...]]
    is_deprecated: bool
    target_group: str
    target_user: str
    target_password: str = field(repr=False)
    portal_host: str
    portal_port: int
    interfaces: tuple[str, ...]
    replication_ip: str
    has_cache: bool
    cache_project: str
    is_strict: bool
    backend_name: str
    ignored_initiators: tuple[str, ...] = ()

    @property
    def has_default_group(self) -> bool:
        """Are initiators that are in no group to see volumes through the group of all?"""
        return DEFAULT_GROUP in self.initiators

    @property
    def has_target_chap(self) -> bool:
        """Both halves of the target's CHAP pair are set."""
        return bool(self.target_user and self.target_password)


def read_settings(configuration: BackendConfiguration) -> Settings:
    """The section's values, checked together. Raises Invalid, naming the option and what to write there."""
    initiators, is_deprecated, ignored = _initiators(configuration)
    host, port = parse_portal(configuration.zfssa_target_portal)
    policy = configuration.zfssa_manage_policy
    if policy not in ("loose", "strict"):
        raise Invalid(f"zfssa_manage_policy: '{policy}' is neither loose nor strict.")
    for name in ("san_ip", "zfssa_pool", "zfssa_project", "zfssa_target_group"):
        if not configuration.safe_get(name):
            raise Invalid(f"{name} is not set; the ZFS appliance driver needs it.")
    return Settings(
        address=address_of(configuration),
        login=login_of(configuration),
        pool=configuration.zfssa_pool,
        project=configuration.zfssa_project,
        block_size=configuration.zfssa_lun_volblocksize,
        is_sparse=configuration.zfssa_lun_sparse,
        compression=configuration.zfssa_lun_compression,
        logbias=configuration.zfssa_lun_logbias,
        initiators=initiators,
        is_deprecated=is_deprecated,
        target_group=configuration.zfssa_target_group,
        target_user=configuration.zfssa_target_user or "",
        target_password=configuration.zfssa_target_password or "",
        portal_host=host,
        portal_port=port,
        interfaces=_words(configuration.zfssa_target_interfaces),
        replication_ip=configuration.zfssa_replication_ip or "",
        has_cache=configuration.zfssa_enable_local_cache,
        cache_project=configuration.zfssa_cache_project,
        is_strict=policy == "strict",
        backend_name=configuration.safe_get("volume_backend_name") or configuration.config_group,
        ignored_initiators=ignored,
    )


def address_of(configuration: BackendConfiguration, *, host: str = "") -> Address:
    """Where the section's appliance answers; `host` instead of its san_ip."""
    return Address(
        host=(host or configuration.san_ip).strip().strip("[]"),
        port=configuration.zfssa_rest_port,
        is_verified=bool(configuration.safe_get("driver_ssl_cert_verify")),
        authorities=configuration.safe_get("driver_ssl_cert_path") or None,
        timeout_s=float(configuration.zfssa_rest_timeout or DEFAULT_TIMEOUT_S),
    )


def login_of(configuration: BackendConfiguration) -> Login:
    """The section's user. Raises Invalid."""
    user, password = configuration.san_login, configuration.san_password
    if not user or ":" in user:
        raise Invalid("san_login is not set, or has a colon in it.")
    return Login(user, password or "")


def parse_portal(text: str | None) -> tuple[str, int]:
    """``host:port``. Raises Invalid."""
    host, colon, port = (text or "").strip().rpartition(":")
    host = host.strip("[]")
    if not colon or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise Invalid(f"zfssa_target_portal: '{text or ''}' is not of the form host:port, such as 10.0.0.5:3260.")
    return host, int(port)


def parse_initiator_config(text: str) -> dict[str, tuple[Initiator, ...]]:
    """Initiators by group, in the order written. Raises Invalid, never repeating a password."""
    try:
        found: Any = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        found = None
    if not isinstance(found, dict) or not found:
        raise Invalid("zfssa_initiator_config is not of the form {'group': [{'iqn': 'iqn...'}, ...], ...}.")
    groups: dict[str, tuple[Initiator, ...]] = {}
    for name, members in found.items():
        rows = [members] if isinstance(members, dict) else members
        if not isinstance(name, str) or not name or not isinstance(rows, list | tuple):
            raise Invalid(f"zfssa_initiator_config: the group {name!r} is not a name with a list of initiators.")
        groups[name] = tuple(_initiator(name, row) for row in rows)
        if not groups[name] and name != DEFAULT_GROUP:
            raise Invalid(f"zfssa_initiator_config: the group {name!r} has no initiators.")
    return groups


def _initiator(group: str, row: Any) -> Initiator:
    values = {key: str(value or "") for key, value in row.items()} if isinstance(row, dict) else {}
    iqn = values.get("iqn", "").strip()
    if not iqn:
        raise Invalid(f"zfssa_initiator_config: an initiator of the group {group!r} has no 'iqn'.")
    return Initiator(iqn, values.get("user", ""), values.get("password", ""))


def _initiators(
    configuration: BackendConfiguration,
) -> tuple[dict[str, tuple[Initiator, ...]], bool, tuple[str, ...]]:
    """By group; whether they were given in the deprecated way; and those that have no effect."""
    text = configuration.zfssa_initiator_config
    if text:
        return parse_initiator_config(text), False, ()
    group, names = configuration.zfssa_initiator_group, _words(configuration.zfssa_initiator)
    if not group:
        raise Invalid("zfssa_initiator_config (or the deprecated zfssa_initiator_group) is not set.")
    if group == DEFAULT_GROUP:
        return {group: ()}, True, names
    if not names:
        raise Invalid(f"zfssa_initiator is not set: the initiator group {group!r} needs the names of its initiators.")
    user, password = configuration.zfssa_initiator_user or "", configuration.zfssa_initiator_password or ""
    return {group: tuple(Initiator(iqn, user, password) for iqn in names)}, True, ()


def _words(text: str | None) -> tuple[str, ...]:
    return tuple(word.strip() for word in (text or "").split(",") if word.strip())

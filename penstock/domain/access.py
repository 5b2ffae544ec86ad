"""Access rules: who may mount a share, how, and how far the backend got with it."""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.errors import InvalidShareAccess, InvalidShareAccessLevel
from penstock.ids import AccessRuleId, ShareId


class AccessLevel(StrEnum):
    """Read-write or read-only."""

    RW = "rw"
    RO = "ro"


class AccessType(StrEnum):
    """What `access_to` names."""

    IP = "ip"
    USER = "user"
    CERT = "cert"
    CEPHX = "cephx"


class AccessState(StrEnum):
    """The published states of one rule on one instance; before 2.28 clients see ``new`` and ``out_of_sync`` instead."""

    QUEUED_TO_APPLY = "queued_to_apply"
    QUEUED_TO_DENY = "queued_to_deny"
    APPLYING = "applying"
    DENYING = "denying"
    ACTIVE = "active"
    ERROR = "error"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule of a share. `state` is its state on one instance, or the worst of all where the share is asked."""

    id: AccessRuleId
    share_id: ShareId
    access_type: AccessType
    access_to: str
    access_level: AccessLevel
    access_key: str | None
    state: AccessState
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime | None


_USER = re.compile(r"[A-Za-z0-9_.\-`;'{}\[\]\\]{4,255}")
_COMMON_NAME_MAX = 64
_ACCESS_TO_MAX = 255
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


def parse_access_type(text: object) -> AccessType:
    """The access type called `text`. Raises InvalidShareAccess."""
    try:
        return AccessType(text)  # type: ignore[arg-type]
    except ValueError:
        choices = ", ".join(AccessType)
        raise InvalidShareAccess(f"'{text}' is not an access type; use one of {choices}.") from None


def parse_access_level(text: object) -> AccessLevel:
    """The access level called `text`; None means read-write. Raises InvalidShareAccessLevel."""
    if text is None:
        return AccessLevel.RW
    try:
        return AccessLevel(text)  # type: ignore[arg-type]
    except ValueError:
        raise InvalidShareAccessLevel(f"'{text}' is not an access level; use 'rw' or 'ro'.") from None


def parse_access_to(access_type: AccessType, text: object, *, ipv6: bool = True) -> str:
    """`access_to` in its canonical form, in the published format of its type. Raises InvalidShareAccess.

    A single host stays without a prefix when it was given without one, so that clients find what they asked for;
    `same_client` tells whether two texts mean the same client.
    """
    if not isinstance(text, str):
        raise InvalidShareAccess("'access_to' must be a string.")
    if access_type is AccessType.IP:
        return _ip(text, ipv6=ipv6)
    if access_type is AccessType.USER:
        return _user(text)
    if access_type is AccessType.CERT:
        return _common_name(text)
    return _ceph_id(text)


def same_client(access_type: AccessType, one: str, other: str) -> bool:
    """Do two canonical texts name the same client (``10.0.0.1`` and ``10.0.0.1/32`` do)?"""
    if access_type is not AccessType.IP:
        return one == other
    return ipaddress.ip_network(one) == ipaddress.ip_network(other)


def _ip(text: str, *, ipv6: bool) -> str:
    address, slash, prefix = text.partition("/")
    if slash and not (prefix.isascii() and prefix.isdigit()):
        raise InvalidShareAccess(f"'{text}' is not an IP address or a network in CIDR form, such as 10.0.0.0/24.")
    try:
        network: IpNetwork = ipaddress.ip_network(text)
    except ValueError as err:
        raise InvalidShareAccess(f"'{text}' is not an IP address or a network in CIDR form: {err}.") from None
    if isinstance(network, ipaddress.IPv6Network):
        _check_ipv6(text, network, allowed=ipv6)
    return str(network) if slash else str(ipaddress.ip_address(address))


def _check_ipv6(text: str, network: ipaddress.IPv6Network, *, allowed: bool) -> None:
    if not allowed:
        raise InvalidShareAccess(f"'{text}': rules for IPv6 clients need microversion 2.38 or later.")
    if "%" in text:
        raise InvalidShareAccess(f"'{text}': a rule cannot name a network interface; leave the part after % out.")
    if network.overlaps(_MAPPED) and network.prefixlen >= _MAPPED.prefixlen:
        raise InvalidShareAccess(f"'{text}' is an IPv4 address in IPv6 form; write it as an IPv4 address.")


def _user(text: str) -> str:
    if _USER.fullmatch(text) is None:
        raise InvalidShareAccess(
            "A user or group name has 4 to 255 letters, digits and characters of -_.`;'{}[]\\ and nothing else."
        )
    return text


def _common_name(text: str) -> str:
    name = text.strip()
    if not 0 < len(name) <= _COMMON_NAME_MAX or not name.isprintable():
        raise InvalidShareAccess("A certificate's common name has 1 to 64 printable characters.")
    return name


def _ceph_id(text: str) -> str:
    if not text or len(text) > _ACCESS_TO_MAX or not (text.isascii() and text.isprintable()) or "." in text:
        raise InvalidShareAccess("A cephx id has printable ASCII characters and no periods.")
    return text

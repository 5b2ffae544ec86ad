"""What is exported to whom: the values both NFS servers render from, wrong ones cannot be built."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from penstock.errors import Invalid

MAX_PATH = 1024  # Ganesha and rpc.mountd both keep paths in buffers of this order; NFSv3 MNTPATHLEN is 1024
UNQUOTABLE = frozenset("\"'\\")
INSTANCE_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")

Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class Squash(StrEnum):
    """Whose requests become the anonymous user's."""

    ROOT_SQUASH = "root_squash"
    NO_ROOT_SQUASH = "no_root_squash"
    ALL_SQUASH = "all_squash"


def normal_client(text: str) -> str:
    """`text` as servers print it: ``10.0.0.5``, ``10.0.0.0/24``, ``fd00::1``; one-address networks become the address.

    Raises Invalid for anything else: names, host bits set in a network, IPv4-mapped IPv6, scoped addresses.
    """
    network = _network(text)
    return str(network.network_address) if network.num_addresses == 1 else str(network)


def _network(text: str) -> Network:
    try:
        network = ipaddress.ip_network(text, strict=True)
    except ValueError as err:
        raise Invalid(f"{text!r} is not an IP address or network") from err
    if isinstance(network, ipaddress.IPv6Network):
        if network.network_address.scope_id is not None:
            raise Invalid(f"{text!r} has an interface scope, which only means something on one machine")
        if network.network_address.ipv4_mapped is not None:
            raise Invalid(f"{text!r} is an IPv4-mapped IPv6 address; write it as IPv4")
    return network


@dataclass(frozen=True, slots=True)
class ClientRule:
    """One client or network, and what it may do. Where two rules of an export overlap, the most specific decides.

    Raises Invalid unless `client` is normalized (see `normal_client`).
    """

    client: str
    writable: bool
    squash: Squash = Squash.ROOT_SQUASH

    def __post_init__(self) -> None:
        if normal_client(self.client) != self.client:
            raise Invalid(f"{self.client!r} is not in its normal form {normal_client(self.client)!r}")

    @property
    def blocks(self) -> tuple[str, ...]:
        """The rule's addresses as networks with a prefix length of at least 1, e.g. ``10.0.0.5/32``.

        The whole address space is its two halves: Ganesha 4.3 cannot read prefix 0, rpc.mountd 2.6.2 lets nobody in.
        """
        network = self.network
        if network.prefixlen == 0:
            return tuple(str(half) for half in network.subnets(prefixlen_diff=1))
        return (str(network),)

    @property
    def network(self) -> Network:
        """The addresses this rule is about."""
        return _network(self.client)


def _by_specificity(rule: ClientRule) -> tuple[int, int, int]:
    network = rule.network
    return (network.version, -network.prefixlen, int(network.network_address))


@dataclass(frozen=True, slots=True)
class Export:
    """A directory to be served, and the whole set of its rules; without rules nobody may mount it.

    `clients` may be given in any order; it is kept most specific first, IPv4 before IPv6, the two halves of an
    address space as one when they say the same. Raises Invalid for a path
    that is not absolute, plain and printable, an odd instance id, or two rules for one client.

    The path is where a filesystem is mounted, and is served only while it is. One that nobody mounts at boot
    (`is_mounted_at_boot`) is not served by a server that was started until it is put again.
    """

    path: str
    instance_id: str
    clients: tuple[ClientRule, ...] = ()
    is_mounted_at_boot: bool = True

    def __post_init__(self) -> None:
        check_path(self.path)
        if not INSTANCE_ID.fullmatch(self.instance_id):
            raise Invalid(f"{self.instance_id!r} is not an instance id")
        if len({rule.client for rule in self.clients}) != len(self.clients):
            raise Invalid(f"{self.path} has two rules for one client")
        object.__setattr__(self, "clients", tuple(sorted(_whole(self.clients), key=_by_specificity)))


def _whole(rules: tuple[ClientRule, ...]) -> Iterable[ClientRule]:
    """Rules with each address space that its two halves cover said in one way; files know only the halves."""
    found = {rule.client: rule for rule in rules}
    for space in ("0.0.0.0/0", "::/0"):
        low, high = (found.get(half) for half in ClientRule(space, writable=False).blocks)
        if low is None or high is None:
            continue
        found.pop(space, None)  # never reached
        if (low.writable, low.squash) == (high.writable, high.squash):
            del found[low.client], found[high.client]
            found[space] = ClientRule(space, low.writable, low.squash)
    return found.values()


def check_path(path: str) -> None:
    """Raises Invalid unless `path` is absolute, in its normal form, printable, and without quotes and backslashes.

    Those two cannot be written so that both rpc.mountd (which rewrites our lines unescaped) and Ganesha read them back.
    """
    parts = path.split("/")
    if parts[0] != "" or len(parts) < 2 or any(part in {"", ".", ".."} for part in parts[1:]):
        raise Invalid(f"{path!r} is not an absolute path in its normal form")
    if not path.isprintable() or UNQUOTABLE & set(path) or len(path.encode()) >= MAX_PATH:
        raise Invalid(
            f"{path!r} is too long to be exported, or has characters that cannot be written in an exports file"
        )

"""What is exported by iSCSI to whom: values that target servers render from, and the one interface to such a server.

Wrong values cannot be built. Names follow RFC 3720 and RFC 7143 (target, LUN, portal, initiator, CHAP).
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.errors import Conflict, Invalid
from penstock.exports.model import check_path, normal_client

# RFC 3722 leaves more; these are what tgt, LIO and file names all take.
IQN = re.compile(r"iqn\.\d{4}-\d{2}(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)+(:[a-z0-9.:_-]+)?|eui\.[0-9a-f]{16}")
MAX_NAME = 223
# Neither tgt's parameters (commas), nor its configuration file (spaces, quotes, #, \), can hold anything else.
CHAP_TEXT = re.compile(r"[A-Za-z0-9._:@+/=-]{1,255}")
SERIAL = re.compile(r"[A-Za-z0-9._:-]{1,36}")
BLOCK_SIZES = (512, 4096)
MAX_LUN = 255
DEFAULT_PORT = 3260
ANYBODY = "*"


class OtherSecret(Conflict):
    """A CHAP user name has another secret elsewhere, and the server holds one. All else that was asked for is done."""


def check_name(name: str) -> None:
    """Raises Invalid unless `name` is an iSCSI name in its normal form (lower case), at most 223 bytes."""
    if len(name) > MAX_NAME or not IQN.fullmatch(name):
        raise Invalid(f"{name!r} is not an iSCSI name like iqn.2026-11.org.example:host1 (lower case)")


def check_initiator(name: str) -> None:
    """As `check_name`, but initiators are what their owners wrote, and servers compare it letter by letter."""
    check_name(name.lower())


@dataclass(frozen=True, slots=True)
class Chap:
    """A user name and its secret, which is never printed. Raises Invalid for what a server cannot hold."""

    username: str
    secret: str = field(repr=False)

    def __post_init__(self) -> None:
        if not CHAP_TEXT.fullmatch(self.username) or not CHAP_TEXT.fullmatch(self.secret):
            raise Invalid("CHAP user names and secrets are 1 to 255 of A-Z a-z 0-9 . _ : @ + / = -")


@dataclass(frozen=True, slots=True, order=True)
class Lun:
    """A logical unit: a block device or file, absolute `path`, under a number.

    `serial` is what initiators tell disks apart by (VPD 0x80 and 0x83, so also ``/dev/disk/by-id``): it stays the same
    for the life of the volume, over all portals and restarts.
    """

    number: int
    path: str
    serial: str
    block_size: int = 512

    def __post_init__(self) -> None:
        check_path(self.path)
        if "," in self.path or " " in self.path:
            raise Invalid(f"{self.path!r} has a comma or space, which tgt cannot be told")
        if not 0 <= self.number <= MAX_LUN:
            raise Invalid(f"LUN {self.number} is not between 0 and {MAX_LUN}")
        if not SERIAL.fullmatch(self.serial):
            raise Invalid(f"{self.serial!r} is not a serial number of at most 36 letters and digits")
        if self.block_size not in BLOCK_SIZES:
            raise Invalid(f"{self.block_size} is not a block size ({BLOCK_SIZES})")


@dataclass(frozen=True, slots=True)
class Initiator:
    """Who may log in: a name (`ANYBODY` is every name), with CHAP if the target asks for it.

    `luns` are the numbers it sees, None is all of them; only LIO can show less than all (tgt raises Unsupported).
    """

    name: str
    chap: Chap | None = None
    luns: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        if self.name != ANYBODY:
            check_initiator(self.name)
        if self.luns is not None:
            object.__setattr__(self, "luns", tuple(sorted(set(self.luns))))


@dataclass(frozen=True, slots=True, order=True)
class Portal:
    """An address of the storage host, and the port to listen on."""

    address: str
    port: int = DEFAULT_PORT

    def __post_init__(self) -> None:
        try:
            address = str(ipaddress.ip_address(self.address))
        except ValueError as err:
            raise Invalid(f"{self.address!r} is not an IP address") from err
        object.__setattr__(self, "address", address)
        if not 0 < self.port < 65536:
            raise Invalid(f"{self.port} is not a port")

    def __str__(self) -> str:
        return f"[{self.address}]:{self.port}" if ":" in self.address else f"{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class IscsiTarget:
    """A target, and the whole set of its LUNs and of who may log in; without initiators nobody may.

    `addresses` (``10.0.0.5``, ``10.0.0.0/24``) limit `ANYBODY` to who comes from there; only tgt can do that (LIO
    raises Unsupported), and neither can ask for a name and an address. `mutual` is what the target proves itself by; it
    needs initiators with CHAP. No `portals` is every address of the host at port 3260; tgt's portals are the
    daemon's, so with tgt these are served, and so is every other one it has.

    Raises Invalid for two LUNs or initiators of one name, CHAP for some initiators only, initiators or addresses that
    do not go with `ANYBODY`, LUNs an initiator should see and that there are not.
    """

    iqn: str
    luns: tuple[Lun, ...] = ()
    initiators: tuple[Initiator, ...] = ()
    addresses: tuple[str, ...] = ()
    mutual: Chap | None = None
    portals: tuple[Portal, ...] = ()

    def __post_init__(self) -> None:
        check_name(self.iqn)
        for name, found in (("LUN", [lun.number for lun in self.luns]), ("initiator", self.names)):
            if len(set(found)) != len(found):
                raise Invalid(f"{self.iqn} has an {name} twice: {found}")
        if len({one.chap is None for one in self.initiators}) > 1:
            raise Invalid(f"{self.iqn}: either all initiators have CHAP, or none")
        if ANYBODY in self.names and len(self.initiators) > 1:
            raise Invalid(f"{self.iqn}: nobody needs to be named where anybody may log in")
        if self.addresses and self.names != [ANYBODY]:
            raise Invalid(f"{self.iqn}: addresses limit who comes under any name; there are names")
        if self.mutual is not None and any(one.chap is None for one in self.initiators):
            raise Invalid(f"{self.iqn}: without CHAP for its initiators a target cannot prove itself either")
        numbers = {lun.number for lun in self.luns}
        if any(set(one.luns or ()) - numbers for one in self.initiators):
            raise Invalid(f"{self.iqn}: an initiator should see a LUN that there is not")
        for name, key in (("luns", None), ("initiators", lambda one: one.name), ("portals", None)):
            object.__setattr__(self, name, tuple(sorted(getattr(self, name), key=key)))
        object.__setattr__(self, "addresses", tuple(sorted({normal_client(one) for one in self.addresses})))

    @property
    def names(self) -> list[str]:
        """The initiators' names."""
        return [one.name for one in self.initiators]

    def allowing(self, initiator: Initiator) -> IscsiTarget:
        """This target with `initiator` allowed too, instead of anybody; again, when it was under that name."""
        others = tuple(one for one in self.initiators if one.name not in (initiator.name, ANYBODY))
        return IscsiTarget(self.iqn, self.luns, (*others, initiator), (), self.mutual, self.portals)

    def refusing(self, name: str) -> IscsiTarget:
        """This target without that initiator."""
        others = tuple(one for one in self.initiators if one.name != name)
        return IscsiTarget(self.iqn, self.luns, others, self.addresses if others else (), self.mutual, self.portals)


@dataclass(frozen=True, slots=True, order=True)
class Session:
    """An initiator that is logged in now. `address` is where from, empty where the server does not tell."""

    iqn: str
    initiator: str
    address: str


@dataclass(frozen=True, slots=True)
class Observed:
    """What there is on the host: `configured` is the wanted set as last applied, `in_force` what of it is served so.

    `foreign` are targets the server has that are not in our configuration: somebody else's.
    """

    configured: Mapping[str, IscsiTarget]
    in_force: frozenset[str]
    foreign: frozenset[str]
    sessions: tuple[Session, ...]


class IscsiExports(Protocol):
    """An iSCSI target server on one host. Knows only the targets it was told of here; those of others are left alone.

    Every implementation passes ``tests/contract/test_iscsi_exports.py``. Callers may use one object from several
    threads, and several processes may use one host.
    """

    def check(self, target: IscsiTarget) -> None:
        """Raises Unsupported for what this server cannot do, without asking it."""
        ...

    def apply(self, targets: Sequence[IscsiTarget], *, remove: Sequence[str] = ()) -> None:
        """Make these targets exactly so, and have these names not served; in force and saved when this returns.

        One command however many; sessions of targets that do not change go on, and those of initiators that stay
        allowed. An initiator that lost its leave is logged out at once. A LUN whose device or file has grown is served
        in its new size (sessions go on; the initiator sees it after a rescan). What a restarted server lost is put back
        in force. Safe to repeat. Raises Unsupported, OtherSecret (the name keeps the one it has; whoever should come
        with another is not let in), Conflict (the serial number is another LUN's), Unavailable (server down: saved all
        the same; a backing path that is not there; a LUN too busy to be resized now), BackendFault, UnknownResult.
        """
        ...

    def edit(self, iqn: str, change: Callable[[IscsiTarget | None], IscsiTarget | None]) -> IscsiTarget | None:
        """`apply` what `change` makes of the target as it is configured (None is none); nobody's change gets lost.

        Returns what `change` returned last: it is asked again when somebody else was quicker. Raises as `apply`.
        """
        ...

    def add(self, target: IscsiTarget) -> bool:
        """`apply` it, where none of that name is configured; else False, and nothing is done. Raises as `apply`.

        One command, where `edit` has to look first: for who expects that there is none.
        """
        ...

    def discard(self, target: IscsiTarget) -> bool:
        """Have it not served any more, where it is configured exactly so; else False, and nothing is done.

        One command, as `add`. Raises as `apply`.
        """
        ...

    def get(self, iqn: str) -> IscsiTarget | None:
        """The target as configured, None when it is not one of ours. Raises Unavailable, BackendFault."""
        ...

    def observe(self) -> Observed:
        """Everything at one look. Raises Unavailable (also when the server is down), BackendFault."""
        ...

    def sessions(self, iqn: str) -> tuple[Session, ...]:
        """Who is logged in at that target now. Raises as `observe`."""
        ...

    def put_back(self) -> frozenset[str]:
        """Put in force what is configured and is not: after a restart of the server or the host. Says which those were.

        Targets whose backing paths are not there wait for the next time; what `apply` raises OtherSecret for is told to
        the log. Safe to repeat. Raises as `apply`.
        """
        ...

    def verify(self) -> None:
        """Raises Unsupported (not installed) or Unavailable (not running), saying how to install or start it."""
        ...


def target_to_json(target: IscsiTarget) -> dict[str, Any]:
    """Plain data for files and the host's program, secrets included."""
    return {
        "iqn": target.iqn,
        "luns": [
            {"number": lun.number, "path": lun.path, "serial": lun.serial, "block_size": lun.block_size}
            for lun in target.luns
        ],
        "initiators": [
            {"name": one.name, "chap": _chap_to_json(one.chap), "luns": None if one.luns is None else list(one.luns)}
            for one in target.initiators
        ],
        "addresses": list(target.addresses),
        "mutual": _chap_to_json(target.mutual),
        "portals": [[one.address, one.port] for one in target.portals],
    }


def target_from_json(data: Mapping[str, Any]) -> IscsiTarget:
    """`target_to_json` undone. Raises Invalid, KeyError, TypeError for anything else."""
    return IscsiTarget(
        data["iqn"],
        tuple(Lun(**lun) for lun in data["luns"]),
        tuple(
            Initiator(one["name"], _chap_from_json(one["chap"]), None if one["luns"] is None else tuple(one["luns"]))
            for one in data["initiators"]
        ),
        tuple(data["addresses"]),
        _chap_from_json(data["mutual"]),
        tuple(Portal(address, port) for address, port in data["portals"]),
    )


def _chap_to_json(chap: Chap | None) -> list[str] | None:
    return None if chap is None else [chap.username, chap.secret]


def _chap_from_json(data: Sequence[str] | None) -> Chap | None:
    return None if data is None else Chap(data[0], data[1])

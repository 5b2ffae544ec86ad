"""Attachments: who uses a volume, through which connection, and what that makes of the volume's state."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from penstock.errors import Invalid
from penstock.ids import AttachmentId, ProjectId, VolumeId


class AttachStatus(StrEnum):
    """The published states of an attachment, and of all of a volume's together (``attach_status``).

    An attachment that is DETACHED is a connection of the older actions that nobody has claimed by ``os-attach`` yet: it
    does not make the volume anybody's, but it is known, and taken away with the volume.
    """

    RESERVED = "reserved"
    ATTACHING = "attaching"
    ATTACHED = "attached"
    DETACHING = "detaching"
    DETACHED = "detached"
    ERROR_ATTACHING = "error_attaching"
    ERROR_DETACHING = "error_detaching"
    DELETED = "deleted"


class AttachMode(StrEnum):
    """Whether it may be written to."""

    RW = "rw"
    RO = "ro"


@dataclass(frozen=True, slots=True)
class Attachment:
    """One use of a volume, by an instance (`instance_uuid`, any id the caller keeps) or a host.

    `connector` is the initiator as it described itself, None until it did. `connection_info` is what the driver
    answered to it as the attachments resource shows it (one mapping, ``driver_volume_type`` among the rest), None while
    there is no connection; it may hold a CHAP password.
    """

    id: AttachmentId
    volume_id: VolumeId
    project_id: ProjectId
    instance_uuid: str | None
    attached_host: str | None
    mountpoint: str | None
    mode: AttachMode
    status: AttachStatus
    connector: dict[str, Any] | None
    connection_info: dict[str, Any] | None = field(repr=False)
    attach_time: datetime | None
    detach_time: datetime | None
    created_at: datetime
    updated_at: datetime | None

    @property
    def is_connected(self) -> bool:
        """May the backend know of it? It was asked to connect it, and not to the end asked to forget it."""
        return self.connector is not None


# What the older actions show beside ``data``, not in it.
_BESIDE_DATA = ("driver_volume_type", "mount_point_base")


def flat(answer: Mapping[str, Any]) -> dict[str, Any]:
    """A driver's connection information as the attachments resource shows it."""
    return {**(answer.get("data") or {}), **{key: value for key, value in answer.items() if key != "data"}}


def nested(connection_info: Mapping[str, Any]) -> dict[str, Any]:
    """The same as ``os-initialize_connection`` shows it."""
    found = {key: connection_info[key] for key in _BESIDE_DATA if key in connection_info}
    return {**found, "data": {key: value for key, value in connection_info.items() if key not in _BESIDE_DATA}}


def same_initiator(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    """Are these connectors of one machine? By what names the machine to a target, else by its host name."""
    for key in ("initiator", "nqn", "wwpns", "host", "ip"):
        if one.get(key) and other.get(key):
            return bool(one[key] == other[key])
    return False


def told_again(known: Mapping[str, Any] | None, connector: Mapping[str, Any]) -> dict[str, Any]:
    """What a machine says of itself now; what it said before (`known`) and leaves out now still holds.

    So a connection is never left known by less than what names its initiator to the target.
    """
    known = known or {}
    return {**known, **{key: value for key, value in connector.items() if value or key not in known}}


def host_address(text: str) -> str:
    """The address of one machine, in the one form by which it is kept and compared.

    Raises Invalid for a name, a network, an address that is of no machine, or one that means something on one only.
    """
    try:
        address = ipaddress.ip_address(text)
    except ValueError as err:
        raise Invalid(f"{text!r:.80} is not the IP address of a machine.") from err
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            raise Invalid(f"{text!r:.80} has an interface scope, which only means something on one machine.")
        address = address.ipv4_mapped or address
    if address.is_unspecified or address.is_multicast:
        raise Invalid(f"{text!r:.80} is not the address of a machine.")
    return str(address)


def is_same_address(one: str, other: str) -> bool:
    """Whether two texts are one address, or one network, however written; what is neither is compared as text."""
    try:
        return ipaddress.ip_network(one, strict=False) == ipaddress.ip_network(other, strict=False)
    except ValueError:
        return one == other


_MOST_IN_USE_FIRST = (
    (AttachStatus.ATTACHED, AttachStatus.ATTACHED),
    (AttachStatus.ATTACHING, AttachStatus.ATTACHING),
    (AttachStatus.DETACHING, AttachStatus.DETACHING),
    (AttachStatus.ERROR_DETACHING, AttachStatus.ATTACHED),  # as far as anybody knows
    (AttachStatus.RESERVED, AttachStatus.RESERVED),
    (AttachStatus.ERROR_ATTACHING, AttachStatus.RESERVED),
)


def attach_status_of(attachments: Iterable[Attachment]) -> AttachStatus:
    """What all of a volume's attachments come to: that of the one most in use."""
    return most_in_use(attachment.status for attachment in attachments)


def most_in_use(statuses: Iterable[AttachStatus]) -> AttachStatus:
    """What attachments with these statuses come to."""
    seen = set(statuses)
    return next((comes_to for status, comes_to in _MOST_IN_USE_FIRST if status in seen), AttachStatus.DETACHED)

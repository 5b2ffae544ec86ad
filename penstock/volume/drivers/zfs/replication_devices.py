"""``replication_device``: the other machines that volumes are replicated to, each said as this backend itself is.

``replication_device = backend_id:far,zfs_service_ip:10.0.0.2,zfs_zpool_list:tank/volumes,target_ip_address:10.0.0.2``

Keys are the names of this driver's own options; what a device does not say is as in the backend's section, but for the
addresses, which no two machines share. Where an option is a list, its items are separated by ``;`` here, because commas
separate the keys.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from penstock.domain.types import FALSE_WORDS, TRUE_WORDS
from penstock.domain.volumes import HOME
from penstock.errors import Invalid
from penstock.exports.iscsi import DEFAULT_PORT, Portal
from penstock.volume.drivers.zfs.options import SERVERS, Settings, portals_of
from penstock.zfs.names import Dataset
from penstock.zfs.reach import is_sudo_used, parse_roots, remote_of

IDS = ("backend_id", "target_device_id")  # what operators are used to; what the option's own text says
PLACE, ADDRESS = "zfs_zpool_list", "zfs_service_ip"
SSH = ("zfs_ssh_username", "zfs_ssh_user_password", "zfs_ssh_private_key_path", "zfs_ssh_known_hosts_file")
TARGET = ("target_ip_address", "iscsi_secondary_ip_addresses", "target_port", "target_helper")
KEYS = frozenset({*IDS, PLACE, ADDRESS, *SSH, *TARGET, "zfs_use_ssh", "zfs_use_sudo"})
Flag = TypeVar("Flag", bool, None)
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Device:
    """A replication target; `settings` as if it were the backend, with our names for its pools."""

    backend_id: str
    settings: Settings


def read_devices(entries: Sequence[Mapping[str, str]], own: Settings) -> tuple[Device, ...]:
    """Each ``replication_device``. Raises Invalid, naming the key and what to write there; never a secret."""
    devices = tuple(_device(entry, own) for entry in entries)
    ids = [device.backend_id for device in devices]
    if len(set(ids)) != len(ids):
        raise Invalid(f"replication_device: two targets have one backend_id: {', '.join(ids)}.")
    return devices


def _device(entry: Mapping[str, str], own: Settings) -> Device:
    said = {key.strip(): value.strip() for key, value in entry.items()}
    unknown = sorted(set(said) - KEYS)
    if unknown:
        raise Invalid(f"replication_device: there is no key {', '.join(unknown)}; it knows {', '.join(sorted(KEYS))}.")
    backend_id = next((said[key] for key in IDS if key in said), "")
    if not ID.fullmatch(backend_id) or backend_id == HOME:
        raise Invalid(
            f"replication_device: backend_id is '{backend_id[:64]}'; give a name of letters, digits, dots, hyphens and "
            f"underscores, not '{HOME}'."
        )
    missing = [key for key in (PLACE, TARGET[0]) if not said.get(key)]
    if missing:
        raise Invalid(f"replication_device '{backend_id}': say {' and '.join(missing)}, too.")
    try:
        return Device(backend_id, _settings(said, own))
    except Invalid as err:
        raise Invalid(f"replication_device '{backend_id}': {err.message}") from err


def _settings(said: Mapping[str, str], own: Settings) -> Settings:
    is_remote = _flag(said, "zfs_use_ssh", ADDRESS in said)
    old = own.remote
    known = (old.user, old.password, old.private_key_path, old.known_hosts_file) if old is not None else (None,) * 4
    user, password, key, hosts = (said.get(name) or before for name, before in zip(SSH, known, strict=True))
    remote = remote_of(
        is_remote, said.get(ADDRESS), user, password=password, private_key_path=key, known_hosts_file=hosts
    )
    sudo = _flag(said, "zfs_use_sudo", None)
    helper = said.get("target_helper")
    if helper is not None and helper not in SERVERS:
        raise Invalid(f"target_helper is {helper}; this driver exports by {' or '.join(SERVERS)}.")
    return replace(
        own,
        roots=_roots(_items(said[PLACE]), own.roots),
        remote=remote,
        use_sudo=is_sudo_used(sudo, remote),
        server=own.server if helper is None else SERVERS[helper],
        portals=portals_of([*_items(said[TARGET[0]]), *_items(said.get(TARGET[1], ""))], _port(said, own)),
    )


def _roots(entries: Sequence[str], pools: Mapping[str, Dataset]) -> dict[str, Dataset]:
    """Where volumes of each of our pools go there: into the pool of the same name, or into the only one there is."""
    there = parse_roots(entries)
    only = next(iter(there.values())) if len(there) == 1 else None
    roots = {pool: there.get(pool, only) for pool in pools}
    homeless = sorted(pool for pool, root in roots.items() if root is None)
    if homeless:
        raise Invalid(f"{PLACE} names several zpools, and none of them is called {', '.join(homeless)}, as ours is.")
    return {pool: root for pool, root in roots.items() if root is not None}


def _port(said: Mapping[str, str], own: Settings) -> int:
    text = said.get("target_port")
    if text is None:
        return own.portals[0].port if own.portals else DEFAULT_PORT
    if not text.isdecimal():
        raise Invalid(f"target_port is '{text[:16]}', which is not a number.")
    return Portal("0.0.0.0", int(text)).port  # noqa: S104 - nobody listens there: it checks the number


def _flag(said: Mapping[str, str], key: str, default: Flag) -> bool | Flag:
    word = said.get(key, "").lower()
    if not word:
        return default
    if word not in TRUE_WORDS | FALSE_WORDS:
        raise Invalid(f"{key} is '{word[:16]}', which is neither true nor false.")
    return word in TRUE_WORDS


def _items(text: str) -> list[str]:
    return [item.strip() for item in text.split(";") if item.strip()]

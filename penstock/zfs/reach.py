"""How a backend reaches its ZFS host, from its options: here or by ssh, as root or by sudo; and where its data lie."""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import Invalid
from penstock.host.local import LocalHost
from penstock.host.runner import Host
from penstock.host.ssh import SshHost
from penstock.zfs.names import Dataset

SUDO = ("sudo", "-n")


@dataclass(frozen=True, slots=True)
class Remote:
    """The ZFS host as reached by ssh."""

    address: str
    user: str
    password: str | None
    private_key_path: str | None
    known_hosts_file: str | None


def remote_of(
    use_ssh: bool,
    address: str | None,
    user: str | None,
    *,
    password: str | None,
    private_key_path: str | None,
    known_hosts_file: str | None,
) -> Remote | None:
    """The machine that ``zfs_use_ssh`` and the options beside it name; None for this one. Raises Invalid."""
    if not use_ssh:
        return None
    if not address or not user:
        raise Invalid("zfs_use_ssh is set, so zfs_service_ip and zfs_ssh_username must be set too.")
    return Remote(
        address=address.strip().strip("[]"),
        user=user,
        password=password or None,
        private_key_path=private_key_path or None,
        known_hosts_file=known_hosts_file or None,
    )


def is_sudo_used(wanted: bool | None, remote: Remote | None) -> bool:
    """What ``zfs_use_sudo`` says; unset: when we are not root there."""
    if wanted is not None:
        return wanted
    return remote.user != "root" if remote else os.geteuid() != 0


def parse_roots(entries: Sequence[str]) -> dict[str, Dataset]:
    """Datasets by zpool. Raises Invalid: none, not a dataset's name, or two in one zpool (a pool has one place)."""
    roots: dict[str, Dataset] = {}
    for entry in entries:
        dataset = Dataset(entry.strip().strip("/"))
        if dataset.pool in roots:
            raise Invalid(f"zfs_zpool_list names zpool '{dataset.pool}' twice; one backend keeps one place per zpool.")
        roots[dataset.pool] = dataset
    if not roots:
        raise Invalid("zfs_zpool_list is not set: name at least one zpool, or a dataset in one.")
    return roots


def connect(remote: Remote | None, connect_timeout_s: int, *, use_sudo: bool) -> Host:
    """This machine or another; nothing is contacted yet."""
    prefix = SUDO if use_sudo else ()
    if remote is None:
        return LocalHost(socket.gethostname(), prefix=prefix)
    return ssh_host(remote, connect_timeout_s, prefix=prefix)


def ssh_host(remote: Remote, connect_timeout_s: int, *, port: int = 22, prefix: tuple[str, ...] = ()) -> SshHost:
    """The other machine, whose host key must be known."""
    return SshHost(
        remote.address,
        remote.address,
        user=remote.user,
        control_dir=_control_dir(),
        port=port,
        private_key_path=remote.private_key_path,
        password=remote.password,
        known_hosts_path=remote.known_hosts_file,
        connect_timeout_s=connect_timeout_s,
        prefix=prefix,
    )


def _control_dir() -> Path:
    """Where connection sockets live: a short path (sockets are limited to 108 bytes) that only we can enter."""
    return Path("/run/penstock/ssh") if os.geteuid() == 0 else Path(f"/run/user/{os.geteuid()}/penstock-ssh")

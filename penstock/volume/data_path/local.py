"""A volume's data on this machine: by the kernel through os-brick, or past it by qemu's own iSCSI and NFS clients.

Both are spoken to as os-brick's connectors are, so that drivers which override a step find what they know.
"""

from __future__ import annotations

import os
import shutil
import socket
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from penstock.dotted_names import import_module
from penstock.errors import Unsupported
from penstock.images.nodes import BlockNode, file_node
from penstock.volume.data_path.connection import node_of

INITIATOR_FILE = Path("/etc/iscsi/initiatorname.iscsi")
KERNEL, USERSPACE, AUTO = "kernel", "userspace", "auto"


class LocalConnector(Protocol):
    """What os-brick's connectors have of use here."""

    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, Any]: ...

    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any],
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None: ...

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool: ...


@dataclass(frozen=True, slots=True)
class Here:
    """This machine as a connector: what volumes are attached to when their data passes through it."""

    address: str
    initiator: str
    host: str = field(default_factory=socket.gethostname)

    def properties(self, *, multipath: bool, enforce_multipath: bool) -> dict[str, Any]:
        """The connector, in os-brick's words."""
        return {
            "platform": os.uname().machine,
            "os_type": "linux",
            "ip": self.address,
            "host": self.host,
            "initiator": self.initiator,
            "multipath": multipath,
            "enforce_multipath": enforce_multipath,
            "do_local_attach": False,
        }


def here(address: str) -> Here:
    """This machine, reachable as `address`. Its initiator name is open-iscsi's, or one made of the host's name."""
    host = socket.gethostname()
    return Here(address, _initiator_name() or f"iqn.2016-04.com.open-iscsi:penstock-{host.lower()}", host)


def _initiator_name() -> str | None:
    try:
        lines = INITIATOR_FILE.read_text().splitlines()
    except OSError:  # none, or not ours to read: then it is not the name we connect by either
        return None
    return next((line.partition("=")[2].strip() for line in lines if line.startswith("InitiatorName=")), None)


def kernel_can(protocol: str) -> bool:
    """Has this machine what the kernel needs to attach by `protocol` (``iscsi``, ``nfs``)?"""
    if os.geteuid() != 0:
        return False
    if protocol in ("iscsi", "iser"):
        return shutil.which("iscsiadm") is not None and Path("/sys/class/iscsi_transport").exists()
    if protocol == "nfs":
        known = Path("/proc/filesystems").read_text().split()
        return shutil.which("mount.nfs") is not None and "nfs" in known
    return True


def is_by_kernel(protocol: str, way: str) -> bool:
    """Does the kernel attach it, so that it stays attached until somebody detaches it? See `connector_for`."""
    return protocol != "local" and (way == KERNEL or (way == AUTO and kernel_can(protocol)))


def connector_for(
    protocol: str,
    connection: Mapping[str, Any],
    *,
    way: str,
    initiator: str,
    use_multipath: bool,
    device_scan_attempts: int,
    lock_path: str,
) -> LocalConnector:
    """What connects this machine by `protocol`; `way` is ``kernel``, ``userspace`` or ``auto``, the kernel if it can.

    `connection` is the whole connection information; `lock_path` a folder for locks between processes. Raises
    Unsupported.
    """
    if protocol == "local":
        return PlainPath()
    if is_by_kernel(protocol, way):
        # Only here: os-brick costs half a second to import, and a machine without a kernel initiator never needs it.
        connect: Callable[..., LocalConnector] = import_module("penstock.volume.data_path.brick").brick_connector
        return connect(
            protocol,
            connection,
            use_multipath=use_multipath,
            device_scan_attempts=device_scan_attempts,
            lock_path=lock_path,
        )
    return Userspace(protocol, initiator)


@dataclass(frozen=True, slots=True)
class Userspace:
    """Attaches nothing: the device is the description by which qemu's programs reach the data themselves."""

    protocol: str
    initiator: str

    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, Any]:
        node = node_of(self.protocol, connection_properties, initiator=self.initiator)
        return {"type": "block", "path": str(node), "node": node}

    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any],
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """Every program closed its own connection."""

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        """The first program to open it finds out, and says why."""
        return True


class PlainPath:
    """A volume that is a file or device of this machine already (``driver_volume_type`` local)."""

    def connect_volume(self, connection_properties: Mapping[str, Any]) -> dict[str, Any]:
        return {"type": "local", "path": str(connection_properties["device_path"])}

    def disconnect_volume(
        self,
        connection_properties: Mapping[str, Any],
        device_info: Mapping[str, Any],
        force: bool = False,
        ignore_errors: bool = False,
    ) -> None:
        """It stays where it is."""

    def check_valid_device(self, path: str, run_as_root: bool = True) -> bool:
        return Path(path).exists()


def attached_node(attach_info: Mapping[str, Any]) -> BlockNode:
    """Where the data of an attached volume is. Raises Unsupported for a device that is no path."""
    device = attach_info["device"]
    node = device.get("node")
    if isinstance(node, BlockNode):
        return node
    path = device.get("path")
    if not isinstance(path, str | Path):
        raise Unsupported(f"A device of type {device.get('type')} cannot be copied from or to: it has no path.")
    return file_node(path)

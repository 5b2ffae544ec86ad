"""From connection information, in os-brick's words, to the place qemu finds the data at."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.errors import BackendFault, Unsupported
from penstock.images.nodes import BlockNode, file_node, iscsi_node, nfs_node


def node_of(protocol: str, data: Mapping[str, Any], *, initiator: str) -> BlockNode:
    """Where a volume connected by `protocol` with `data` is. `initiator` is the IQN that was let in.

    Raises Unsupported for a protocol that needs the kernel, BackendFault for data that lacks what is needed.
    """
    try:
        if protocol == "iscsi":
            return _iscsi(data, initiator)
        if protocol == "nfs":
            server, _, path = str(data["export"]).partition(":/")
            return nfs_node(server, f"/{path.strip('/')}/{data['name']}")
        if protocol == "local":
            return file_node(data["device_path"])
    except KeyError as err:
        raise BackendFault(f"The connection information for {protocol} lacks {err}.") from err
    raise Unsupported(f"Volumes connected by {protocol} can be reached only through the kernel of this machine.")


def _iscsi(data: Mapping[str, Any], initiator: str) -> BlockNode:
    portal, target, lun = _first(data, "target_portal"), _first(data, "target_iqn"), _first(data, "target_lun")
    method = data.get("auth_method")
    if method not in (None, "CHAP"):
        raise Unsupported(f"iSCSI authentication '{method}' is not known.")
    return iscsi_node(
        portal,
        target,
        int(lun),
        initiator=initiator,
        user=data.get("auth_username") if method else None,
        password=data.get("auth_password") if method else None,
    )


def _first(data: Mapping[str, Any], name: str) -> Any:
    """The one value, or the first of several paths."""
    if name in data:
        return data[name]
    return data[f"{name}s"][0]

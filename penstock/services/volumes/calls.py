"""The calls of the volume manager, by the names and arguments it is known by, for one volume."""

from __future__ import annotations

from typing import Any

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.volumes import Volume
from penstock.errors import Invalid
from penstock.ids import OperationId
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction

LOOKING_AHEAD = ("attachment_update", "initialize_connection")  # short, but for the look at the storage


def enqueue(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    method: str,
    arguments: dict[str, Any],
) -> OperationId:
    """Queue `method` at the backend of `volume`, after everything queued for the volume before."""
    call = Call(service_host(placed_on(volume)), f"volume:{volume.id}", method, arguments)
    return plane.operations.enqueue(tx, context, call, about=volume if method in LOOKING_AHEAD else None)


def placed_on(volume: Volume) -> str:
    """The pool the volume is on. Raises Invalid when it was never placed."""
    if volume.host is None:
        raise Invalid(f"Volume {volume.id} is on no pool; it can only be deleted.")
    return volume.host


def refuse_connected(volume: Volume) -> None:
    """Raise Invalid while some machine may write to the volume, whatever state it is in."""
    if volume.is_connected:
        raise Invalid(f"Volume {volume.id} is connected to a machine; end that connection first.")

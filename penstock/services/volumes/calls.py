"""The calls of the volume manager, by the names and arguments it is known by, for one volume."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.domain.volumes import Volume
from penstock.domain.volumes_at_work import TypedVolume, VolumeToMake
from penstock.errors import Invalid
from penstock.ids import OperationId
from penstock.services.control_plane import ControlPlane
from penstock.store.database import Transaction
from penstock.store.volumes_at_work import read_typed


def enqueue(
    tx: Transaction,
    plane: ControlPlane,
    context: RequestContext,
    volume: Volume,
    method: str,
    arguments: dict[str, Any],
    *,
    about: Volume | TypedVolume | VolumeToMake | None = None,
    whole: Callable[[], Any] | None = None,
) -> OperationId:
    """Queue `method` at the backend of `volume`, after everything queued for the volume before.

    `about` is what it is about, and `whole` gives what it goes by, for a method that asks for that (`attempt.handed`):
    see `OperationQueue.enqueue`. Of a volume, where nothing else is said, that is the volume with its type.
    """
    if whole is None and isinstance(about, Volume):
        whole = partial(read_typed, tx, about)
    return plane.operations.enqueue(tx, context, _call(volume, method, arguments), about=about, whole=whole)


def foresee(tx: Transaction, plane: ControlPlane, context: RequestContext, volume: Volume, method: str) -> None:
    """Say that `method` will probably be asked for next, of the volume as it is: see `OperationQueue.foresee`."""
    plane.operations.foresee(tx, context, _call(volume, method, {}), about=volume)


def _call(volume: Volume, method: str, arguments: dict[str, Any]) -> Call:
    return Call(service_host(placed_on(volume)), f"volume:{volume.id}", method, arguments)


def placed_on(volume: Volume) -> str:
    """The pool the volume is on. Raises Invalid when it was never placed."""
    if volume.host is None:
        raise Invalid(f"Volume {volume.id} is on no pool; it can only be deleted.")
    return volume.host


def refuse_connected(volume: Volume) -> None:
    """Raise Invalid while some machine may write to the volume, whatever state it is in."""
    if volume.is_connected:
        raise Invalid(f"Volume {volume.id} is connected to a machine; end that connection first.")

"""Copies of a volume on a side that did not answer when they were to go: they go when it does, by an operation that
waits for it.

It carries what the row said, which may be gone by then: so it is known whose what is found there is, and that nobody
wants it any more. Which side serves then does not matter: the one that was away may be that again.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from penstock.context import admin_context
from penstock.domain.operations import Call, OperationState
from penstock.domain.volume_lifecycle import VOLUME_TRANSITIONAL
from penstock.errors import Postponed, Unsupported
from penstock.operations import refusals
from penstock.operations.driver_calls import driver_call
from penstock.store import operations, volume_placement, volumes
from penstock.store.database import Transaction
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.models import VolumeModel
from penstock.volume.replication import RemovesLeftCopies

METHOD = "remove_left_copy"
ABOUT = ("id", "name", "name_id", "size", "host", "project_id", "user_id", "snapshot_id", "replication_driver_data")
TIMES = ("created_at", "launched_at")


def queue(tx: Transaction, backend: VolumeBackend, volume: VolumeModel, side: str) -> None:
    """Have the volume's copy on that side removed once it answers. Asked for again it is still once.

    One after the other for each side: of one that is away a single operation finds that out, not all that wait for it.
    """
    key = f"left:{backend.host}:{side}"
    pending = operations.pending(tx, resource_key=key)
    # not of one that runs: that may have read, while the volume was still there, that its copy is wanted
    waiting = (item.call.arguments["about"]["name_id"] for item in pending if item.state is OperationState.QUEUED)
    if volume.name_id not in waiting:
        about = {name: getattr(volume, name) for name in ABOUT}
        times = {name: getattr(volume, name) for name in TIMES}
        about |= {name: time.isoformat() if time else None for name, time in times.items()}
        backend.queue.enqueue(tx, admin_context(), Call(backend.host, key, METHOD, {"side": side, "about": about}))


def remove(backend: VolumeBackend, side: str, about: Mapping[str, Any]) -> None:
    """Remove it, unless its volume has a copy there again. Raises Postponed until the side answers, and while what has
    its copies go is still under way: the row says that it is replicated until that ends.

    Of a volume that moved to another backend after it was made nothing is done: a copy may be that one's, and the
    rounds of this one know which are not.
    """
    if not isinstance(backend.driver, RemovesLeftCopies):
        raise Unsupported(f"The driver of {backend.host} has no copies that are left.")
    created_at, launched_at = (datetime.fromisoformat(about[name]) if about[name] else None for name in TIMES)
    words = {name: about[name] for name in ABOUT}
    left = VolumeModel(status="deleted", created_at=created_at, launched_at=launched_at, **words)
    with backend.database.read() as tx:
        home = volume_placement.home_of(tx, left.name_id)
        row = None if home is None else volumes.get(tx, home.id)
        lives = None if row is None else volume_model(tx, backend, row)
    is_here = row is not None and backend.holds(row)
    if row is not None and not is_here and left.launched_at is not None:
        return
    if row is not None and is_here and (row.status in VOLUME_TRANSITIONAL or row.is_migrating):
        raise Postponed(f"Volume {row.id} is {row.status}.")
    with refusals.waiting(), driver_call("remove copies"):
        backend.driver.remove_left_copy(left, side, lives)

"""What a driver keeps true that writes on its storage whose everything is. Each function may be called again."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.operations import Call
from penstock.errors import NotFound, Unsupported
from penstock.operations.driver_calls import driver_call
from penstock.store import volumes
from penstock.store.database import Transaction
from penstock.volume.inventory import HasVolumeInventory
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.models import VolumeModel


def queue_identity(
    tx: Transaction, backend: VolumeBackend, context: RequestContext, volume_id: str, *, at: str
) -> None:
    """Have the backend `at`, which has the volume now, write on its storage whose that is."""
    backend.queue.enqueue(tx, context, Call(at, f"volume:{volume_id}", "write_identity", {"volume_id": volume_id}))


def write_identity(backend: VolumeBackend, volume_id: str) -> None:
    """See `HasVolumeInventory`; nothing to do for a driver that keeps no identity, or a volume that went meanwhile."""
    model = _here(backend, volume_id)
    if model is not None and isinstance(backend.driver, HasVolumeInventory):
        with driver_call("write whose a volume is"):
            backend.driver.write_identity(model)


def settle_export(backend: VolumeBackend, context: RequestContext, volume_id: str) -> None:
    """See `HasVolumeInventory`. In the volume's own operation: nobody connects or disconnects meanwhile."""
    model = _here(backend, volume_id)
    if model is None:
        raise NotFound(f"Volume {volume_id} is not here any more.")
    if not isinstance(backend.driver, HasVolumeInventory):
        raise Unsupported("This storage backend does not say whom it lets in.")
    with driver_call("export volumes"):
        backend.driver.settle_export(context, model)


def _here(backend: VolumeBackend, volume_id: str) -> VolumeModel | None:
    """The volume, None when it is gone or at another backend by now."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.host is None or volume.host.partition("#")[0] != backend.host:
            return None
        return volume_model(tx, backend, volume)

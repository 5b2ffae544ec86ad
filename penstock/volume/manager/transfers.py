"""Volumes that have been given to another project: what a driver keeps by owner follows."""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.volumes import driver_values
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call
from penstock.store import volumes
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import volume_model
from penstock.volume.manager.updates import checked, put_notes


def accept(backend: VolumeBackend, context: RequestContext, volume_id: str, new_user: str, new_project: str) -> None:
    """Tell the driver whose the volume is now; the rows say so already. A volume that is gone by now has no owner."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None:
            return
        model = volume_model(tx, backend, volume)
    with driver_call("give volumes to other projects"):
        update = checked(backend.driver.accept_transfer(context, model, new_user, new_project))
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "accept_transfer")
        values = driver_values(update)
        if values:
            volumes.update_volume(tx, volume.id, now=backend.now(), **values)
        put_notes(tx, volume.id, update)

"""The recycle bin is the database's; that a share is in it is also written on its storage, for recovery."""

from __future__ import annotations

from penstock.share.inventory import RemembersDeletion
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.models import share_model
from penstock.store import shares


def remember(backend: Backend, instance_id: str) -> None:
    """Write on the instance's storage whether its share is in the recycle bin now. Safe to repeat.

    Raises what the driver raises; the share is what it was all the same.
    """
    driver = backend.driver
    if not isinstance(driver, RemembersDeletion):
        return
    with backend.database.read() as tx:
        share = shares.get_by_instance(tx, instance_id)
        if share is None:
            return
        model = share_model(tx, backend, share)
    with driver_call("remember that the share is in the recycle bin"):
        driver.remember_deletion(model, share.scheduled_to_be_deleted_at if share.is_soft_deleted else None)

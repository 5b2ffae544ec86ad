"""Another type for a volume: by the driver where it lies, else by a migration to where it can be had."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.context import RequestContext
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_types import MULTIATTACH_SPEC
from penstock.domain.volumes import Volume, VolumeStatus, driver_values
from penstock.errors import Fault, Unsupported
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import backends, volume_snapshots, volume_types, volumes
from penstock.store.database import Transaction
from penstock.volume.manager import migration
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.models import type_model, volume_model
from penstock.volume.manager.notices import tell_owner
from penstock.volume.manager.updates import put_notes
from penstock.volume.models import VolumeTypeModel


def retype(
    backend: VolumeBackend, context: RequestContext, volume_id: str, new_type_id: str, host: str, policy: str
) -> None:
    """Give the volume the type; what cannot be done leaves it as it was, and tells its owner."""
    with backend.database.read() as tx:
        volume = volumes.get(tx, volume_id)
        if volume is None or volume.status is not VolumeStatus.RETYPING:
            return
        model = volume_model(tx, backend, volume)
        wanted = type_model(tx, new_type_id)
        target = host_model(tx, host)
    try:
        wanted = _there(wanted, new_type_id)
        is_here = host == volume.host
        done, update = (False, None)
        if is_here:
            with driver_call("give volumes another type"):
                answer = backend.driver.retype(context, model, wanted, difference(model.volume_type, wanted), target)
                done, update = answer if isinstance(answer, tuple) else (bool(answer), None)
        if not done:
            _refuse_move(policy, is_here=is_here)
            migration.copied(backend, context, volume, host)
            with backend.database.begin() as tx:
                done_with(tx, "retype")
                current = migration.swap(tx, backend, context, volume.id)
                finish(tx, backend, current or volume, new_type_id, None)
            return
    except Fault as fault:
        if is_final(fault) or isinstance(fault, Unsupported):
            _give_up(backend, context, volume.id, fault)
        raise
    with backend.database.begin() as tx:
        done_with(tx, "retype")
        finish(tx, backend, volume, new_type_id, update)


def finish(
    tx: Transaction, backend: VolumeBackend, volume: Volume, new_type_id: str, update: Mapping[str, Any] | None
) -> None:
    """Write the type to the volume and its snapshots, with what the driver says."""
    now = backend.now()
    found = volume_types.get(tx, new_type_id)
    values = {
        "volume_type_id": new_type_id,
        "is_multiattach": found is not None and found.claims(MULTIATTACH_SPEC),
        "previous_status": None,
        **driver_values(update),
    }
    volumes.move(tx, volume, VolumeEvent.DONE, now=now, **values)
    put_notes(tx, volume.id, update or {})
    for snapshot in volume_snapshots.of_volume(tx, volume.id):
        volume_snapshots.update_snapshot(tx, snapshot.id, now=now, volume_type_id=new_type_id)


def _give_up(backend: VolumeBackend, context: RequestContext, volume_id: str, fault: Fault) -> None:
    """Leave the volume of its old type, and what was made of a copy to be deleted; tell the owner."""
    with backend.database.begin() as tx:
        migration.forget_target(tx, backend, context, volume_id)
        volume = volumes.get(tx, volume_id)
        if volume is not None:
            values = {"migration_status": None, "previous_status": None}
            volumes.move(tx, volume, VolumeEvent.REFUSED, now=backend.now(), **values)
            tell_owner(tx, backend, context, volume, VolumeMessageAction.RETYPE_VOLUME, fault)


def difference(old: VolumeTypeModel | None, new: VolumeTypeModel) -> dict[str, dict[str, tuple[Any, Any]]]:
    """What changes: ``extra_specs``, ``qos_specs`` and ``encryption``, each name to (old, new)."""
    before = {} if old is None else old.extra_specs
    qos_before = {} if old is None or old.qos_specs is None else old.qos_specs.specs
    qos_after = {} if new.qos_specs is None else new.qos_specs.specs
    key_before = {} if old is None or old.encryption is None else dict(old.encryption)
    key_after = {} if new.encryption is None else dict(new.encryption)
    return {
        "extra_specs": _changed(before, new.extra_specs),
        "qos_specs": _changed(qos_before, qos_after),
        "encryption": _changed(key_before, key_after),
    }


def host_model(tx: Transaction, host: str) -> dict[str, Any]:
    """The pool as drivers are told of it: ``host`` and what it reports."""
    reports = {str(report.ref): report.capabilities for report in backends.list_pools(tx)}
    return {"host": host, "capabilities": dict(reports.get(host, {}))}


def _changed(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[Any, Any]]:
    names = sorted({*old, *new})
    return {name: (old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name)}


def _there(wanted: VolumeTypeModel | None, type_id: str) -> VolumeTypeModel:
    if wanted is None:
        raise Unsupported(f"There is no volume type {type_id} any more.")
    return wanted


def _refuse_move(policy: str, *, is_here: bool) -> None:
    if is_here or policy != "on-demand":
        raise Unsupported("The storage backend cannot give the volume that type where it lies.")

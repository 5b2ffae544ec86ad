"""Snapshots: create, delete, and reverting a share to one. Every function may be called again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotOf, SnapshotStatus
from penstock.errors import Conflict, Fault, NotFound
from penstock.operations.attempt import done_with, handed
from penstock.share.manager import replicated_snapshots
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final
from penstock.share.manager.models import access_models, snapshot_model
from penstock.share.manager.notices import tell_owner
from penstock.store import access, shares, snapshots

log = structlog.get_logger(__name__)


def create(backend: Backend, context: RequestContext, snapshot_id: str) -> None:
    """Take the snapshot, unless that is done already."""
    with backend.database.read() as tx:
        found = handed(SnapshotOf, "create_snapshot")
        snapshot = snapshots.get(tx, snapshot_id) if found is None else found.snapshot
        if snapshot is None or snapshot.status is not SnapshotStatus.CREATING:
            return
        model = snapshot_model(tx, backend, snapshot, share=None if found is None else found.share)
    try:
        with driver_call("take snapshots"):
            answer = backend.driver.create_snapshot(context, model, share_server=None)
    except Fault as fault:
        if is_final(fault):
            fail(backend, context, snapshot, Event.FAILED, MessageAction.CREATE, fault)
        raise
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "create_snapshot")
        snapshots.move(tx, snapshot.instance, Event.DONE, now=backend.now(), progress="100%", **location_in(answer))


def location_in(answer: Mapping[str, Any] | None) -> dict[str, Any]:
    """The column that a driver's answer sets: its own name for the snapshot."""
    location = (answer or {}).get("provider_location")
    return {} if location is None else {"provider_location": str(location)}


def delete(backend: Backend, context: RequestContext, snapshot_id: str, *, force: bool) -> None:
    """Destroy the snapshot and forget its rows. With `force` the rows go even when the backend cannot do its part."""
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not SnapshotStatus.DELETING:
            return
        model = snapshot_model(tx, backend, snapshot)
    try:
        with driver_call("delete snapshots"):
            backend.driver.delete_snapshot(context, model, share_server=None)
    except NotFound:
        pass  # that is what was wanted
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force:
            fail(backend, context, snapshot, Event.FAILED, MessageAction.DELETE, fault)
            raise
        log.warning("snapshot.left_behind", snapshot=snapshot_id, fault=str(fault))
    with backend.database.begin() as tx:
        done_with(tx, "delete_snapshot")
        snapshots.move(tx, snapshot.instance, Event.DONE, now=backend.now())
        snapshots.delete_snapshot(tx, snapshot.id)


def revert(backend: Backend, context: RequestContext, snapshot_id: str) -> None:
    """Put the snapshot's share back to it, unless that is done already. The share keeps its size."""
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None:
            return
        share = shares.get_by_instance(tx, snapshot.instance.share_instance_id)
        if share is None or share.status is not ShareStatus.REVERTING:
            return
        model = snapshot_model(tx, backend, snapshot)
        rules = [rule for rule in access.of_instance(tx, share.instance.id) if rule.state is AccessState.ACTIVE]
    try:
        if share.instance.is_replica:
            replicated_snapshots.revert(backend, context, share, snapshot)
        else:
            with driver_call("revert shares to snapshots"):
                backend.driver.revert_to_snapshot(context, model, access_models(share, rules), [], share_server=None)
    except Conflict as fault:
        _reverted(backend, snapshot, share, Event.REFUSED, context, fault)
        raise
    except Fault as fault:
        if is_final(fault):
            _reverted(backend, snapshot, share, Event.FAILED, context, fault)
        raise
    _reverted(backend, snapshot, share, Event.DONE, context, None)


def _reverted(
    backend: Backend, snapshot: Snapshot, share: Share, event: Event, context: RequestContext, fault: Fault | None
) -> None:
    """Write the end of a revert to the share, and to the snapshot unless its deletion was forced meanwhile."""
    now = backend.now()
    with backend.database.begin() as tx:
        shares.move(tx, share.instance, event, now=now)
        present = snapshots.get(tx, snapshot.id)
        if present is not None and present.status is SnapshotStatus.RESTORING:
            snapshots.move(tx, present.instance, event, now=now)
        if fault is not None:
            tell_owner(tx, backend, context, share, MessageAction.REVERT_TO_SNAPSHOT, fault)


def fail(
    backend: Backend, context: RequestContext, snapshot: Snapshot, event: Event, action: MessageAction, fault: Fault
) -> None:
    """Write the error state that `event` leads to and tell the owner why."""
    with backend.database.begin() as tx:
        snapshots.move(tx, snapshot.instance, event, now=backend.now())
        tell_owner(tx, backend, context, snapshot, action, fault)

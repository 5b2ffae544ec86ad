"""Adopting what exists on the backend, and letting it go. Every function may be called again after a crash."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import BackendFault, Fault
from penstock.share.manager import access
from penstock.share.manager import instances as instance_theme
from penstock.share.manager import snapshots as snapshot_theme
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final, locations_in
from penstock.share.manager.models import share_model, snapshot_model
from penstock.store import instances, shares, snapshots


def manage_share(backend: Backend, context: RequestContext, share_id: str, options: Mapping[str, Any]) -> None:
    """Take over the share that its stored export location names, with the size the driver finds."""
    with backend.database.read() as tx:
        share = shares.get(tx, share_id)
        if share is None or share.status is not ShareStatus.MANAGING:
            return
        model = share_model(tx, backend, share)
    try:
        with driver_call("take over existing shares"):
            answer = backend.driver.manage_existing(model, dict(options))
        size_gib = _size(answer)
        locations = locations_in(answer.get("export_locations"))
    except Fault as fault:
        if is_final(fault):
            instance_theme.fail(backend, context, share, Event.FAILED, MessageAction.CREATE, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        if locations:
            instances.put_export_locations(tx, share.instance.id, locations, now=now)
        shares.update_share(tx, share.id, now=now, size_gib=size_gib)
        shares.move(tx, share.instance, Event.DONE, now=now, launched_at=now, progress="100%")


def unmanage_share(backend: Backend, context: RequestContext, share_id: str) -> None:
    """Forget the share and leave it on the backend; with ``unmanage_remove_access_rules`` without its rules."""
    with backend.database.read() as tx:
        share = shares.get(tx, share_id)
        if share is None or share.status is not ShareStatus.UNMANAGING:
            return
        model = share_model(tx, backend, share)
    try:
        if backend.removes_rules_on_unmanage:
            access.remove_all(backend, context, share, model)
        with driver_call("let shares go"):
            backend.driver.unmanage(model)
    except Fault as fault:
        if is_final(fault):
            instance_theme.fail(backend, context, share, Event.FAILED, MessageAction.DELETE, fault)
        raise
    with backend.database.begin() as tx:
        shares.move(tx, share.instance, Event.DONE, now=backend.now())
        shares.delete_share(tx, share.id)


def manage_snapshot(backend: Backend, context: RequestContext, snapshot_id: str, options: Mapping[str, Any]) -> None:
    """Take over the snapshot that its stored provider location names, with the size the driver finds."""
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not SnapshotStatus.MANAGING:
            return
        model = snapshot_model(tx, backend, snapshot)
    try:
        with driver_call("take over existing snapshots"):
            answer = backend.driver.manage_existing_snapshot(model, dict(options))
        size_gib = _size(answer)
    except Fault as fault:
        if is_final(fault):
            snapshot_theme.fail(backend, context, snapshot, Event.FAILED, MessageAction.CREATE, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        snapshots.update_snapshot(tx, snapshot.id, now=now, size_gib=size_gib)
        location = snapshot_theme.location_in(answer)
        snapshots.move(tx, snapshot.instance, Event.DONE, now=now, progress="100%", **location)


def unmanage_snapshot(backend: Backend, context: RequestContext, snapshot_id: str) -> None:
    """Forget the snapshot and leave it on the backend."""
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None or snapshot.status is not SnapshotStatus.UNMANAGING:
            return
        model = snapshot_model(tx, backend, snapshot)
    try:
        with driver_call("let snapshots go"):
            backend.driver.unmanage_snapshot(model)
    except Fault as fault:
        if is_final(fault):
            snapshot_theme.fail(backend, context, snapshot, Event.FAILED, MessageAction.DELETE, fault)
        raise
    with backend.database.begin() as tx:
        snapshots.move(tx, snapshot.instance, Event.DONE, now=backend.now())
        snapshots.delete_snapshot(tx, snapshot.id)


def _size(answer: Any) -> int:
    """The required ``size`` of a driver's answer, in GiB."""
    size = answer.get("size") if isinstance(answer, Mapping) else None
    if not isinstance(size, int | str) or not str(size).isdigit() or int(size) < 1:
        raise BackendFault(f"The driver took it over but told no size in whole GiB: {size!r}.")
    return int(size)

"""Snapshots of all volumes of a group. Every function may be called again after a crash."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.context import RequestContext
from penstock.domain.volume_groups import GroupEvent, GroupSnapshot, GroupStatus
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.errors import BackendFault, Fault
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_groups, volume_snapshots
from penstock.store.database import Transaction
from penstock.volume.fallback.groups import grouping
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.group_models import group_snapshot_model
from penstock.volume.manager.groups import FAILURES, by_member, tell
from penstock.volume.manager.models import snapshot_model
from penstock.volume.manager.updates import checked, snapshot_values


def create(backend: VolumeBackend, context: RequestContext, group_snapshot_id: str) -> None:
    """Take snapshots of all volumes, unless that is done already."""
    with backend.database.read() as tx:
        taken = volume_groups.get_snapshot(tx, group_snapshot_id)
        if taken is None or taken.status is not GroupStatus.CREATING:
            return
        members = _members(tx, taken, VolumeSnapshotStatus.CREATING)
        model = group_snapshot_model(tx, taken)
        models = [snapshot_model(tx, backend, member) for member in members]
    try:
        with driver_call("take snapshots of groups"):
            answer = grouping(backend.driver, model.group).create_group_snapshot(context, model, models)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, taken, members, fault)
        raise
    whole, updates = _answer(answer)
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "create_group_snapshot")
        failed = whole.get("status") in FAILURES
        for member in members:
            update = updates.get(member.id, whole)
            if update.get("status") in FAILURES:
                failed = True
                volume_snapshots.move(tx, member, VolumeEvent.FAILED, now=now)
            else:
                values = {"progress": "100%", **snapshot_values(update)}
                volume_snapshots.move(tx, member, VolumeEvent.DONE, now=now, **values)
        _end(tx, backend, context, taken, failed=failed)


def delete(backend: VolumeBackend, context: RequestContext, group_snapshot_id: str) -> None:
    """Destroy all its snapshots and forget the rows."""
    with backend.database.read() as tx:
        taken = volume_groups.get_snapshot(tx, group_snapshot_id)
        if taken is None or taken.status is not GroupStatus.DELETING:
            return
        members = _members(tx, taken, VolumeSnapshotStatus.DELETING)
        model = group_snapshot_model(tx, taken)
        models = [snapshot_model(tx, backend, member) for member in members]
    try:
        with driver_call("delete snapshots of groups"):
            answer = grouping(backend.driver, model.group).delete_group_snapshot(context, model, models)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, taken, members, fault)
        raise
    whole, updates = _answer(answer)
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "delete_group_snapshot")
        left = [member for member in members if updates.get(member.id, whole).get("status") in FAILURES]
        for member in members:
            if member in left:
                volume_snapshots.move(tx, member, VolumeEvent.FAILED, now=now)
            else:
                volume_snapshots.move(tx, member, VolumeEvent.DONE, now=now)
                volume_snapshots.delete_snapshot(tx, member.id)
        failed = bool(left) or whole.get("status") in FAILURES
        _end(tx, backend, context, taken, failed=failed)
        if not failed:
            volume_groups.delete_snapshot(tx, taken.id)


def _answer(answer: Any) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
    whole, updates = answer if answer is not None else (None, None)
    return checked(whole), by_member(updates)


def _members(tx: Transaction, taken: GroupSnapshot, status: VolumeSnapshotStatus) -> list[VolumeSnapshot]:
    found = (volume_snapshots.get(tx, member_id) for member_id in volume_groups.member_ids(tx, taken.id))
    return [member for member in found if member is not None and member.status is status]


def _end(
    tx: Transaction, backend: VolumeBackend, context: RequestContext, taken: GroupSnapshot, *, failed: bool
) -> None:
    event = GroupEvent.FAILED if failed else GroupEvent.DONE
    volume_groups.move_snapshot(tx, taken, event, now=backend.now())
    if failed:
        fault = BackendFault("Not all snapshots of the group could be worked on.")
        tell(tx, backend, context, taken.project_id, taken.id, fault)


def _fail(
    backend: VolumeBackend,
    context: RequestContext,
    taken: GroupSnapshot,
    members: Sequence[VolumeSnapshot],
    fault: Fault,
) -> None:
    now = backend.now()
    with backend.database.begin() as tx:
        for member in members:
            volume_snapshots.move(tx, member, VolumeEvent.FAILED, now=now)
        volume_groups.move_snapshot(tx, taken, GroupEvent.FAILED, now=now)
        tell(tx, backend, context, taken.project_id, taken.id, fault)

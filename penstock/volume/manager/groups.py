"""Groups of volumes and snapshots of them: by the driver where it knows groups, else member by member.

Every function may be called again after a crash: the rows say what is still wanted, and the driver's calls are
repeatable. What became of each member is written in one transaction with what became of the whole.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.volume_groups import GroupEvent, GroupStatus, VolumeGroup
from penstock.domain.volume_lifecycle import VolumeEvent
from penstock.domain.volume_message_codes import VolumeMessageAction, VolumeMessageResource
from penstock.domain.volumes import Volume, VolumeStatus, driver_values
from penstock.errors import BackendFault, Fault
from penstock.operations.attempt import done_with
from penstock.operations.driver_calls import driver_call, is_final
from penstock.store import volume_groups, volume_snapshots, volumes
from penstock.store.database import Transaction
from penstock.volume.fallback.groups import grouping
from penstock.volume.interface.values import Updates
from penstock.volume.manager import connections
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.manager.group_models import group_model, group_snapshot_model
from penstock.volume.manager.models import snapshot_model, volume_models
from penstock.volume.manager.notices import tell_project
from penstock.volume.manager.updates import checked, put_notes, store_of_volume
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)

FAILURES = ("error", "error_deleting")


def create(backend: VolumeBackend, context: RequestContext, group_id: str) -> None:
    """Make the group, empty, unless that is done already."""
    with backend.database.read() as tx:
        group = volume_groups.get(tx, group_id)
        if group is None or group.status is not GroupStatus.CREATING:
            return
        model = group_model(tx, group)
    try:
        with driver_call("make groups"):
            update = checked(grouping(backend.driver, model).create_group(context, model))
        _refuse_failed(update, "The backend could not make the group.")
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, group, fault)
        raise
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "create_group")
        volume_groups.move(tx, group, GroupEvent.DONE, now=backend.now())


def create_from_source(backend: VolumeBackend, context: RequestContext, group_id: str) -> None:
    """Make the group with its volumes from what they come of, unless that is done already."""
    with backend.database.read() as tx:
        group = volume_groups.get(tx, group_id)
        if group is None or group.status is not GroupStatus.CREATING:
            return
        members = [one for one in _members(tx, group.id) if one.status is VolumeStatus.CREATING]
        model, models = group_model(tx, group), volume_models(tx, backend, members)
        sources = _sources(tx, backend, group, members)
    try:
        with driver_call("make groups from others"):
            answer = grouping(backend.driver, model).create_group_from_src(context, model, models, **sources)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, group, fault, members, VolumeEvent.FAILED)
        raise
    whole, updates = _answer(answer)
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "create_group_from_src")
        failed = bool(whole.get("status") in FAILURES)
        for volume in members:
            update = updates.get(volume.id, whole)
            if update.get("status") in FAILURES:
                failed = True
                volumes.move(tx, volume, VolumeEvent.FAILED, now=now)
                continue
            volumes.move(tx, volume, VolumeEvent.DONE, now=now, launched_at=now, **driver_values(update))
            put_notes(tx, volume.id, update)
        _end(tx, backend, context, group, failed=failed)


def update(
    backend: VolumeBackend,
    context: RequestContext,
    group_id: str,
    add_volumes: Sequence[str],
    remove_volumes: Sequence[str],
) -> None:
    """Take volumes into the group and out of it, unless that is done already."""
    with backend.database.read() as tx:
        group = volume_groups.get(tx, group_id)
        if group is None or group.status is not GroupStatus.UPDATING:
            return
        model = group_model(tx, group)
        found = volumes.by_ids(tx, [*add_volumes, *remove_volumes])
        joining, leaving = (
            volume_models(tx, backend, [found[one] for one in ids if one in found])
            for ids in (add_volumes, remove_volumes)
        )
    try:
        with driver_call("change groups"):
            answer = grouping(backend.driver, model).update_group(context, model, joining, leaving)
        whole, *parts = answer if answer is not None else (None, None, None)
        _refuse_failed(checked(whole), "The backend could not change the group.")
        updates = [one for part in parts for one in part or ()]
        for one in updates:
            _refuse_failed(one, "The backend could not change the group.")
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, group, fault)
        raise
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "update_group")
        for models, member_of in ((joining, group.id), (leaving, None)):
            for volume in models:
                volumes.update_volume(tx, volume.id, now=now, group_id=member_of)
        for one in updates:
            store_of_volume(tx, str(one["id"]), one, now=now)
        volume_groups.move(tx, group, GroupEvent.DONE, now=now)


def delete(backend: VolumeBackend, context: RequestContext, group_id: str) -> None:
    """Destroy the group and its volumes, and forget their rows."""
    with backend.database.read() as tx:
        group = volume_groups.get(tx, group_id)
        if group is None or group.status is not GroupStatus.DELETING:
            return
        members = [one for one in _members(tx, group.id) if one.status is VolumeStatus.DELETING]
        model, models = group_model(tx, group), volume_models(tx, backend, members)
    try:
        _unexport(backend, context, models)
        with driver_call("delete groups"):
            answer = grouping(backend.driver, model).delete_group(context, model, models)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, group, fault, members, VolumeEvent.FAILED)
        raise
    whole, updates = _answer(answer)
    now = backend.now()
    with backend.database.begin() as tx:
        done_with(tx, "delete_group")
        left = [volume for volume in members if updates.get(volume.id, whole).get("status") in FAILURES]
        for volume in members:
            if volume in left:
                volumes.move(tx, volume, VolumeEvent.FAILED, now=now)
            else:
                volumes.move(tx, volume, VolumeEvent.DONE, now=now)
                volumes.delete_volume(tx, volume.id)
        failed = bool(left) or whole.get("status") in FAILURES
        _end(tx, backend, context, group, failed=failed)
        if not failed:
            volume_groups.delete_group(tx, group.id)


def settle(backend: VolumeBackend, context: RequestContext, awaited: set[str]) -> None:
    """Groups and group snapshots that no operation carries on are in error. Called while no operation runs."""
    fault = BackendFault("The operation was interrupted and its end is not known.")
    with backend.database.read() as tx:
        stranded = [
            group for group in volume_groups.in_work(tx, backend.host) if f"volume-group:{group.id}" not in awaited
        ]
        late = [
            taken
            for taken in volume_groups.snapshots_in_work(tx, backend.host)
            if f"volume-group:{taken.group_id}" not in awaited
        ]
    for group in stranded:
        log.warning("volume_group.stranded", group=group.id, status=group.status.value)
        _fail(backend, context, group, fault)
    for taken in late:
        log.warning("group_snapshot.stranded", group_snapshot=taken.id, status=taken.status.value)
        with backend.database.begin() as tx:
            volume_groups.move_snapshot(tx, taken, GroupEvent.FAILED, now=backend.now())
            tell(tx, backend, context, taken.project_id, taken.id, fault)


def tell(
    tx: Transaction, backend: VolumeBackend, context: RequestContext, project_id: str, resource_id: str, fault: Fault
) -> None:
    """Tell the owner of a group, or of a group snapshot, why it is in error."""
    kind, action = VolumeMessageResource.VOLUME_GROUP, VolumeMessageAction.GROUP_CHANGE
    tell_project(tx, backend, context, project_id, kind, resource_id, action, fault)


def by_member(updates: Iterable[Updates] | None) -> dict[str, Mapping[str, Any]]:
    """A driver's updates of members, by id."""
    return {str(update["id"]): update for update in updates or ()}


def _answer(answer: Any) -> tuple[Mapping[str, Any], dict[str, Mapping[str, Any]]]:
    whole, updates = answer if answer is not None else (None, None)
    return checked(whole), by_member(updates)


def _members(tx: Transaction, group_id: str) -> list[Volume]:
    ids = volume_groups.volume_ids(tx, group_id)
    found = volumes.by_ids(tx, ids)
    return [found[one] for one in ids]


def _sources(tx: Transaction, backend: VolumeBackend, group: VolumeGroup, members: Sequence[Volume]) -> dict[str, Any]:
    """What the members are made from, in the members' order, as the driver's call names it."""
    if group.group_snapshot_id is not None:
        taken = volume_groups.get_snapshot(tx, group.group_snapshot_id)
        snapshots = [volume_snapshots.get(tx, one.snapshot_id) for one in members if one.snapshot_id is not None]
        return {
            "group_snapshot": None if taken is None else group_snapshot_model(tx, taken),
            "snapshots": [snapshot_model(tx, backend, one) for one in snapshots if one is not None],
        }
    parent = None if group.source_group_id is None else volume_groups.get(tx, group.source_group_id)
    found = volumes.by_ids(tx, [one.source_volid for one in members if one.source_volid is not None])
    origins = [found[one.source_volid] for one in members if one.source_volid in found]
    return {
        "source_group": None if parent is None else group_model(tx, parent),
        "source_vols": volume_models(tx, backend, origins),
    }


def _unexport(backend: VolumeBackend, context: RequestContext, models: Sequence[VolumeModel]) -> None:
    for model in models:
        connections.remove_export(backend, context, model)


def _refuse_failed(update: Mapping[str, Any], sentence: str) -> None:
    if update.get("status") in FAILURES:
        raise BackendFault(sentence)


def _end(tx: Transaction, backend: VolumeBackend, context: RequestContext, group: VolumeGroup, *, failed: bool) -> None:
    """Write what became of the whole; of a failure its owner is told."""
    volume_groups.move(tx, group, GroupEvent.FAILED if failed else GroupEvent.DONE, now=backend.now())
    if failed:
        fault = BackendFault("Not all volumes of the group could be worked on.")
        tell(tx, backend, context, group.project_id, group.id, fault)


def _fail(
    backend: VolumeBackend,
    context: RequestContext,
    group: VolumeGroup,
    fault: Fault,
    members: Sequence[Volume] = (),
    event: VolumeEvent = VolumeEvent.FAILED,
) -> None:
    now = backend.now()
    with backend.database.begin() as tx:
        for volume in members:
            volumes.move(tx, volume, event, now=now)
        volume_groups.move(tx, group, GroupEvent.FAILED, now=now)
        tell(tx, backend, context, group.project_id, group.id, fault)

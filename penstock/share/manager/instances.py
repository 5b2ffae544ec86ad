"""Share instances: create, delete, extend, shrink.

Each function may be called again after a crash at any point: what is done already is found by the state of the row, and
the driver's calls are repeatable. A fault that ends the operation leaves the instance in a truthful error state.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.shares import Share, ShareStatus
from penstock.errors import BackendFault, Fault, Invalid, NotFound, ShareShrinkingPossibleDataLoss, Unavailable
from penstock.operations.attempt import done_with, handed
from penstock.share.manager import access, elsewhere
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final, locations_in
from penstock.share.manager.models import share_model, snapshot_model
from penstock.share.manager.notices import tell_owner
from penstock.share.models import ShareModel, SnapshotModel
from penstock.store import instances, share_migrations, shares, snapshots

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Created:
    """What a driver answered to a creation. `status` is AVAILABLE or CREATING_FROM_SNAPSHOT."""

    status: ShareStatus
    locations: list[dict[str, Any]]
    progress: str | None


def create(backend: Backend, context: RequestContext, instance_id: str, snapshot_id: str | None) -> None:
    """Make the instance on the backend, empty or from a snapshot, unless that is done already."""
    with backend.database.read() as tx:
        share = handed(Share, "create_share_instance") or shares.get_by_instance(tx, instance_id)
        if share is None or share.status is not ShareStatus.CREATING or not backend.holds(share):
            return
        model = share_model(tx, backend, share)
    try:
        with elsewhere.tried(backend, context, share):
            created = _make(backend, context, model, snapshot_id or share.snapshot_id)
    except Fault as fault:
        if is_final(fault):
            detail = MessageDetail.DRIVER_FAILED_CREATING_FROM_SNAPSHOT if share.snapshot_id else None
            fail(backend, context, share, Event.FAILED, MessageAction.CREATE, fault, detail=detail)
        raise
    finish_creation(backend, share, created.status, created.locations, created.progress)


def _make(backend: Backend, context: RequestContext, model: ShareModel, snapshot_id: str | None) -> _Created:
    if snapshot_id is None:
        with driver_call("create shares"):
            return _created(backend.driver.create_share(context, model, share_server=None))
    source = _source(backend, snapshot_id)
    with driver_call("create shares from snapshots"):
        answer = backend.driver.create_share_from_snapshot(
            context, model, source, share_server=None, parent_share=source.share
        )
        return _created(answer)


def _source(backend: Backend, snapshot_id: str) -> SnapshotModel:
    with backend.database.read() as tx:
        snapshot = snapshots.get(tx, snapshot_id)
        if snapshot is None:
            raise NotFound(f"The snapshot {snapshot_id} that the share was to be made from does not exist any more.")
        return snapshot_model(tx, backend, snapshot)


def _created(answer: Any) -> _Created:
    if isinstance(answer, Mapping) and "path" not in answer:
        status = created_status(answer)
        if status is ShareStatus.ERROR:
            raise BackendFault("The driver could not create the share.")
        return _Created(status, locations_in(answer.get("export_locations")), answer.get("progress"))
    return _Created(ShareStatus.AVAILABLE, locations_in(answer), None)


def created_status(answer: Mapping[str, Any]) -> ShareStatus:
    """How far a driver says a creation is. Raises BackendFault for an answer that is not one of the published ones."""
    text = answer.get("status") or ShareStatus.AVAILABLE
    if text not in (ShareStatus.AVAILABLE, ShareStatus.CREATING_FROM_SNAPSHOT, ShareStatus.ERROR):
        raise BackendFault(f"The driver answered with the status '{text}' to the creation of a share.")
    return ShareStatus(text)


def finish_creation(
    backend: Backend, share: Share, status: ShareStatus, locations: list[dict[str, Any]], progress: str | None
) -> None:
    """Write that the share is there, or that its creation goes on (`status` CREATING_FROM_SNAPSHOT)."""
    now = backend.now()
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "create_share_instance")
        if status is ShareStatus.CREATING_FROM_SNAPSHOT:
            shares.move(tx, share.instance, Event.CONTINUES, now=now, progress=progress or "0%")
            return
        instances.put_export_locations(tx, share.instance.id, locations, now=now)
        shares.move(tx, share.instance, Event.DONE, now=now, launched_at=now, progress="100%")


def delete(backend: Backend, context: RequestContext, instance_id: str, *, force: bool) -> None:
    """Destroy the instance and forget its rows. With `force` the rows go even when the backend cannot do its part."""
    with backend.database.read() as tx:
        share = shares.get_by_instance(tx, instance_id)
        if share is None or share.status is not ShareStatus.DELETING:
            return
        model = share_model(tx, backend, share)
        has_snapshots = shares.has_snapshots(tx, share.id)
        left = share_migrations.left_of(tx, share.id)
    try:
        if has_snapshots:
            raise Invalid("The share has snapshots; delete them first.")
        if left:  # with the share's rows nobody would know of it any more
            raise Unavailable(f"What the share left on {left[0].host} when it was migrated is not removed yet.")
        access.remove_all(backend, context, share, model)
        with driver_call("delete shares"):
            backend.driver.delete_share(context, model, share_server=None)
    except NotFound:
        pass  # that is what was wanted
    except Fault as fault:
        if not is_final(fault):
            raise
        if not force or has_snapshots:
            fail(backend, context, share, Event.FAILED, MessageAction.DELETE, fault)
            raise
        log.warning("share.left_behind", share=share.id, instance=instance_id, fault=str(fault))
    with backend.database.begin() as tx:
        done_with(tx, "delete_share_instance")
        shares.move(tx, share.instance, Event.DONE, now=backend.now())
        shares.delete_share(tx, share.id)


def extend(backend: Backend, context: RequestContext, share_id: str, new_size: int) -> None:
    """Let the share hold `new_size` GiB, unless that is done already."""
    with backend.database.read() as tx:
        share = handed(Share, "extend_share") or shares.get(tx, share_id)
        if share is None or share.status is not ShareStatus.EXTENDING:
            return
        model = share_model(tx, backend, share)
    try:
        with driver_call("extend shares"):
            backend.driver.extend_share(model, new_size, share_server=None)
    except Fault as fault:
        if is_final(fault):
            fail(backend, context, share, Event.FAILED, MessageAction.EXTEND, fault)
        raise
    _resized(backend, share, new_size)


def shrink(backend: Backend, context: RequestContext, share_id: str, new_size: int) -> None:
    """Let the share hold only `new_size` GiB, unless that is done already or would lose data."""
    with backend.database.read() as tx:
        share = shares.get(tx, share_id)
        if share is None or share.status is not ShareStatus.SHRINKING:
            return
        model = share_model(tx, backend, share)
    try:
        with driver_call("shrink shares"):
            backend.driver.shrink_share(model, new_size, share_server=None)
    except ShareShrinkingPossibleDataLoss as fault:
        fail(backend, context, share, Event.REFUSED, MessageAction.SHRINK, fault)
        raise
    except Fault as fault:
        if is_final(fault):
            fail(backend, context, share, Event.FAILED, MessageAction.SHRINK, fault)
        raise
    _resized(backend, share, new_size)


def _resized(backend: Backend, share: Share, new_size: int) -> None:
    now = backend.now()
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "extend_share", "shrink_share")
        shares.move(tx, share.instance, Event.DONE, now=now)
        shares.update_share(tx, share.id, now=now, size_gib=new_size, size_target_gib=None)


def fail(
    backend: Backend,
    context: RequestContext,
    share: Share,
    event: Event,
    action: MessageAction,
    fault: Fault,
    *,
    detail: MessageDetail | None = None,
) -> None:
    """Write the error state that `event` leads to, let go of a promised size, and tell the owner why."""
    now = backend.now()
    with backend.database.begin() as tx:
        shares.move(tx, share.instance, event, now=now)
        if share.size_target_gib is not None:
            shares.update_share(tx, share.id, now=now, size_target_gib=None)
        tell_owner(tx, backend, context, share, action, fault, detail=detail)

"""Rows of durable operations: the queue that survives."""

from __future__ import annotations

import json
from collections.abc import Collection, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, func, insert, or_, select, update

from penstock.domain.operations import Call, Operation, OperationState
from penstock.ids import OperationId, new_id
from penstock.store.database import hold
from penstock.store.schema import operations, services
from penstock.store.transaction import Transaction

PENDING = (OperationState.QUEUED, OperationState.RUNNING)
# These do not wait for what is queued at other backends: the host they replace may be the one that is gone.
OVERTAKING = ("promote_share_replica",)

LONG_AGO = datetime(1970, 1, 1)  # noqa: DTZ001 - naive UTC, as all times in the database

# Statements that run for every operation are built once: building one costs more than running it.
_ADD = insert(operations)
_OTHER = operations.alias("other")
_DUE = (
    (operations.c.backend == bindparam("of_backend"))
    & (operations.c.state == OperationState.QUEUED)
    & or_(operations.c.not_before.is_(None), operations.c.not_before <= bindparam("now"))
)
_IS_ELSEWHERE = _OTHER.c.backend != operations.c.backend
_IS_DOWN = exists().where(services.c.host == _OTHER.c.backend, services.c.updated_at < bindparam("down_since"))
_GIVES_WAY = _IS_ELSEWHERE & (operations.c.method.in_(OVERTAKING) | (_OTHER.c.attempts > 0) | _IS_DOWN)
_BLOCKED = exists().where(
    _OTHER.c.resource_key == operations.c.resource_key,
    _OTHER.c.id != operations.c.id,
    or_(
        (_OTHER.c.state == OperationState.RUNNING) & ~(_IS_ELSEWHERE & _IS_DOWN),
        (_OTHER.c.state == OperationState.QUEUED) & (_OTHER.c.sequence < operations.c.sequence) & ~_GIVES_WAY,
    ),
)
_RUNNABLE = (
    select(operations.c.id)
    .where(_DUE, operations.c.resource_key.not_in(bindparam("busy_keys", expanding=True)), ~_BLOCKED)
    .order_by(operations.c.sequence)
    .limit(bindparam("most"))
)
_ANY_DUE = select(operations.c.id).where(_DUE).limit(1)
_ANY_BEFORE = select(
    or_(
        exists().where(_DUE),
        exists().where(operations.c.resource_key == bindparam("of_resource"), operations.c.state.in_(PENDING)),
    )
)
_CLAIM = (
    update(operations)
    .where(operations.c.id.in_(_RUNNABLE))
    .values(
        state=OperationState.RUNNING,
        attempts=operations.c.attempts + 1,
        started_at=func.coalesce(operations.c.started_at, bindparam("now")),
    )
    .returning(operations)
)
_PENDING = select(operations).where(operations.c.state.in_(PENDING)).order_by(operations.c.sequence)
_PENDING_AT = _PENDING.where(operations.c.backend == bindparam("of_backend"))
_PENDING_OF = _PENDING.where(operations.c.resource_key == bindparam("of_resource"))
_PENDING_OF_AT = _PENDING_AT.where(operations.c.resource_key == bindparam("of_resource"))
_REQUEUE = (
    update(operations)
    .where(
        operations.c.backend == bindparam("of_backend"),
        operations.c.state == OperationState.RUNNING,
        operations.c.resource_key.not_in(bindparam("busy_keys", expanding=True)),
    )
    .values(state=OperationState.QUEUED, not_before=None)
)
_FINISH = (
    update(operations)
    .where(operations.c.id == bindparam("of"), operations.c.state.in_(PENDING))
    .values(
        state=bindparam("to"),
        finished_at=bindparam("at"),
        error=bindparam("because"),
        fault=bindparam("kind"),
        answer=bindparam("found"),
        not_before=None,
    )
)


def add(
    tx: Transaction,
    call: Call,
    *,
    request_id: str,
    user_id: str | None,
    project_id: str | None,
    now: datetime,
    is_running: bool = False,
    is_sent_there: bool = False,
) -> Operation:
    """Append `call` to its backend's queue, in the caller's transaction; when it `is_running`, as one that is attempted
    for the first time from now on. `is_sent_there`: see Operation; the row does not keep it."""
    operation = Operation(
        id=OperationId(new_id()),
        call=replace(call, arguments=json.loads(json.dumps(call.arguments))),  # as whoever reads the row finds them
        state=OperationState.RUNNING if is_running else OperationState.QUEUED,
        attempts=1 if is_running else 0,
        not_before=None,
        request_id=request_id,
        user_id=user_id,
        project_id=project_id,
        progress=None,
        error=None,
        fault=None,
        cancel_requested=False,
        created_at=now,
        started_at=now if is_running else None,
        finished_at=None,
        is_sent_there=is_sent_there,
    )
    row = {
        "id": operation.id,
        "backend": call.backend,
        "resource_key": call.resource_key,
        "method": call.method,
        "arguments": call.arguments,
        "state": operation.state,
        "attempts": operation.attempts,
        "request_id": request_id,
        "user_id": user_id,
        "project_id": project_id,
        "cancel_requested": False,
        "created_at": now,
        "started_at": operation.started_at,
    }
    tx.execute(_ADD, row)
    return operation


def tells_next(tx: Transaction) -> bool:
    """Can a transaction tell what `is_next`? Not on PostgreSQL, where another may claim what this one does not see."""
    return tx.dialect.name == "sqlite"


def is_next(tx: Transaction, call: Call, *, now: datetime) -> bool:
    """May `call` begin with this transaction, before anybody claims it? Only when nothing is queued or running for its
    resource, at any backend, and nothing that could begin waits at its own. Only where this transaction `tells_next`.
    """
    of = {"of_backend": call.backend, "of_resource": call.resource_key, "now": now}
    return not tx.execute(_ANY_BEFORE, of).scalar()


def claim(
    tx: Transaction,
    backend: str,
    *,
    limit: int,
    busy_keys: Collection[str],
    now: datetime,
    down_since: datetime | None = None,
) -> list[Operation]:
    """Mark up to `limit` runnable operations of `backend` as running and return them in order.

    Runnable: queued, its time has come, none of the same resource running (`busy_keys` are the resources this worker is
    busy with), and none of the same resource queued before it. What is queued before it at *another* backend does not
    count when it has been tried there in vain, when that backend's service was last heard before `down_since`, or when
    this is one of OVERTAKING; nor does what runs at such a service. No two of the answer concern the same resource.
    """
    hold(tx, "operations.claim")  # two backends may have runnable operations of one resource, and only one may have it
    wanted = {"of_backend": backend, "now": now, "busy_keys": list(busy_keys), "most": limit}
    wanted["down_since"] = down_since or LONG_AGO
    claimed = sorted(tx.execute(_CLAIM, wanted), key=lambda row: row.sequence)
    return [_operation(row) for row in claimed]


def has_runnable(tx: Transaction, backend: str, *, now: datetime) -> bool:
    """Is there a queued operation whose time has come? A cheap look before a writing transaction."""
    return tx.execute(_ANY_DUE, {"of_backend": backend, "now": now}).first() is not None


def requeue_interrupted(tx: Transaction, backend: str, *, busy_keys: Collection[str] = ()) -> int:
    """Put back what a dead worker left running, except of the resources in `busy_keys`; returns how many."""
    return tx.execute(_REQUEUE, {"of_backend": backend, "busy_keys": list(busy_keys)}).rowcount


def retry(tx: Transaction, operation_id: OperationId, *, not_before: datetime, error: str) -> bool:
    """Queue a running operation again for later, remembering why. False when it has ended."""
    statement = (
        update(operations)
        .where(operations.c.id == operation_id, operations.c.state.in_(PENDING))
        .values(state=OperationState.QUEUED, not_before=not_before, error=error)
    )
    return tx.execute(statement).rowcount > 0


def readdress(tx: Transaction, operation_ids: Collection[str], backend: str) -> int:
    """Queue pending operations at `backend` instead, as new there and in the order they have; returns how many."""
    pending_ones = operations.c.id.in_(list(operation_ids)) & operations.c.state.in_(PENDING)
    values = {"backend": backend, "state": OperationState.QUEUED, "attempts": 0, "not_before": None}
    return tx.execute(update(operations).where(pending_ones).values(values)).rowcount


def finish(
    tx: Transaction,
    operation_id: OperationId,
    *,
    state: OperationState,
    now: datetime,
    error: str | None = None,
    fault: str | None = None,
    answer: Any = None,
) -> bool:
    """Write the end of an operation, with the sentence and the kind of the fault that ended it, or its answer.

    False when it has ended already: that stays.
    """
    row = {"of": operation_id, "to": state, "at": now, "because": error, "kind": fault, "found": answer}
    return tx.execute(_FINISH, row).rowcount > 0


def set_progress(tx: Transaction, operation_id: OperationId, progress: str) -> None:
    """Say how far a running operation is."""
    tx.execute(update(operations).where(operations.c.id == operation_id).values(progress=progress))


def request_cancel(tx: Transaction, operation_id: OperationId) -> None:
    """Ask a running operation to stop; its handler checks the flag and undoes."""
    tx.execute(update(operations).where(operations.c.id == operation_id).values(cancel_requested=True))


def get(tx: Transaction, operation_id: OperationId) -> Operation | None:
    """The operation, or None."""
    row = tx.execute(select(operations).where(operations.c.id == operation_id)).first()
    return None if row is None else _operation(row)


def pending(tx: Transaction, *, backend: str | None = None, resource_key: str | None = None) -> list[Operation]:
    """Queued and running operations in order."""
    of = {"of_backend": backend, "of_resource": resource_key}
    query = {
        (False, False): _PENDING,
        (True, False): _PENDING_AT,
        (False, True): _PENDING_OF,
        (True, True): _PENDING_OF_AT,
    }[backend is not None, resource_key is not None]
    found = tx.execute(query, {name: value for name, value in of.items() if value is not None})
    return [_operation(row) for row in found]


def recent(tx: Transaction, *, limit: int, states: Sequence[OperationState] = tuple(OperationState)) -> list[Operation]:
    """The latest operations, newest first."""
    query = select(operations).where(operations.c.state.in_(states)).order_by(operations.c.sequence.desc())
    return [_operation(row) for row in tx.execute(query.limit(limit))]


def prune(tx: Transaction, *, finished_before: datetime) -> int:
    """Forget operations that ended before; returns how many."""
    return tx.execute(delete(operations).where(operations.c.finished_at < finished_before)).rowcount


def _operation(row: Row[tuple[object, ...]]) -> Operation:
    return Operation(
        id=OperationId(row.id),
        call=Call(row.backend, row.resource_key, row.method, row.arguments),
        state=OperationState(row.state),
        attempts=row.attempts,
        not_before=row.not_before,
        request_id=row.request_id,
        user_id=row.user_id,
        project_id=row.project_id,
        progress=row.progress,
        error=row.error,
        fault=row.fault,
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        answer=row.answer,
    )

"""A durable operation: one call of a manager's method that will happen, whatever dies meanwhile."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from penstock.ids import OperationId


class OperationState(StrEnum):
    """Where an operation is. QUEUED and RUNNING survive a crash; RUNNING found at start is run again."""

    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    FAILED = "failed"
    CANCELLED = "cancelled"


@dataclass(frozen=True, slots=True)
class Call:
    """What to do: the manager's method `method` with keyword `arguments` (JSON values only) at backend `backend`.

    `backend` is ``host@backend``. Calls with one `resource_key` (``share:<id>``) run strictly in the order they were
    enqueued, calls with different keys in parallel.
    """

    backend: str
    resource_key: str
    method: str
    arguments: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Operation:
    """A stored call with its history. `error` is the sentence of the fault that ended it, `answer` what a call that
    only looks found (JSON values)."""

    id: OperationId
    call: Call
    state: OperationState
    attempts: int
    not_before: datetime | None
    request_id: str
    user_id: str | None
    project_id: str | None
    progress: str | None
    error: str | None
    fault: str | None  # the kind of fault that `error` is the sentence of
    cancel_requested: bool
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    answer: Any = None
    told: Any = field(default=None, compare=False, repr=False)  # its result, for who waits in this process; not stored
    # begun by the transaction that asked, which read where the thing it is about is; not stored
    is_sent_there: bool = field(default=False, compare=False)

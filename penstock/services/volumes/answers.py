"""Answers that only the backend can give: the request waits for an operation of the durable queue.

What is asked for is committed before anybody waits, and the answer is what the operation stores. Whoever died or lost
patience meanwhile, client or server, finds it in the row.
"""

from __future__ import annotations

from typing import Any

from penstock.domain.operations import Operation, OperationState
from penstock.errors import Unavailable
from penstock.ids import OperationId
from penstock.operations.outcome import fault_of
from penstock.services.control_plane import ControlPlane


def await_end(plane: ControlPlane, operation_id: OperationId) -> Any:
    """Return when the operation is done, with what its handler told who waits: None when that is to be read.

    Raises as `await_answer`.
    """
    return _ended(plane, operation_id).told


def await_answer(plane: ControlPlane, operation_id: OperationId) -> Any:
    """What the operation answers, once it is done.

    Raises the fault that ended it, Unavailable when it has not ended after ``rpc_response_timeout``: it goes on.
    """
    return _ended(plane, operation_id).answer


def _ended(plane: ControlPlane, operation_id: OperationId) -> Operation:
    operation = plane.operations.wait(plane.database, operation_id, timeout_s=plane.conf.rpc_response_timeout)
    if operation is None:
        raise Unavailable("The storage backend has not answered yet. What was asked for goes on; look at it again.")
    if operation.state is not OperationState.DONE:
        raise fault_of(operation.fault, operation.error)
    return operation

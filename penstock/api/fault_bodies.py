"""Faults as HTTP: one table from kind to status and to the published body.

The published form is ``{"itemNotFound": {"code": 404, "message": "..."}}``; Identity v3 has
``{"error": {"code": 404, "title": "Not Found", "message": "..."}}``.
"""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from penstock.api.http import Answer
from penstock.errors import (
    BackendFault,
    Changed,
    Conflict,
    Fault,
    Forbidden,
    InsufficientCapacity,
    Invalid,
    NotFound,
    QuotaExceeded,
    RequestTooLarge,
    Unauthorized,
    Unavailable,
    Unprocessable,
    Unsupported,
    Unsure,
)
from penstock.identity.lockout import TooManyFailedLogins


class NotAcceptable(Fault):
    """A version this service does not have (406)."""


class MethodNotAllowed(Fault):
    """The path exists, but not with this method (405)."""

    def __init__(self, message: str = "", *, allowed: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.allowed = allowed


class UnsupportedMediaType(Fault):
    """A body that is not JSON by its own account."""


STATUS: dict[type[Fault], int] = {
    Invalid: 400,
    Unprocessable: 422,
    Unsupported: 400,
    UnsupportedMediaType: 400,
    Unauthorized: 401,
    Forbidden: 403,
    NotFound: 404,
    MethodNotAllowed: 405,
    NotAcceptable: 406,
    Conflict: 409,
    Changed: 412,
    InsufficientCapacity: 409,
    QuotaExceeded: 413,
    RequestTooLarge: 413,
    TooManyFailedLogins: 429,
    Unavailable: 503,
    Unsure: 503,
    BackendFault: 500,
    Fault: 500,
}
NAMES = {
    400: "badRequest",
    401: "unauthorized",
    403: "forbidden",
    404: "itemNotFound",
    405: "badMethod",
    409: "conflictingRequest",
    413: "overLimit",
    415: "badMediaType",
    429: "overLimit",
    501: "notImplemented",
    503: "serviceUnavailable",
}


def status_of(fault: Fault) -> int:
    """The HTTP status of a fault, by the nearest kind in the table."""
    return next(STATUS[kind] for kind in type(fault).__mro__ if kind in STATUS)


def share_fault(fault: Fault) -> Answer:
    """The answer of the storage APIs."""
    status = status_of(fault)
    body: dict[str, Any] = {"code": status, "message": fault.message or HTTPStatus(status).description}
    headers = _headers(fault, status)
    if "Retry-After" in headers:
        body["retryAfter"] = headers["Retry-After"]
    return Answer({NAMES.get(status, "computeFault"): body}, status, headers)


def identity_fault(fault: Fault) -> Answer:
    """The answer of Identity v3."""
    status = status_of(fault)
    title = HTTPStatus(status).phrase
    body = {"code": status, "title": title, "message": fault.message or HTTPStatus(status).description}
    return Answer({"error": body}, status, _headers(fault, status))


def unexpected(request_id: str, *, identity: bool = False) -> Answer:
    """The answer to an error of ours: nothing of its inside, only the id under which the log has it."""
    message = f"The server made an error; its log has the details under {request_id}."
    if identity:
        return Answer({"error": {"code": 500, "title": "Internal Server Error", "message": message}}, 500)
    return Answer({"computeFault": {"code": 500, "message": message}}, 500)


def _headers(fault: Fault, status: int) -> dict[str, str]:
    if isinstance(fault, TooManyFailedLogins):
        return {"Retry-After": str(fault.retry_after_s)}
    if isinstance(fault, QuotaExceeded):
        return {"Retry-After": "0"}
    if isinstance(fault, MethodNotAllowed):
        return {"Allow": ", ".join(fault.allowed)}
    if status == HTTPStatus.UNAUTHORIZED:
        return {"WWW-Authenticate": 'Keystone uri="/v3"'}
    return {}

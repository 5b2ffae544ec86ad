"""Refusals in the appliance's words: an HTTP status, a fault name, a sentence (protocol page, section 1)."""

from __future__ import annotations

from penstock.errors import (
    Conflict,
    Fault,
    InsufficientCapacity,
    Invalid,
    NotFound,
    Unauthorized,
    Unavailable,
    Unsupported,
)
from penstock.zfs.faults import HasChildren, HasClones


class Refusal(Fault):
    """What a client is told. `name` is the appliance's."""

    status = 500
    name = "ERR_INTERNAL"


class UnknownArgument(Refusal):
    """An argument this call, or the schema, does not have."""

    status, name = 400, "ERR_UNKNOWN_ARG"


class InvalidArgument(Refusal):
    """An argument with a value that cannot be."""

    status, name = 400, "ERR_INVALID_ARG"


class MissingArgument(Refusal):
    """An argument that is needed."""

    status, name = 400, "ERR_MISSING_ARG"


class NoSession(Refusal):
    """Who asks is not known, or was known too long ago."""

    status, name = 401, "ERR_UNAUTHORIZED"


class Denied(Refusal):
    """The thing is protected, or something that must stay depends on it."""

    status, name = 403, "ERR_DENIED"


class Missing(Refusal):
    """There is no such thing."""

    status, name = 404, "ERR_NOT_FOUND"


class Exists(Refusal):
    """There is one already."""

    status, name = 409, "ERR_OBJECT_EXISTS"


class StateChanged(Refusal):
    """It is not in the state for this."""

    status, name = 409, "ERR_STATE_CHANGED"


class OverLimit(Refusal):
    """More than there is room for."""

    status, name = 413, "ERR_OVER_LIMIT"


class NotImplementedHere(Refusal):
    """What this appliance cannot do."""

    status, name = 501, "ERR_NOT_IMPLEMENTED"


class Busy(Refusal):
    """Not now."""

    status, name = 503, "ERR_BUSY"


# the first that fits counts
_MEANING: tuple[tuple[type[Fault], type[Refusal]], ...] = (
    (HasClones, Denied),
    (HasChildren, Denied),
    (NotFound, Missing),
    (Conflict, Exists),
    (InsufficientCapacity, OverLimit),
    (Unauthorized, NoSession),
    (Invalid, InvalidArgument),
    (Unsupported, NotImplementedHere),
    (Unavailable, Busy),
)


def refusal_of(fault: Fault) -> Refusal:
    """The fault as a client is told it. What nobody planned for is an internal error, and no details leave."""
    if isinstance(fault, Refusal):
        return fault
    kind = next((to for of, to in _MEANING if isinstance(fault, of)), None)
    return Refusal("the appliance could not do it; its log says why") if kind is None else kind(fault.message)

"""What the owner of a resource may know of a fault: not the commands and names of the storage host."""

from __future__ import annotations

from penstock.errors import BackendFault, Fault, InsufficientCapacity, NotFound, Unavailable, Unsupported

_TOLD: tuple[tuple[type[Fault], str], ...] = (
    (InsufficientCapacity, "The storage has no room for it."),
    (Unsupported, "The storage cannot do that."),
    (NotFound, "Something it needs is not on the storage."),
)


def told(fault: Fault) -> str | None:
    """What an owner may know of a fault that quotes the storage host; None for a kind that tells them nothing."""
    return next((sentence for kind, sentence in _TOLD if isinstance(fault, kind)), None)


def reason(fault: Fault) -> str:
    """Why a backend refused, in words that may stand between others."""
    if isinstance(fault, Unavailable):
        return "it did not answer"
    if not isinstance(fault, BackendFault) and not fault.quotes_host:
        return fault.message
    return (told(fault) or "it failed, as an administrator can look into").rstrip(".")

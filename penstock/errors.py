"""The kinds of fault: one type per thing a caller can do about it.

`api.fault_bodies` maps a kind to an HTTP status; `operations.outcome` maps it to what happens to the operation.
The names drivers raise in seed 1 (`ShareShrinkingPossibleDataLoss`, ...) are here too, each under its kind.
"""

from __future__ import annotations


class Fault(Exception):
    """Something went wrong that somebody can act on; the message is one helpful sentence."""

    retryable = False  # may the same request, unchanged, succeed later?
    quotes_host = False  # are there commands and names of the storage host in it? Not for owners, then

    def __init__(self, message: str = "") -> None:
        super().__init__(message)
        self.message = message


class Invalid(Fault):
    """The request cannot be right, or not in the present state (published as 400)."""


class Unprocessable(Invalid):
    """The request is well formed but asks for what this resource cannot do (published as 422)."""


class Unauthorized(Fault):
    """No token, or one that is wrong or expired (401)."""


class Forbidden(Fault):
    """The policy says no (403)."""


class NotFound(Fault):
    """No such resource, or not yours to see (404)."""


class Conflict(Fault):
    """Somebody else changed or holds it (409)."""


class Changed(Conflict):
    """It is not what the caller said it was when it asked to change it (412)."""


class QuotaExceeded(Fault):
    """Over the project's, user's or type's quota (413)."""


class RequestTooLarge(Fault):
    """The body is larger than we read (413)."""


class InsufficientCapacity(Fault):
    """No pool has room, or the pool filled up."""


class Unsupported(Fault):
    """This backend or this ZFS cannot do it, and asking again will not help."""


class Unavailable(Fault):
    """The host, daemon or dataset could not answer now; the same call may work later."""

    retryable = True


class Displaced(Unavailable):
    """Another process serves this backend now: what we were doing is its to finish."""


class Postponed(Unavailable):
    """Nothing is wrong, but its turn comes later: however long that is, it is no reason to give up."""


class UnknownResult(Unavailable):
    """A command ran past its deadline: it may or may not have taken effect. Look again before acting."""


class Unsure(Fault):
    """Nobody can say now whether this process may still act, and so it did not; the same call may work later.

    Not an Unavailable: who takes that for a storage host that is gone would promote another copy because of a database
    that did not answer.
    """

    retryable = True


class Cancelled(Fault):
    """Asked to stop, and did; what was begun can be begun again."""


class BackendFault(Fault):
    """The storage host said something we do not know the meaning of."""


# --- names published by the driver interface (seed 1) ---------------------------------------------------------------


class ShareBackendException(BackendFault):
    """Raised by drivers; sets the instance to ``error``."""


class ShareShrinkingPossibleDataLoss(Invalid):
    """More is used than the new size holds. `share_id` names the share, `used_bytes` is what it holds where known."""

    def __init__(self, message: str = "", *, share_id: str = "", used_bytes: int | None = None) -> None:
        super().__init__(message or f"share {share_id} uses more than the new size: shrinking would lose data")
        self.share_id = share_id
        self.used_bytes = used_bytes


class InvalidShare(Invalid):
    """The share is not in a state, or not of a kind, that allows this."""


class InvalidShareAccess(Invalid):
    """An access type this protocol or backend does not have."""


class InvalidShareAccessLevel(Invalid):
    """An access level this protocol or backend does not have."""


class ManageInvalidShare(Invalid):
    """The existing thing cannot be brought under management; the message says why."""


class ManageExistingShareTypeMismatch(Invalid):
    """The existing thing does not fit the share type."""


class UnmanageInvalidShare(Invalid):
    """The share cannot be let go."""


class ManageInvalidShareSnapshot(Invalid):
    """The existing snapshot cannot be brought under management."""


class UnmanageInvalidShareSnapshot(Invalid):
    """The snapshot cannot be let go."""


class SnapshotResourceNotFound(NotFound):
    """The snapshot is not on the backend."""


class SnapshotLost(SnapshotResourceNotFound):
    """The active replica is said to have the snapshot, and has not: no other one will get it."""


class ShareResourceNotFound(NotFound):
    """The share is not on the backend."""

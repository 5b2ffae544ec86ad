"""Who asks, and under which request id: the first argument of every service and driver call."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from penstock.ids import new_request_id


@dataclass(frozen=True, slots=True)
class RequestContext:
    """The caller of one request. Frozen; `elevated` gives an administrator's copy.

    `is_admin` is decided once, by policy (``context_is_admin``), where the token is checked.
    """

    user_id: str | None
    project_id: str | None
    roles: tuple[str, ...] = ()
    is_admin: bool = False
    request_id: str = field(default_factory=new_request_id)
    user_name: str | None = None
    project_name: str | None = None

    def elevated(self) -> RequestContext:
        """The same caller with an administrator's rights, for what the product does on its own account."""
        return replace(self, is_admin=True)


def admin_context(request_id: str | None = None) -> RequestContext:
    """The product itself as the caller: periodic work, recovery, the command line."""
    return RequestContext(None, None, ("admin",), True, request_id or new_request_id())

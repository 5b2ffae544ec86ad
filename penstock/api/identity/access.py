"""Who may ask identity for what: administrators anything, everybody about themselves."""

from __future__ import annotations

from penstock.api.request import ApiRequest
from penstock.errors import Forbidden


def require_admin(request: ApiRequest) -> None:
    """Raise Forbidden unless the caller is an administrator."""
    if not request.context.is_admin:
        raise Forbidden("You are not authorized to perform the requested action: it takes the role admin.")


def require_self(request: ApiRequest, user_id: str) -> None:
    """Raise Forbidden unless the caller is that user or an administrator."""
    if request.context.user_id != user_id:
        require_admin(request)

"""The words that the signatures of published driver interfaces use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

Updates = Mapping[str, Any]
"""Field names to new values, in the published form; absent keys leave the stored value alone."""


class Context(Protocol):
    """Who caused the call; for logs and for services that want a caller's identity, never for permission checks."""

    @property
    def request_id(self) -> str: ...
    @property
    def user_id(self) -> str | None: ...
    @property
    def project_id(self) -> str | None: ...
    @property
    def is_admin(self) -> bool: ...

"""From a token to a caller: checked by the built-in identity or by a Keystone, remembered for a few seconds."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from penstock.api.policy import Policy
from penstock.clock import Clock
from penstock.context import RequestContext
from penstock.errors import Unauthorized
from penstock.identity.callers import Caller

REMEMBERED_S = 5.0  # a revoked token may work this long in another process
MOST_REMEMBERED = 10_000
LONGEST_TOKEN = 8192


class TokenChecker(Protocol):
    """Knows which tokens are good."""

    def check(self, token: str) -> Caller:
        """Who holds the token. Raises Unauthorized, Unavailable."""
        ...


@dataclass(frozen=True, slots=True)
class _Known:
    caller: Caller
    is_admin: bool
    until_s: float


class Authenticator:
    """Makes the request context of each request; one per process, used by many threads."""

    def __init__(self, tokens: TokenChecker, policy: Policy, clock: Clock) -> None:
        self._tokens = tokens
        self._policy = policy
        self._clock = clock
        self._known: dict[bytes, _Known] = {}
        self._lock = threading.Lock()

    def context(self, headers: Mapping[str, str], request_id: str) -> RequestContext:
        """The caller by ``X-Auth-Token``. Raises Unauthorized."""
        token = headers.get("x-auth-token", "")
        if not token or len(token) > LONGEST_TOKEN:
            raise Unauthorized("The request you have made requires authentication: send a token in X-Auth-Token.")
        known = self._look_up(token)
        caller = known.caller
        return RequestContext(
            user_id=caller.user_id,
            project_id=caller.project_id,
            roles=caller.roles,
            is_admin=known.is_admin,
            request_id=request_id,
            user_name=caller.user_name,
            project_name=caller.project_name,
        )

    def forget(self, token: str) -> None:
        """Check the token afresh next time: it was revoked."""
        with self._lock:
            self._known.pop(_digest(token), None)

    def forget_all(self) -> None:
        """Check every token afresh: users, projects or roles changed."""
        with self._lock:
            self._known.clear()

    def _look_up(self, token: str) -> _Known:
        key = _digest(token)
        now_s = self._clock.monotonic_s()
        with self._lock:
            known = self._known.get(key)
        if known is not None and now_s < known.until_s and self._clock.utc() < known.caller.expires_at:
            return known
        caller = self._tokens.check(token)
        is_admin = self._policy.is_admin(caller.roles, caller.user_id, caller.project_id)
        known = _Known(caller, is_admin, now_s + REMEMBERED_S)
        with self._lock:
            if len(self._known) >= MOST_REMEMBERED:
                self._known.clear()
            self._known[key] = known
        return known


def _digest(token: str) -> bytes:
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).digest()

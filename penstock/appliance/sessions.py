"""Who may use the appliance: users with hashed passwords in a file, and sessions that end when nobody uses them."""

from __future__ import annotations

import base64
import binascii
import re
import secrets
import threading
from pathlib import Path

from penstock.appliance.faults import NoSession
from penstock.clock import Clock
from penstock.errors import Invalid
from penstock.identity.passwords import Passwords

MOST_SESSIONS = 10_000
_LINE = re.compile(r"([^:\s#][^:]*):(\$argon2id?\$\S+)")


def read_users(path: Path) -> dict[str, str]:
    """Hashes by user: lines ``user:hash``. Raises Invalid, also for a file that others may read."""
    try:
        if path.stat().st_mode & 0o077:
            raise Invalid(f"{path} may be read by others: chmod 600 {path}")
        lines = path.read_text().splitlines()
    except OSError as err:
        raise Invalid(f"the file of users cannot be read: {err}") from err
    found: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        match = _LINE.fullmatch(line.strip())
        if match is None:
            raise Invalid(f"{path}:{number} is not 'user:hash'; make one with: penstock appliance password USER")
        found[match[1]] = match[2]
    if not found:
        raise Invalid(f"{path} has no users; make one with: penstock appliance password USER")
    return found


class Sessions:
    """Logs in and recognises. Threads may share it."""

    def __init__(
        self, users: dict[str, str], clock: Clock, *, idle_timeout_s: float, passwords: Passwords | None = None
    ) -> None:
        self._users = users
        self._clock = clock
        self._idle_timeout_s = idle_timeout_s
        self._passwords = passwords or Passwords()
        self._sessions: dict[str, tuple[str, float]] = {}
        self._lock = threading.Lock()

    def log_in(self, authorization: str) -> str:
        """A new session's token. Raises NoSession."""
        user = self.check(authorization)
        token = secrets.token_urlsafe(32)
        with self._lock:
            self._drop_idle()
            if len(self._sessions) >= MOST_SESSIONS:
                del self._sessions[min(self._sessions, key=lambda each: self._sessions[each][1])]
            self._sessions[token] = (user, self._clock.monotonic_s())
        return token

    def check(self, authorization: str) -> str:
        """The user of a header ``Basic ...``. Raises NoSession."""
        kind, _, coded = authorization.partition(" ")
        try:
            user, colon, password = base64.b64decode(coded, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            user, colon, password = "", "", ""
        known = self._passwords.matches(self._users.get(user), password) if kind == "Basic" and colon else False
        if not known:
            raise NoSession("unknown user or wrong password")
        return user

    def use(self, token: str) -> str:
        """The session's user; it lives on. Raises NoSession."""
        with self._lock:
            self._drop_idle()
            found = self._sessions.get(token)
            if found is None:
                raise NoSession("no such session, or it has ended")
            self._sessions[token] = (found[0], self._clock.monotonic_s())
            return found[0]

    def log_out(self, token: str) -> None:
        """End it. Safe to repeat."""
        with self._lock:
            self._sessions.pop(token, None)

    def end_all(self) -> None:
        """As if all had been idle for too long."""
        with self._lock:
            self._sessions.clear()

    def _drop_idle(self) -> None:
        oldest_s = self._clock.monotonic_s() - self._idle_timeout_s
        for token in [token for token, (_, used_s) in self._sessions.items() if used_s < oldest_s]:
            del self._sessions[token]

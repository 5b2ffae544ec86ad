"""Passwords and secrets, hashed with argon2id and never kept otherwise."""

from __future__ import annotations

import threading
from functools import cached_property

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

MEMORY_KIB, PASSES = 19 * 1024, 2  # a choice of OWASP's password storage cheat sheet; about 30 ms
MOST_AT_ONCE = 2  # each takes MEMORY_KIB and a core: a flood of logins must not take the machine


class Passwords:
    """Hashes and compares; thread-safe."""

    def __init__(self, *, memory_kib: int = MEMORY_KIB, passes: int = PASSES) -> None:
        self._hasher = PasswordHasher(time_cost=passes, memory_cost=memory_kib, parallelism=1)
        self._places = threading.BoundedSemaphore(MOST_AT_ONCE)

    def hash(self, secret: str) -> str:
        """The text to store."""
        with self._places:
            return self._hasher.hash(secret)

    def matches(self, stored: str | None, secret: str) -> bool:
        """Is `secret` what was hashed? Takes as long when there is nothing stored, so that nobody learns who exists."""
        compared = stored or self._nobody
        with self._places:
            try:
                found = self._hasher.verify(compared, secret)
            except (VerificationError, InvalidHashError):
                return False
        return found and stored is not None

    @cached_property
    def _nobody(self) -> str:
        return self.hash("nobody has this password")

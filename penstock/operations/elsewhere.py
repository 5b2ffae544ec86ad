"""What an operation is about has moved to another backend since it was queued."""

from __future__ import annotations


class Elsewhere(Exception):
    """Raised by a handler before it has done anything: the worker queues the operation at `backend` instead."""

    def __init__(self, backend: str) -> None:
        super().__init__(f"it is at {backend} now")
        self.backend = backend

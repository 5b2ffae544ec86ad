"""What is alike for shares, volumes and their snapshots in the two APIs: found by id or name, and waited for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from penstock.client.session import Session
from penstock.errors import BackendFault, Conflict, NotFound, UnknownResult

Document = dict[str, Any]
Progress = Callable[[str], None]

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


def find(session: Session, plural: str, name_or_id: str) -> Document:
    """The one of `plural` (``shares``, ``volumes``, ``snapshots``) with that id or name. Raises NotFound, Conflict."""
    singular = plural.removesuffix("s")
    try:
        return dict(session.get(f"{plural}/{name_or_id}")[singular])
    except NotFound:
        pass
    found = session.get(f"{plural}/detail", name=name_or_id)[plural]
    if not found:
        raise NotFound(f"There is no {singular} '{name_or_id}'.")
    if len(found) > 1:
        raise Conflict(f"{len(found)} {plural} are called '{name_or_id}': name one by its id.")
    return dict(found[0])


def settled(
    session: Session,
    plural: str,
    thing_id: str,
    passing: frozenset[str],
    reason: Callable[[Session, str], str],
    *,
    timeout_s: float,
    progress: Progress,
) -> Document | None:
    """The one of `plural` once its status is not `passing` any more; None when it is gone.

    Raises BackendFault with its `reason` when it ended in error, UnknownResult past the deadline.
    """
    singular = plural.removesuffix("s")

    def look() -> Document | None:
        return dict(session.get(f"{plural}/{thing_id}")[singular])

    found = awaited(look, "status", passing, timeout_s=timeout_s, progress=progress)
    if found is not None and "error" in found["status"]:
        raise BackendFault(f"The {singular} ended in state '{found['status']}'. {reason(session, thing_id)}".rstrip())
    return found


def awaited(
    look: Callable[[], Document | None], name: str, passing: frozenset[str], *, timeout_s: float, progress: Progress
) -> Document | None:
    """What `look` finds once its field `name` is not `passing` any more; None when it is gone.

    Raises UnknownResult past the deadline.
    """
    deadline = time.monotonic() + timeout_s
    pause_s = FIRST_PAUSE_S
    while True:
        try:
            found = look()
        except NotFound:
            return None
        if found is None or found[name] not in passing:
            return found
        progress(str(found[name]))
        if time.monotonic() >= deadline:
            raise UnknownResult(f"It is still '{found[name]}' after {timeout_s:g} s; it goes on without us.")
        time.sleep(pause_s)  # neither API tells anybody of changes
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)

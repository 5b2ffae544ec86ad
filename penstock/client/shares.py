"""What people do with shares, over the API: find by name, ask, and wait for the end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

from penstock.client.session import Session
from penstock.errors import BackendFault, Conflict, NotFound, UnknownResult

Document = dict[str, Any]
Progress = Callable[[str], None]

# States that pass by themselves.
PASSING = frozenset(
    {
        "creating",
        "creating_from_snapshot",
        "deleting",
        "extending",
        "shrinking",
        "reverting",
        "restoring",
        "manage_starting",
        "unmanage_starting",
        "ensuring",
        "replication_change",
    }
)
RULE_PASSING = frozenset({"new", "queued_to_apply", "queued_to_deny", "applying", "denying"})
FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 1.0


def find(session: Session, plural: str, name_or_id: str) -> Document:
    """The share or snapshot (`plural`: ``shares``, ``snapshots``) by id or by name. Raises NotFound, Conflict."""
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


def settled(session: Session, plural: str, thing_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The share or snapshot once its state no longer passes by itself; None when it is gone.

    Raises BackendFault with the reason its owner was given when it ended in error, UnknownResult past the deadline.
    """
    singular = plural.removesuffix("s")

    def look() -> Document | None:
        return dict(session.get(f"{plural}/{thing_id}")[singular])

    found = awaited(look, "status", PASSING, timeout_s=timeout_s, progress=progress)
    if found is not None and "error" in found["status"]:
        raise BackendFault(f"The {singular} ended in state '{found['status']}'. {reason(session, thing_id)}".rstrip())
    return found


def settled_rule(session: Session, rule_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The same for an access rule."""

    def look() -> Document | None:
        return dict(session.get(f"share-access-rules/{rule_id}")["access"])

    found = awaited(look, "state", RULE_PASSING, timeout_s=timeout_s, progress=progress)
    if found is not None and found["state"] == "error":
        share_id = str(found.get("share_id", ""))
        raise BackendFault(f"The access rule could not be applied. {reason(session, share_id)}".rstrip())
    return found


def reason(session: Session, resource_id: str) -> str:
    """What the newest user message about the resource says; empty when there is none."""
    found = session.get("messages", resource_id=resource_id, sort_key="created_at", sort_dir="desc", limit=1)
    return str(found["messages"][0]["user_message"]) if found["messages"] else ""


def pages(session: Session, plural: str, **query: Any) -> Iterator[Document]:
    """Everything in a list, page by page."""
    offset, size = 0, 500
    while True:
        page = session.get(f"{plural}/detail", limit=size, offset=offset, **query)[plural]
        yield from page
        if len(page) < size:
            return
        offset += size


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
        time.sleep(pause_s)
        pause_s = min(LONGEST_PAUSE_S, pause_s * 1.5)

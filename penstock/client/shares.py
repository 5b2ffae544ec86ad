"""What people do with shares, over the API: list, wait for the end, and ask for the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.client import resources
from penstock.client.resources import Document, Progress, awaited
from penstock.client.session import Session
from penstock.errors import BackendFault

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


def settled(session: Session, plural: str, thing_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The share or snapshot (`plural`: ``shares``, ``snapshots``): see `resources.settled`."""
    return resources.settled(session, plural, thing_id, PASSING, reason, timeout_s=timeout_s, progress=progress)


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

"""What people do with volumes, over the API: list, wait for the end, and ask for the reason."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from penstock.client import resources
from penstock.client.resources import Document, Progress
from penstock.client.session import Session

# States that pass by themselves.
PASSING = frozenset(
    {
        "creating",
        "downloading",
        "deleting",
        "extending",
        "retyping",
        "reverting",
        "restoring",
        "uploading",
        "backing-up",
        "restoring-backup",
        "maintenance",
        "managing",
        "unmanaging",
    }
)
PAGE = 500


def settled(session: Session, plural: str, thing_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The volume or snapshot (`plural`: ``volumes``, ``snapshots``): see `resources.settled`."""
    return resources.settled(session, plural, thing_id, PASSING, reason, timeout_s=timeout_s, progress=progress)


def reason(session: Session, resource_id: str) -> str:
    """What the newest message of the caller's project about the resource says; empty when there is none."""
    found = session.get("messages", resource_uuid=resource_id, sort="created_at:desc", limit=1)["messages"]
    return str(found[0]["user_message"]) if found else ""


def pages(session: Session, plural: str, **query: Any) -> Iterator[Document]:
    """Everything in a list, page by page."""
    marker = None
    while True:
        page = session.get(f"{plural}/detail", limit=PAGE, marker=marker, **query)[plural]
        yield from page
        if len(page) < PAGE:
            return
        marker = page[-1]["id"]

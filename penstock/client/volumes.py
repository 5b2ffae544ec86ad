"""What people do with volumes, over the API: find by name, ask, and wait for the end."""

from __future__ import annotations

from collections.abc import Iterator

from penstock.client.session import Session
from penstock.client.shares import Document, Progress, awaited
from penstock.errors import BackendFault, Conflict, NotFound

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


def find(session: Session, plural: str, name_or_id: str) -> Document:
    """The volume or snapshot (`plural`: ``volumes``, ``snapshots``) by id or by name. Raises NotFound, Conflict."""
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
    """The volume or snapshot once its state no longer passes by itself; None when it is gone.

    Raises BackendFault with the reason its owner was given when it ended in error, UnknownResult past the deadline.
    """
    singular = plural.removesuffix("s")

    def look() -> Document | None:
        return dict(session.get(f"{plural}/{thing_id}")[singular])

    found = awaited(look, "status", PASSING, timeout_s=timeout_s, progress=progress)
    if found is not None and "error" in found["status"]:
        raise BackendFault(f"The {singular} ended in state '{found['status']}'. {reason(session, thing_id)}".rstrip())
    return found


def reason(session: Session, resource_id: str) -> str:
    """What the newest message of the caller's project about the resource says; empty when there is none."""
    found = session.get("messages", resource_uuid=resource_id, sort="created_at:desc", limit=1)["messages"]
    return str(found[0]["user_message"]) if found else ""


def pages(session: Session, plural: str, **query: object) -> Iterator[Document]:
    """Everything in a list, page by page."""
    marker = None
    while True:
        page = session.get(f"{plural}/detail", limit=PAGE, marker=marker, **query)[plural]
        yield from page
        if len(page) < PAGE:
            return
        marker = page[-1]["id"]

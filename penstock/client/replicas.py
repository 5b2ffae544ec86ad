"""Replicas over the API: list with their lag, ask, and wait for the end."""

from __future__ import annotations

from penstock.client.resources import Document, Progress, awaited, find
from penstock.client.session import Session
from penstock.client.shares import PASSING, reason
from penstock.errors import BackendFault

PROMOTE = "004"  # the published code of the action


def of(session: Session, share: str | None) -> list[Document]:
    """The replicas of a share (name or id), or of all the project's, the active one of each share first.

    Raises NotFound, Conflict (several shares have that name).
    """
    share_id = find(session, "shares", share)["id"] if share else None
    found: list[Document] = session.get("share-replicas/detail", share_id=share_id, with_lag="true")["share_replicas"]
    return sorted(found, key=lambda one: (one["share_id"], one["replica_state"] != "active", one["created_at"]))


def get(session: Session, replica_id: str) -> Document:
    """One replica. Raises NotFound."""
    return dict(session.get(f"share-replicas/{replica_id}", with_lag="true")["share_replica"])


def settled(session: Session, replica_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The replica once its state no longer passes by itself; None when it is gone.

    Raises BackendFault with the reason its owner was given when it ended in error, UnknownResult past the deadline.
    """

    def look() -> Document | None:
        return get(session, replica_id)

    found = awaited(look, "status", PASSING, timeout_s=timeout_s, progress=progress)
    if found is not None and "error" in found["status"]:
        raise BackendFault(f"The replica ended in state '{found['status']}'. {reason(session, replica_id)}".rstrip())
    return found


def synced(session: Session, replica_id: str, *, timeout_s: float, progress: Progress) -> Document | None:
    """The replica once it is in sync; None when it is gone. Raises as `settled`."""

    def look() -> Document | None:
        return get(session, replica_id)

    found = awaited(look, "replica_state", frozenset({"out_of_sync"}), timeout_s=timeout_s, progress=progress)
    if found is not None and found["replica_state"] == "error":
        raise BackendFault(f"The replica could not be brought into sync. {reason(session, replica_id)}".rstrip())
    return found


def told_of_promotions(session: Session, replica_id: str) -> dict[str, str]:
    """What the owner was told of promotions of the replica, by the message's id."""
    found = session.get("messages", resource_id=replica_id, action_id=PROMOTE)["messages"]
    return {one["id"]: str(one["user_message"]) for one in found}

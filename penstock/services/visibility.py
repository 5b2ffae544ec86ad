"""Projects are isolated from each other: what a caller may see, and what only its owner may change.

Policy decides what a role may do; these functions decide whose things it is done to. What a caller may not see does not
exist for it (404); what it may see but not change is refused (403).

Who will write asks `share_to_change` or `snapshot_to_change` before anything else: what it then reads of the share, its
rules and its snapshots stays so until its transaction ends. Locks are taken in one order: share, quota, placement.
"""

from __future__ import annotations

from penstock.context import RequestContext
from penstock.domain.shares import Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import Forbidden, NotFound
from penstock.store import shares, snapshots
from penstock.store.database import Transaction, hold


def owns(context: RequestContext, project_id: str) -> bool:
    """Is the caller of that project, or an administrator?"""
    return context.is_admin or context.project_id == project_id


def visible_share(tx: Transaction, context: RequestContext, share_id: str) -> Share:
    """The share, also another project's public one. Raises NotFound."""
    share = shares.get(tx, share_id)
    if share is None or not (share.is_public or owns(context, share.project_id)):
        raise NotFound(f"There is no share {share_id}.")
    return share


def own_share(tx: Transaction, context: RequestContext, share_id: str) -> Share:
    """The share, when it is the caller's. Raises NotFound, or Forbidden for another project's public share."""
    share = visible_share(tx, context, share_id)
    if not owns(context, share.project_id):
        raise Forbidden(f"Share {share_id} belongs to another project; it is public for reading only.")
    return share


def hold_share(tx: Transaction, share_id: str) -> None:
    """Be the only one to change the share, its rules and its snapshots until this transaction ends.

    To be called before the reads that decide, and before a quota or the placement is held.
    """
    hold(tx, f"share {share_id}")


def share_to_change(tx: Transaction, context: RequestContext, share_id: str) -> Share:
    """`own_share`, held until this transaction ends. Raises as that."""
    hold_share(tx, share_id)
    return own_share(tx, context, share_id)


def changeable_share(tx: Transaction, context: RequestContext, share_id: str) -> Share:
    """`share_to_change`, for what a share in the recycle bin does not take. Raises Forbidden for such a share too."""
    share = share_to_change(tx, context, share_id)
    if share.is_soft_deleted:
        raise Forbidden(f"Share {share_id} has been soft-deleted; restore it first.")
    return share


def own_snapshot(tx: Transaction, context: RequestContext, snapshot_id: str) -> Snapshot:
    """The snapshot. Raises NotFound, also for other projects' snapshots."""
    snapshot = snapshots.get(tx, snapshot_id)
    if snapshot is None or not owns(context, snapshot.project_id):
        raise NotFound(f"There is no snapshot {snapshot_id}.")
    return snapshot


def snapshot_to_change(tx: Transaction, context: RequestContext, snapshot_id: str) -> Snapshot:
    """`own_snapshot`, read while its share is held until this transaction ends. Raises as that."""
    hold_share(tx, own_snapshot(tx, context, snapshot_id).share_id)
    return own_snapshot(tx, context, snapshot_id)


def owner_of(context: RequestContext) -> tuple[str, str]:
    """Project and user of what the caller makes. Raises Forbidden for a caller without a project."""
    if context.project_id is None or context.user_id is None:
        raise Forbidden("This needs a token for a project.")
    return context.project_id, context.user_id

"""What a repair does to the rows: each action is one transaction, conditional on the rows being as they were examined.

Work on the storage is queued as an operation, in order with everything else about the share.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

from penstock.domain.access import AccessState
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.operations import Call
from penstock.domain.shares import AccessRulesStatus, Share
from penstock.domain.snapshots import Snapshot
from penstock.errors import Conflict, Fault
from penstock.ids import ShareId
from penstock.share.manager.notices import tell_owner
from penstock.share_site import ShareSite
from penstock.store import access, instances, operations, shares, snapshots
from penstock.store.database import Transaction


class Action(Protocol):
    """One repair."""

    def carry_out(self, site: ShareSite) -> None:
        """Do it. Raises Conflict when somebody changed the rows since, and what the storage raises."""
        ...


@dataclass(frozen=True, slots=True)
class EndShare:
    """Move the share to what `event` leads to, and tell its owner `reason`."""

    share: Share
    event: Event
    action: MessageAction
    reason: str

    def carry_out(self, site: ShareSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.share.id)
            shares.move(tx, self.share.instance, self.event, now=backend.now())
            if self.share.size_target_gib is not None:
                shares.update_share(tx, self.share.id, now=backend.now(), size_target_gib=None)
            tell_owner(tx, backend, site.context, self.share, self.action, Fault(self.reason))


@dataclass(frozen=True, slots=True)
class EndSnapshot:
    """The same for a snapshot."""

    snapshot: Snapshot
    event: Event
    action: MessageAction
    reason: str

    def carry_out(self, site: ShareSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.snapshot.share_id)
            snapshots.move(tx, self.snapshot.instance, self.event, now=backend.now())
            tell_owner(tx, backend, site.context, self.snapshot, self.action, Fault(self.reason))


@dataclass(frozen=True, slots=True)
class Queue:
    """Queue the manager's `method`; with `event` the share first moves to what that leads to, towards `target_gib`."""

    share: Share
    method: str
    arguments: dict[str, Any] = field(default_factory=dict)
    event: Event | None = None
    target_gib: int | None = None

    def carry_out(self, site: ShareSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.share.id)
            if self.event is not None:
                shares.move(tx, self.share.instance, self.event, now=backend.now())
                shares.update_share(tx, self.share.id, now=backend.now(), size_target_gib=self.target_gib)
            elif shares.get_by_instance(tx, self.share.instance.id) != self.share:
                raise Conflict(f"Share {self.share.id} was changed meanwhile.")
            _enqueue(tx, site, self.share.id, self.method, self.arguments)


@dataclass(frozen=True, slots=True)
class ApplyRulesAgain:
    """Queue the share's active access rules as if they were new."""

    share: Share

    def carry_out(self, site: ShareSite) -> None:
        backend = site.backend
        instance_id = self.share.instance.id
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.share.id)
            now = backend.now()
            active, queued = [AccessState.ACTIVE], AccessState.QUEUED_TO_APPLY
            access.set_states(tx, instance_id, now=now, source=active, target=queued)
            instances.update_instance(tx, instance_id, now=now, access_rules_status=AccessRulesStatus.SYNCING)
            _enqueue(tx, site, self.share.id, "update_access", {"share_instance_id": instance_id})


@dataclass(frozen=True, slots=True)
class RecordPool:
    """Write the pool the share was found on."""

    share: Share
    pool: str

    def carry_out(self, site: ShareSite) -> None:
        backend = site.backend
        with backend.database.begin() as tx:
            _check_idle(tx, site, self.share.id)
            host = f"{backend.host}#{self.pool}"
            instances.update_instance(tx, self.share.instance.id, now=backend.now(), host=host)


def _check_idle(tx: Transaction, site: ShareSite, share_id: ShareId) -> None:
    waiting = operations.pending(tx, backend=site.backend.host, resource_key=f"share:{share_id}")
    if any(operation.request_id != site.context.request_id for operation in waiting):  # our own repairs come in order
        raise Conflict(f"An operation on share {share_id} has begun meanwhile; look again when it is done.")


def _enqueue(tx: Transaction, site: ShareSite, share_id: ShareId, method: str, arguments: dict[str, Any]) -> None:
    site.queue.enqueue(tx, site.context, Call(site.backend.host, f"share:{share_id}", method, arguments))

"""Where rows and storage say different things about a share's replicas, they are brought together.

A look decides from what it saw, and what it starts is an operation of the share's, so that nothing is mended while
somebody works on it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.operations import Call
from penstock.domain.shares import AccessRulesStatus, Share, ShareStatus
from penstock.errors import Conflict, Fault
from penstock.operations.queue import OperationQueue
from penstock.share.manager import ensure
from penstock.share.manager.backend import Backend
from penstock.share.manager.sightings import Sighting
from penstock.share.replication import Role
from penstock.store import instances, operations, replicas, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

RESTORABLE = (ShareStatus.AVAILABLE, ShareStatus.ERROR)


@dataclass(frozen=True, slots=True)
class Mending:
    """Mends the shares of one backend."""

    backend: Backend
    queue: OperationQueue

    def mend(self, context: RequestContext, one: Sighting) -> bool:
        """Start what brings rows and storage together, if anything has to. True: there is more to do,
        which an operation that is under way keeps it from, or which the next look decides."""
        if one.row.status is ShareStatus.REPLICATION_CHANGE:
            return self._end_change(one)
        if one.report is None or one.active is None or one.row.status not in RESTORABLE:
            return False
        is_active_there = one.report.role is Role.ACTIVE
        # A promotion that reached the storage and failed, and that a later one overtook: the next sync fences it.
        is_overtaken = not one.is_active and is_active_there and one.report.epoch < one.active.epoch
        if one.row.status is ShareStatus.ERROR and (one.is_active is is_active_there or is_overtaken):
            return self._heal(context, one)
        if one.is_active and not is_active_there:
            # A promotion fenced it and failed: it has the data, and nobody else serves the share.
            return self._promote(context, one, "fenced")
        if not one.is_active and is_active_there and one.report.epoch > one.active.epoch:
            # A promotion reached the storage, and not the rows.
            return self._promote(context, one, "promoted")
        if one.is_active and one.is_alone and one.report.is_replicated and one.row.status is ShareStatus.AVAILABLE:
            # Its last replica was deleted while it could not be told.
            return self._end_replication(context, one)
        return False

    def _end_change(self, one: Sighting) -> bool:
        """A promotion whose end could not be written: it is open how far it came, and the next look sees that."""
        with self.backend.database.begin() as tx:
            row = instances.get(tx, one.row.id)
            if row is None or row.status is not ShareStatus.REPLICATION_CHANGE:
                return False
            if _is_busy(tx, one.share):
                return True
            shares.move(tx, row, Event.FAILED, now=self.backend.now())
            log.warning("replica.stranded", replica=row.id)
        return True  # how it is by now the next look sees

    def _heal(self, context: RequestContext, one: Sighting) -> bool:
        """One that could not be made, and is there, has rules that its creation was to put in force."""
        try:
            with self.backend.database.begin() as tx:
                if _is_busy(tx, one.share):
                    return True
                shares.move(tx, one.row, Event.HEALED, now=self.backend.now())
                ensure.ask_again(tx, self.backend.host)
                if one.row.access_rules_status is AccessRulesStatus.SYNCING:
                    self._enqueue(tx, context, one, "update_access", {"share_instance_id": one.row.id})
                log.info("replica.healed", replica=one.row.id)
        except Conflict as fault:
            log.info("replica.changed_meanwhile", replica=one.row.id, fault=str(fault))
        return False

    def _promote(self, context: RequestContext, one: Sighting, found: str) -> bool:
        """Let a promotion of this replica, which finds how far the last one came, put storage and rows in line."""
        try:
            with self.backend.database.begin() as tx:
                active = replicas.active_of(tx, one.share.id)
                if active is None:
                    return False
                if _is_busy(tx, one.share):
                    return True
                shares.move(tx, active.instance, Event.PROMOTE, now=self.backend.now())
                self._enqueue(tx, context, one, "promote_share_replica", _arguments(one))
        except Fault as fault:  # its state does not allow it now
            log.info("replica.not_mended", replica=one.row.id, fault=str(fault))
        else:
            log.warning("replica.mended", replica=one.row.id, found=found)
        return False

    def _end_replication(self, context: RequestContext, one: Sighting) -> bool:
        with self.backend.database.begin() as tx:
            if _is_busy(tx, one.share):
                return True
            self._enqueue(tx, context, one, "end_share_replication", _arguments(one))
            log.info("replica.is_alone", replica=one.row.id)
        return False

    def _enqueue(
        self, tx: Transaction, context: RequestContext, one: Sighting, method: str, arguments: dict[str, Any]
    ) -> None:
        self.queue.enqueue(tx, context, Call(self.backend.host, f"share:{one.share.id}", method, arguments))


def _arguments(one: Sighting) -> dict[str, Any]:
    return {"share_replica_id": one.row.id, "share_id": one.share.id}


def _is_busy(tx: Transaction, share: Share) -> bool:
    return bool(operations.pending(tx, resource_key=f"share:{share.id}"))

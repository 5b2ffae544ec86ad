"""Look at one backend: its rows, its storage, its rows again."""

from __future__ import annotations

from dataclasses import dataclass

from penstock.doctor.actions import Action
from penstock.doctor.books import Books, settled
from penstock.doctor.drift import drift
from penstock.doctor.findings import Finding
from penstock.doctor.repairs import plan
from penstock.domain.access import AccessState
from penstock.domain.shares import ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.ids import ShareId
from penstock.share.inventory import Inventory
from penstock.share.manager.models import access_models, share_models
from penstock.share_site import ShareSite
from penstock.store import access, instances, operations, shares, snapshot_instances, snapshots

KEY = "share:"


@dataclass(frozen=True, slots=True)
class Examination:
    """What was seen, and what of it does not agree."""

    books: Books
    inventory: Inventory
    findings: tuple[Finding, ...]

    def repair_of(self, finding: Finding) -> Action | None:
        """What repairs it, None when only an administrator can."""
        return plan(finding, self.books, self.inventory)

    @property
    def unseen(self) -> str | None:
        """Why nobody could tell: never, because `examine` raises then."""
        return None


def examine(site: ShareSite) -> Examination:
    """Compare database, storage and exports. Changes nothing; a daemon may be at work meanwhile.

    Raises Unsupported (the driver keeps no identity), NotFound and Unavailable (a pool is missing).
    """
    before = read_books(site)
    inventory = site.inventory()
    books = settled(before, read_books(site))
    return Examination(books, inventory, drift(books, inventory))


def read_books(site: ShareSite) -> Books:
    """The rows as they are now, in a fixed number of queries."""
    backend = site.backend
    with backend.database.read() as tx:
        found = shares.of_backend(tx, backend.host, statuses=list(ShareStatus))
        taken = snapshots.of_backend(tx, backend.host, statuses=list(SnapshotStatus))
        rules = access.of_instances(tx, [share.instance.id for share in found])
        models = share_models(tx, backend, found)
        waiting = operations.pending(tx, backend=backend.host)
        known: set[str] = {instance.id for instance in instances.list_all(tx)}
        known |= {found.instance.id for found in snapshot_instances.list_all(tx)}  # those of replicas, too
    clients = {}
    for share, model in zip(found, models, strict=True):
        active = [rule for rule in rules.get(share.instance.id, []) if rule.state is AccessState.ACTIVE]
        clients[share.instance.id] = site.holder.clients_of(model, access_models(share, active))
    return Books(
        shares={share.instance.id: share for share in found},
        snapshots={snapshot.instance.id: snapshot for snapshot in taken},
        rules={share.instance.id: tuple(rules.get(share.instance.id, ())) for share in found},
        clients=clients,
        busy=frozenset(
            ShareId(operation.call.resource_key.removeprefix(KEY))
            for operation in waiting
            if operation.call.resource_key.startswith(KEY)
        ),
        known=frozenset(known),
    )

"""What users do: random requests through the services, and writes to their shares; and what they then expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from penstock.domain.access import AccessLevel, AccessState, AccessType
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.errors import Fault
from penstock.services import access, share_creation, share_lifecycle, share_sizes, snapshots
from penstock.services.access import NewRule
from penstock.services.share_creation import NewShare
from penstock.services.snapshots import NewSnapshot
from penstock.store import access as rule_rows
from penstock.store import shares as share_rows
from penstock.store import snapshots as snapshot_rows
from penstock.store.shares import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from penstock.units import MIB
from tests.simulation.looks import Looks, looked
from tests.simulation.world import CONTEXT, World

Content = tuple[int, ...]
ADDRESSES = ("10.0.0.1", "10.0.0.2", "10.1.0.0/16", "2001:db8::1", "2001:db8::/64")


@dataclass
class Users:
    """Act at random, and remember what was written: `data` by share id, `taken` by snapshot id."""

    world: World
    data: dict[str, Content] = field(default_factory=dict)
    taken: dict[str, Content] = field(default_factory=dict)
    instead: dict[str, Content] = field(
        default_factory=dict
    )  # what a share may hold after a revert that may be refused
    forced: set[str] = field(default_factory=set)  # instances somebody gave up, whatever the backend could do
    refusals: int = 0
    looks: Looks = field(default_factory=dict)

    def act(self) -> None:
        """One random request or write. A refusal with a Fault is a proper answer; anything else is a defect."""
        actions: tuple[tuple[int, Callable[[], None]], ...] = (
            (5, self._create),
            (3, self._create_from_snapshot),
            (3, self._delete),
            (1, self._force_delete),
            (3, self._extend),
            (2, self._shrink),
            (4, self._snapshot),
            (3, self._delete_snapshot),
            (1, self._revert),
            (5, self._allow),
            (3, self._deny),
            (6, self._write),
        )
        weights = [weight for weight, _ in actions]
        ((_, action),) = self.world.random.choices(actions, weights)
        try:
            action()
        except Fault:
            self.refusals += 1
        finally:
            self.remember()

    def remember(self) -> None:
        """What was accepted lately, and what is therefore expected: also when the process died before it answered."""
        shares, snapshots_ = self._all_shares(), self._all_snapshots()
        for snapshot in snapshots_:
            self.taken.setdefault(snapshot.id, self.data.get(snapshot.share_id, ()))
            if snapshot.status is SnapshotStatus.RESTORING:
                if self._is_newest(snapshot.instance.id):
                    self.data[snapshot.share_id] = self.taken[snapshot.id]
                else:  # refused when what is newer cannot go, because a share was made from it
                    self.instead[snapshot.share_id] = self.taken[snapshot.id]
        for share in shares:
            if share.id not in self.data:
                self.data[share.id] = self.taken.get(share.snapshot_id or "", ())

    def path_of(self, share: Share) -> str | None:
        """The share's dataset on the host, found by the id written on it."""
        for path, filesystem in self.world.host.state.filesystems.items():
            if filesystem.local.get("penstock:id") == share.instance.id:
                return path
        return None

    def expects(self, share_id: str, content: Content) -> bool:
        """May the share hold that? What it holds is expected from now on."""
        if content == self.instead.pop(share_id, None):
            self.data[share_id] = content
        return content == self.data[share_id]

    def _is_newest(self, snapshot_instance_id: str) -> bool:
        for filesystem in self.world.host.state.filesystems.values():
            if filesystem.last and filesystem.last.local.get("penstock:id") == snapshot_instance_id:
                return True
        return False

    def _all_shares(self) -> list[Share]:
        return looked(self.world.database, self.looks, "shares", lambda tx: share_rows.list_shares(tx, ShareFilter()))

    def _all_snapshots(self) -> list[Snapshot]:
        return looked(
            self.world.database, self.looks, "snapshots", lambda tx: snapshot_rows.list_snapshots(tx, SnapshotFilter())
        )

    # -- choices

    def _shares(self, *statuses: ShareStatus) -> list[Share]:
        found = self._all_shares()
        return [share for share in found if not statuses or share.status in statuses]

    def _some_share(self, *statuses: ShareStatus) -> Share:
        found = self._shares(*statuses)
        if not found:
            raise Fault("there is no such share")
        return self.world.random.choice(found)

    def _some_snapshot(self) -> str:
        found = self._all_snapshots()
        if not found:
            raise Fault("there is no snapshot")
        return self.world.random.choice(found).id

    # -- requests

    def _create(self) -> None:
        size_gib = self.world.random.choice((1, 1, 2, 3))
        share_creation.create(self.world.plane, CONTEXT, NewShare("NFS", size_gib, "s"))

    def _create_from_snapshot(self) -> None:
        snapshot_id = self._some_snapshot()
        share_creation.create(self.world.plane, CONTEXT, NewShare("NFS", None, "c", snapshot_id=snapshot_id))

    def _delete(self) -> None:
        share_lifecycle.delete(self.world.plane, CONTEXT, self._some_share().id)

    def _force_delete(self) -> None:
        share = self._some_share()
        self.forced.add(share.instance.id)
        share_lifecycle.force_delete(self.world.plane, CONTEXT.elevated(), share.id)

    def _extend(self) -> None:
        share = self._some_share()
        size_gib = share.size_gib + self.world.random.choice((0, 1, 2))
        share_sizes.extend(self.world.plane, CONTEXT, share.id, size_gib, force=False)

    def _shrink(self) -> None:
        share = self._some_share()
        share_sizes.shrink(self.world.plane, CONTEXT, share.id, share.size_gib - self.world.random.choice((0, 1)))

    def _snapshot(self) -> None:
        snapshots.create(self.world.plane, CONTEXT, NewSnapshot(self._some_share().id))

    def _delete_snapshot(self) -> None:
        snapshots.delete(self.world.plane, CONTEXT, self._some_snapshot())

    def _revert(self) -> None:
        snapshot_id = self._some_snapshot()
        with self.world.database.read() as tx:
            snapshot = snapshot_rows.get(tx, snapshot_id)
        assert snapshot is not None
        share_lifecycle.revert(self.world.plane, CONTEXT, snapshot.share_id, snapshot_id)

    def _allow(self) -> None:
        random = self.world.random
        rule = NewRule(AccessType.IP, random.choice(ADDRESSES), random.choice(list(AccessLevel)))
        access.allow(self.world.plane, CONTEXT, self._some_share().id, rule)

    def _deny(self) -> None:
        share = self._some_share()
        with self.world.database.read() as tx:
            rules = rule_rows.of_share(tx, share.id)
        if rules:
            access.deny(self.world.plane, CONTEXT, share.id, self.world.random.choice(rules).id)

    def _write(self) -> None:
        """Clients write only while nobody is working on the share, so that what must be kept is known."""
        share = self._some_share(ShareStatus.AVAILABLE)
        busy = {operation.call.resource_key for operation in self.world.pending}
        path = self.path_of(share)
        if f"share:{share.id}" in busy or path is None:
            return
        size = self.world.random.choice((1, 50, 400, 900)) * MIB
        try:
            self.world.host.write(path, size)
        except OSError:
            return  # full: the client is told, and keeps what it had
        finally:
            self.data[share.id] = self.world.host.content(path)


UNSETTLED = {
    *(status for status in ShareStatus if status.value.endswith("ing") and status is not ShareStatus.ERROR_DELETING),
    *(
        status
        for status in SnapshotStatus
        if status.value.endswith("ing") and status is not SnapshotStatus.ERROR_DELETING
    ),
    *(status for status in (*ShareStatus, *SnapshotStatus) if status.value.endswith("_starting")),
    ShareStatus.CREATING_FROM_SNAPSHOT,
}


def settled(status: ShareStatus | SnapshotStatus) -> bool:
    """Is that a state in which nothing is going on?"""
    return status not in UNSETTLED


def applied(state: AccessState) -> bool:
    """Is the rule where it was meant to be?"""
    return state in (AccessState.ACTIVE, AccessState.ERROR)

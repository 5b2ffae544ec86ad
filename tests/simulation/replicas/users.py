"""What users do with replicated shares, and what they were promised: each acknowledged write is remembered."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.domain.snapshots import Snapshot
from penstock.errors import Fault, InvalidShare
from penstock.store import replicas, snapshots
from penstock.store import shares as share_rows
from penstock.store.database import Transaction
from penstock.store.shares import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from tests.simulation.looks import Looks, looked
from tests.simulation.replicas import requests
from tests.simulation.replicas.site import Copy
from tests.simulation.replicas.world import World

CLIENT = "10.0.0.1"


@dataclass(frozen=True, slots=True)
class Write:
    """Acknowledged to a client: `at` (true time) by a copy of the reign `epoch`."""

    what: str
    at: datetime
    epoch: int
    instance_id: str


@dataclass
class Users:
    """Act at random. `written` by share; `reverted` are writes that a revert may have taken away."""

    world: World
    written: dict[str, list[Write]] = field(default_factory=dict)
    reverted: set[str] = field(default_factory=set)
    gone: set[str] = field(default_factory=set)  # instances whose deletion was accepted
    mounted: dict[str, tuple[str, str]] = field(default_factory=dict)  # by share, where a client last looked
    count: int = 0
    refusals: int = 0
    looks: Looks = field(default_factory=dict)

    def begin(self) -> None:
        """A share with two replicas: most of what is of interest needs them. Where all clocks are so late that every
        backend counts as down, it cannot be placed."""
        requests.create(self.world)
        self.world.work_all()
        with suppress(InvalidShare):
            requests.allow(self.world, self.shares()[0].id, CLIENT)
            for _ in range(self.world.random.choice((1, 2, 2))):
                requests.create_replica(self.world, self.shares()[0].id)
        self.world.work_all()
        self.world.work_all()

    def act(self) -> None:
        """One random request or write."""
        actions: tuple[tuple[int, Callable[[], object]], ...] = (
            (1, self._create),
            (4, self._create_replica),
            (1, self._delete_replica),
            (5, self._promote),
            (2, self._resync),
            (3, self._snapshot),
            (1, self._delete_snapshot),
            (1, self._revert),
            (1, self._allow),
            (14, self._write),
        )
        ((_, action),) = self.world.random.choices(actions, [weight for weight, _ in actions])
        try:
            action()
        except Fault:
            self.refusals += 1

    def shares(self) -> list[Share]:
        return self._looked("shares", lambda tx: share_rows.list_shares(tx, ShareFilter()))

    def replicas(self, share_id: str) -> list[Share]:
        return self._looked(share_id, lambda tx: replicas.of_share(tx, share_id))

    def snapshots(self, share_id: str | None = None) -> list[Snapshot]:
        wanted = SnapshotFilter(share_id=share_id)
        return self._looked(("snapshots", share_id), lambda tx: snapshots.list_snapshots(tx, wanted))

    def _looked(self, key: object, look: Callable[[Transaction], list[Any]]) -> list[Any]:
        return looked(self.world.database, self.looks, key, look)

    def _share(self) -> Share:
        found = self.shares()
        if not found:
            raise Fault("there is none")
        return self.world.random.choice(sorted(found, key=lambda share: share.id))

    def _replica(self) -> Share:
        return self.world.random.choice(self.replicas(self._share().id))

    def _create(self) -> None:
        if len(self.shares()) < 2:
            requests.create(self.world)

    def _create_replica(self) -> None:
        requests.create_replica(self.world, self._share().id)

    def _delete_replica(self) -> None:
        share = self._replica()
        self.gone.add(share.instance.id)
        try:
            requests.delete_replica(self.world, share.instance.id)
        except Fault:
            self.gone.discard(share.instance.id)
            raise
        if self.world.trouble.doing:
            self.world.trouble.count("deletion asked for")

    def _promote(self) -> None:
        share = self._replica()
        waiting = [one for one in self.world.pending if one.call.method == "promote_share_replica"]
        requests.promote(self.world, share.instance.id)
        if any(one.call.resource_key == f"share:{share.id}" for one in waiting):
            self.world.trouble.counts["two promotions at once"] += 1
        if self.world.trouble.doing:
            self.world.trouble.count("promotion asked for")

    def _resync(self) -> None:
        requests.resync(self.world, self._replica().instance.id)

    def _allow(self) -> None:
        requests.allow(self.world, self._share().id, f"10.0.1.{self.world.random.randint(1, 9)}")

    def _snapshot(self) -> None:
        requests.snapshot(self.world, self._share().id)

    def _delete_snapshot(self) -> None:
        found = self.snapshots()
        if found:
            requests.delete_snapshot(self.world, self.world.random.choice(found).id)

    def _revert(self) -> None:
        share = self._share()
        found = self.snapshots(share.id)
        if not found:
            raise Fault("there is none")
        requests.revert(self.world, share.id, found[0].id)
        self.reverted.update(write.what for write in self.written.get(share.id, ()))

    def _write(self) -> None:
        """A client writes where it last found the share, or where the share is now; hosts that are down refuse."""
        self._write_to(self._share())

    def _write_to(self, share: Share) -> None:
        random = self.world.random
        if share.id not in self.mounted or random.random() < 0.6:
            if share.instance.replica_state is not ReplicaState.ACTIVE or share.instance.host is None:
                raise Fault("it is not served")
            section = share.instance.host.partition("@")[2].partition("#")[0]
            self.mounted[share.id] = (section, share.instance.id)
        section, instance_id = self.mounted[share.id]
        if section in self.world.trouble.down:
            raise Fault("the host does not answer")
        self.count += 1
        what = f"w{self.count}"
        try:
            self.world.site.write(section, instance_id, what)
        except OSError as err:
            raise Fault(str(err)) from err
        if share.status is ShareStatus.REVERTING:
            self.reverted.add(what)
        epoch = next(copy.epoch for copy in self.world.site.copies() if copy.instance_id == instance_id)
        self.written.setdefault(share.id, []).append(Write(what, self.world.clock.utc(), epoch, instance_id))

    def let_in(self) -> bool:
        """A client may write to each share that can be used; was there one that had let nobody in?"""
        is_new = False
        for share in self.shares():
            with suppress(Fault):
                requests.allow(self.world, share.id, CLIENT)
                is_new = True
        return is_new

    def write_everywhere(self) -> None:
        """Each share is written to, where it is now, so that each replica has something to follow."""
        for share in self.shares():
            self.mounted.pop(share.id, None)
            with suppress(Fault):
                self._write_to(share)

    def copies_of(self, share: Share) -> list[Copy]:
        mine = {one.instance.id for one in self.replicas(share.id)}
        return [copy for copy in self.world.site.copies() if copy.instance_id in mine]

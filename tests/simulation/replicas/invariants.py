"""What must hold at every step, and what must hold once nothing is left to do."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import timedelta

from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.share.replication import PromotionKind, Role
from penstock.store import replicas, snapshots
from tests.simulation.replicas.users import Users, Write
from tests.simulation.replicas.world import World


@dataclass
class Reigns:
    """At no moment do two copies of a share take writes under one epoch: looked at before and after each step."""

    world: World
    users: Users
    share_of: dict[str, str] = field(default_factory=dict)
    looks: int = 0
    broken: list[str] = field(default_factory=list)

    def look(self, when: str) -> None:
        """Note what is wrong; raised by `check`, as the code that takes the step might take it for a failed one."""
        self.looks += 1
        writers = list(self.world.site.writers())
        if len(writers) < 2:
            return
        if any(instance_id not in self.share_of for instance_id, _ in writers):
            for share in self.users.shares():
                self.share_of.update({one.instance.id: share.id for one in self.users.replicas(share.id)})
        reigns = Counter((self.share_of[i], epoch) for i, epoch in writers if i in self.share_of)
        twice = [reign for reign, count in reigns.items() if count > 1]
        if twice:
            self.broken.append(f"two copies take writes under one epoch {when}: {twice}")

    def check(self) -> None:
        """Raise AssertionError when it was ever so."""
        self.look("between two steps")
        assert not self.broken, self.broken[0]


WELL = (ShareStatus.AVAILABLE, ShareStatus.REVERTING_ERROR)


class Truth:
    """Rows, storage and what users were told, side by side."""

    def __init__(self, world: World, users: Users) -> None:
        self.world = world
        self.users = users

    def check(self) -> None:
        """Raise AssertionError at the first thing that is not so."""
        assert not self.world.pending
        shares = self.users.shares()
        for share in shares:
            if share.instance.status is ShareStatus.ERROR and share.instance.launched_at is None:
                continue  # it could not be made
            self._check_share(share)
        self._check_no_orphan()

    def check_accounts(self) -> None:
        """Once each replica has followed a few times more: then what earlier reigns and syncs left has gone, too."""
        self.check()
        shares = self.users.shares()
        self.world.site.check({one.instance.id: one for share in shares for one in self.users.replicas(share.id)})

    def _check_share(self, share: Share) -> None:
        rows = {one.instance.id: one.instance for one in self.users.replicas(share.id)}
        copies = {copy.instance_id: copy for copy in self.users.copies_of(share)}
        where = f"share {share.id}: " + "; ".join(
            f"{row.host} {row.status}/{row.replica_state} epoch {row.epoch}" for row in rows.values()
        )
        active = rows[share.instance.id]
        assert active.replica_state is ReplicaState.ACTIVE, f"{where}: nobody is active"
        assert active.status in WELL, f"{where}: the active one is not available"
        writable = [copy.instance_id for copy in copies.values() if copy.takes_writes]
        assert writable == [active.id], f"{where}: writable are {[copies[i].section for i in writable]}"
        assert copies[active.id].epoch == active.epoch, f"{where}: on storage it is {copies[active.id].epoch}"
        content = copies[active.id].content
        for row in rows.values():
            if row.id == active.id:
                continue
            if row.status is ShareStatus.AVAILABLE:
                assert row.replica_state is ReplicaState.IN_SYNC, f"{where}: {row.host} is {row.replica_state}"
                assert not row.lag_alarm, f"{where}: {row.host} still says it is behind"
                assert copies[row.id].content == content, f"{where}: {row.host} says it is in sync, and is not"
                assert copies[row.id].role == Role.REPLICA, where
            else:
                assert row.status in (ShareStatus.ERROR, ShareStatus.ERROR_DELETING), where
            if row.status is ShareStatus.ERROR:
                assert row.id not in copies, f"{where}: {row.host} is there, and could be well again"
        self._check_writes(share, active.epoch, content, where)
        self._check_snapshots(share, where)

    # --- nothing acknowledged is lost ---------------------------------------------------------------------------

    def _check_writes(self, share: Share, reign: int, content: tuple[str, ...], where: str) -> None:
        assert len(set(content)) == len(content), f"{where}: something is there twice"
        site = self.world.site
        for write in self.users.written.get(share.id, ()):
            if write.what in content or write.what in self.users.reverted:
                continue
            lost_by = self._lost_by(share, write, reign)
            assert lost_by is not None, f"{where}: {write} was acknowledged and is lost"
            if self._was_gone(share, write) and not site.keeps_of_deleted:
                continue
            kept = " ".join(site.kept(write.instance_id)).replace(",", " ").replace(":", " ").split()
            assert write.what in kept, f"{where}: {write} is neither in the share nor kept aside (lost by {lost_by})"

    def _was_gone(self, share: Share, write: Write) -> bool:
        """Was the copy that took it deleted by its owner?"""
        return write.instance_id in self.users.gone or all(
            write.instance_id != one.instance.id for one in self.users.replicas(share.id)
        )

    def _lost_by(self, share: Share, write: Write, reign: int) -> int | None:
        """The reign that began without it, and said so; None when none did."""
        for (share_id, epoch), (_, promotion) in sorted(self.world.promotions.items(), key=lambda item: item[0][1]):
            if share_id != share.id or not write.epoch < epoch <= reign:
                continue
            if promotion.kind is PromotionKind.PLANNED:
                continue
            assert promotion.recovery_point is not None
            wrong = timedelta(seconds=max(clock.most_s for clock in self.world.clocks.values()))
            if write.at >= promotion.recovery_point - wrong:
                return epoch
        # Taken by a copy whose reign had ended already, unknown to it: it was cut off, and its host said so to nobody.
        ended = [e for (s, e), (_, p) in self.world.promotions.items() if s == share.id and e > write.epoch]
        begun = min(ended, default=None)
        if begun is not None and self.world.promotions[share.id, begun][1].kind is PromotionKind.UNPLANNED:
            return begun if write.at >= self._promoted_at(share, begun) else None
        return None

    def _promoted_at(self, share: Share, epoch: int) -> object:
        point = self.world.promotions[share.id, epoch][1].recovery_point
        assert point is not None
        return point

    # --- snapshots ----------------------------------------------------------------------------------------------

    def _check_snapshots(self, share: Share, where: str) -> None:
        copies = {copy.instance_id: copy for copy in self.users.copies_of(share)}
        with self.world.database.read() as tx:
            status = {one.instance.id: one.status for one in replicas.of_share(tx, share.id)}
            found = {one.id: snapshots.instances_of(tx, one.id) for one in self.users_snapshots(tx, share)}
        for snapshot_id, instances in found.items():
            for instance in instances:
                if status.get(instance.share_instance_id) is not ShareStatus.AVAILABLE:
                    continue
                is_there = snapshot_id in copies[instance.share_instance_id].snapshots
                if instance.status is SnapshotStatus.AVAILABLE:
                    assert is_there, (
                        f"{where}: snapshot {snapshot_id} is not on {copies[instance.share_instance_id].section}"
                    )
                elif instance.status in (SnapshotStatus.CREATING, SnapshotStatus.DELETING):
                    raise AssertionError(f"{where}: snapshot {snapshot_id} is stuck in {instance.status}")
        for copy in copies.values():
            if status.get(copy.instance_id) is ShareStatus.AVAILABLE:
                orphans = copy.snapshots - set(found)
                assert not orphans, f"{where}: snapshots {orphans} on {copy.section} are nobody's"

    def users_snapshots(self, tx: object, share: Share) -> list[object]:
        return snapshots.list_snapshots(tx, snapshots.SnapshotFilter(share_id=share.id))  # type: ignore[arg-type, return-value]

    def _check_no_orphan(self) -> None:
        rows = {one.instance.id for share in self.users.shares() for one in self.users.replicas(share.id)}
        for copy in self.world.site.copies():
            assert copy.instance_id in rows, f"{copy.section} has an orphan: {copy}"

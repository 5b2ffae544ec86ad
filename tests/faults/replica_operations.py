"""Operations on replicated shares that are to be disturbed: what is there before, what is asked, how it must end."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tests.faults.acknowledged import Writing
from tests.faults.replica_place import SETTLED, TAKEN_BACK, ReplicaPlace, Share

SMALL = 5  # files before


class ReplicaOperation(ABC):
    """One operation on a share of its own. Made, it is prepared.

    `leaves_replica` says what it makes of the share; once it ended well, an operation of the next fault has that. So a
    share has been through many faults, each of which finds what earlier ones left.
    """

    name: str
    has_replica = True
    leaves_replica = True

    def __init__(self, place: ReplicaPlace) -> None:
        self.place = place
        self.share: Share = place.take_share(with_replica=self.has_replica)
        self.replica = self.share.other_replica() if self.has_replica else ""
        for _ in range(SMALL):
            self.share.write(self.share.acknowledged.new_name("before"))
        self.prepare()

    def prepare(self) -> None:  # noqa: B027 - most need nothing more
        """What is there before, beside a share with files and a replica without them."""

    @abstractmethod
    def ask(self) -> None:
        """Send the request; it is accepted."""

    def check(self) -> str:
        """Wait for the end, and see that it is a good one; which."""
        return self.share.check()

    def has_ended(self, end: str) -> None:
        """After `check`. What was set aside, or lost in a way that was told, is of the fault that did it: not of later
        ones."""
        if end in (SETTLED, TAKEN_BACK):
            self.place.spare[self.leaves_replica].append(self.share)


class FirstCopy(ReplicaOperation):
    name = "first copy"
    has_replica = False

    def ask(self) -> None:
        self.replica = self.share.ask_replica()


class Increment(ReplicaOperation):
    name = "increment"

    def ask(self) -> None:
        self.share.act(self.replica, "resync")


class PlannedPromotion(ReplicaOperation):
    """While a client goes on writing to the old active one, as long as that lets it."""

    name = "planned promotion"

    def ask(self) -> None:
        self.writing = Writing(self.share.acknowledged, self.place.user.location(self.share.id))
        self.writing.start()
        self.share.act(self.replica, "promote")

    def check(self) -> str:
        self.share.settle()
        self.writing.end()
        end = self.share.check()
        is_promoted = self.share.active()["id"] == self.replica
        return end if is_promoted else TAKEN_BACK


class ReplicaDeletion(ReplicaOperation):
    name = "deletion of a replica"
    leaves_replica = False

    def ask(self) -> None:
        self.place.user.caller.ok("DELETE", f"/share-replicas/{self.replica}")

    def check(self) -> str:
        self.share.until(
            lambda: self.place.user.caller.call("GET", f"/share-replicas/{self.replica}").status,
            lambda status: status == 404,
        )
        return super().check()


class SnapshotOfAll(ReplicaOperation):
    name = "snapshot"

    def ask(self) -> None:
        self.snapshot = self.place.user.ask_snapshot(self.share.id)

    def check(self) -> str:
        user = self.place.user
        self.share.until(lambda: user.show_snapshot(self.snapshot)["status"], lambda status: status == "available")
        return super().check()


class Migration(ReplicaOperation):
    """To another host, with everything kept."""

    name = "migration, copying"
    has_replica = leaves_replica = False

    def ask(self) -> None:
        self.home = self.place.user.show(self.share.id)["host"]
        pools = self.place.user.caller.ok("GET", "/scheduler-stats/pools")["pools"]
        there = next(pool["name"] for pool in pools if pool["name"] != self.home)
        flags = {"writable": True, "preserve_metadata": True, "preserve_snapshots": True, "nondisruptive": False}
        self.share.move("migration_start", {"host": there, **flags})

    def check(self) -> str:
        self.until_task("migration_driver_phase1_done")
        self.share.move("migration_complete")
        return self.has_moved()

    def until_task(self, state: str) -> None:
        user = self.place.user
        found = self.share.until(
            lambda: user.show(self.share.id)["task_state"], lambda found: found == state or "error" in str(found)
        )
        assert found == state, (found, user.messages(self.share.id))

    def has_moved(self) -> str:
        self.until_task("migration_success")
        end = super().check()
        assert self.place.user.show(self.share.id)["host"] != self.home
        return end


class MigrationCompletion(Migration):
    """The switch, while a client writes to the source."""

    name = "migration, switch"

    def prepare(self) -> None:
        super().ask()
        self.until_task("migration_driver_phase1_done")

    def ask(self) -> None:
        self.writing = Writing(self.share.acknowledged, self.place.user.location(self.share.id))
        self.writing.start()
        self.share.move("migration_complete")

    def check(self) -> str:
        self.until_task("migration_success")
        self.writing.end()
        return self.has_moved()


class MigrationCancelled(Migration):
    name = "migration, cancel"

    def prepare(self) -> None:
        super().ask()
        self.until_task("migration_driver_phase1_done")

    def ask(self) -> None:
        self.share.move("migration_cancel")

    def check(self) -> str:
        self.until_task("migration_cancelled")
        end = self.share.check()
        assert self.place.user.show(self.share.id)["host"] == self.home
        self.share.write(self.share.acknowledged.new_name("after"))
        return end


OPERATIONS: tuple[type[ReplicaOperation], ...] = (
    FirstCopy,
    Increment,
    PlannedPromotion,
    ReplicaDeletion,
    SnapshotOfAll,
    Migration,
    MigrationCompletion,
    MigrationCancelled,
)


def prepare_all(place: ReplicaPlace, kinds: Sequence[type[ReplicaOperation]]) -> list[ReplicaOperation]:
    """One of each."""
    with ThreadPoolExecutor(len(kinds)) as threads:
        return list(threads.map(lambda kind: kind(place), kinds))


def check_all(operations: Sequence[ReplicaOperation]) -> list[str]:
    """How each of them ended; all of them well."""
    with ThreadPoolExecutor(len(operations)) as threads:
        ends = list(threads.map(lambda operation: operation.check(), operations))
    for operation, end in zip(operations, ends, strict=True):
        operation.has_ended(end)
    return ends

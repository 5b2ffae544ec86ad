"""The storage of three backends as the simulation needs it: what outlives the daemons, and what clients do to it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from dataclasses import dataclass
from typing import Protocol

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.domain.shares import Share
from penstock.share.driver import ShareDriver
from penstock.share.drivers.dummy import DummyDriver
from penstock.share.drivers.dummy_records import DummyStorage, Filesystem
from penstock.share.replication import Role
from tests.simulation.replicas.trouble import ReplicaTrouble


@dataclass(frozen=True, slots=True)
class Copy:
    """One copy on a backend's storage: whose it is, and whether it would take a write now."""

    section: str
    instance_id: str
    epoch: int
    role: str
    takes_writes: bool
    content: tuple[str, ...]
    snapshots: frozenset[str]


class Site(Protocol):
    """Storage of several backends."""

    def driver(self, configuration: BackendConfiguration, clock: Clock) -> ShareDriver: ...

    def write(self, section: str, instance_id: str, what: str) -> None:
        """A client writes. OSError when it is refused."""

    def copies(self) -> Iterator[Copy]:
        """All that is ours, on all hosts, whether they answer or not."""

    def kept(self, instance_id: str) -> Iterator[str]:
        """What was set aside of the instance, also of one that is deleted by now."""

    @property
    def keeps_of_deleted(self) -> bool:
        """Is what only a deleted copy had set aside?"""

    def writers(self) -> Iterator[tuple[str, int]]:
        """Instance id and epoch of each copy that takes writes now: called at every step."""

    def reboot(self, section: str) -> None:
        """A host comes back after a power cut."""

    def disturb(self) -> None:
        """Other people do something on a host: to what is theirs, and beside what is ours."""

    def destroy_ours(self) -> str | None:
        """Somebody destroys a snapshot that we took to move data; on which side. None when there was none."""

    def leave(self) -> None:
        """They let go of what stands in the way of deletions."""

    def check(self, replicas: Mapping[str, Share]) -> None:
        """Nothing is left to do: everything of other people's is as they left it, and all we hold is of use.

        `replicas`: all that there are, by instance id. Raises AssertionError.
        """

    def check_strangers(self, instances: Set[str]) -> None:
        """Everything of other people's is as they left it. `instances`: of ours, those that are to be there.

        Raises AssertionError.
        """

    def check_empty(self) -> None:
        """The same after everything was deleted."""


class DummySite:
    """Records of the dummy driver."""

    def __init__(self, trouble: ReplicaTrouble) -> None:
        self.storage = DummyStorage()
        self.storage.before = trouble.at_step

    def driver(self, configuration: BackendConfiguration, clock: Clock) -> ShareDriver:
        return DummyDriver(configuration=configuration, storage=self.storage, clock=clock)

    def write(self, section: str, instance_id: str, what: str) -> None:
        record = self.storage.find(section, instance_id)
        if record is None or not _takes_writes(record):
            raise OSError(30, "read-only, or not there")
        record.written.append(what)

    def copies(self) -> Iterator[Copy]:
        for section, records in self.storage.backends.items():
            for record in records.values():
                if record.owner is None:
                    continue
                yield Copy(
                    section,
                    record.owner,
                    record.epoch,
                    record.role,
                    _takes_writes(record),
                    tuple(record.written),
                    frozenset(item.snapshot_id or "" for item in record.snapshots.values()),
                )

    keeps_of_deleted = False

    def kept(self, instance_id: str) -> Iterator[str]:
        for records in self.storage.backends.values():
            for record in records.values():
                if record.owner == instance_id:
                    yield from record.set_aside

    def writers(self) -> Iterator[tuple[str, int]]:
        for records in self.storage.backends.values():
            for record in records.values():
                if record.owner is not None and _takes_writes(record):
                    yield record.owner, record.epoch

    def reboot(self, section: str) -> None:
        self.storage.reboot(section)

    def disturb(self) -> None:
        """Records are ours alone."""

    def destroy_ours(self) -> str | None:
        """They know no such snapshots."""
        return None

    def leave(self) -> None:
        """There is nobody."""

    def check(self, replicas: Mapping[str, Share]) -> None:
        """They hold nothing."""

    def check_strangers(self, instances: Set[str]) -> None:
        """There are none."""

    def check_empty(self) -> None:
        left = [record for records in self.storage.backends.values() for record in records.values()]
        assert not left, f"left behind: {left}"


def _takes_writes(record: Filesystem) -> bool:
    return record.role == Role.ACTIVE and record.is_served

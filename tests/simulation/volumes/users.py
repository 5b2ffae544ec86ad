"""What users of volumes do: random requests through the services, writes, and what they then expect."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from penstock.domain.attachments import Attachment, AttachStatus
from penstock.domain.volume_groups import GroupSnapshot, VolumeGroup
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Fault
from penstock.services.volumes import (
    attachments,
    connections,
    creation,
    group_copies,
    group_snapshots,
    groups,
    lifecycle,
    retyping,
    snapshots,
    transfers,
)
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.connections import Use
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.group_copies import GroupCopy
from penstock.services.volumes.group_snapshots import NewGroupSnapshot
from penstock.services.volumes.groups import GroupChange, NewGroup
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.services.volumes.transfers import NewTransfer
from penstock.store import attachments as attachment_rows
from penstock.store import volume_groups as group_rows
from penstock.store import volume_snapshots as snapshot_rows
from penstock.store import volumes as volume_rows
from penstock.store.attachments import AttachmentFilter
from penstock.store.database import Transaction
from penstock.store.keyset import KeysetPage
from penstock.store.volume_snapshots import VolumeSnapshotFilter
from penstock.store.volumes import VolumeFilter
from tests.simulation.looks import Looks, looked
from tests.simulation.volumes.world import ADMIN, CONTEXT, SERVICE, World

HOSTS = ("one", "two", "three")


def connector(host: str) -> dict[str, Any]:
    """The machine `host` as a connector."""
    return {"initiator": f"iqn.1994-05.com.redhat:{host}", "host": host, "ip": "10.0.0.1"}


@dataclass
class Users:
    """Act at random, and remember what was written: `data` by volume id, `taken` by snapshot id."""

    world: World
    data: dict[str, list[str]] = field(default_factory=dict)
    taken: dict[str, list[str]] = field(default_factory=dict)
    instead: dict[str, list[str]] = field(default_factory=dict)  # after a revert that may have been refused
    forced: set[str] = field(default_factory=set)
    half_ended: set[str] = field(default_factory=set)  # volumes a connection of which may have been ended in part
    writes: int = 0
    refusals: int = 0
    looks: Looks = field(default_factory=dict)

    def act(self) -> None:
        """One random request or write. A refusal with a Fault is a proper answer; anything else is a defect."""
        actions: tuple[tuple[int, Callable[[], None]], ...] = (
            (9, self._create),
            (2, self._create_from_snapshot),
            (2, self._clone),
            (3, self._delete),
            (1, self._force_delete),
            (3, self._extend),
            (4, self._snapshot),
            (3, self._delete_snapshot),
            (2, self._revert),
            (2, self._retype),
            (2, self._migrate),
            (2, self._transfer),
            (2, self._group),
            (3, self._create_in_group),
            (2, self._join_or_leave),
            (2, self._group_snapshot),
            (1, self._delete_group_snapshot),
            (1, self._delete_group),
            (1, self._copy_group),
            (4, self._attach),
            (4, self._connect),
            (3, self._complete),
            (5, self._end),
            (2, self._old_reserve),
            (2, self._old_unreserve),
            (2, self._old_initialize),
            (2, self._old_attach),
            (1, self._old_begin),
            (1, self._old_roll),
            (2, self._old_terminate),
            (2, self._old_detach),
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
        for volume in self.volumes():
            record = self.world.storage.volumes.get(name_of(volume))
            if volume.status is not VolumeStatus.REVERTING and record is not None and volume.id in self.instead:
                self.expects(volume.id, record.written)  # the revert came about, or was refused
        for snapshot in self.snapshots():
            self.taken.setdefault(snapshot.id, list(self.data.get(snapshot.volume_id, [])))
            if snapshot.status is VolumeSnapshotStatus.RESTORING:
                self.instead[snapshot.volume_id] = self.taken[snapshot.id]
        for volume in self.volumes():
            if volume.id not in self.data:
                source = self.taken.get(volume.snapshot_id or "", self.data.get(volume.source_volid or "", []))
                self.data[volume.id] = list(source)

    def expects(self, volume_id: str, written: list[str]) -> bool:
        """May the volume hold that? What it holds is expected from now on."""
        if written == self.instead.pop(volume_id, None):
            self.data[volume_id] = list(written)
        return written == self.data[volume_id]

    def volumes(self, *statuses: VolumeStatus) -> list[Volume]:
        """Volumes in these states, or all."""
        found = self._looked("volumes", lambda tx: volume_rows.list_volumes(tx, VolumeFilter()))
        return [volume for volume in found if not statuses or volume.status in statuses]

    def snapshots(self) -> list[VolumeSnapshot]:
        """All snapshots."""
        return self._looked("snapshots", lambda tx: snapshot_rows.list_snapshots(tx, VolumeSnapshotFilter()))

    def groups(self) -> list[VolumeGroup]:
        """All groups."""
        return self._looked(
            "groups", lambda tx: group_rows.list_groups(tx, project_id=None, page=KeysetPage(), equal={})
        )

    def group_snapshots(self) -> list[GroupSnapshot]:
        """All group snapshots."""
        return self._looked(
            "group snapshots", lambda tx: group_rows.list_snapshots(tx, project_id=None, page=KeysetPage(), equal={})
        )

    def attachments(self) -> list[Attachment]:
        """All attachments."""
        return self._looked("attachments", lambda tx: attachment_rows.list_attachments(tx, AttachmentFilter()))

    def _looked(self, key: str, look: Callable[[Transaction], list[Any]]) -> list[Any]:
        return looked(self.world.database, self.looks, key, look)

    # -- choices

    def _volume(self) -> str:
        return str(self._some(self.volumes()).id)

    def _some(self, found: list[Any]) -> Any:
        if not found:
            raise Fault("there is nothing of the kind")
        return self.world.random.choice(found)

    @property
    def _plane(self) -> Any:
        return self.world.plane

    # -- actions

    def _create(self) -> None:
        size, kind = self.world.random.choice((1, 2, 5)), self.world.random.choice(("default", "default", "shared"))
        creation.create(self._plane, CONTEXT, NewVolume(size_gib=size, volume_type=kind))

    def _create_from_snapshot(self) -> None:
        snapshot = self._some(self.snapshots())
        creation.create(self._plane, CONTEXT, NewVolume(snapshot_id=snapshot.id))

    def _clone(self) -> None:
        volume = self._some(self.volumes())
        creation.create(self._plane, CONTEXT, NewVolume(source_volid=volume.id, size_gib=volume.size_gib + 1))

    def _delete(self) -> None:
        lifecycle.delete(self._plane, CONTEXT, self._volume(), cascade=self.world.random.random() < 0.5)

    def _force_delete(self) -> None:
        volume_id = self._volume()
        self.forced.add(volume_id)
        lifecycle.delete(self._plane, ADMIN, volume_id, cascade=True, force=True)

    def _extend(self) -> None:
        volume = self._some(self.volumes())
        more = self.world.random.choice((1, 2, 30))
        lifecycle.extend(self._plane, CONTEXT, volume.id, volume.size_gib + more, attached=True)

    def _snapshot(self) -> None:
        snapshots.create(self._plane, CONTEXT, NewVolumeSnapshot(self._volume(), force=True))

    def _delete_snapshot(self) -> None:
        snapshots.delete(self._plane, CONTEXT, self._some(self.snapshots()).id)

    def _revert(self) -> None:
        snapshot = self._some(self.snapshots())
        lifecycle.revert(self._plane, CONTEXT, snapshot.volume_id, snapshot.id)

    def _retype(self) -> None:
        kind = self.world.random.choice(("default", "shared"))
        retyping.retype(self._plane, CONTEXT, self._volume(), kind)

    def _migrate(self) -> None:
        random = self.world.random
        pool, lock = random.choice(("one", "two")), random.random() < 0.5
        retyping.migrate(self._plane, ADMIN, self._volume(), f"{SERVICE}#{pool}", lock_volume=lock)

    def _transfer(self) -> None:
        """Offered, and taken by the same project: whose it is does not matter to the rest."""
        made, key = transfers.create(self._plane, CONTEXT, NewTransfer(self._volume()))
        if self.world.random.random() < 0.3:
            transfers.delete(self._plane, CONTEXT, made.id)
        else:
            transfers.accept(self._plane, CONTEXT, made.id, key)

    def _group(self) -> None:
        groups.create(self._plane, CONTEXT, NewGroup("group", ["default", "shared"]))

    def _create_in_group(self) -> None:
        group = self._some(self.groups())
        creation.create(self._plane, CONTEXT, NewVolume(size_gib=1, volume_type="default", group_id=group.id))

    def _join_or_leave(self) -> None:
        group, volume = self._some(self.groups()), self._some(self.volumes())
        if volume.group_id is None:
            change = GroupChange(add_volumes=(volume.id,))
        else:
            change = GroupChange(remove_volumes=(volume.id,))
        groups.update(self._plane, CONTEXT, volume.group_id or group.id, change)

    def _group_snapshot(self) -> None:
        group_snapshots.create(self._plane, CONTEXT, NewGroupSnapshot(self._some(self.groups()).id))

    def _delete_group_snapshot(self) -> None:
        group_snapshots.delete(self._plane, CONTEXT, self._some(self.group_snapshots()).id)

    def _delete_group(self) -> None:
        groups.delete(self._plane, CONTEXT, self._some(self.groups()).id, delete_volumes=True)

    def _copy_group(self) -> None:
        if self.world.random.random() < 0.5:
            wanted = GroupCopy(group_snapshot_id=self._some(self.group_snapshots()).id)
        else:
            wanted = GroupCopy(source_group_id=self._some(self.groups()).id)
        group_copies.create(self._plane, CONTEXT, wanted)

    def _attach(self) -> None:
        random = self.world.random
        told = connector(random.choice(HOSTS)) if random.random() < 0.5 else None
        attachments.create(self._plane, CONTEXT, NewAttachment(self._volume(), random.choice(("vm1", "vm2")), told))

    def _connect(self) -> None:
        told = connector(self.world.random.choice(HOSTS))
        attachments.update(self._plane, CONTEXT, self._some(self.attachments()).id, told)

    def _complete(self) -> None:
        attachments.complete(self._plane, CONTEXT, self._some(self.attachments()).id)

    def _end(self) -> None:
        attachments.delete(self._plane, CONTEXT, self._some(self.attachments()).id)

    def _old_reserve(self) -> None:
        connections.reserve(self._plane, CONTEXT, self._volume())

    def _old_unreserve(self) -> None:
        connections.unreserve(self._plane, CONTEXT, self._volume())

    def _old_initialize(self) -> None:
        told = connector(self.world.random.choice(HOSTS))
        connections.initialize_connection(self._plane, CONTEXT, self._volume(), told)

    def _old_attach(self) -> None:
        connections.attach(self._plane, CONTEXT, self._volume(), Use(instance_uuid="vm3", mountpoint="/dev/vdb"))

    def _old_begin(self) -> None:
        connections.begin_detaching(self._plane, CONTEXT, self._volume())

    def _old_roll(self) -> None:
        connections.roll_detaching(self._plane, CONTEXT, self._volume())

    def _old_terminate(self) -> None:
        told, volume_id = connector(self.world.random.choice(HOSTS)), self._volume()
        was_half_ended = volume_id in self.half_ended
        self.half_ended.add(volume_id)
        connections.terminate_connection(self._plane, CONTEXT, volume_id, told)
        if not was_half_ended:
            self.half_ended.discard(volume_id)

    def _old_detach(self) -> None:
        connections.detach(self._plane, CONTEXT, self._volume(), None)

    def _write(self) -> None:
        """A client writes to a volume with which nothing is going on."""
        if self.world.pending:
            return
        volume = self._some(self.volumes(VolumeStatus.AVAILABLE, VolumeStatus.IN_USE))
        record = self.world.storage.volumes.get(f"volume-{volume.id}")
        if record is None:
            return
        self.expects(volume.id, record.written)
        self.writes += 1
        record.written.append(f"w{self.writes}")
        self.data[volume.id] = list(record.written)


def is_connected(attachment: Attachment) -> bool:
    """Was its initiator let in, and not shut out again?"""
    return attachment.connector is not None and attachment.status is not AttachStatus.ERROR_DETACHING


def name_of(volume: Volume) -> str:
    """What the volume is called on the backend."""
    return f"volume-{volume.name_id or volume.id}"

"""What users and administrators do with replicated volumes, and what they were promised."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime

from penstock.domain.attachments import AttachStatus
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Fault
from penstock.services.volumes import attachments, creation, lifecycle, replication, snapshots
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import volume_snapshots, volumes
from penstock.store.volume_snapshots import VolumeSnapshotFilter
from penstock.store.volumes import VolumeFilter
from penstock.zfs.reigns import EPOCH
from tests.contract.volume_sides import CLIENT, FAR, HOME
from tests.simulation.volumes.replicated_world import FIRST_CONTENT, HOST, ReplicatedWorld, name_of
from tests.volume_plane import ADMIN, OWNER


@dataclass(frozen=True, slots=True)
class Write:
    """Acknowledged to a client at a time by the copy of a reign on a side."""

    what: int
    at: datetime
    epoch: int
    side: str


@dataclass
class Users:
    """Act at random. `written` by volume."""

    world: ReplicatedWorld
    written: dict[str, list[Write]] = field(default_factory=dict)
    sessions: dict[str, tuple[str, str | None]] = field(default_factory=dict)  # by volume: the side, and the secret
    count: int = 0

    def begin(self) -> None:
        """Two replicated volumes that are in use."""
        self.world.turn()
        for _ in range(2):
            made = creation.create(self.world.plane, OWNER, NewVolume(size_gib=1, volume_type="replicated"))
            self.world.turn()
            self._attach_to(made.id)
            self.world.turn()

    def act(self) -> None:
        """One random request or write."""
        actions: tuple[tuple[int, Callable[[], object]], ...] = (
            (3, self._create),
            (1, self._delete),
            (2, self._snapshot),
            (1, self._delete_snapshot),
            (4, self._attach),
            (1, self._detach),
            (1, self._extend),
            (2, self._fail_over),
            (2, self._fail_back),
            (16, self._write),
        )
        ((_, action),) = self.world.random.choices(actions, [weight for weight, _ in actions])
        action()

    def volumes(self) -> list[Volume]:
        with self.world.database.read() as tx:
            found = volumes.list_volumes(tx, VolumeFilter())
        return sorted((one for one in found if one.status is not VolumeStatus.DELETED), key=lambda one: one.id)

    def snapshots(self) -> list[VolumeSnapshot]:
        with self.world.database.read() as tx:
            return volume_snapshots.list_snapshots(tx, VolumeSnapshotFilter())

    def _volume(self) -> Volume:
        found = self.volumes()
        if not found:
            raise Fault("there is none")
        return self.world.random.choice(found)

    def _create(self) -> None:
        self.world.manager.heartbeat()  # else its pools are too old a tale to place anything by
        if len(self.volumes()) < 4:
            kind = self.world.random.choice(("replicated", "replicated", "replicated", "default"))
            creation.create(self.world.plane, OWNER, NewVolume(size_gib=1, volume_type=kind))

    def _delete(self) -> None:
        lifecycle.delete(self.world.plane, OWNER, self._volume().id)

    def _snapshot(self) -> None:
        snapshots.create(self.world.plane, OWNER, NewVolumeSnapshot(self._volume().id))

    def _delete_snapshot(self) -> None:
        for one in self.snapshots()[:1]:
            snapshots.delete(self.world.plane, OWNER, one.id)

    def _attach(self) -> None:
        self._attach_to(self._volume().id)

    def _attach_to(self, volume_id: str) -> None:
        made = attachments.create(self.world.plane, OWNER, NewAttachment(volume_id=volume_id, connector=CLIENT))
        attachments.complete(self.world.plane, OWNER, made.id)

    def _detach(self) -> None:
        for one in self._volume().attachments[:1]:
            attachments.delete(self.world.plane, OWNER, one.id)

    def _extend(self) -> None:
        volume = self._volume()
        lifecycle.extend(self.world.plane, OWNER, volume.id, volume.size_gib + 1, attached=True)

    def _fail_over(self) -> None:
        is_home = self.world.service.active_backend_id is None  # from the only target there is none to choose
        self._to(self.world.random.choice((FAR, FAR, None)) if is_home else FAR)

    def _fail_back(self) -> None:
        self._to("default")

    def _to(self, target: str | None) -> None:
        replication.failover(self.world.plane, ADMIN, HOST, target)
        self.world.trouble.count("failover asked for")

    def _write(self) -> None:
        """A client writes over the session it has, or over a new one to where the volume is said to be."""
        self.write_to(self._volume())

    def write_to(self, volume: Volume) -> None:
        world = self.world
        if volume.id not in self.sessions or world.random.random() < 0.6:
            connected = [one for one in volume.attachments if one.status is AttachStatus.ATTACHED]
            if not connected:
                raise Fault("nobody has it")
            self.sessions[volume.id] = (world.service.active_backend_id or HOME, volume.provider_auth)
        side, secret = self.sessions[volume.id]
        if name_of(side) in world.trouble.down or not world.machines.is_served(volume, side, secret):
            raise Fault("it is not served")
        host = world.machines.hosts[side]
        filesystem = host.filesystem(world.machines.place(volume, side))
        self.count += 1
        what = FIRST_CONTENT + self.count
        try:
            host.model.write(filesystem, 1000, what)
        except OSError as err:
            raise Fault(str(err)) from err
        epoch = int(filesystem.local.get(EPOCH, "1"))
        self.written.setdefault(volume.id, []).append(Write(what, world.machines.clock.utc(), epoch, side))
        world.trouble.counts["writes"] += 1

    def attach_everywhere(self) -> None:
        """Each volume that nobody has is taken into use, where that can be."""
        for volume in self.volumes():
            with suppress(Fault):
                if not volume.attachments:
                    self._attach_to(volume.id)
                for one in volume.attachments:
                    if one.status is AttachStatus.ATTACHING:  # whose user died before saying that it is used
                        attachments.complete(self.world.plane, OWNER, one.id)

    def write_everywhere(self) -> None:
        """Each volume that somebody has is written to where it is now, so that its copy has something to follow."""
        for volume in self.volumes():
            self.sessions.pop(volume.id, None)
            with suppress(Fault):
                self.write_to(volume)

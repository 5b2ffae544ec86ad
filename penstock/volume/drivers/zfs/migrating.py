"""A volume to another pool, of this backend or of another ZFS backend of this configuration, by one stream of ZFS."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.clock import Clock
from penstock.config.backend import volume_backend
from penstock.domain.pools import PoolRef
from penstock.domain.volumes import HOME
from penstock.errors import Conflict, Fault, Invalid, NotFound
from penstock.ids import new_id
from penstock.units import gib_to_bytes
from penstock.volume.drivers.zfs import lineage, spec
from penstock.volume.drivers.zfs.copies import look_at
from penstock.volume.drivers.zfs.identity import Kind, id_of, kind_of, marks_of_volume
from penstock.volume.drivers.zfs.options import Settings, read_settings, zfs_volume_opts
from penstock.volume.drivers.zfs.reigning import Numbers
from penstock.volume.drivers.zfs.replicating import ENABLING, ReplicationMethods
from penstock.volume.drivers.zfs.sides import Side
from penstock.volume.drivers.zfs.storage import Storage, open_storage
from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import VolumeModel
from penstock.zfs.faults import Busy
from penstock.zfs.marks import ID, KIND
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.receiving import TOKEN, guid_of_token, token_of
from penstock.zfs.snapshots import look, points
from penstock.zfs.transfer import Transfer

KIND_OF_LOCATION = "ZFSVolumeDriver"

log = structlog.get_logger(__name__)


class MigrationMethods(ReplicationMethods):
    """Moves that no data path is needed for."""

    _clock: Clock | None = None

    @property
    def location_info(self) -> str:
        """What tells the manager of another backend that we can receive from it: our kind, and what volumes are."""
        return f"{KIND_OF_LOCATION}:{self.storage.medium.type}"

    def migrate_volume(
        self, context: Context, volume: VolumeModel, host: Mapping[str, Any]
    ) -> tuple[bool, Updates | None]:
        """See `MigrationInterface`. A volume with snapshots or an attachment is left to others. Safe to repeat."""
        told = (host.get("capabilities") or {}).get("location_info")
        if told != self.location_info or any(one.attach_status == "attached" for one in volume.volume_attachment):
            return False, None
        to = PoolRef.parse(str(host["host"]))
        storage, settings = self._side(to)
        into = spec.root_of(str(to), settings).child(volume.name)
        found = self.finder.volume(volume)
        if found is not None and found[0] != into:
            if self._has_snapshots(found[0]):
                return False, None
            with self.syncs.paused(volume.id):
                if self.is_replicated(volume):
                    self.end_replication(volume)  # what follows a volume is in places named after its pool
                self._move(volume, found[0], storage, into)
        elif found is None and not self._arrived(volume, storage, into):
            self.finder.existing(volume)
        self._discard_snapshots(volume, storage, into)
        update: dict[str, Any] = {"provider_id": str(into), "provider_location": None, "provider_auth": None}
        if spec.is_replicated(volume):
            moved = look_at(volume, Side(HOME, settings, storage), into)  # nothing is copied there yet
            kept = Numbers(self.db).begin_again(moved)
            update |= {"replication_status": ENABLING, "replication_driver_data": kept}
        return True, update

    def _side(self, to: PoolRef) -> tuple[Storage, Settings]:
        """The destination's host, reached by its own section. Raises Invalid when that is not in our configuration."""
        if to.service_host == self.host or to.backend == self.configuration.config_group:
            return self.storage, self.settings
        conf = self.configuration.conf
        if to.backend not in conf.list_all_sections():
            raise Invalid(f"the configuration has no section [{to.backend}], so volumes cannot be moved there")
        configuration = volume_backend(conf, to.backend)
        configuration.append_config_values(zfs_volume_opts)
        settings = read_settings(configuration)
        storage = open_storage(
            settings,
            connect_timeout_s=60,
            host=None,
            exports=None,
            clock=self._clock,
            before_command=self.configuration.before_command,
        )
        return storage, settings

    def _has_snapshots(self, dataset: Dataset) -> bool:
        found = self.storage.zfs.tree(dataset, (KIND,), kinds=("snapshot",), depth=1)
        return any(kind_of(one) is Kind.SNAPSHOT for one in found.values())

    def _arrived(self, volume: VolumeModel, storage: Storage, into: Dataset) -> bool:
        found = storage.zfs.get_many([into], (ID, KIND)).get(str(into))
        return found is not None and kind_of(found) is Kind.VOLUME and id_of(found) == volume.name_id

    def _move(self, volume: VolumeModel, source: Dataset, storage: Storage, into: Dataset) -> None:
        """The source goes when the copy is whole; its marks make the copy the volume.

        What is sent last was taken in this call, when nobody could write any more: what an earlier call took and sent
        (this migration's, or one that was given up) is only where the stream starts.
        """
        self._unexport(volume)
        taken = source.snapshot(f"{_prefix(volume)}{new_id()}")
        self.storage.zfs.snapshot([taken], {KIND: Kind.TOMBSTONE.value, ID: volume.name_id})
        marks = marks_of_volume(volume)
        arriving = {**marks, KIND: Kind.ARRIVING.value}
        try:
            try:
                self._send(volume, taken, storage, into, arriving)
            except Conflict:  # it was written to, or is of another time: while the source is there it is but a copy
                if not self._discard_copy(volume, source, storage, into):
                    raise
                self._send(volume, taken, storage, into, arriving)
        except Fault as fault:
            if not fault.retryable:
                self._discard_copy(volume, source, storage, into)
                self._discard_snapshots(volume, self.storage, source)
            raise
        storage.zfs.set(into, marks)
        try:
            lineage.destroy_volume(self.storage.zfs, source)
        except Busy as fault:  # two datasets with the volume's marks would be one too many
            log.warning("volume.source_left", volume=volume.id, dataset=str(source), reason=fault.message)
            self.storage.zfs.set(source, lineage.TOMB)

    def _discard_copy(self, volume: VolumeModel, source: Dataset, storage: Storage, into: Dataset) -> bool:
        """Destroy what migrations of the volume left at `into`; what they did not make stays, and False is the answer.

        It is theirs by its marks; without any (which zfs-fuse gives afterwards) by a snapshot that the source has, too.
        """
        token = [TOKEN] if storage.zfs.flavour.can_resume else []
        try:
            there = look(storage.zfs, into, (ID, KIND, *token))
        except NotFound:
            return False
        kind = kind_of(there.properties)
        if kind is None:
            here = {point.guid for point in look(self.storage.zfs, source, ()).points}
            cut = token_of(there.properties)
            guids = {point.guid for point in there.points} | {guid_of_token(self.storage.zfs, cut) if cut else None}
            is_theirs = not here.isdisjoint(guids)
        else:
            is_theirs = kind in (Kind.ARRIVING, Kind.VOLUME) and id_of(there.properties) == volume.name_id
        if is_theirs:
            log.info("volume.stale_copy_discarded", volume=volume.id, dataset=str(into))
            storage.zfs.destroy(into, recursive=True)
        return is_theirs

    def _discard_snapshots(self, volume: VolumeModel, storage: Storage, dataset: Dataset) -> None:
        names = [point.name for point in points(storage.zfs, dataset) if point.name.startswith(_prefix(volume))]
        if names:
            storage.zfs.destroy_snapshots(dataset, names, deferred=True)

    def _send(
        self, volume: VolumeModel, taken: SnapshotName, storage: Storage, into: Dataset, marks: Mapping[str, str]
    ) -> None:
        specs = spec.extra_specs(volume)
        options = spec.native(specs, self.settings, storage.flavour)
        transfer = Transfer(
            self.storage.zfs,
            taken,
            storage.zfs,
            into,
            route=self.routes.between(self.storage.host, storage.host),
            properties={**options, **marks},
            keeps_between=False,
        )
        # from pool to pool of one machine there is no line that others need
        is_far = storage.host.name != self.storage.host.name
        transfer.run(bandwidth_limit_bytes_per_s=self.settings.bandwidth_limit_bytes_per_s if is_far else None)
        storage.medium.settle(into, gib_to_bytes(volume.size), is_thin=spec.stays_thin(volume, self.settings))

    def _copied(self, volume: VolumeModel, want: spec.VolumeSpec, taken: SnapshotName) -> Updates:
        """A volume on another pool from a snapshot: nothing is shared. Safe to repeat."""
        zfs, arrived = self.storage.zfs, want.dataset.snapshot(taken.name)
        seen = zfs.get_many([want.dataset, arrived], (ID, KIND, *([TOKEN] if zfs.flavour.can_resume else [])))
        whole = seen.get(str(want.dataset))
        is_cut = whole is not None and TOKEN in whole and whole[TOKEN].is_set
        if whole is None or is_cut or str(arrived) in seen:
            self._send(volume, taken, self.storage, want.dataset, marks_of_volume(volume))
        else:
            self.finder.existing(volume)  # ours, made before; or the fault that says whose it is
        self.storage.medium.settle(want.dataset, want.size_bytes, is_thin=want.is_thin)
        zfs.destroy_snapshots(want.dataset, [taken.name], deferred=True)
        return {"provider_id": str(want.dataset)}


def _prefix(volume: VolumeModel) -> str:
    """Of the names of snapshots that its migrations take."""
    return f"move-{volume.name_id}-"

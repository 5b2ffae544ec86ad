"""Volumes on ZFS over iSCSI: a zvol, or a filesystem with one file, for each; snapshots, clones and reverts in O(1).

A method makes at once what is wanted, and looks when something else is there: each may be called again after a crash at
any point. Deleting never fails for lineage: see `lineage`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from typing import Any

import structlog
from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.stream_options import RELAY
from penstock.domain.volumes import HOME
from penstock.errors import Conflict, Fault, Invalid, NotFound
from penstock.exports.iscsi import IscsiExports
from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.host.streaming import Routes
from penstock.units import gib_to_bytes
from penstock.volume.drivers.zfs import lineage, reporting, spec, unmarked
from penstock.volume.drivers.zfs.finding import Finder, LookedAtSource
from penstock.volume.drivers.zfs.groups import GroupMethods
from penstock.volume.drivers.zfs.identity import DELETED, Kind, kind_of, marks_of_snapshot
from penstock.volume.drivers.zfs.images import ImageMethods
from penstock.volume.drivers.zfs.inventory import InventoryMethods
from penstock.volume.drivers.zfs.migrating import MigrationMethods
from penstock.volume.drivers.zfs.options import read_settings, zfs_volume_opts
from penstock.volume.drivers.zfs.replica_syncs import Syncs
from penstock.volume.drivers.zfs.replicating import disabled_update
from penstock.volume.drivers.zfs.replication_devices import read_devices
from penstock.volume.drivers.zfs.sides import GivenHosts, Sides
from penstock.volume.drivers.zfs.taking_over import TakingOver
from penstock.volume.errors import VolumeIsBusy
from penstock.volume.generic.capabilities import backend_name
from penstock.volume.interface.values import Context, Updates
from penstock.volume.models import SnapshotModel, VolumeModel, VolumeTypeModel
from penstock.zfs.beside import until_looked
from penstock.zfs.faults import Busy, HasClones
from penstock.zfs.lines import release_all
from penstock.zfs.marks import ID, KIND, PREFIX
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.unmarked import destroy as destroy_unmarked

SYNC_THREADS = 4  # copies that are brought up to date at once

log = structlog.get_logger(__name__)


class ZFSVolumeDriver(GroupMethods, ImageMethods, TakingOver, MigrationMethods, InventoryMethods):
    """See the module. `storage_host`, `exports`, `clock`, `routes` and `target_hosts` (by ``backend_id``) replace the
    machine, its target server, the time, the ways to other machines and those of ``replication_device``, for tests;
    without `sync_threads` copies are brought up to date in the caller's thread."""

    VERSION = "1.0"
    VENDOR = "Penstock"

    def __init__(
        self,
        *args: Any,
        host: str | None = None,
        storage_host: Host | None = None,
        exports: IscsiExports | None = None,
        clock: Clock | None = None,
        routes: Routes | None = None,
        target_hosts: Mapping[str, Host] | None = None,
        sync_threads: int = SYNC_THREADS,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, host=host, **kwargs)
        self.configuration.append_config_values(zfs_volume_opts)
        self._storage_host = storage_host
        self._exports = exports
        self._clock = clock
        self.clock = clock or SystemClock()
        self._routes = routes
        self._target_hosts = dict(target_hosts or {})
        self.syncs = Syncs(sync_threads)

    @staticmethod
    def get_driver_options() -> Sequence[cfg.Opt]:
        return zfs_volume_opts

    # --- setting up, reporting ----------------------------------------------------------------------------------------

    def do_setup(self, context: Context) -> None:
        """Raises Unavailable when the side that serves does not answer: `failover_host` can be called all the same."""
        own = read_settings(self.configuration)
        devices = read_devices(self.configuration.safe_get("replication_device") or (), own)
        own_host = {} if self._storage_host is None else {HOME: self._storage_host}
        own_exports = {} if self._exports is None else {HOME: self._exports}
        self.sides = Sides(
            own,
            devices,
            connect_timeout_s=int(self.configuration.safe_get("ssh_conn_timeout") or 60),
            clock=self.clock,
            given=GivenHosts({**own_host, **self._target_hosts}, own_exports),
            before_command=self.configuration.before_command,
        )
        # one for all streams: what was found out about a way is known to the next
        self.routes = self._routes or SshRoutes(direct=own.replication_route != RELAY)
        active = self.active_backend_id or HOME
        if active not in self.sides.ids:
            raise Invalid(f"the backend is failed over to '{active}', which replication_device does not name any more")
        self.use(self.sides.reach(active))

    def check_for_setup_error(self) -> None:
        """Also puts back all targets that the host lost, by one command: `ensure_export` finds them in force."""
        self.storage.exports.verify()
        lost = self.storage.exports.put_back()
        if lost:
            log.warning("volume.targets_put_back", targets=sorted(lost))

    def get_pool(self, volume: VolumeModel) -> str | None:
        return spec.pool_of(self.finder.existing(volume)[0], volume.host, self.settings)

    def _update_volume_stats(self) -> None:
        common = {
            "reserved_percentage": self.configuration.reserved_percentage,
            "max_over_subscription_ratio": self.configuration.max_over_subscription_ratio,
            "thin_provisioning_support": True,
            "thick_provisioning_support": True,
            # as a type asks by the extra spec of that name; the first where it does not say
            spec.THIN: [self.settings.is_thin, not self.settings.is_thin],
            "multiattach": True,
            "online_extend_support": True,
            "QoS_support": False,
            "compression_support": True,
            "consistent_group_snapshot_enabled": self.storage.flavour.several_per_command,
            "location_info": self.location_info,
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
            **self.replication_stats,
        }
        self._stats = {
            "volume_backend_name": backend_name(self.configuration),
            "vendor_name": self.VENDOR,
            "driver_version": self.VERSION,
            "storage_protocol": "iSCSI",
            "pools": reporting.pool_stats(self.settings, self.storage, common),
        }

    # --- volumes ------------------------------------------------------------------------------------------------------

    def create_volume(self, volume: VolumeModel) -> Updates | None:
        replication = self.replication_of_new(volume)
        want = self._spec(volume)
        medium = self.storage.medium
        properties = {**want.options, **want.fixed, **want.marks}
        made = self._made(
            volume, want, lambda: medium.create(want.dataset, want.size_bytes, properties, is_thin=want.is_thin)
        )
        return {**made, **replication}

    def look_at_source(self, snapshot: SnapshotModel) -> LookedAtSource | None:
        """See `LooksAhead`."""
        if self.sides.targets:
            return None
        taken = self.finder.snapshot_place(snapshot)
        return LookedAtSource(taken, Finder(self.storage.looks, self.settings).is_snapshot_at(taken, snapshot))

    def create_volume_from_snapshot(
        self, volume: VolumeModel, snapshot: SnapshotModel, looked: Future[LookedAtSource | None] | None = None
    ) -> Updates | None:
        replication, want = self.replication_of_new(volume), self._spec(volume)
        if self._clone_at_once(want, snapshot, looked):
            self._settle_clone(volume, want, snapshot.volume_size)
            return {**self._at(volume, want.dataset), **replication}
        taken = self.finder.existing_snapshot(snapshot)
        return self._cloned(volume, taken, snapshot.volume_size)

    def _clone_at_once(
        self, want: spec.VolumeSpec, snapshot: SnapshotModel, looked: Future[LookedAtSource | None] | None
    ) -> bool:
        """Clone while looking whether the snapshot is the one meant, not after that look, which costs half as much.

        `looked` is that look, where it began before. What can come between keeps the snapshot as it is: the request
        found it whole, and nobody takes it away while something is made from it.

        False when it has to be done with care: something is not where it should be, or may be a copy whose place
        another has taken, and nothing was made.
        """
        taken = self.finder.snapshot_place(snapshot)
        if self.sides.targets or taken.pool != want.dataset.pool:
            return False
        zfs, properties = self.storage.zfs, {**want.options, **want.marks}

        def clone() -> None:
            self.storage.medium.clone(taken, want.dataset, properties)

        try:
            if looked is None:
                is_ours = zfs.beside(clone, lambda: self.finder.is_snapshot_at(taken, snapshot))
            else:
                is_ours = until_looked(clone, looked) == LookedAtSource(taken, is_snapshot=True)
        except (Conflict, NotFound) as fault:
            log.info("volume.look_first", snapshot=snapshot.id, reason=fault.message)
            return False
        if not is_ours:
            lineage.destroy_volume(zfs, want.dataset)
        return is_ours

    def create_cloned_volume(self, volume: VolumeModel, src_vref: VolumeModel) -> Updates | None:
        """By a snapshot of the source that is nobody's, and goes with the clone."""
        if self.finder.volume(volume) is not None:
            return {**self._made(volume, self._spec(volume), None), **self.replication_of_new(volume)}
        source, _ = self.finder.existing(src_vref)
        taken = source.snapshot(f"clone-{volume.name_id}")
        try:
            self.storage.zfs.snapshot([taken], {KIND: Kind.TOMBSTONE.value, ID: volume.name_id})
        except Conflict:
            log.info("volume.snapshot_taken_before", snapshot=str(taken))
        try:
            update = self._cloned(volume, taken, src_vref.size)
        except Fault as fault:
            if not fault.retryable:
                self.storage.zfs.destroy_snapshots(source, [taken.name], deferred=True)
            raise
        self.storage.zfs.destroy_snapshots(source, [taken.name], deferred=True)
        return update

    def _spec(self, volume: VolumeModel) -> spec.VolumeSpec:
        is_zvol = self.storage.medium.type == "volume"
        return spec.volume_spec(volume, self.settings, self.storage.flavour, is_zvol=is_zvol)

    def _cloned(self, volume: VolumeModel, taken: SnapshotName, taken_gib: int) -> Updates:
        """`taken_gib` is the size of what was frozen."""
        replication = self.replication_of_new(volume)
        want = self._spec(volume)
        if taken.pool != want.dataset.pool:
            return {**self._copied(volume, want, taken), **replication}
        properties = {**want.options, **want.marks}
        update = self._made(volume, want, lambda: self.storage.medium.clone(taken, want.dataset, properties), taken)
        self._settle_clone(volume, want, taken_gib)
        return {**update, **replication}

    def _settle_clone(self, volume: VolumeModel, want: spec.VolumeSpec, taken_gib: int) -> None:
        if not (want.is_thin and volume.size == taken_gib):  # else it is as its origin was
            self.storage.medium.settle(want.dataset, want.size_bytes, is_thin=want.is_thin)

    def _made(
        self,
        volume: VolumeModel,
        want: spec.VolumeSpec,
        make: Callable[[], None] | None,
        origin: SnapshotName | None = None,
    ) -> Updates:
        """Make the dataset, or complete the one that an earlier call began. Raises Conflict: another's is there."""
        try:
            if make is not None:
                make()
                return self._at(volume, want.dataset)
        except Conflict:
            if self.finder.volume(volume) is None:
                self._complete(volume, want, origin)
        dataset, _ = self.finder.existing(volume)
        self.storage.medium.settle(dataset, want.size_bytes, is_thin=want.is_thin)
        return self._at(volume, dataset)

    def _at(self, volume: VolumeModel, dataset: Dataset) -> Updates:
        """Where it is, and where it will be served: that its first attachment need not write that."""
        return {"provider_id": str(dataset), "provider_location": self._location(volume)}

    def _complete(self, volume: VolumeModel, want: spec.VolumeSpec, origin: SnapshotName | None) -> None:
        """Unless it came to its marks meanwhile: the command was late, not cut off."""
        try:
            unmarked.complete(self.storage.zfs, volume, want, origin)
        except Conflict:
            if self.finder.volume(volume) is None:
                raise

    def delete_volume(self, volume: VolumeModel) -> None:
        self.refuse_unreachable(volume)
        if self.is_replicated(volume):
            with self.syncs.paused(volume.id):
                self.remove_copies(volume)
                self._delete(volume)
        else:
            self._delete(volume)
            if self.active.id != HOME:  # it was never made, for all that is known: what its creation began is there
                self.db.copy_left(volume, HOME)

    def _delete(self, volume: VolumeModel) -> None:
        if volume.source_volid is not None and volume.launched_at is None:
            self._forget_clone(volume, volume.source_volid)
        found = self.finder.volume(volume, ("origin",))
        # a creation that was refused here may have gone on at another backend, whose target of the same name is in use
        self._unexport_ours(volume, is_link_ours=found is not None and volume.launched_at is not None)
        destroy = lineage.destroy_volume if found is not None else destroy_unmarked
        found = found or unmarked.left_of(self.storage.zfs, self.settings, volume)
        if found is None:
            return
        dataset, properties = found
        if self.is_replicated(volume):
            release_all(self.storage.zfs, dataset)
        try:
            destroy(self.storage.zfs, dataset)
        except Busy as err:
            raise VolumeIsBusy(f"Volume {volume.id} is still in use on {self.storage.host.name}: {err}") from err
        self._sweep(dataset, properties["origin"].value)

    def _forget_clone(self, volume: VolumeModel, source_id: str) -> None:
        """Destroy what a clone that never came about was begun with: `create_cloned_volume` may have been cut off."""
        try:
            source = self.finder.volume(self.db.volume(source_id))
        except NotFound:
            return
        if source is not None:
            self.storage.zfs.destroy_snapshots(source[0], [f"clone-{volume.name_id}"], deferred=True)

    def _sweep(self, dataset: Dataset, origin: str) -> None:
        """The origin of what went may have waited for that."""
        parent = Dataset(origin.partition("@")[0]) if origin not in ("", "-") else None
        if parent is not None:
            found = self.storage.zfs.get_many([parent], (KIND,)).get(str(parent))
            if found is not None and kind_of(found) is Kind.TOMBSTONE and parent.parent is not None:
                lineage.sweep(self.storage.zfs, parent.parent)

    def extend_volume(self, volume: VolumeModel, new_size: int) -> None:
        """Also while it is attached: initiators see it when they look again."""
        dataset, _ = self.finder.existing(volume)
        is_thin = spec.stays_thin(volume, self.settings)
        self.storage.medium.settle(dataset, gib_to_bytes(new_size), is_thin=is_thin)
        self.resize_export(volume)

    # --- taken over, and let go ---------------------------------------------------------------------------------------

    def manage_existing(self, volume: VolumeModel, existing_ref: Mapping[str, Any]) -> Updates | None:
        replication = self.replication_of_new(volume)
        return {**(super().manage_existing(volume, existing_ref) or {}), **replication}

    def unmanage(self, volume: VolumeModel) -> None:
        self.refuse_unreachable(volume)
        if self.is_replicated(volume):
            with self.syncs.paused(volume.id):
                self.end_replication(volume)
        super().unmanage(volume)

    # --- snapshots ----------------------------------------------------------------------------------------------------

    def create_snapshot(self, snapshot: SnapshotModel) -> Updates | None:
        name = self.finder.snapshot_place(snapshot)
        if not self._take_at_once(snapshot, name):
            dataset, _ = self.finder.existing(snapshot.volume)
            name = dataset.snapshot(name.name)
            try:
                self.storage.zfs.snapshot([name], marks_of_snapshot(snapshot))
            except Conflict:
                if self.finder.snapshot(snapshot) is None:
                    raise
        return {"provider_id": str(name)}

    def _take_at_once(self, snapshot: SnapshotModel, name: SnapshotName) -> bool:
        """As `_clone_at_once`: take it while looking whether the dataset is the volume's."""
        if self.sides.targets:
            return False
        zfs = self.storage.zfs
        try:
            is_ours = zfs.beside(
                lambda: zfs.snapshot([name], marks_of_snapshot(snapshot)),
                lambda: self.finder.is_at(name.dataset, snapshot.volume),
            )
        except (Conflict, NotFound) as fault:
            log.info("volume.look_first", snapshot=snapshot.id, reason=fault.message)
            return False
        if not is_ours:
            zfs.destroy_snapshots(name.dataset, [name.name], deferred=False)
        return is_ours

    def delete_snapshot(self, snapshot: SnapshotModel) -> None:
        self.refuse_unreachable(snapshot.volume)
        found = self.finder.snapshot(snapshot)
        if found is not None:
            lineage.destroy_snapshot(self.storage.zfs, found)
        volume = self.finder.volume(snapshot.volume) if self.is_replicated(snapshot.volume) else None
        if volume is not None:  # also when the snapshot was gone: who destroyed it may have died then
            self.storage.zfs.set(volume[0], {DELETED: snapshot.id})

    def snapshot_revert_use_temp_snapshot(self) -> bool:
        """A rollback is done or not done."""
        return False

    def revert_to_snapshot(self, context: Context, volume: VolumeModel, snapshot: SnapshotModel) -> None:
        """Roll back. Where a clone lives on something newer, which a rollback would have to destroy, the manager copies
        instead.
        """
        if self.is_replicated(volume):
            with self.syncs.paused(volume.id):
                self._revert(volume, snapshot)
        else:
            self._revert(volume, snapshot)

    def _revert(self, volume: VolumeModel, snapshot: SnapshotModel) -> None:
        taken = self.finder.existing_snapshot(snapshot)
        newer = self._newer(taken)
        theirs = [name for name, kind in newer if kind is None]
        if theirs:
            raise Conflict(f"Going back to snapshot {snapshot.id} would destroy what is not ours: {', '.join(theirs)}.")
        if any(kind is Kind.SNAPSHOT for _, kind in newer):
            names = ", ".join(str(name) for name, _ in newer)
            raise Invalid(f"Snapshot {snapshot.id} is not the latest of volume {volume.id}: {names} would be lost.")
        if self.is_replicated(volume):
            self.clear_for_revert(volume, taken, {name for name, _ in newer})
            newer = self._newer(taken)
        try:
            self.storage.zfs.rollback(taken, destroy_newer=bool(newer))
        except HasClones as err:
            raise NotImplementedError(str(err)) from err
        is_thin = spec.stays_thin(volume, self.settings)
        self.storage.medium.settle(taken.dataset, gib_to_bytes(volume.size), is_thin=is_thin)

    def _newer(self, taken: SnapshotName) -> list[tuple[str, Kind | None]]:
        """Snapshots taken after it, with what they are to us."""
        found = self.storage.zfs.tree(taken.dataset, ("createtxg", KIND), kinds=("snapshot",), depth=1)
        own = int(found[str(taken)]["createtxg"].value)
        return [(name, kind_of(one)) for name, one in found.items() if int(one["createtxg"].value) > own]

    # --- types --------------------------------------------------------------------------------------------------------

    def retype(
        self,
        context: Context,
        volume: VolumeModel,
        new_type: VolumeTypeModel,
        diff: Mapping[str, Any],
        host: Mapping[str, Any],
    ) -> tuple[bool, Updates | None]:
        """Compression, and thin or thick, where it lies; another volblocksize, encryption or pool is a migration's."""
        old = spec.extra_specs(volume)
        new = new_type.extra_specs
        self.refuse_unreachable(volume)
        if not spec.claims_replication(new):
            self.refuse_away(volume)
        is_zvol = self.storage.medium.type == "volume"
        if is_zvol and spec.block_size(old, self.settings) != spec.block_size(new, self.settings):
            return False, None
        if diff.get("encryption") or (host.get("host") or volume.host) != volume.host:
            return False, None
        dataset, _ = self.finder.existing(volume)
        options = spec.native(new, self.settings, self.storage.flavour)
        if options:
            self.storage.zfs.set(dataset, options)
        elif spec.native(old, self.settings, self.storage.flavour):
            self.storage.zfs.inherit(dataset, "compression")
        is_thin = spec.is_thin(new, self.settings)
        if is_thin:
            self.storage.zfs.set(dataset, {"refreservation": "none"})
        self.storage.medium.settle(dataset, gib_to_bytes(volume.size), is_thin=is_thin)
        self.storage.zfs.set(dataset, {f"{PREFIX}type_id": new_type.id})
        return True, self._replication_retyped(volume, new)

    def _replication_retyped(self, volume: VolumeModel, new: Mapping[str, str]) -> Updates | None:
        """Switch replication on or off, as the new type says."""
        was, will = self.is_replicated(volume), bool(self.sides.targets) and spec.claims_replication(new)
        if was and not will:
            with self.syncs.paused(volume.id):
                self.end_replication(volume)
            return disabled_update(volume)
        return self.begin_again(volume) if will and not was else None

"""`VolumeManager`: the methods by which one backend's volumes are worked on.

Each method is one operation. It may be called again after a crash at any point and then ends as one call would have. A
retryable fault that is not the last attempt's passes through and leaves the state as it is, for the next attempt; any
other fault leaves a truthful state and a message to the owner, and is raised so that the operation is recorded as
failed.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from typing import Any

import structlog
from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call
from penstock.errors import Fault, Invalid, Unsupported
from penstock.images.choosing import image_service
from penstock.operations.driver_calls import driver_call
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.queue import OperationQueue
from penstock.store.database import Database
from penstock.volume.driver import BaseVD, Execute
from penstock.volume.errors import InvalidReplicationTarget, UnableToFailOver
from penstock.volume.loading import load_driver
from penstock.volume.manager import (
    backups,
    connections,
    elsewhere,
    group_snapshots,
    groups,
    images,
    manage,
    marking,
    migration,
    periodic,
    replicas,
    replication,
    retyping,
    snapshots,
    starting,
    transfers,
    volumes,
)
from penstock.volume.manager.backend import Placer, VolumeBackend
from penstock.volume.manager.moved import place_of
from penstock.volume.manager.records import StoredRecords
from penstock.volume.manager.turns import Turns
from penstock.volume.replication import HasReplicas

log = structlog.get_logger(__name__)


class VolumeManager:
    """Manages the volumes of one backend."""

    RPC_API_VERSION = "3.19"

    def __init__(
        self,
        volume_driver: BaseVD | str | None = None,
        service_name: str | None = None,
        *,
        configuration: BackendConfiguration,
        database: Database,
        conf: cfg.ConfigOpts | None = None,
        clock: Clock | None = None,
        host: str | None = None,
        execute: Execute | None = None,
        queue: OperationQueue | None = None,
        placer: Placer | None = None,
    ) -> None:
        """`volume_driver` is a driver, or the dotted name of one; by default the section's ``volume_driver``.

        `service_name` is the backend's name (the section's), `host` its full name ``host@backend``, `conf` the whole
        configuration, by default the one the section is in; `queue` is where operations are put that the backend itself
        asks for, `placer` finds another place for what it refuses to make. Raises Invalid when the configuration names
        a driver that cannot be loaded. Nothing is contacted yet.
        """
        name = service_name or configuration.config_group
        conf = conf or configuration.conf
        clock = clock or SystemClock()
        self.host = host or f"{conf.host}@{name}"
        self._ready = threading.Event()
        self._unexported: list[str] = []
        self._turns = Turns()
        self._book = replicas.Book()
        # What the functions of this package take; public for tools that work on its rows themselves.
        self.backend = VolumeBackend(
            host=self.host,
            zone=configuration.safe_get("backend_availability_zone") or conf.storage_availability_zone,
            configuration=configuration,
            database=database,
            clock=clock,
            conf=conf,
            queue=queue or OperationQueue(clock),
            images=image_service(conf, clock),
            placer=placer,
        )
        self.records = StoredRecords(self.backend)
        self.driver = self._load(volume_driver or configuration.safe_get("volume_driver"), execute)
        self.backend.use(self.driver)
        self.queue = self.backend.queue

    def _load(self, given: BaseVD | str | None, execute: Execute | None) -> BaseVD:
        configuration = self.backend.configuration
        if isinstance(given, BaseVD):
            given.db = self.records
            return given
        if not given:
            raise Invalid(f"[{configuration.config_group}] volume_driver is missing.")
        return load_driver(given, configuration, records=self.records, host=self.host, execute=execute)

    # --- readiness ----------------------------------------------------------------------------------------------

    def init_host(self) -> None:
        """Set the driver up, export what is in use, publish its pools: one attempt, after which the backend is ready.

        Raises the fault that keeps it from serving; safe to call again. The API answers meanwhile.
        """
        context = admin_context()
        periodic.heartbeat(self.backend, is_ready=False)
        self._fail_over_first(context)
        self.set_up_driver(context, self.driver.check_for_setup_error)
        starting.update_provider_info(self.backend)
        if not self._ready.is_set():
            self._unexported = starting.ensure_exports(self.backend, context)
        else:  # operations run: each volume's turn comes among its own
            starting.queue_exports(self.backend, context)
        if not self._ready.is_set():  # before the first operation runs; later they are on their way
            starting.settle(self.backend, context)
            starting.settle_temporary(self.backend, context)
        with driver_call("say what it can do"):
            self.driver.init_capabilities()
        periodic.publish_capabilities(self.backend)
        self._ready.set()
        periodic.heartbeat(self.backend, is_ready=True)

    def set_up_driver(self, context: RequestContext, check: Callable[[], None] = lambda: None) -> None:
        """Have the driver reach its storage; `check`, which may change something there, comes before it is in use."""
        self.driver.active_backend_id = replication.active_backend_id(self.backend)
        with driver_call("be set up"):
            self.driver.do_setup(context)
            check()
            self.driver.set_initialized()
            self.driver.set_throttle()

    def _fail_over_first(self, context: RequestContext) -> None:
        """A failover that was asked for comes before anything else, also when what served until now is dead, and the
        driver cannot be set up with it. The API accepts requests meanwhile."""
        asked = replication.asked_target(self.backend)
        if asked is None:
            return
        self.driver.active_backend_id = replication.active_backend_id(self.backend)
        try:
            with driver_call("be set up"):
                self.driver.do_setup(context)
        except Fault as fault:
            if not fault.retryable:
                raise
            log.warning("backend.not_set_up", backend=self.host, fault=str(fault))
        try:
            replication.failover(self.backend, context, asked[0], is_starting=True)
        except (InvalidReplicationTarget, Unsupported, UnableToFailOver) as fault:  # it is served as before
            log.warning("backend.not_failed_over", backend=self.host, fault=str(fault))

    def turn(self, method: str) -> AbstractContextManager[None]:
        """What an operation of that name runs in: a failover alone, everything else together. Raises Postponed."""
        return self._turns.alone() if method == "failover_host" else self._turns.together()

    def is_service_ready(self) -> bool:
        """Has the driver been set up, so that requests can be taken?"""
        return self._ready.is_set()

    def refuse_moved(self, call: Call) -> None:
        """Raise Elsewhere when `call` is about a volume that is at another backend by now."""
        with self.backend.database.read() as tx:
            place = place_of(tx, call)
        if place != call.backend:
            raise Elsewhere(place)

    # --- volumes ------------------------------------------------------------------------------------------------

    def create_volume(
        self,
        context: RequestContext,
        volume_id: str,
        image_id: str | None = None,
        backup_id: str | None = None,
        asked: Mapping[str, Any] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Make the volume, empty or from its source: a snapshot or volume that its row names, an image, a backup.

        Refused by this backend, it is tried at another that does as `asked`; `refused` names those who were tried.
        """
        try:
            if image_id is not None:
                images.create(self.backend, context, volume_id, image_id)
            elif backup_id is not None:
                backups.create_volume(self.backend, context, volume_id, backup_id)
            else:
                volumes.create(self.backend, context, volume_id)
        except elsewhere.Moved as moved:
            log.info("volume.goes_on_elsewhere", volume=volume_id, reason=str(moved))

    def forget_refused(self, context: RequestContext, volume_id: str, host: str, about: Mapping[str, Any]) -> None:
        """Take away what was begun here of a volume that was made elsewhere then."""
        elsewhere.forget_refused(self.backend, volume_id, host, about)

    def copy_volume_to_image(self, context: RequestContext, volume_id: str, image_meta: Mapping[str, Any]) -> None:
        """Make the volume an image."""
        images.upload(self.backend, context, volume_id, image_meta)

    def reimage(self, context: RequestContext, volume_id: str, image_id: str) -> None:
        """Put another image on the volume."""
        images.reimage(self.backend, context, volume_id, image_id)

    def delete_volume(
        self, context: RequestContext, volume_id: str, cascade: bool = False, force: bool = False
    ) -> None:
        """Destroy the volume. With `force` it is forgotten even when the backend cannot do its part."""
        volumes.delete(self.backend, context, volume_id, cascade=cascade, force=force)

    def extend_volume(self, context: RequestContext, volume_id: str, new_size: int) -> None:
        """Let the volume hold `new_size` GiB."""
        volumes.extend(self.backend, context, volume_id, new_size)

    def revert_to_snapshot(self, context: RequestContext, volume_id: str, snapshot_id: str) -> None:
        """Put the volume back to the snapshot, in place."""
        volumes.revert(self.backend, self.records, context, volume_id, snapshot_id)

    def manage_existing(self, context: RequestContext, volume_id: str, ref: Mapping[str, Any]) -> None:
        """Take over what `ref` names."""
        manage.manage_volume(self.backend, context, volume_id, ref)

    def unmanage(self, context: RequestContext, volume_id: str) -> None:
        """Forget the volume and leave it on the backend."""
        manage.unmanage_volume(self.backend, context, volume_id)

    def get_manageable_volumes(
        self,
        context: RequestContext,
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[dict[str, Any]]:
        """What could be taken over as volumes."""
        return manage.manageable_volumes(self.backend, marker, limit, offset, sort_keys, sort_dirs)

    def retype(
        self, context: RequestContext, volume_id: str, new_type_id: str, host: str, migration_policy: str = "never"
    ) -> None:
        """Give the volume another type, on the pool `host`."""
        retyping.retype(self.backend, context, volume_id, new_type_id, host, migration_policy)

    def migrate_volume(self, context: RequestContext, volume_id: str, host: str, force_host_copy: bool = False) -> None:
        """Move the volume to the pool `host`."""
        migration.migrate(self.backend, context, volume_id, host, force_host_copy=force_host_copy)

    def accept_transfer(self, context: RequestContext, volume_id: str, new_user: str, new_project: str) -> None:
        """Hand over what the driver keeps by owner."""
        transfers.accept(self.backend, context, volume_id, new_user, new_project)

    # --- snapshots ----------------------------------------------------------------------------------------------

    def create_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Take the snapshot."""
        snapshots.create(self.backend, context, snapshot_id)

    def delete_snapshot(self, context: RequestContext, snapshot_id: str, force: bool = False) -> None:
        """Destroy the snapshot. With `force` it is forgotten even when the backend cannot do its part."""
        snapshots.delete(self.backend, context, snapshot_id, force=force)

    def manage_existing_snapshot(self, context: RequestContext, snapshot_id: str, ref: Mapping[str, Any]) -> None:
        """Take over the snapshot that `ref` names."""
        manage.manage_snapshot(self.backend, context, snapshot_id, ref)

    def unmanage_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Forget the snapshot and leave it on the backend."""
        manage.unmanage_snapshot(self.backend, context, snapshot_id)

    def get_manageable_snapshots(
        self,
        context: RequestContext,
        marker: Mapping[str, Any] | None,
        limit: int,
        offset: int,
        sort_keys: list[str],
        sort_dirs: list[str],
    ) -> list[dict[str, Any]]:
        """What could be taken over as snapshots."""
        return manage.manageable_snapshots(self.backend, marker, limit, offset, sort_keys, sort_dirs)

    # --- the whole backend --------------------------------------------------------------------------------------

    def freeze_host(self, context: RequestContext) -> None:
        """Take nothing new, and have the storage change nothing."""
        replication.freeze(self.backend, context)

    def thaw_host(self, context: RequestContext) -> None:
        """The end of `freeze_host`."""
        replication.thaw(self.backend, context)

    def failover_host(self, context: RequestContext, secondary_backend_id: str | None = None) -> None:
        """Serve the volumes from a replication target, or from here again (``default``)."""
        replication.failover(self.backend, context, secondary_backend_id)

    # --- backups ------------------------------------------------------------------------------------------------

    def create_backup(self, context: RequestContext, backup_id: str) -> None:
        """Back up the volume or snapshot that the backup's row names."""
        backups.create(self.backend, self.records, context, backup_id)

    def restore_backup(self, context: RequestContext, backup_id: str, volume_id: str) -> None:
        """Write the backup onto the volume."""
        backups.restore(self.backend, context, backup_id, volume_id)

    def delete_backup(self, context: RequestContext, backup_id: str) -> None:
        """Remove the backup."""
        backups.delete(self.backend, context, backup_id)

    # --- groups --------------------------------------------------------------------------------------------------

    def create_group(self, context: RequestContext, group_id: str) -> None:
        """Make the group, empty."""
        groups.create(self.backend, context, group_id)

    def create_group_from_src(self, context: RequestContext, group_id: str) -> None:
        """Make the group with its volumes, from a group snapshot or another group."""
        groups.create_from_source(self.backend, context, group_id)

    def update_group(
        self, context: RequestContext, group_id: str, add_volumes: list[str], remove_volumes: list[str]
    ) -> None:
        """Take volumes into the group and out of it."""
        groups.update(self.backend, context, group_id, add_volumes, remove_volumes)

    def delete_group(self, context: RequestContext, group_id: str) -> None:
        """Destroy the group and its volumes."""
        groups.delete(self.backend, context, group_id)

    def create_group_snapshot(self, context: RequestContext, group_snapshot_id: str) -> None:
        """Take snapshots of all volumes of a group."""
        group_snapshots.create(self.backend, context, group_snapshot_id)

    def delete_group_snapshot(self, context: RequestContext, group_snapshot_id: str) -> None:
        """Destroy them."""
        group_snapshots.delete(self.backend, context, group_snapshot_id)

    # --- connections --------------------------------------------------------------------------------------------

    def attachment_update(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Connect the initiator that the attachment names."""
        connections.update(self.backend, context, attachment_id)

    def attachment_delete(
        self, context: RequestContext, volume_id: str, attachment_id: str, force: bool = False
    ) -> None:
        """End the attachment. With `force` it is forgotten even when the backend cannot do its part."""
        connections.end(self.backend, context, volume_id, attachment_id, force=force)

    def initialize_connection(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Connect the initiator that the row names, for the older action."""
        connections.initialize(self.backend, context, attachment_id)

    def terminate_connection(
        self, context: RequestContext, volume_id: str, attachment_id: str, force: bool = False
    ) -> None:
        """Let the initiator that the row names connect no more."""
        connections.terminate(self.backend, context, attachment_id, force=force)

    def attach_volume(self, context: RequestContext, volume_id: str, attachment_id: str) -> None:
        """Write that the volume is used, as the row says by whom."""
        connections.attach(self.backend, context, attachment_id)

    # --- periodic work ------------------------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Say that this backend's service lives; every ``report_interval`` seconds."""
        periodic.heartbeat(self.backend, is_ready=self.is_service_ready())

    def publish_service_capabilities(self, context: RequestContext) -> None:
        """Gather the pools' capabilities and publish them; every ``periodic_interval`` seconds once ready."""
        with self._turns.together():
            periodic.publish_capabilities(self.backend)

    def replicate(self, context: RequestContext) -> None:
        """Look at the copies on replication targets, and bring them up to date; every second it looks whether it is
        time."""
        with self._turns.together():
            replicas.look(self.backend, context, self._book)

    def stop_replicating(self) -> None:
        """End copies that are under way; they go on when the backend is served again."""
        if isinstance(self.driver, HasReplicas):
            self.driver.stop_replicating()

    def export_again(self, context: RequestContext) -> None:
        """Have exported, in each volume's turn, what could not be; every ``periodic_interval`` seconds once ready."""
        left: list[str] = []
        while self._unexported:
            left.append(self._unexported.pop())
        if left:
            starting.queue_exports(self.backend, context, left)

    def settle_export(self, context: RequestContext, volume_id: str) -> None:
        """Let in exactly whom the volume's attachments name."""
        marking.settle_export(self.backend, context, volume_id)

    def write_identity(self, context: RequestContext, volume_id: str) -> None:
        """Write on the storage what the row says of the volume, where the driver keeps that there."""
        marking.write_identity(self.backend, volume_id)

    def ensure_export(self, context: RequestContext, volume_id: str) -> None:
        """Make the volume's export anew; what cannot be done now is asked for again by `export_again`."""
        self._unexported.extend(starting.ensure_exports(self.backend, context, [volume_id]))

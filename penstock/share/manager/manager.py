"""`ShareManager`: the published methods by which one backend's shares are worked on.

Each method is one operation. It may be called again after a crash at any point and then ends as one call would have. A
retryable fault that is not the last attempt's passes through and leaves the state as it is, for the next attempt; any
other fault leaves a truthful error state and a message to the owner, and is raised so that the operation is recorded as
failed.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import structlog
from oslo_config import cfg

from penstock.clock import Clock, SystemClock
from penstock.config.backend import BackendConfiguration
from penstock.context import RequestContext, admin_context
from penstock.domain.operations import Call
from penstock.domain.shares import ShareStatus
from penstock.errors import Invalid, NotFound, Unsupported
from penstock.operations.elsewhere import Elsewhere
from penstock.operations.queue import OperationQueue
from penstock.share.driver import Execute, ShareDriver
from penstock.share.hook import HookBase
from penstock.share.loading import load_driver
from penstock.share.locks import NamedLocks
from penstock.share.manager import (
    access,
    elsewhere,
    ensure,
    exports,
    instances,
    manage,
    periodic,
    recycling,
    snapshots,
    stranded,
)
from penstock.share.manager.backend import Backend, Placer
from penstock.share.manager.calls import driver_call
from penstock.share.manager.groups import GroupMethods
from penstock.share.manager.hooks import add_hooks, load_hooks
from penstock.share.manager.looks import Looks
from penstock.share.manager.migration import MigrationMethods
from penstock.share.manager.models import share_model, share_models
from penstock.share.manager.moved import FOLLOWING, place_of
from penstock.share.manager.replicas import ReplicaMethods
from penstock.share.manager.servers import ServerMethods
from penstock.share.manager.syncs import Syncs
from penstock.store import shares as share_rows
from penstock.store.database import Database

log = structlog.get_logger(__name__)


class ShareManager(ReplicaMethods, MigrationMethods, ServerMethods, GroupMethods):
    """Manages the shares of one backend."""

    RPC_API_VERSION = "1.21"

    def __init__(
        self,
        share_driver: ShareDriver | str | None = None,
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
        """`share_driver` is a driver, or the dotted name of one; by default the section's ``share_driver``.

        `service_name` is the backend's name (the section's), `host` its full name ``host@backend``, `conf` the whole
        configuration, by default the one the section is in; `queue` is where operations are put that the backend itself
        asks for; `placer` finds another place for a share that this one refuses to make. Raises Invalid when the
        configuration names a driver or hook that cannot be loaded. Nothing is contacted yet.
        """
        name = service_name or configuration.config_group
        conf = conf or configuration.conf
        self._conf = conf
        self.host = host or f"{conf.host}@{name}"
        self.driver = _driver(share_driver or configuration.safe_get("share_driver"), configuration, execute)
        self.hooks: Sequence[HookBase] = load_hooks(configuration, self.host)
        self.locks = NamedLocks()
        self._ready = threading.Event()
        # What the functions of this package take; public for tools that work on its rows themselves.
        self.backend = Backend(
            host=self.host,
            zone=configuration.safe_get("backend_availability_zone") or conf.storage_availability_zone,
            driver=self.driver,
            configuration=configuration,
            database=database,
            clock=clock or SystemClock(),
            share_name_template=conf.share_name_template,
            snapshot_name_template=conf.share_snapshot_name_template,
            message_ttl_s=conf.message_ttl,
            removes_rules_on_unmanage=conf.unmanage_remove_access_rules,
            queue=queue or OperationQueue(clock or SystemClock()),
            placer=placer,
            most_attempts=conf.scheduler_max_attempts,
        )
        self.queue = self.backend.queue
        self.syncs = Syncs(self.backend.clock)
        self.looks = Looks(
            self.backend, self.queue, self.syncs, conf.replica_state_update_interval, conf.operations.syncs_per_backend
        )

    # --- readiness ----------------------------------------------------------------------------------------------

    def init_host(self) -> None:
        """Set the driver up, ensure its shares, publish its pools: one attempt, after which the backend is ready.

        Raises the fault that keeps it from serving; safe to call again. The API answers meanwhile.
        """
        context = admin_context()
        periodic.heartbeat(self.backend, is_ready=False)
        with driver_call("be set up"):
            self.driver.do_setup(context)
            self.driver.check_for_setup_error()
        ensure.ensure_all(self.backend, context, even_if_unchanged=False)
        if not self._ready.is_set():  # before the first operation runs; later they are on their way
            stranded.settle(self.backend, context)
        periodic.publish_capabilities(self.backend)
        self._ready.set()
        periodic.heartbeat(self.backend, is_ready=True)

    def is_service_ready(self) -> bool:
        """Has the driver been set up, so that requests can be taken?"""
        return self._ready.is_set()

    def ensure_driver_resources(self, ctxt: RequestContext) -> None:
        """Ensure all shares again, whatever the driver says has changed: an administrator's request."""
        ensure.ensure_all(self.backend, ctxt, even_if_unchanged=True)

    def refuse_moved(self, call: Call) -> None:
        """Raise Elsewhere when `call` is about a share whose active instance is at another backend by now."""
        if call.method not in FOLLOWING:
            return
        with self.backend.database.read() as tx:
            place = place_of(tx, call)
        if place != call.backend:
            raise Elsewhere(place)

    # --- share instances ----------------------------------------------------------------------------------------

    @add_hooks
    def create_share_instance(
        self,
        context: RequestContext,
        share_instance_id: str,
        request_spec: Mapping[str, Any] | None = None,  # placement has been decided
        filter_properties: Mapping[str, Any] | None = None,  # as above
        snapshot_id: str | None = None,
        asked: Mapping[str, Any] | None = None,
        refused: Mapping[str, str] | None = None,
    ) -> None:
        """Make the instance, empty or from `snapshot_id`.

        Refused by this backend, it is tried at another that does as `asked`; `refused` names those who were tried.
        """
        try:
            instances.create(self.backend, context, share_instance_id, snapshot_id)
        except elsewhere.Moved as moved:
            log.info("share.goes_on_elsewhere", instance=share_instance_id, reason=str(moved))

    def forget_refused(
        self, context: RequestContext, share_instance_id: str, host: str, about: Mapping[str, Any]
    ) -> None:
        """Take away what was begun here of a share that was made elsewhere then."""
        elsewhere.forget_refused(self.backend, context, share_instance_id, host, about)

    @add_hooks
    def delete_share_instance(self, context: RequestContext, share_instance_id: str, force: bool = False) -> None:
        """Destroy the instance. With `force` it is forgotten even when the backend cannot do its part."""
        instances.delete(self.backend, context, share_instance_id, force=force)

    @add_hooks
    def extend_share(
        self,
        context: RequestContext,
        share_id: str,
        new_size: int,
        reservations: Any = None,  # quotas are computed from the rows
    ) -> None:
        """Let the share hold `new_size` GiB."""
        instances.extend(self.backend, context, share_id, new_size)

    @add_hooks
    def shrink_share(self, context: RequestContext, share_id: str, new_size: int) -> None:
        """Let the share hold only `new_size` GiB, unless data would be lost."""
        instances.shrink(self.backend, context, share_id, new_size)

    @add_hooks
    def manage_share(self, context: RequestContext, share_id: str, driver_options: Mapping[str, Any]) -> None:
        """Take over what exists at the share's export location."""
        self._refuse_share_servers()
        manage.manage_share(self.backend, context, share_id, driver_options)

    @add_hooks
    def unmanage_share(self, context: RequestContext, share_id: str) -> None:
        """Forget the share and leave it on the backend."""
        self._refuse_share_servers()
        manage.unmanage_share(self.backend, context, share_id)

    def remember_soft_deletion(self, context: RequestContext, share_instance_id: str) -> None:
        """Write on the instance's storage whether its share is in the recycle bin now."""
        recycling.remember(self.backend, share_instance_id)

    def connection_get_info(self, context: RequestContext, share_instance_id: str) -> Mapping[str, Any]:
        """How a data mover reaches the instance's files. Raises NotFound, Unsupported."""
        with self.backend.database.read() as tx:
            share = share_rows.get_by_instance(tx, share_instance_id)
            if share is None:
                raise NotFound(f"There is no share instance {share_instance_id}.")
            model = share_model(tx, self.backend, share)
        with driver_call("tell how its shares are reached"):
            return self.driver.connection_get_info(context, model, share_server=None)

    # --- access -------------------------------------------------------------------------------------------------

    @add_hooks
    def update_access(self, context: RequestContext, share_instance_id: str) -> None:
        """Apply all changes queued for the instance's rules."""
        access.update(self.backend, context, share_instance_id)

    @add_hooks
    def update_access_for_instances(
        self, context: RequestContext, share_instance_ids: Sequence[str], share_server_id: str | None = None
    ) -> None:
        """The same for several instances; the first fault ends it, and a repetition goes on there."""
        if share_server_id is not None:
            raise Unsupported("Share servers are not offered by this release.")
        for share_instance_id in share_instance_ids:
            access.update(self.backend, context, share_instance_id)

    def snapshot_update_access(self, context: RequestContext, snapshot_instance_id: str) -> None:
        """Apply the rules of a snapshot that can be mounted."""
        raise Unsupported("Mounting snapshots is not offered by this release.")

    # --- snapshots ----------------------------------------------------------------------------------------------

    @add_hooks
    def create_snapshot(
        self,
        context: RequestContext,
        share_id: str,  # the snapshot knows its share
        snapshot_id: str,
    ) -> None:
        """Take the snapshot."""
        snapshots.create(self.backend, context, snapshot_id)

    @add_hooks
    def delete_snapshot(self, context: RequestContext, snapshot_id: str, force: bool = False) -> None:
        """Destroy the snapshot. With `force` it is forgotten even when the backend cannot do its part."""
        snapshots.delete(self.backend, context, snapshot_id, force=force)

    @add_hooks
    def revert_to_snapshot(
        self,
        context: RequestContext,
        snapshot_id: str,
        reservations: Any = None,  # quotas are computed from the rows
    ) -> None:
        """Put the snapshot's share back to it, in place."""
        snapshots.revert(self.backend, context, snapshot_id)

    @add_hooks
    def manage_snapshot(self, context: RequestContext, snapshot_id: str, driver_options: Mapping[str, Any]) -> None:
        """Take over the existing snapshot named by its provider location."""
        self._refuse_share_servers()
        manage.manage_snapshot(self.backend, context, snapshot_id, driver_options)

    @add_hooks
    def unmanage_snapshot(self, context: RequestContext, snapshot_id: str) -> None:
        """Forget the snapshot and leave it on the backend."""
        self._refuse_share_servers()
        manage.unmanage_snapshot(self.backend, context, snapshot_id)

    # --- periodic work ------------------------------------------------------------------------------------------

    def heartbeat(self) -> None:
        """Say that this backend's service lives; every ``report_interval`` seconds."""
        periodic.heartbeat(self.backend, is_ready=self.is_service_ready())

    def publish_service_capabilities(self, context: RequestContext) -> None:
        """Gather the pools' capabilities and publish them; every ``periodic_interval`` seconds once ready."""
        periodic.publish_capabilities(self.backend)

    def periodic_share_status_update(self, context: RequestContext) -> None:
        """Ask how far creations in the background are; every ``periodic_interval`` seconds."""
        periodic.update_statuses(self.backend, context)

    def restore_exports(self) -> None:
        """Put back exports that a storage host lost; every ``exports_check_interval`` seconds."""
        exports.restore(self.backend)

    def update_share_usage_size(self, context: RequestContext) -> None:
        """Gather how much shares use, where ``enable_gathering_share_usage_size`` is set."""
        if self._conf.enable_gathering_share_usage_size:
            periodic.update_usage(self.backend, context)

    def execute_periodic_hooks(self, context: RequestContext) -> None:
        """Call the hooks with all available instances; every ``periodic_hooks_interval`` seconds."""
        if not self.hooks:
            return
        with self.backend.database.read() as tx:
            found = share_rows.of_backend(tx, self.host, statuses=[ShareStatus.AVAILABLE])
            models = share_models(tx, self.backend, found)
        data = self.driver.get_periodic_hook_data(context, models)
        for hook in self.hooks:
            hook.execute_periodic_hook(context, data)

    def _refuse_share_servers(self) -> None:
        if self.driver.driver_handles_share_servers:
            raise Unsupported("Share servers are not offered by this release.")


def _driver(
    given: ShareDriver | str | None, configuration: BackendConfiguration, execute: Execute | None
) -> ShareDriver:
    if isinstance(given, ShareDriver):
        return given
    if not given:
        raise Invalid(f"[{configuration.config_group}] share_driver is missing.")
    return load_driver(given, configuration, execute=execute)

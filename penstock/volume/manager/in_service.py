"""A backend of volumes in service: what it is made of, how it gets ready, and what it does from time to time."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

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
    periodic,
    replicas,
    replication,
    starting,
)
from penstock.volume.manager.backend import Placer, VolumeBackend
from penstock.volume.manager.moved import place_of
from penstock.volume.manager.records import StoredRecords
from penstock.volume.manager.turns import Turns
from penstock.volume.replication import HasReplicas, TellsBoots

log = structlog.get_logger(__name__)


class BackendInService:
    """One backend with its driver. What is asked of it is in `manager.VolumeManager`."""

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
        self._boot: str | None = None  # of the machine that serves, when its exports were last made
        self._turns = Turns(clock)
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
        self._boot = self._boot_now()
        if not self._ready.is_set():
            self._detach_left_here()
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

    def _detach_left_here(self) -> None:
        """What stays attached to this machine is no reason not to serve."""
        try:
            with driver_call("detach what an earlier process left"):
                self.driver.detach_left_here()
        except Fault as fault:
            log.warning("volume.stays_attached_here", host=self.host, fault=fault.message)

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
        """What an operation of that name runs in: alone what changes which storage serves, everything else together.
        Raises Postponed."""
        is_change = method == replication.FAILOVER or (
            method == replication.THAW and replication.thaw_fails_back(self.backend)
        )
        return self._turns.alone() if is_change else self._turns.together()

    def is_service_ready(self) -> bool:
        """Has the driver been set up, so that requests can be taken?"""
        return self._ready.is_set()

    def refuse_moved(self, call: Call) -> None:
        """Raise Elsewhere when `call` is about a volume that is at another backend by now."""
        with self.backend.database.read() as tx:
            place = place_of(tx, call)
        if place != call.backend:
            raise Elsewhere(place)

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
        """Have exported, in each volume's turn, what could not be, and all when the machine that serves was started
        since; every ``periodic_interval`` seconds once ready."""
        boot = self._boot_now()
        if boot is not None and boot != self._boot:
            log.warning("backend.booted", backend=self.host)
            starting.queue_exports(self.backend, context)
            self._boot = boot
        left: list[str] = []
        while self._unexported:
            left.append(self._unexported.pop())
        if left:
            starting.queue_exports(self.backend, context, left)

    def _boot_now(self) -> str | None:
        """None when it cannot be told, or does not matter."""
        if not isinstance(self.driver, TellsBoots):
            return None
        try:
            with driver_call("tell whether its machine was restarted"):
                return self.driver.boot_id() or None
        except Fault as fault:  # it is asked again
            log.info("backend.not_asked", backend=self.host, fault=str(fault))
            return None

    def ensure_export(self, context: RequestContext, volume_id: str) -> None:
        """Make the volume's export anew; what cannot be done now is asked for again by `export_again`."""
        self._unexported.extend(starting.ensure_exports(self.backend, context, [volume_id]))

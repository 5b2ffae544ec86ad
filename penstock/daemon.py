"""``penstock serve``: the API and every enabled backend in one process."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType

import structlog
import uvicorn
from oslo_config import cfg

from penstock.api.app import make_app
from penstock.backend_service import BackendService, Kind, refuse_shared_places, refuse_twice
from penstock.clock import Clock, SystemClock
from penstock.errors import Conflict
from penstock.first_start import first_start
from penstock.images.choosing import image_service
from penstock.operations.periodic import Periodic
from penstock.operations.queue import OperationQueue
from penstock.secret_box import SecretBox
from penstock.services import recycle_bin
from penstock.services.control_plane import ControlPlane
from penstock.share_backend import ShareBackend
from penstock.store import messages, operations, tokens
from penstock.store import upgrade as schema
from penstock.store.database import Database

log = structlog.get_logger(__name__)

HOUSEKEEPING_S = 600.0
SWITCH_INTERVAL_S = 0.0005


# Longer than clients pause between two looks. The stock ones look every 5 s when they `--wait`, just when uvicorn's own
# 5 s are over: whose request crossed the closing saw its connection aborted.
KEEP_ALIVE_S = 75
TICK_S = 0.1  # as uvicorn's own


class Daemon:
    """Everything one process runs, made from its configuration."""

    def __init__(self, conf: cfg.ConfigOpts, *, clock: Clock | None = None) -> None:
        self.conf = conf
        self.clock = clock or SystemClock()
        self.database = open_database(conf)
        self.queue = OperationQueue(self.clock)
        self.plane = ControlPlane(self.database, self.queue, self.clock, conf, image_service(conf, self.clock))
        refuse_twice(conf)
        of_shares = [self._service(section, ShareBackend) for section in conf.enabled_share_backends]
        self._of_volumes = [self._service(section, _volume_backend()) for section in conf.enabled_backends]
        self.backends = of_shares + self._of_volumes
        refuse_shared_places(self.backends)
        self._housekeeping = Periodic(self.clock, "housekeeping")
        self._housekeeping.add("prune", HOUSEKEEPING_S, self._prune)
        self._housekeeping.add(
            "recycle bin", conf.check_for_expired_shares_in_recycle_bin_interval, lambda: recycle_bin.empty(self.plane)
        )

    def _service(self, section: str, kind: Kind) -> BackendService:
        return BackendService(self.conf, section, self.database, self.queue, self.clock, kind)

    def run(self) -> None:
        """Serve until a signal ends it. Raises Conflict when a backend is served elsewhere or the schema is old."""
        with ExitStack() as running:  # ends all that began, also when one of them cannot begin or end
            running.callback(self.database.close)
            prepare_schema(self.database)
            first_start(self.plane)
            for backend in self.backends:
                backend.claim()
                running.callback(backend.stop)
            running.callback(self._housekeeping.stop)
            self._serve()
        log.info("daemon.stopped")

    def _end_volumes(self) -> None:
        """Volumes may lie on shares of this very process: what is under way with them ends while the API answers and
        the backends of shares work. Safe to repeat."""
        for backend in self._of_volumes:
            try:
                backend.stop()
            except Exception:  # the outermost frame of this thread: the others are to end while the API answers, too
                log.exception("daemon.backend_not_ended", backend=backend.backend)

    def _begin_work(self) -> None:
        """What the API need not wait for: looking at a thousand shares would hold up its first answer by a second."""
        for backend in self.backends:
            backend.start()
        self._housekeeping.start()

    def _serve(self) -> None:
        host, port = self.conf.osapi_share_listen, self.conf.osapi_share_listen_port
        app = make_app(self.plane)
        app.start()
        config = uvicorn.Config(
            app,
            host=host,
            port=port,
            log_config=None,
            access_log=False,
            lifespan="off",
            http="httptools",
            server_header=False,
            timeout_graceful_shutdown=10,
            timeout_keep_alive=KEEP_ALIVE_S,
        )
        # What stands now stands for good: not looking at it again saves a third of the CPU of a long list.
        gc.enable()
        gc.collect()
        gc.freeze()
        gc.set_threshold(50_000, 20, 20)
        # Who has just been given work, or the answer of a command, must not wait for who computes; 5 ms by default
        sys.setswitchinterval(SWITCH_INTERVAL_S)
        log.info("daemon.serving", address=host, port=port, pid=os.getpid())
        with _ending_in_order():
            _Server(config, self._begin_work, self._end_volumes).run()

    def _prune(self) -> None:
        now = self.clock.utc()
        with self.database.begin() as tx:
            keep = timedelta(seconds=self.conf.operations.keep_finished)
            operations.prune(tx, finished_before=now - keep)
            messages.prune(tx, expired_before=now)
            tokens.prune_tokens(tx, expired_before=now)


class _Server(uvicorn.Server):
    """Calls `when_listening` once requests are accepted; never when the port is another's. Told to end, it calls
    `before_closing` in a thread and answers requests until that is done, or until it is told once more."""

    def __init__(
        self, config: uvicorn.Config, when_listening: Callable[[], None], before_closing: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._when_listening = when_listening
        self._before_closing = before_closing
        self._is_told_again = False

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self._when_listening()

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._is_told_again = self.should_exit
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("daemon.stopping")
        # of its own: the loop would wait for a thread of its pool
        ending = threading.Thread(target=self._before_closing, name="before-closing", daemon=True)
        ending.start()
        ticks = 0
        while ending.is_alive() and not self._is_told_again:
            await asyncio.sleep(TICK_S)
            ticks += 1
            await self.on_tick(ticks)
        await super().shutdown(sockets)


@contextmanager
def _ending_in_order() -> Iterator[None]:
    """Around uvicorn, which raises the signal that ended it once more when it is done: that would kill us on the spot,
    with operations under way and the claims held. A second signal, after the block, does."""
    if threading.current_thread() is not threading.main_thread():  # uvicorn listens to no signals then
        yield
        return
    before = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _volume_backend() -> Kind:
    """Imported where there are volumes: a tenth of what a start takes."""
    from penstock.volume_backend import VolumeBackend

    return VolumeBackend


def open_database(conf: cfg.ConfigOpts) -> Database:
    """The configured database; for SQLite the folder is made, readable by nobody else."""
    Path(conf.state_path).mkdir(parents=True, exist_ok=True, mode=0o750)
    return Database(conf.database.connection, SecretBox(Path(conf.database.secret_key_file)))


def prepare_schema(database: Database) -> None:
    """On SQLite, one process owns the file and brings it up to date; elsewhere that is an operator's decision.

    Raises Conflict when another database is not at the present schema.
    """
    try:
        schema.check(database)
    except Conflict:
        if not database.is_sqlite:
            raise
        before, after = schema.upgrade(database)
        log.info("database.upgraded", before=before, after=after)

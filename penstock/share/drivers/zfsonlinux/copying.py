"""A share from a snapshot that another backend has: copied in the background, and gone on with after a restart.

The empty dataset that the copy arrives in says where it comes from, so nothing is kept in memory that is needed again:
`status`, which is asked every so often, begins the copy anew where nobody is at it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import structlog

from penstock.clock import Clock
from penstock.errors import Cancelled, Conflict, Fault, NotFound, ShareResourceNotFound, SnapshotResourceNotFound
from penstock.host.streaming import Routes
from penstock.share.drivers.zfsonlinux import plan, spec
from penstock.share.drivers.zfsonlinux.exporting import export_locations
from penstock.share.drivers.zfsonlinux.first_copy import make_placeholder
from penstock.share.drivers.zfsonlinux.identity import KIND, PREFIX, Kind
from penstock.share.drivers.zfsonlinux.observe import observe_share
from penstock.share.drivers.zfsonlinux.peers import Peer, Peers
from penstock.share.drivers.zfsonlinux.replica_ending import destroy_placeholder
from penstock.share.drivers.zfsonlinux.replica_set import Copy, arriving, if_it_answers, observe, receiving
from penstock.share.drivers.zfsonlinux.steps import Rename, SetProperties, carry_out, settle
from penstock.share.models import ShareModel, SnapshotModel
from penstock.units import gib_to_bytes
from penstock.zfs.holds import hold, release
from penstock.zfs.names import SnapshotName, parse_target
from penstock.zfs.properties import bytes_of, local_value
from penstock.zfs.reigns import OF, hold_tag
from penstock.zfs.transfer import Transfer

log = structlog.get_logger(__name__)

FROM = f"{PREFIX}from"  # on the placeholder: ``host@backend#pool dataset@snapshot``
Launch = Callable[[Callable[[], None]], None]


def in_thread(work: Callable[[], None]) -> None:
    """Run it beside everything else; it ends with the process."""
    threading.Thread(target=work, name="copy-of-snapshot", daemon=True).start()


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a copy comes from."""

    host: str
    snapshot: SnapshotName

    def __str__(self) -> str:
        return f"{self.host} {self.snapshot}"

    @classmethod
    def parse(cls, text: str) -> Origin | None:
        """What ``str`` wrote; None for anything else."""
        host, _, name = text.partition(" ")
        target = parse_target(name) if name else None
        return cls(host, target) if isinstance(target, SnapshotName) else None


@dataclass(slots=True)
class _Running:
    stop: threading.Event = field(default_factory=threading.Event)
    ended: threading.Event = field(default_factory=threading.Event)
    sent: int = 0
    total: int = 0
    fault: Fault | None = None


class Copies:
    """The copies that arrive at one backend. Any thread may use it."""

    def __init__(self, own: Peer, peers: Peers, routes: Routes, clock: Clock, launch: Launch = in_thread) -> None:
        self._own = own
        self._peers = peers
        self._routes = routes
        self._clock = clock
        self._launch = launch
        self._lock = threading.Lock()  # for _running
        self._running: dict[str, _Running] = {}

    def begin(self, share: ShareModel, snapshot: SnapshotModel) -> dict[str, Any]:
        """Start it, or see how far it is. Raises SnapshotResourceNotFound, Unavailable, Conflict."""
        target = observe(self._own, share)
        if target.seen is None:
            parent = snapshot["share"]
            source = observe(self._peers.storage_of(parent["host"]), parent)
            name = source.dataset.snapshot(spec.snapshot_name(snapshot, source.peer.settings))
            if not source.zfs.exists(name):
                raise SnapshotResourceNotFound(f"snapshot {snapshot['snapshot_id']} is not on {parent['host']}")
            spec.share_spec(
                share, target.dataset, self._own.settings, self._own.storage.flavour
            )  # refuses what cannot be
            make_placeholder(target)
            origin = Origin(parent["host"], name)
            carry_out((SetProperties(receiving(target.dataset), ((FROM, str(origin)),)),), target.zfs)
        return self.status(share)

    def status(self, share: ShareModel) -> dict[str, Any]:
        """As `get_share_status` answers; begins the copy where nobody is at it. Raises what ended it."""
        target = observe(self._own, share)
        if target.seen is not None:
            return self._finished(target)
        with self._lock:
            running = self._running.get(share["id"])
            if running is None or (running.ended.is_set() and (running.fault is None or running.fault.retryable)):
                running = None
        if running is None:
            self._start(target)
            again = observe(self._own, share)
            if again.seen is not None:
                return self._finished(again)
            running = self._running[share["id"]]
        if running.fault is not None and not running.fault.retryable:
            raise running.fault
        percent = min(99, 100 * running.sent // running.total) if running.total else 0
        return {"status": "creating_from_snapshot", "progress": f"{percent}%"}

    def end(self, share: ShareModel) -> None:
        """Stop the copy, if there is one, and take away what has arrived. Safe to repeat."""
        with self._lock:
            running = self._running.pop(share["id"], None)
        if running is not None:
            running.stop.set()
            running.ended.wait(30.0)
        target = observe(self._own, share)
        origin = self._origin(target)
        destroy_placeholder(target)  # also one that a creation which was cut off left, and that does not say the origin
        if origin is not None:
            self._let_go(target, origin)

    # --- the copy -----------------------------------------------------------------------------------------------------

    def _start(self, target: Copy) -> None:
        origin = self._origin(target)
        if origin is None:
            raise ShareResourceNotFound(f"nothing says what share {target.model['share_id']} is to be made from")
        running = _Running()
        with self._lock:
            self._running[target.id] = running
        self._launch(lambda: self._work(target, origin, running))

    def _work(self, target: Copy, origin: Origin, running: _Running) -> None:
        try:
            self._copy(target, origin, running)
        except Cancelled:
            log.info("copy.stopped", share=target.model["share_id"])
        except Fault as fault:
            log.warning("copy.broke_off", share=target.model["share_id"], reason=fault.message)
            running.fault = fault
        finally:
            running.ended.set()

    def _copy(self, target: Copy, origin: Origin, running: _Running) -> None:
        peer, inside = self._peers.storage_of(origin.host), arriving(target.dataset)
        hold(peer.storage.zfs, [origin.snapshot], hold_tag(target.id))  # its deletion waits for us
        transfer = Transfer(
            peer.storage.zfs,
            origin.snapshot,
            target.zfs,
            inside,
            route=self._routes.between(peer.storage.host, target.peer.storage.host),
            properties=dict(self._options(target)),
            keeps_between=False,
        )
        running.total = bytes_of(peer.storage.zfs.get(origin.snapshot, ("referenced",)), "referenced")

        def on_progress(sent_bytes: int) -> None:
            running.sent = sent_bytes

        transfer.run(on_progress, running.stop.is_set, peer.settings.bandwidth_limit_bytes_per_s)
        size = str(gib_to_bytes(target.model["size"]))
        space = {"refquota": size, **({"refreservation": size} if spec.is_thick(target.model) else {})}
        marks = spec.share_identity(target.model, target.model["size"]).properties(Kind.SHARE)
        carry_out((SetProperties(inside, (*space.items(), *marks.items())), Rename(inside, target.dataset)), target.zfs)

    def _options(self, target: Copy) -> spec.Pairs:
        return spec.creation_options(target.model["extra_specs"], target.peer.settings, target.zfs.flavour)

    # --- its end ------------------------------------------------------------------------------------------------------

    def _finished(self, target: Copy) -> dict[str, Any]:
        """Mounted, with nothing beside it of what brought it."""
        origin = self._origin(target)
        if origin is not None:
            target.zfs.destroy_snapshots(target.dataset, [origin.snapshot.name], deferred=True)
            self._let_go(target, origin)
            destroy_placeholder(target)

        def planned() -> plan.Steps:
            seen = observe_share(target.zfs, target.dataset)
            if seen is None:
                raise ShareResourceNotFound(f"{target.dataset} went away")
            return plan.plan_mount(seen)

        settle(planned, target.zfs)
        seen = observe_share(target.zfs, target.dataset)
        if seen is None or seen.mountpoint is None:
            raise Conflict(f"{target.dataset} has no mountpoint of its own, so there is no path to export")
        with self._lock:
            self._running.pop(target.id, None)
        locations = export_locations(seen.mountpoint, target.peer.settings)
        return {"status": "available", "progress": "100%", "export_locations": locations}

    def _let_go(self, target: Copy, origin: Origin) -> None:
        def let_go() -> None:
            peer = self._peers.storage_of(origin.host)
            release(peer.storage.zfs, [origin.snapshot], hold_tag(target.id))

        fault = if_it_answers(let_go)
        if fault is not None:
            log.warning("copy.hold_left", snapshot=str(origin.snapshot), reason=fault.message)

    def _origin(self, target: Copy) -> Origin | None:
        place = receiving(target.dataset)
        try:
            found = target.zfs.get(place, (KIND, OF, FROM))
        except NotFound:
            return None
        if local_value(found, OF) != target.id:
            return None
        return Origin.parse(local_value(found, FROM) or "")

"""A dataset's snapshots taken to another host (or pool): observed, planned by GUID, sent, resumed, and read back."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from penstock.errors import BackendFault, Cancelled, NotFound, UnknownResult
from penstock.host.streaming import Route
from penstock.zfs import incremental, receiving, streams
from penstock.zfs.client import COPY_TIMEOUT_S, Zfs
from penstock.zfs.faults import Busy, Diverged
from penstock.zfs.incremental import Full, Increment, Plan, SnapshotPoint, UpToDate, plan_transfer
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset, SnapshotName
from penstock.zfs.properties import is_user_property, local_value
from penstock.zfs.snapshots import Side, look
from penstock.zfs.stream_run import StreamRun

# a first copy with older snapshots is two streams, a resumed one three; more means that it never gets there
MOST_STREAMS = 8
BUSY_PAUSE_S = 0.25


@dataclass(frozen=True, slots=True)
class Transferred:
    """What a transfer did. `newest` is the target's newest snapshot, as read back from the target afterwards.

    `sent_bytes` is 0 when there was nothing to send; when an earlier call was `resumed` it counts this one only.
    """

    newest: SnapshotPoint
    sent_bytes: int
    seconds: float
    route: str
    resumed: bool


def _ignore(_sent_bytes: int) -> None:
    return


def _never() -> bool:
    return False


def look_at_source(zfs: Zfs, dataset: Dataset) -> Side:
    """What a transfer has to know of its source: one command. Raises NotFound."""
    return look(zfs, dataset, [streams.ENCRYPTION] if zfs.flavour.can_encrypt else [])


class Transfer:
    """One way for the snapshot `to` of `source` into the dataset `into` of `target`.

    Nothing on the target is ever overwritten or destroyed (no ``receive -F``), nothing is mounted (``-u``). Holds are
    the caller's: hold `to` and the base before, so that an interrupted transfer can be gone on with.
    `properties` are given to the dataset when it is first received; on zfs-fuse just after, and by a repeated call when
    the marks among them are missing. `keeps_between` False sends `to` alone, without the source's older snapshots.
    `seen`: what `look_at_source` found after `to` was taken, to save a look.
    """

    def __init__(
        self,
        source: Zfs,
        to: SnapshotName,
        target: Zfs,
        into: Dataset,
        *,
        route: Route,
        properties: Mapping[str, str],
        keeps_between: bool = True,
        seen: Side | None = None,
    ) -> None:
        self._source = source
        self._to = to
        self._target = target
        self._into = into
        self._route = route
        self._properties = properties
        self._keeps_between = keeps_between
        self._seen = seen

    def plan(self) -> Plan:
        """What `run` would do now, but for an interrupted receive to go on with. Raises NotFound (`to`)."""
        return self._planned(self._look_at_source(), self._look_at_target())

    def estimate_bytes(self) -> int:
        """About how much `run` would send now. Raises NotFound (`to`)."""
        source = self._look_at_source()
        plan = self._planned(source, self._look_at_target())
        return streams.estimate(self._source, self._to.dataset, plan, self._form(source))

    def run(
        self,
        on_progress: Callable[[int], None] = _ignore,
        should_stop: Callable[[], bool] = _never,
        bandwidth_limit_bytes_per_s: int | None = None,
        *,
        timeout_s: float = COPY_TIMEOUT_S,
    ) -> Transferred:
        """Have `to` on the target. Safe to repeat, and after any failure to be repeated: it goes on where it can.

        Both callbacks are called about once a second, in this thread; `on_progress` with the bytes sent so far.
        Raises Cancelled (`should_stop` said so), `zfs.faults.Diverged` (the target has data or snapshots of its own),
        Busy (another receive into `into`), NotFound (`to`, the target's parent), InsufficientCapacity (the target is
        full), Conflict, Unavailable (a host or the way between is away), UnknownResult (past the deadline),
        Unsupported (a limit that nothing on the source can keep; a stream that the target's pool cannot take).
        """
        clock = self._source.commands.clock
        deadline_s = clock.monotonic_s() + self._target.flavour.busy_patience_s
        while True:
            try:
                return self._run(on_progress, should_stop, bandwidth_limit_bytes_per_s, timeout_s)
            except Busy:  # perhaps a receive that was cut a moment ago has not been tidied away yet
                if clock.monotonic_s() >= deadline_s:
                    raise
            clock.sleep(BUSY_PAUSE_S)

    def _run(
        self,
        on_progress: Callable[[int], None],
        should_stop: Callable[[], bool],
        bandwidth_limit_bytes_per_s: int | None,
        timeout_s: float,
    ) -> Transferred:
        started = time.monotonic()
        run = StreamRun(self._source, self._target, self._route, on_progress, should_stop, bandwidth_limit_bytes_per_s)
        source = self._seen or self._look_at_source()
        resumed = False
        for _ in range(MOST_STREAMS):
            left_s = timeout_s - (time.monotonic() - started)
            if left_s <= 0:
                raise UnknownResult(f"{self._to} to {self._into} took longer than {timeout_s:g} s")
            if should_stop():
                raise Cancelled(f"{self._to} to {self._into} was asked to stop")
            target = self._look_at_target()
            token = receiving.token_of(target.properties) if target is not None else None
            if token is not None:
                resumed |= self._go_on(run, source, token, left_s)
                continue
            plan = self._planned(source, target)
            if plan == incremental.Diverged(None, ()) and self._is_being_received(target):
                raise Busy(f"another receive into {self._into} runs, or ends just now")
            if isinstance(plan, incremental.Diverged):
                own = ", ".join(point.name for point in plan.newer) or "no snapshot in common"
                raise Diverged(f"{self._into} has what {self._to.dataset} has not: {own}")
            if isinstance(plan, UpToDate):
                self._finish(target)
                seconds = time.monotonic() - started
                return Transferred(plan.newest, run.sent_bytes, seconds, self._route.name, resumed)
            try:
                self._send(run, source, plan, left_s)
            except Diverged:
                if self._points_now() == (target.points if target is not None else None):
                    raise
                # a receive that an earlier attempt began (its process may be dead) ended beside this one
        raise BackendFault(f"{self._into} does not get to {self._to}: {MOST_STREAMS} streams ended well before it")

    # --- looking -----------------------------------------------------------------------------------------------------

    def _look_at_source(self) -> Side:
        return look_at_source(self._source, self._to.dataset)

    def _look_at_target(self) -> Side | None:
        token = [receiving.TOKEN] if self._target.flavour.can_resume else []
        names = list(dict.fromkeys(["mounted", KIND, *token, *self._marks]))
        try:
            return look(self._target, self._into, names)
        except NotFound:
            return None

    def _points_now(self) -> tuple[SnapshotPoint, ...] | None:
        target = self._look_at_target()
        return None if target is None else target.points

    @property
    def _marks(self) -> list[str]:
        return [name for name in self._properties if is_user_property(name)]

    def _is_being_received(self, target: Side | None) -> bool:
        """Whether a dataset without snapshots may be the first half of somebody's receive: nothing of it shows more.

        One that was marked by us is whole, and has lost its snapshots.
        """
        if target is None or target.properties["mounted"].value == "yes":
            return False
        return all(local_value(target.properties, name) is None for name in (KIND, *self._marks))

    def _planned(self, source: Side, target: Side | None) -> Plan:
        to = source.point(self._to.name)
        if to is None:
            raise NotFound(f"there is no snapshot {self._to}")
        points = None if target is None else target.points
        return plan_transfer(source.points, points, to, keeps_between=self._keeps_between)

    def _form(self, source: Side) -> tuple[str, ...]:
        return streams.form_between(self._source, self._target, source.properties, self._into.pool)

    # --- doing -------------------------------------------------------------------------------------------------------

    def _send(self, run: StreamRun, source: Side, plan: Full | Increment, timeout_s: float) -> None:
        send = streams.send(self._to.dataset, plan, self._form(source))
        run.run(send, self._receive(is_first=isinstance(plan, Full)), timeout_s=timeout_s)

    def _go_on(self, run: StreamRun, source: Side, token: str, timeout_s: float) -> bool:
        """Go on with an interrupted receive, or give it up when its stream cannot be had any more: False then."""
        guid = receiving.guid_of_token(self._source, token)
        if guid is None or all(point.guid != guid for point in source.points):
            receiving.abort(self._target, self._into)
            return False
        run.run(("zfs", "send", "-t", token), self._receive(is_first=False), timeout_s=timeout_s)
        return True

    def _receive(self, *, is_first: bool) -> tuple[str, ...]:
        is_resumable = self._source.flavour.can_resume and self._target.flavour.can_resume
        properties = self._properties if is_first else {}
        return receiving.receive(self._target.flavour, self._into, properties, is_resumable=is_resumable)

    def _finish(self, target: Side | None) -> None:
        """Give the properties where they could not come along: on zfs-fuse, and after an interrupted first receive."""
        if target is not None and any(local_value(target.properties, name) is None for name in self._marks):
            self._target.set(self._into, self._properties)

"""The network between simulated hosts: streams that go, are cut, stopped or never begin. Implements `host.Routes`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from penstock.errors import Cancelled, Unavailable, UnknownResult
from penstock.host.audit import AuditedHost
from penstock.host.runner import Completed, Host
from penstock.host.streaming import UNWATCHED, Watching
from tests.simulation.zfs_host import SimulatedHost

STEPS = 4  # how often progress is told during a stream


@dataclass
class SimulatedNetwork:
    """`cut` has pairs (from, to) of host names that cannot reach each other in that direction.

    `breaking` is asked once per stream: the share of it (0 to 1) after which the connection is lost; None for never.
    """

    cut: set[tuple[str, str]] = field(default_factory=set)
    breaking: Callable[[], float | None] = lambda: None
    streams: int = 0
    limits: set[int | None] = field(default_factory=set)
    """Of all streams, in bytes per second."""

    def between(self, source: Host, target: Host) -> SimulatedRoute:
        first, second = _simulated(source), _simulated(target)
        if first is second:
            return SimulatedRoute("one host", self, first, second)
        is_direct = (first.name, second.name) not in self.cut
        return SimulatedRoute("direct" if is_direct else "relay", self, first, second)


def _simulated(host: Host) -> SimulatedHost:
    found = host._host if isinstance(host, AuditedHost) else host
    assert isinstance(found, SimulatedHost)
    return found


@dataclass
class SimulatedRoute:
    """Implements `host.streaming.Route`. The source's hooks see its words first, then the target's see its own."""

    name: str
    network: SimulatedNetwork
    source: SimulatedHost
    target: SimulatedHost

    def run(
        self, source: Sequence[str], target: Sequence[str], *, timeout_s: float, watching: Watching = UNWATCHED
    ) -> tuple[Completed, Completed]:
        if watching.should_stop():
            raise Cancelled(f"{source[0]} was asked to stop")
        if self.name == "direct" and (self.source.name, self.target.name) in self.network.cut:
            raise Unavailable(f"{self.source.name}: no way to {self.target.name}")
        self.network.streams += 1
        self.network.limits.add(watching.limit_bytes_per_s)
        try:
            sent, stream = self.source.begin_send(source)
        except BaseException:  # its host does not answer any more, or this process died: what was on its way ends there
            self.target.lose_sender(target, self.source.sent)
            raise
        if stream is None:
            return sent, Completed(tuple(target), 1, "", "cannot receive: failed to read from stream\n", 0.0)
        broken = self.network.breaking()
        size = sum(each.size for each in stream)
        for step in range(1, STEPS + 1):
            share = step / STEPS
            lost = broken is not None and broken < share
            if watching.should_stop() or lost:
                self.target.end_receive(target, stream, (step - 1) / STEPS)
                if lost:
                    raise UnknownResult(f"{self.source.name}: the connection was lost during {source[0]}")
                raise Cancelled(f"{source[0]} was asked to stop")
            watching.on_moved(int(size * share))
        received = self.target.end_receive(target, stream, 1.0)
        if received.exit_code != 0:
            sent = Completed(sent.argv, 141, "", sent.stderr, 0.0)
        return sent, received

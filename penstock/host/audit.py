"""One log line for every command and file change on a storage host, with its time; and the time as a metric.

What a command is fed on stdin and what is written to files is never logged; secrets must not be in an argv.
The request and operation ids come from structlog's context variables.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import structlog

from penstock.errors import Fault
from penstock.host.kept_program import Program, ask
from penstock.host.message_bus import BusAnswer, BusCall, BusHost, MessageBus
from penstock.host.modes import ModesHost
from penstock.host.mounts import MountsHost
from penstock.host.runner import Completed, Host
from penstock.host.streaming import StreamHost
from penstock.metrics import COMMAND_SECONDS


def _no_objection() -> None:
    """Nobody else could be at work there."""


class AuditedHost:
    """A `Host` that does what the given one does, and tells the log.

    `before` is asked before each command, stream, call and change of a file, and keeps it from being done by raising.
    """

    def __init__(self, host: Host, before: Callable[[], None] | None = None) -> None:
        self.name = host.name
        self._host = host
        self._before = before or _no_objection
        self._log = structlog.get_logger("penstock.audit").bind(host=host.name)

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        with self._fault_told(argv=list(argv)):
            done = self._host.run(argv, timeout_s=timeout_s, stdin=stdin)
        self._tell(done)
        return done

    def pipe(self, source: Sequence[str], target: Sequence[str], *, timeout_s: float) -> tuple[Completed, Completed]:
        with self._fault_told(argv=[*source, "|", *target]):
            both = self._host.pipe(source, target, timeout_s=timeout_s)
        for done in both:
            self._tell(done)
        return both

    def ask(self, program: Program, request: str, *, timeout_s: float, told: Sequence[str] = ()) -> Completed:
        """See `kept_program.ask`; the log is told of each request as of a command."""
        with self._fault_told(program=program.name, asked=list(told)):
            done = ask(self._host, program, request, timeout_s=timeout_s, told=told)
        COMMAND_SECONDS.labels(self.name, program.name).observe(done.seconds)
        seconds = round(done.seconds, 4)
        event = "host.program_asked"
        self._log.info(event, program=program.name, asked=list(told), exit_code=done.exit_code, seconds=seconds)
        return done

    @property
    def streams(self) -> StreamHost | None:
        """The host within, when streams can be made of it; `stream_told` tells of them here. Asked for by who is about
        to make one."""
        self._before()
        return self._host if isinstance(self._host, StreamHost) else None

    @property
    def bus(self) -> MessageBus | None:
        """The bus of the host within, whose calls the log is told of."""
        within = self._host.bus if isinstance(self._host, BusHost) else None
        return None if within is None else _AuditedBus(self, within)

    def set_mode(self, path: str, mode: int, *, timeout_s: float) -> bool:
        """See ModesHost."""
        if not isinstance(self._host, ModesHost):
            return False
        with self._fault_told(path=path):
            started = time.perf_counter()
            is_set = self._host.set_mode(path, mode, timeout_s=timeout_s)
        if is_set:
            self._log.info("host.mode_set", path=path, mode=f"{mode:04o}", seconds=_since(started))
        return is_set

    def mounts(self) -> bytes | None:
        """See MountsHost: of the host within. Nothing is changed, so the log is not told."""
        return self._host.mounts() if isinstance(self._host, MountsHost) else None

    def call_told(self, bus: MessageBus, call: BusCall, *, timeout_s: float) -> BusAnswer:
        """A call on the bus belongs in the audit as a command does."""
        words = [call.service, call.path, f"{call.interface}.{call.method}", *map(str, call.arguments)]
        with self._fault_told(bus_call=words):
            answer = bus.call(call, timeout_s=timeout_s)
        COMMAND_SECONDS.labels(self.name, "dbus").observe(answer.seconds)
        self._log.info("host.bus_call", bus_call=words, error=answer.error, seconds=round(answer.seconds, 4))
        return answer

    def stream_told(self, done: Completed) -> None:
        """A stream's end here belongs in the audit."""
        self._tell(done)

    def read_file(self, path: str) -> str | None:
        return self._host.read_file(path)

    def read_files(self, paths: Sequence[str]) -> dict[str, str]:
        return self._host.read_files(paths)

    def write_file(self, path: str, text: str, *, mode: int = 0o644) -> None:
        with self._fault_told(path=path):
            started = time.perf_counter()
            self._host.write_file(path, text, mode=mode)
        self._log.info("host.file_written", path=path, mode=f"{mode:04o}", seconds=_since(started))

    def remove_file(self, path: str) -> None:
        with self._fault_told(path=path):
            started = time.perf_counter()
            self._host.remove_file(path)
        self._log.info("host.file_removed", path=path, seconds=_since(started))

    def swap_file(self, path: str, old: str | None, new: str | None, *, mode: int = 0o644) -> bool:
        with self._fault_told(path=path):
            started = time.perf_counter()
            is_swapped = self._host.swap_file(path, old, new, mode=mode)
        event = (
            "host.file_overtaken" if not is_swapped else "host.file_written" if new is not None else "host.file_removed"
        )
        self._log.info(event, path=path, mode=f"{mode:04o}", seconds=_since(started))
        return is_swapped

    def _tell(self, done: Completed) -> None:
        COMMAND_SECONDS.labels(self.name, done.argv[0]).observe(done.seconds)
        self._log.info("host.command", argv=list(done.argv), exit_code=done.exit_code, seconds=round(done.seconds, 4))

    @contextmanager
    def _fault_told(self, **what: object) -> Iterator[None]:
        """A command without an answer belongs in the audit too; the fault goes on to who can act on it."""
        started = time.perf_counter()
        try:
            self._before()
            yield
        except Fault as fault:
            self._log.warning("host.no_answer", **what, fault=type(fault).__name__, seconds=_since(started))
            raise


@dataclass(frozen=True, slots=True)
class _AuditedBus:
    host: AuditedHost
    within: MessageBus

    def call(self, call: BusCall, *, timeout_s: float) -> BusAnswer:
        return self.host.call_told(self.within, call, timeout_s=timeout_s)


def _since(started: float) -> float:
    return round(time.perf_counter() - started, 4)

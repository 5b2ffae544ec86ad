"""What goes wrong between three backends, and when: all drawn from one seed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from penstock.errors import BackendFault, InsufficientCapacity, Unavailable, UnknownResult
from tests.simulation.trouble import Died

CONTROL = "control"
SESSION_ENDS = 0.5  # the chance that a command without an answer is the last one of its session


@dataclass
class ReplicaTrouble:
    """Chances per step and commit; hosts that are down; lines that are cut, each in one direction: from, to."""

    random: Random
    dies: float = 0.0
    hangs: float = 0.0
    breaks: float = 0.0
    meddles: float = 0.0
    loses: float = 0.0  # each time the weather changes: somebody destroys a snapshot that we need
    down: set[str] = field(default_factory=set)
    cut: set[tuple[str, str]] = field(default_factory=set)
    open: set[str] = field(default_factory=set)  # hosts whose answers are lost, over a session that was there before
    full: set[str] = field(default_factory=set)
    told: int = 0  # final failures handed out: only then may anything end in error
    steps: int = 0
    counts: Counter[str] = field(default_factory=Counter)  # what really happened, by its name
    doing: list[str] = field(default_factory=list)  # what drivers are in the middle of, the innermost last
    meanwhile: Callable[[], None] | None = None
    watch: Callable[[str], None] | None = None  # looks at all storage before and after each step
    _depth: int = 0

    def clear(self) -> None:
        """Fair weather, and everybody is there."""
        self.dies = self.hangs = self.breaks = self.meddles = self.loses = 0.0
        self.down.clear()
        self.cut.clear()
        self.open.clear()
        self.full.clear()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Nothing new goes wrong within the block; who is away stays away."""
        kept = (self.dies, self.hangs, self.breaks, self.meddles)
        self.dies = self.hangs = self.breaks = self.meddles = 0.0
        yield
        self.dies, self.hangs, self.breaks, self.meddles = kept

    def cut_line(self, one: str, other: str) -> None:
        """Nothing gets from the one to the other any more. A session to a host that was open still takes commands."""
        self.cut.add((one, other))
        if other == CONTROL:
            self.open.add(one)

    def mend_line(self, one: str, other: str) -> None:
        """Both ways."""
        self.cut -= {(one, other), (other, one)}
        self.open -= {one, other}

    def at_step(self, section: str, what: str, *, has_after: bool = False) -> None:
        """Called before each step that is taken on a backend's storage; `has_after`: `after_step` is called, too."""
        self.steps += 1
        self._look(f"before {what} on {section}")
        if self.meanwhile is not None and self._depth == 0 and self._happens(self.meddles):
            self._depth += 1
            try:
                self.meanwhile()
            finally:
                self._depth -= 1
        if self._happens(self.dies):
            self.count("process died before a step")
            raise Died(f"before {what} on {section}")
        if not self.reaches(CONTROL, section):
            self.count("host down" if section in self.down else "control plane and host apart")
            raise Unavailable(f"{section} does not answer.")
        if (section, CONTROL) in self.cut and not (has_after and section in self.open):
            self.count("host to control plane lost, no session")
            raise Unavailable(f"{section} does not answer.")
        source = what.removeprefix("copy from ")
        if source != what:
            if not self.reaches(section, source) or not self.reaches(CONTROL, source):
                self.count("hosts apart")
                raise Unavailable(f"{section} does not reach {source}.")
            if section in self.full:
                self.told += 1
                self.count("pool full")
                raise InsufficientCapacity(f"{section} is full.")
        if self._happens(self.hangs):
            self.count("step hung, nothing done")
            raise UnknownResult(f"{what} on {section} hung.")
        if self._happens(self.breaks):
            self.told += 1
            self.count("step refused")
            raise BackendFault(f"{what} on {section} broke.")

    def after_step(self, section: str, what: str) -> None:
        """Called after a step has had its effect."""
        self._look(f"after {what} on {section}")
        if self._happens(self.dies):
            self.count("process died after a step")
            raise Died(f"after {what} on {section}")
        if (section, CONTROL) in self.cut:
            if self.random.random() < SESSION_ENDS:
                self.open.discard(section)
            self.count("host to control plane lost, step was done")
            raise UnknownResult(f"{what} on {section} did not answer.")
        if self._happens(self.hangs):
            self.count("step hung, and was done")
            raise UnknownResult(f"{what} on {section} hung after its work was done.")

    def _look(self, when: str) -> None:
        if self.watch is not None:
            self.watch(when)

    def reaches(self, one: str, other: str) -> bool:
        """Does what the one sends get to the other, and is somebody there?"""
        return other not in self.down and (one, other) not in self.cut

    def at_commit(self, when: str) -> None:
        if self._happens(self.dies / 3):
            self.count(f"process died {when} a commit")
            raise Died(f"{when} a commit")

    def count(self, fault: str) -> None:
        """It happened; in the middle of what, when a driver was at work."""
        self.counts[f"{fault}, {self.doing[-1]}" if self.doing else fault] += 1

    @contextmanager
    def within(self, what: str) -> Iterator[None]:
        """A driver does `what` within the block."""
        self.doing.append(what)
        try:
            yield
        finally:
            self.doing.pop()

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance

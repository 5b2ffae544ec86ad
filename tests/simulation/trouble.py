"""What goes wrong, and when: everything is drawn from one seed, so that a failing run can be played again."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from random import Random

from sqlalchemy import Connection

from penstock.errors import Unavailable, UnknownResult
from penstock.store.database import Database
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import SimulatedHost


class Died(BaseException):
    """kill -9: not an Exception, nobody may catch it."""


@dataclass
class Trouble:
    """Chances per command and per commit; all zero in fair weather. Implements the simulated host's hooks."""

    random: Random
    dies: float = 0.0
    hangs: float = 0.0
    away: float = 0.0
    breaks: float = 0.0
    cuts: float = 0.0  # per creation of a dataset: the power goes before all of it is on disk
    cutting: Random = field(default_factory=Random)  # apart, so that lives without cuts stay what they were
    boots: Callable[[SimulatedHost], None] | None = None  # what starts with the host
    told: int = 0  # final failures handed out: only then may anything end in error

    def clear(self) -> None:
        """Fair weather from now on."""
        self.dies = self.hangs = self.away = self.breaks = self.cuts = 0.0

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Fair weather within the block."""
        kept = (self.dies, self.hangs, self.away, self.breaks, self.cuts)
        self.clear()
        yield
        self.dies, self.hangs, self.away, self.breaks, self.cuts = kept

    def before(self, host: SimulatedHost, words: tuple[str, ...]) -> Answer | None:
        if self._happens(self.dies):
            raise Died(f"before {words}")
        if self._happens(self.away):
            raise Unavailable(f"{host.name} is away")
        if self._happens(self.hangs):
            raise UnknownResult(f"{words[0]} hung and did nothing")
        if self._happens(self.breaks):
            self.told += 1
            return Answer(1, "", "internal error: simulated\n")
        return None

    def after(self, host: SimulatedHost, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self.cuts and answer.code == 0 and self.cutting.random() < self.cuts:
            self._cut(host, words)
        if self._happens(self.dies):
            raise Died(f"after {words}")
        if self._happens(self.hangs):
            raise UnknownResult(f"{words[0]} hung after its work was done")
        return None

    def _cut(self, host: SimulatedHost, words: tuple[str, ...]) -> None:
        if not host.cut_in_creation(words, self.cutting.randrange(3)):
            return
        if self.boots is not None:
            self.boots(host)
        raise Unavailable(f"{host.name} lost power")

    def at_commit(self, when: str) -> None:
        """Die before or after a commit."""
        if self._happens(self.dies):
            raise Died(f"{when} a commit")

    def _happens(self, chance: float) -> bool:
        return chance > 0 and self.random.random() < chance


class MortalDatabase(Database):
    """SQLite in memory whose process may die before and after each commit."""

    trouble: Trouble | None = None

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Connection]:
        with super().begin(durable=durable) as tx:
            yield tx
            if self.trouble:
                self.trouble.at_commit("before")
        if self.trouble:
            self.trouble.at_commit("after")

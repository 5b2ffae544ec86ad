"""Fault switches for tests: an appliance that refuses, lies, stalls or forgets, on request and only then.

They are switched by the program that the appliance runs in (`Trouble` is given to `Service`), never over the network.
"""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from enum import Enum

MEANING = {
    401: "ERR_UNAUTHORIZED",
    403: "ERR_DENIED",
    404: "ERR_NOT_FOUND",
    409: "ERR_OBJECT_EXISTS",
    413: "ERR_OVER_LIMIT",
    500: "ERR_INTERNAL",
    503: "ERR_BUSY",
}


class Wire(Enum):
    """What happens to an answer on its way."""

    WHOLE = "whole"
    GARBAGE = "garbage"  # bytes that are no JSON
    HALF = "half"  # the connection ends in the middle of the body
    HANG = "hang"  # nothing comes, and the connection stays
    DROP = "drop"  # the connection ends without an answer


@dataclass(frozen=True, slots=True)
class Rule:
    """What is to happen to requests whose ``METHOD path`` matches.

    `times` requests, after the first `after`; None is all of them. With `takes_effect` the request is carried out
    before: the answer is what is lost. `status` refuses; `delay_s` waits first.
    """

    pattern: str
    status: int | None = None
    wire: Wire = Wire.WHOLE
    delay_s: float = 0.0
    takes_effect: bool = False
    ends_sessions: bool = False
    after: int = 0
    times: int | None = 1


class Trouble:
    """The switches. Threads may share it; without rules there is none."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rules: list[Rule] = []
        self._seen: dict[int, int] = {}
        self.clones_lag = 0  # snapshots are said to have so many more clones than they have
        self.requests: list[str] = []  # what came, ``METHOD path``, logins and all

    def add(self, rule: Rule) -> None:
        """From now on."""
        with self._lock:
            self._rules.append(rule)

    def clear(self) -> None:
        """No trouble, nothing remembered."""
        with self._lock:
            self._rules.clear()
            self._seen.clear()
            self.requests.clear()
            self.clones_lag = 0

    def of(self, method: str, path: str) -> Rule | None:
        """What is to happen to this request; it is counted."""
        words = f"{method} {path}"
        with self._lock:
            self.requests.append(words)
            for number, rule in enumerate(self._rules):
                if not re.search(rule.pattern, words):
                    continue
                seen = self._seen.get(number, 0)
                self._seen[number] = seen + 1
                if seen >= rule.after and (rule.times is None or seen < rule.after + rule.times):
                    return rule
        return None

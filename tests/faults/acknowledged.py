"""A client that writes small files, one after the other, and remembers which of them the server acknowledged."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count

from penstock.errors import UnknownResult
from penstock.host.runner import Host

PATIENCE_S = 4  # of one write; libnfs would wait for a dead server for ever
PAUSE_S = 0.05


@dataclass
class Acknowledged:
    """Names of files that have to be there, with the time at which the client knew that."""

    client: Host
    files: dict[str, datetime] = field(default_factory=dict)
    _numbers: Iterator[int] = field(default_factory=count)

    def new_name(self, word: str) -> str:
        """Of a file that nobody has written yet."""
        return f"{word}{next(self._numbers)}"

    def write(self, location: str, name: str) -> bool:
        """One file, with its own name in it; whether it was acknowledged.

        nfs-cp ends well also when its COMMIT failed, since the server died after the WRITE (libnfs 4.0.0, seen by
        holding the COMMIT back with strace). So the file is read back: a server that was started again has what was
        committed, and no more.
        """
        server, _, path = location.partition(":/")
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(name)
            file.flush()
            url = f"nfs://{server}/{path}/{name}?version=3"
            is_done = self._said("nfs-cp", file.name, url) is not None and self._said("nfs-cat", url) == name
        if is_done:
            self.files[name] = datetime.now(UTC)
        return is_done

    def _said(self, *argv: str) -> str | None:
        """What a client's program said; None when it failed."""
        try:
            done = self.client.run(("timeout", "-s", "KILL", str(PATIENCE_S), *argv), timeout_s=PATIENCE_S + 10)
        except UnknownResult:  # the server is dead, and the machine so busy that it was not killed in time
            return None
        return done.stdout if done.exit_code == 0 else None

    def until(self, moment: datetime) -> set[str]:
        """Those that were acknowledged up to then. Messages have whole seconds."""
        return {name for name, when in self.files.items() if when + timedelta(seconds=1) < moment}


class Writing(threading.Thread):
    """Writes to one location until `end`, whatever becomes of it."""

    def __init__(self, acknowledged: Acknowledged, location: str) -> None:
        super().__init__(name="writing", daemon=True)
        self._acknowledged = acknowledged
        self._location = location
        self._over = threading.Event()

    def run(self) -> None:
        while not self._over.is_set():
            self._acknowledged.write(self._location, self._acknowledged.new_name("w"))
            self._over.wait(PAUSE_S)

    def end(self) -> None:
        """Returns once it has ended."""
        self._over.set()
        self.join()

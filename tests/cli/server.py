"""A control plane served on loopback with a backend that does the work, and ``penstock`` pointed at it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from click.testing import CliRunner, Result

from penstock.api.app import make_app
from penstock.cli.main import main
from penstock.operations.worker import Worker
from penstock.services.control_plane import ControlPlane
from tests.serving import serving

PASSWORD = "the password"


@dataclass
class Commands:
    """``penstock`` as the server's administrator; `ok` and `fails` are about the commands of `group`."""

    group: str
    url: str
    password_file: Path

    def run(self, *words: str) -> Result:
        options = ["--url", self.url, "--user", "admin", "--project", "admin"]
        return CliRunner().invoke(main, [*words, *options, "--password-file", str(self.password_file)])

    def ok(self, *words: str) -> str:
        result = self.run(self.group, *words)
        assert result.exit_code == 0, result.output
        return result.output

    def fails(self, *words: str) -> str:
        result = self.run(self.group, *words)
        assert result.exit_code == 1, result.output
        assert result.stderr.count("\n") == 1
        return result.stderr


@contextmanager
def served(plane: ControlPlane, worker: Worker, folder: Path, group: str) -> Iterator[Commands]:
    """The plane's API and `worker` at work, as long as the block lasts."""
    password_file = folder / "password"
    password_file.write_text(PASSWORD + "\n")
    worker.start()
    try:
        with serving(make_app(plane)) as url:
            yield Commands(group, url, password_file)
    finally:
        worker.stop()

"""An NFS server in a simulated host: a configuration file, and a command that puts it in force."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

from penstock.errors import Unavailable
from penstock.exports.model import ClientRule, Export, Squash
from tests.simulation.zfs_host import SimulatedHost

CONFIGURED = "/etc/exports.d/simulated"
SERVED = "/var/lib/nfs/simulated"
RELOAD = ("exportfs", "-ra")


class SimulatedNfs:
    """`penstock.exports.nfs.NfsServer`: what is configured survives a reboot, what is served does not."""

    def __init__(self, host: SimulatedHost) -> None:
        self._host = host
        host.programs["exportfs"] = self._reload

    def put(self, exports: Sequence[Export]) -> None:
        self._apply({**self.all(), **{export.path: export for export in exports}})

    def remove(self, paths: Sequence[str]) -> None:
        present = self.all()
        if (present.keys() | self.served().keys()) & set(paths):  # also what a crash left served
            self._apply({path: export for path, export in present.items() if path not in paths})

    def let_go(self, path: str) -> None:
        return

    def get(self, path: str) -> Export | None:
        return self.all().get(path)

    def all(self) -> dict[str, Export]:
        return _parse(self._host.read_file(CONFIGURED))

    def in_force(self) -> set[str]:
        served = self.served()
        return {path for path, export in self.all().items() if served.get(path) == export}

    def serving(self) -> set[str]:
        return self.all().keys() & self.served().keys()

    def put_back(self, choose: Callable[[], Sequence[Export]]) -> None:
        exports = choose()
        if exports:
            self.put(exports)

    def verify(self) -> None:
        """It is always there."""

    def served(self) -> dict[str, Export]:
        """What clients get; costs no command."""
        return _parse(self._host.state.files.get(SERVED))

    def served_at_boot(self) -> set[str]:
        """What one that starts would serve without looking whether anything is mounted; costs no command."""
        configured = _parse(self._host.state.files.get(CONFIGURED))
        return {path for path, export in configured.items() if export.is_mounted_at_boot}

    def _apply(self, exports: dict[str, Export]) -> None:
        rows = [
            [e.path, e.instance_id, [[c.client, c.writable, c.squash.value] for c in e.clients], e.is_mounted_at_boot]
            for _, e in sorted(exports.items())
        ]
        self._host.write_file(CONFIGURED, json.dumps(rows))
        done = self._host.run(RELOAD, timeout_s=10)
        if done.exit_code != 0:
            raise Unavailable(f"exportfs: exit {done.exit_code}")

    def _reload(self, args: Sequence[str], stdin: str) -> tuple[int, str, str]:
        self._host.state.files[SERVED] = self._host.state.files.get(CONFIGURED, "[]")
        return 0, "", ""


def _parse(text: str | None) -> dict[str, Export]:
    rows = json.loads(text or "[]")
    return {
        path: Export(path, owner, tuple(ClientRule(c, writable, Squash(s)) for c, writable, s in clients), at_boot)
        for path, owner, clients, at_boot in rows
    }


def chmod(args: Sequence[str], stdin: str) -> tuple[int, str, str]:
    """``chmod`` as the simulated host's program: modes are not modelled."""
    return 0, "", ""

"""A simulated host that is the machine the process itself runs on: its mounts and modes need no command."""

from __future__ import annotations

from penstock.errors import BackendFault
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import SimulatedHost
from tests.simulation.zfs_properties import shown


class HostAtHand(SimulatedHost):
    """`penstock.host.mounts.MountsHost` and `penstock.host.modes.ModesHost`. Looking is no step of its own."""

    def mounts(self) -> bytes | None:
        mounted = {name: found for name, found in self.state.filesystems.items() if found.is_mounted}
        lines = [f"{name} {shown(found, 'mountpoint')[0]} zfs rw 0 0\n" for name, found in mounted.items()]
        return "".join(["/dev/vda / ext4 rw 0 0\n", *lines]).encode()

    def set_mode(self, path: str, mode: int, *, timeout_s: float) -> bool:
        """Modes are not modelled."""
        done = self._completed(("set_mode", path, f"{mode:04o}"), lambda: Answer(0, "", ""))
        if done.exit_code != 0:
            raise BackendFault(f"{self.name}: {path} could not be given mode {mode:04o}: {done.stderr}")
        return True

"""What `penstock recover`, `penstock doctor` and the daemon's periodic look ask of the driver beside the published
interface: see `share.inventory`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from penstock.exports.model import Export
from penstock.ids import InstanceId
from penstock.share.drivers.zfsonlinux import inventory, unmarked
from penstock.share.drivers.zfsonlinux.exporting import exports_to_put, wanted_export
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.identity import DELETION
from penstock.share.drivers.zfsonlinux.options import Settings
from penstock.share.drivers.zfsonlinux.steps import Forget, SetProperties, carry_out
from penstock.share.drivers.zfsonlinux.storage import Storage
from penstock.share.inventory import Client, Inventory
from penstock.share.models import AccessModel, ShareModel


class UpkeepMethods:
    """`share.inventory.HasInventory`, `KeepsExports` and `RemembersDeletion`, for a driver that is set up."""

    settings: Settings
    storage: Storage
    finder: Finder

    def inventory(self) -> Inventory:
        return inventory.take_inventory(self.storage, self.settings)

    def clients_of(self, share: ShareModel, rules: Sequence[AccessModel]) -> tuple[Client, ...]:
        return inventory.clients_of(share, rules, self.settings)

    def write_identity(self, share: ShareModel) -> None:
        inventory.write_identity(self.storage.zfs, share, self.finder.existing(share))

    def remember_deletion(self, share: ShareModel, due: datetime | None) -> None:
        seen = self.finder.existing(share)
        text = None if due is None else due.isoformat()
        if seen.deletion == text:
            return
        step = Forget(seen.dataset, (DELETION,)) if text is None else SetProperties(seen.dataset, ((DELETION, text),))
        carry_out((step,), self.storage.zfs)

    def stop_exporting(self, paths: Sequence[str]) -> None:
        if paths:
            self.storage.nfs.remove(paths)

    def sweep(self) -> None:
        inventory.sweep(self.storage, self.settings)

    def discard(self, location: str) -> None:
        unmarked.discard(self.storage.zfs, self.settings, location)

    def restore_exports(self, current: Callable[[], Sequence[ShareModel]]) -> list[InstanceId]:
        restored: list[Export] = []

        def choose() -> Sequence[Export]:
            restored.extend(self._lost_exports(current()))
            return restored

        if self._lost_exports(current()):
            self.storage.nfs.put_back(choose)
        return [InstanceId(export.instance_id) for export in restored]

    def _lost_exports(self, shares: Sequence[ShareModel]) -> list[Export]:
        """One ZFS command per pool (two with very long access lists), and at most three for the NFS server."""
        if not shares:
            return []
        found = [seen for _, seen in self.finder.shares(shares) if seen is not None and seen.is_mounted]
        self.finder.take_tombstones()  # for who sweeps them: not us
        wanted = [export for export in map(wanted_export, found) if export is not None]
        nfs = self.storage.nfs
        return exports_to_put(wanted, nfs.all(), nfs.serving()) if wanted else []

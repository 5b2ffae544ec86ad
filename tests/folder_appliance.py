"""An appliance in a folder: shares are folders, snapshots copies; and a host whose NFS mounts are bind mounts."""

from __future__ import annotations

import dataclasses
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from penstock.errors import Conflict, InsufficientCapacity, NotFound
from penstock.host.local import LocalHost
from penstock.host.runner import Completed
from penstock.ids import new_id
from penstock.volume.drivers.nfs_appliance.appliance import ApplianceShare, ApplianceSnapshot, Room

SERVER = "10.99.0.1"


class FolderAppliance:
    """Holds at most `gib` in one share. `is_tied` keeps snapshots as long as shares made of them exist."""

    def __init__(self, folder: Path, gib: int = 4096, *, is_tied: bool = False, reverts: bool = True) -> None:
        self.folder = folder
        self._gib = gib
        self._is_tied = is_tied
        self._reverts = reverts
        self._shares: dict[str, ApplianceShare] = {}
        self._snapshots: dict[str, ApplianceSnapshot] = {}
        self._made_of: dict[str, str] = {}
        self.allowed: dict[str, dict[str, bool]] = {}
        self.calls: list[str] = []
        self.fail_at: str | None = None

    def check(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)

    def share(self, share_id: str) -> ApplianceShare | None:
        return self._shares.get(share_id)

    def shares(self) -> Sequence[ApplianceShare]:
        return sorted(self._shares.values(), key=lambda share: share.name)

    def shares_labelled(self, label: str, value: str) -> Sequence[ApplianceShare]:
        return [share for share in self.shares() if share.labels.get(label) == value]

    def make_share(
        self, name: str, size_gib: int, labels: Mapping[str, str], *, snapshot_id: str | None = None
    ) -> ApplianceShare:
        self._called("make_share")
        if size_gib > self._gib:
            raise InsufficientCapacity(f"no room for {size_gib} GiB")
        if snapshot_id is not None and snapshot_id not in self._snapshots:
            raise NotFound(snapshot_id)
        share_id = new_id()
        path = self.folder / share_id
        if snapshot_id is None:
            path.mkdir(parents=True)
        else:
            _copy(self.folder / snapshot_id, path)
            self._made_of[share_id] = snapshot_id
        self._shares[share_id] = ApplianceShare(share_id, name, size_gib, f"{SERVER}:{path}", dict(labels))
        self.allowed[share_id] = {}
        return self._shares[share_id]

    def ready_share(self, share_id: str) -> ApplianceShare:
        return self._shares[share_id]

    def delete_share(self, share_id: str) -> None:
        self._called("delete_share")
        if any(snapshot.share_id == share_id for snapshot in self._snapshots.values()):
            raise Conflict("it has snapshots")
        self._shares.pop(share_id, None)
        self._made_of.pop(share_id, None)
        self.allowed.pop(share_id, None)
        shutil.rmtree(self.folder / share_id, ignore_errors=True)

    def grow_share(self, share_id: str, size_gib: int) -> None:
        self._called("grow_share")
        if size_gib > self._gib:
            raise InsufficientCapacity(f"no room for {size_gib} GiB")
        share = self._shares[share_id]
        self._shares[share_id] = dataclasses.replace(share, size_gib=max(size_gib, share.size_gib))

    def label_share(self, share_id: str, labels: Mapping[str, str | None]) -> None:
        share = self._shares[share_id]
        merged = {**share.labels, **labels}
        kept = {key: value for key, value in merged.items() if value is not None}
        self._shares[share_id] = dataclasses.replace(share, labels=kept)

    def snapshots(self, share_id: str) -> Sequence[ApplianceSnapshot]:
        return [snapshot for snapshot in self._snapshots.values() if snapshot.share_id == share_id]

    def make_snapshot(self, share_id: str, name: str) -> ApplianceSnapshot:
        self._called("make_snapshot")
        for known in self.snapshots(share_id):
            if known.name == name:
                return known
        if share_id not in self._shares:
            raise NotFound(share_id)
        snapshot_id = new_id()
        _copy(self.folder / share_id, self.folder / snapshot_id)
        made = ApplianceSnapshot(snapshot_id, name, share_id, self._shares[share_id].size_gib)
        self._snapshots[snapshot_id] = made
        return made

    def delete_snapshot(self, snapshot_id: str) -> None:
        self._called("delete_snapshot")
        if self._is_tied and snapshot_id in self._made_of.values():
            raise Conflict("shares were made of it")
        self._snapshots.pop(snapshot_id, None)
        shutil.rmtree(self.folder / snapshot_id, ignore_errors=True)

    def can_revert(self) -> bool:
        return self._reverts

    def revert_share(self, share_id: str, snapshot_id: str) -> None:
        shutil.rmtree(self.folder / share_id)
        _copy(self.folder / snapshot_id, self.folder / share_id)

    def clients(self, share_id: str) -> frozenset[str]:
        return frozenset(self.allowed.get(share_id, ()))

    def allow(self, share_id: str, address: str, *, as_root: bool) -> None:
        self._called("allow")
        if share_id not in self._shares:
            raise NotFound(share_id)
        self.allowed[share_id][address] = as_root

    def deny(self, share_id: str, address: str) -> None:
        self._called("deny")
        self.allowed.get(share_id, {}).pop(address, None)

    def room(self) -> Room:
        return Room(float(self._gib), float(self._gib))

    def _called(self, name: str) -> None:
        self.calls.append(name)
        if self.fail_at == name:
            self.fail_at = None
            raise Conflict(f"{name} failed, as the test wants it")


def _copy(source: Path, target: Path) -> None:
    subprocess.run(["cp", "-a", "--sparse=always", str(source), str(target)], check=True)


class BindHost(LocalHost):
    """This machine, where an NFS mount of `SERVER` is a bind mount; `failures` are how often one fails first."""

    failures = 0
    mounted: Sequence[str] = ()

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        if argv[:3] == ("mount", "-t", "nfs"):
            if self.failures:
                self.failures -= 1
                return Completed(tuple(argv), 32, "", "mount.nfs: Connection timed out", 0.0)
            export, top = argv[-2:]
            self.mounted = [*self.mounted, " ".join(argv)]
            argv = ("mount", "--bind", export.partition(":")[2], top)
        return super().run(argv, timeout_s=timeout_s, stdin=stdin)

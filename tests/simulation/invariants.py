"""What must hold after any run once nothing is left to do."""

from __future__ import annotations

import ipaddress

from penstock.domain.access import AccessState
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.store import access as rule_rows
from penstock.store import shares as share_rows
from penstock.store import snapshots as snapshot_rows
from penstock.store.shares import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from penstock.units import GIB
from tests.simulation.users import Users, applied, settled
from tests.simulation.world import World

PREFIX = "manila_share_"  # of a share's dataset


class Truth:
    """The rows and the host, side by side."""

    def __init__(self, world: World, users: Users) -> None:
        self.world = world
        self.users = users
        self.filesystems = world.host.state.filesystems
        with world.database.read() as tx:
            self.shares = share_rows.list_shares(tx, ShareFilter())
            self.snapshots = snapshot_rows.list_snapshots(tx, SnapshotFilter())
            self.rules = {share.id: rule_rows.of_share(tx, share.id) for share in self.shares}

    def check(self) -> None:
        """Raise AssertionError at the first thing that is not so."""
        assert not self.world.pending
        for share in self.shares:
            self._check_share(share)
        for snapshot in self.snapshots:
            self._check_snapshot(snapshot)
        self._check_no_orphan()

    def _check_share(self, share: Share) -> None:
        assert settled(share.status), f"share {share.id} is stuck in {share.status}"
        assert share.size_target_gib is None, f"share {share.id} still promises {share.size_target_gib} GiB"
        if not self.world.trouble.told and share.instance.host is not None:
            assert share.status is ShareStatus.AVAILABLE, (
                f"share {share.id} is {share.status} though nothing failed for good"
            )
        if share.status is not ShareStatus.AVAILABLE:
            return
        path = self.users.path_of(share)
        assert path is not None, f"share {share.id} is {share.status} but has no dataset"
        filesystem = self.filesystems[path]
        assert filesystem.is_mounted
        assert filesystem.local.get("canmount", "on") == "on", f"{path} would not be mounted at the next boot"
        assert filesystem.limit("refquota") == share.size_gib * GIB, f"{path} has another quota than its share"
        assert self.users.expects(share.id, self.world.host.content(path)), f"{path} lost or gained data"
        self._check_access(share, path)

    def _check_access(self, share: Share, path: str) -> None:
        served = {}
        for rule in self.rules[share.id]:
            assert applied(rule.state), f"rule {rule.access_to} of {share.id} is stuck in {rule.state}"
            if rule.state is AccessState.ACTIVE:
                served[ipaddress.ip_network(rule.access_to)] = rule.access_level
        for network, level in served.items():
            address = str(network[0])
            innermost = max(
                (n for n in served if n.version == network.version and network[0] in n), key=lambda n: n.prefixlen
            )
            seen = self.world.nfs.allows(self.world.host.state.files, f"/{path}", address)
            wanted = served[innermost]
            assert seen == (wanted or level).value, f"{address} has {seen} on {path}, not {wanted}"
        stranger = self.world.nfs.allows(self.world.host.state.files, f"/{path}", "192.0.2.1")
        assert stranger is None, f"a stranger has {stranger} on {path}"

    def _check_snapshot(self, snapshot: Snapshot) -> None:
        assert settled(snapshot.status), f"snapshot {snapshot.id} is stuck in {snapshot.status}"
        if not self.world.trouble.told:
            assert snapshot.status is SnapshotStatus.AVAILABLE, f"snapshot {snapshot.id} is {snapshot.status}"
        if snapshot.status is not SnapshotStatus.AVAILABLE:
            return
        found = [
            snap
            for filesystem in self.filesystems.values()
            for snap in filesystem.snapshots.values()
            if snap.local.get("penstock:id") == snapshot.instance.id
        ]
        assert len(found) == 1, f"snapshot {snapshot.id} exists {len(found)} times"
        assert self.world.host.content(found[0].path) == self.users.taken[snapshot.id], f"{found[0].path} changed"

    def _check_no_orphan(self) -> None:
        """Everything of ours on the host has a row, but for tombstones that a clone still needs."""
        instances = {share.instance.id for share in self.shares}
        if self.world.trouble.told:
            instances |= self.users.forced  # their operators were told that something stays behind
        taken = {snapshot.instance.id for snapshot in self.snapshots}
        exported = set()
        for path, filesystem in self.filesystems.items():
            if filesystem.local.get("penstock:kind") == "share":
                assert filesystem.local["penstock:id"] in instances, f"{path} is an orphan"
                exported.add(f"/{path}")
            elif path.partition("/")[2].startswith(PREFIX) and "penstock:kind" not in filesystem.local:
                owner = path.partition(PREFIX)[2].replace("_", "-")
                assert owner in instances, f"{path} is an orphan without a mark"
            for snap in filesystem.snapshots.values():
                if snap.local.get("penstock:kind") == "snapshot":
                    assert snap.local["penstock:id"] in taken, f"{snap.path} is an orphan"
                elif snap.local.get("penstock:kind") == "tombstone":
                    assert snap.clones, f"{snap.path} is a tombstone that nobody needs"
        for line in self.world.host.state.files.get("/proc/simulated/nfsd", "").splitlines():
            assert line.split("\t")[0] in exported, f"{line} is exported though it is no share"


def check_nothing_left(world: World, users: Users) -> None:
    """After everything was deleted: no dataset, snapshot, export or row of ours."""
    if world.trouble.told and users.forced:
        return
    for path, filesystem in world.host.state.filesystems.items():
        assert not any(name.startswith("penstock:") for name in filesystem.local), f"{path} was left behind"
        assert not path.partition("/")[2].startswith(PREFIX), f"{path} was left behind without a mark"
        for snap in filesystem.snapshots.values():
            assert not any(name.startswith("penstock:") for name in snap.local), f"{snap.path} was left behind"
    assert world.host.state.files.get("/proc/simulated/nfsd", "") == "", "exports were left behind"
    with world.database.read() as tx:
        assert share_rows.count_shares(tx, ShareFilter()) == 0
        assert snapshot_rows.count_snapshots(tx, SnapshotFilter()) == 0

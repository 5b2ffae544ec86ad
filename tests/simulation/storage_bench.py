"""One backend, whole and in memory: rows, share manager, ZFS driver, simulated host; for tests that damage it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.clock import ManualClock
from penstock.context import admin_context
from penstock.doctor.examination import examine
from penstock.doctor.findings import Kind
from penstock.domain.access import AccessRule
from penstock.domain.lifecycle import Event
from penstock.domain.shares import Share, ShareStatus
from penstock.domain.snapshots import Snapshot, SnapshotStatus
from penstock.domain.types import ShareType
from penstock.ids import ProjectId, ShareTypeId, UserId, new_id
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.manager import ShareManager
from penstock.share_site import ShareSite, share_site_of
from penstock.store import access, instances, shares, snapshots, types
from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.store.shares import ShareFilter
from penstock.store.snapshots import SnapshotFilter
from penstock.units import GIB
from penstock.zfs.client import Zfs
from tests.driver_values import a_configuration
from tests.factories import NOW, a_rule, a_share, a_snapshot
from tests.simulation.nfs_server import SimulatedNfs, chmod
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

POOL = "host@zfs#tank"
SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
}


class StorageBench:
    """Shares are made through the manager, as operations make them."""

    def __init__(self, folder: Path, *, flavour: Any = OPENZFS, database_url: str = "sqlite://") -> None:
        self.clock = ManualClock(NOW)
        self.host = SimulatedHost(flavour=flavour, clock=self.clock, pools={"tank": 100 * GIB})
        self.host.programs["chmod"] = chmod
        self.nfs = SimulatedNfs(self.host)
        self.folder = folder
        self.database = Database(database_url)
        metadata.create_all(self.database.engine)
        self.site = self.new_site()
        self.type = ShareType(ShareTypeId(new_id()), "gold", None, True, NOW, None, SPECS)
        with self.database.begin() as tx:
            types.insert_type(tx, self.type)

    def new_site(self) -> ShareSite:
        """The backend as another process opens it."""
        configuration = a_configuration()
        driver = ZFSonLinuxShareDriver(configuration=configuration, host=self.host, nfs=self.nfs, clock=self.clock)
        manager = ShareManager(
            driver, "zfs", configuration=configuration, database=self.database, clock=self.clock, host="host@zfs"
        )
        driver.do_setup(admin_context())
        return share_site_of(manager, self.folder)

    def lose_database(self) -> None:
        """The rows are gone, and an empty database is in their place."""
        self.database.close()
        self.database = Database("sqlite://")
        metadata.create_all(self.database.engine)
        self.site = self.new_site()

    # --- making things --------------------------------------------------------------------------------------------

    def share(self, **changes: Any) -> Share:
        """A share of project p1 that is available."""
        values = {"share_type_id": self.type.id, "project_id": ProjectId("p1"), "user_id": UserId("u1"), **changes}
        new = a_share(status=ShareStatus.CREATING, host=POOL, launched_at=None, **values)
        new = replace(new, instance=replace(new.instance, share_type_id=self.type.id, progress=None))
        with self.database.begin() as tx:
            shares.insert_share(tx, new)
        self.site.manager.create_share_instance(self.site.context, new.instance.id, snapshot_id=new.snapshot_id)
        return self.row(new)

    def allow(self, share: Share, to: str = "10.0.0.1", **changes: Any) -> AccessRule:
        """An access rule that is active."""
        rule = a_rule(share, to, **changes)
        with self.database.begin() as tx:
            access.insert_rule(tx, rule, [share.instance.id])
        self.site.manager.update_access(self.site.context, share.instance.id)
        return rule

    def snapshot(self, share: Share) -> Snapshot:
        """A snapshot that is available."""
        new = a_snapshot(share, status=SnapshotStatus.CREATING)
        with self.database.begin() as tx:
            snapshots.insert_snapshot(tx, new)
        self.site.manager.create_snapshot(self.site.context, share.id, new.id)
        with self.database.read() as tx:
            found = snapshots.get(tx, new.id)
        assert found is not None
        return found

    @property
    def zfs(self) -> Zfs:
        """The host's ZFS, for an administrator at its keyboard."""
        return Zfs(self.host, self.host.flavour, clock=self.clock)

    # --- looking --------------------------------------------------------------------------------------------------

    def row(self, share: Share) -> Share:
        with self.database.read() as tx:
            found = shares.get(tx, share.id)
        assert found is not None
        return found

    def dataset(self, share: Share) -> str:
        return "tank/manila_share_" + share.instance.id.replace("-", "_")

    def findings(self) -> list[Kind]:
        """The kinds of what is wrong now."""
        return [finding.kind for finding in examine(self.site).findings]

    def rows(self) -> dict[str, Any]:
        """Everything recovery brings back, without what is new each time (times, ids of locations)."""
        with self.database.read() as tx:
            found = {share.id: share for share in shares.list_shares(tx, ShareFilter())}
            taken = {snapshot.id: snapshot for snapshot in snapshots.list_snapshots(tx, SnapshotFilter())}
            rules = {key: access.of_share(tx, key) for key in found}
            paths = {
                key: [(loc.path, loc.preferred) for loc in instances.export_locations_of(tx, share.instance.id)]
                for key, share in found.items()
            }
        untimed = {"created_at": NOW, "updated_at": None}
        timeless = {**untimed, "scheduled_at": NOW, "launched_at": NOW}
        return {
            "shares": {
                key: replace(share, **untimed, instance=replace(share.instance, **timeless))
                for key, share in found.items()
            },
            "snapshots": {
                key: replace(item, **untimed, instance=replace(item.instance, **untimed)) for key, item in taken.items()
            },
            "rules": {key: [replace(rule, **untimed) for rule in found_rules] for key, found_rules in rules.items()},
            "paths": paths,
        }

    def in_error(self) -> Share:
        """A share whose creation failed, and that has nothing on the storage yet."""
        new = a_share(status=ShareStatus.ERROR, host=POOL, launched_at=None, share_type_id=self.type.id)
        with self.database.begin() as tx:
            shares.insert_share(tx, new)
        return self.row(new)

    def move(self, share: Share, event: Event, **columns: Any) -> None:
        """A service accepts a request and dies before it queues the operation."""
        with self.database.begin() as tx:
            shares.move(tx, share.instance, event, now=NOW)
            if columns:
                shares.update_share(tx, share.id, now=NOW, **columns)

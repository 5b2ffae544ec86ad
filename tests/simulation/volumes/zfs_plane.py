"""One backend of volumes, whole and in memory: services, manager, ZFS driver, simulated host; to be damaged."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from penstock.clock import Clock
from penstock.doctor.findings import Kind
from penstock.doctor.volumes.examination import examine_volumes
from penstock.domain.attachments import Attachment
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volumes import Volume
from penstock.services.volumes import attachments, creation, snapshots
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.creation import NewVolume
from penstock.store import volume_snapshots, volumes
from penstock.store.database import Database
from penstock.store.schema import metadata
from penstock.store.volume_snapshots import VolumeSnapshotFilter
from penstock.store.volumes import VolumeFilter
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume_site import VolumeSite, volume_site_of
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import Flavour
from tests.contract.zfs_volumes import simulated_site
from tests.factories import NOW
from tests.simulation.zfs_network import SimulatedNetwork
from tests.volume_plane import CONNECTOR, OWNER, VolumePlane

ELSEWHERE = {"initiator": "iqn.1994-05.com.redhat:two", "host": "two", "ip": "10.0.0.2"}
CONFIG = """
[DEFAULT]
host = host
my_ip = 10.1.0.1
enabled_backends = dummy
default_volume_type = default
state_path = {folder}
[dummy]
volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver
volume_backend_name = zfs
zfs_zpool_list = tank/volumes,pond/volumes
zfs_volume_kind = file
target_ip_address = 10.1.0.11
volume_data_path = userspace
{text}
"""


class ZfsPlane(VolumePlane):
    """Volumes are made through the services, as users make them."""

    def __init__(
        self,
        folder: Path,
        flavour: Flavour,
        *,
        text: str = "",
        database: Database | None = None,
        clock: Clock | None = None,
    ) -> None:
        self.host, self.tgt = simulated_site(flavour, "tank", "pond")
        self.folder = folder
        super().__init__(folder, config=CONFIG.format(folder=folder, text=text), database=database, clock=clock)

    def make_driver(self, section: Any) -> Any:
        return ZFSVolumeDriver(
            configuration=section,
            host="host@dummy",
            storage_host=self.host,
            routes=SimulatedNetwork(),
            clock=self.clock,
        )

    @property
    def site(self) -> VolumeSite:
        """The backend as another process opens it."""
        return volume_site_of(self.manager, self.folder)

    @property
    def zfs(self) -> Zfs:
        """The host's ZFS, for an administrator at its keyboard."""
        return Zfs(self.host, self.host.flavour, clock=self.clock)

    def lose_database(self) -> None:
        """The rows are gone, and an empty database is in their place."""
        self.database.close()
        self.database = Database("sqlite://")
        metadata.create_all(self.database.engine)
        self.restart()

    # --- making things ------------------------------------------------------------------------------------------------

    def volume(self, **wanted: Any) -> Volume:
        """A volume of project p1 that is available."""
        made = creation.create(self.plane, OWNER, NewVolume(**{"size_gib": 1, **wanted}))
        self.work()
        return self.row(made)

    def snapshot(self, volume: Volume, name: str = "taken") -> VolumeSnapshot:
        """A snapshot that is available."""
        made = snapshots.create(self.plane, OWNER, snapshots.NewVolumeSnapshot(volume.id, name))
        self.work()
        with self.database.read() as tx:
            found = volume_snapshots.get(tx, made.id)
        assert found is not None
        return found

    def attached(self, volume: Volume, connector: dict[str, Any] = CONNECTOR) -> Attachment:
        """An attachment that is connected and in use."""
        made = attachments.create(self.plane, OWNER, NewAttachment(volume.id, connector=connector))
        attachments.complete(self.plane, OWNER, made.id)
        return made

    # --- looking ------------------------------------------------------------------------------------------------------

    def row(self, volume: Volume) -> Volume:
        with self.database.read() as tx:
            found = volumes.get(tx, volume.id)
        assert found is not None
        return found

    def dataset(self, volume: Volume) -> str:
        pool = (volume.host or "").partition("#")[2]
        return f"{pool}/volumes/volume-{volume.name_id or volume.id}"

    def iqn(self, volume: Volume) -> str:
        return f"iqn.2010-10.org.openstack:volume-{volume.name_id or volume.id}"

    def initiators(self, volume: Volume) -> set[str]:
        """Who is let in."""
        target = self.driver.storage.exports.get(self.iqn(volume))  # type: ignore[attr-defined]
        return set(target.names) if target is not None else set()

    def findings(self) -> list[Kind]:
        """The kinds of what is wrong now."""
        return [finding.kind for finding in examine_volumes(self.site).findings]

    def rows(self) -> dict[str, Any]:
        """Everything recovery brings back, without what is new each time."""
        with self.database.read() as tx:
            found = {volume.id: volume for volume in volumes.list_volumes(tx, VolumeFilter())}
            taken = {one.id: one for one in volume_snapshots.list_snapshots(tx, VolumeSnapshotFilter())}
        timeless: dict[str, Any] = {
            "created_at": NOW,
            "updated_at": None,
            "scheduled_at": NOW,
            "launched_at": NOW,
            "attachments": (),
        }
        who = {
            key: sorted(str((one.connector or {}).get("initiator")) for one in volume.attachments)
            for key, volume in found.items()
        }
        return {
            "volumes": {key: replace(volume, **timeless) for key, volume in found.items()},
            "snapshots": {key: replace(one, created_at=NOW, updated_at=None) for key, one in taken.items()},
            "initiators": who,
        }

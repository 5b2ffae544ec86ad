"""A volume backend that fails over from one machine to another, from the request to the rows: ZFS driver, simulated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.doctor.findings import Kind as Finding
from penstock.doctor.volumes.examination import examine_volumes
from penstock.domain.volume_snapshots import VolumeSnapshotStatus
from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.errors import Fault
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import attachments, creation, lifecycle, replication, retyping, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import attachments as attachment_rows
from penstock.store import backends
from penstock.store.backends import Service
from penstock.store.database import Database
from penstock.store.keyset import KeysetPage
from penstock.volume.drivers.zfs.driver import ZFSVolumeDriver
from penstock.volume.drivers.zfs.identity import Kind
from penstock.volume_site import VolumeSite
from penstock.zfs.flavour import ZFS_FUSE
from tests.contract.volume_sides import ADDRESSES, CLIENT, DEVICE, FAR, HOME, ROOTS, RPO_S, Machines
from tests.simulation.zfs_host import OPENZFS
from tests.volume_plane import ADMIN, OWNER, VolumePlane

HOST = "host@dummy"
CONFIG = f"""
[DEFAULT]
host = host
my_ip = 10.1.0.1
enabled_backends = dummy
default_volume_type = default
[dummy]
volume_driver = penstock.volume.drivers.zfs.driver.ZFSVolumeDriver
volume_backend_name = dummy
zfs_zpool_list = {ROOTS[HOME]}
target_ip_address = {ADDRESSES[HOME]}
volume_data_path = userspace
zfs_volume_kind = file
use_chap_auth = True
replication_device = {DEVICE}
"""
SPECS = {"replication_enabled": "<is> True", "replication_rpo_seconds": str(RPO_S)}


class Site(VolumePlane):
    """The control plane over two machines."""

    def __init__(self, folder: Path, machines: Machines, database: Database | None = None) -> None:
        self.machines = machines
        self.folder = folder
        retry = RetryPolicy(give_up_after_s=600)
        super().__init__(folder, clock=machines.clock, config=CONFIG, retry=retry, database=database)
        self.add_type("replicated", SPECS)

    def make_driver(self, section: Any) -> Any:
        return ZFSVolumeDriver(
            configuration=section,
            host=HOST,
            storage_host=self.machines.hosts[HOME],
            target_hosts={FAR: self.machines.hosts[FAR]},
            routes=self.machines.network,
            clock=self.machines.clock,
            sync_threads=0,
        )

    def made(self, kind: str = "replicated") -> Volume:
        volume = creation.create(self.plane, OWNER, NewVolume(size_gib=1, volume_type=kind))
        self.work()
        return self.seen(volume)

    def seen(self, volume: Volume) -> Volume:
        return volumes.get(self.plane, OWNER, volume.id)

    def replicate(self) -> None:
        self.machines.clock.advance(RPO_S)
        self.manager.heartbeat()
        self.manager.replicate(ADMIN)

    def fail_over(self, to: str | None) -> None:
        replication.failover(self.plane, ADMIN, HOST, to)
        self.work()

    def settle(self) -> None:
        for _ in range(5):
            self.machines.clock.advance(30)
            self.work()

    def service(self) -> Service:
        with self.database.read() as tx:
            return backends.list_services(tx, host=HOST)[0]

    def portal(self, attachment_id: str) -> str:
        with self.database.read() as tx:
            found = attachment_rows.get(tx, attachment_id)
        assert found is not None
        assert found.connection_info is not None
        return str(found.connection_info["target_portal"])

    def findings(self, *kinds: Finding) -> list[Any]:
        """What the doctor finds of these kinds, or of all."""
        found = examine_volumes(VolumeSite(self.manager, self.queue, self.folder, ADMIN)).findings
        return [one for one in found if not kinds or one.kind in kinds]

    def told(self, volume: Volume) -> str:
        found = messages.list_about_volumes(self.plane, OWNER, KeysetPage(), {}, {})
        return " ".join(one.text for one in found if one.resource_id == volume.id)


@pytest.fixture(params=[OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def site(request: Any, tmp_path: Path) -> Site:
    return Site(tmp_path, Machines(request.param))


def attached(site: Site, volume: Volume) -> str:
    made = attachments.create(site.plane, OWNER, NewAttachment(volume_id=volume.id, connector=CLIENT))
    attachments.complete(site.plane, OWNER, made.id)
    return made.id


def test_its_state_follows_the_copies(site: Site) -> None:
    volume = site.made()
    assert volume.replication_status is ReplicationStatus.ENABLING
    site.replicate()
    site.replicate()
    assert site.seen(volume).replication_status is ReplicationStatus.ENABLED
    site.machines.cut_off(FAR)
    site.machines.write(volume, HOME)
    for _ in range(3):
        site.replicate()
    seen = site.seen(volume)
    assert seen.replication_status is ReplicationStatus.ERROR
    assert FAR in str(seen.replication_extended_status)
    assert "older than" in site.told(volume)
    site.machines.hosts[FAR].is_cut_off = False
    for _ in range(3):
        site.replicate()
    assert site.seen(volume).replication_status is ReplicationStatus.ENABLED


def test_a_new_volume_is_copied_when_it_comes(site: Site) -> None:
    """Not when the next look is due, which without a replicated volume is a minute away; but one that cannot be copied
    is not looked at all the time."""
    site.replicate()
    copied = site.made()
    site.machines.clock.advance(1)
    site.manager.replicate(ADMIN)
    assert site.machines.kind(copied, FAR) is Kind.REPLICA
    site.machines.cut_off(FAR)
    kept_from_it = site.made()
    looks = []
    for _ in range(3):
        site.machines.clock.advance(1)
        before = site.machines.hosts[HOME].commands_run
        site.manager.replicate(ADMIN)
        looks.append(site.machines.hosts[HOME].commands_run > before)
    assert looks == [True, False, False]
    assert site.seen(kept_from_it).replication_status is ReplicationStatus.ENABLING


def test_over_and_back_with_an_attached_volume(site: Site) -> None:
    volume, plain = site.made(), site.made("default")
    use = attached(site, volume)
    site.replicate()
    site.replicate()
    site.machines.write(volume, HOME)
    written = site.machines.content(volume, HOME)
    assert site.portal(use) == "10.1.0.11:3260"
    site.fail_over(FAR)
    seen = site.seen(volume)
    assert (seen.status, seen.replication_status) == (VolumeStatus.IN_USE, ReplicationStatus.FAILED_OVER)
    assert site.portal(use) == "10.1.0.12:3260"
    assert site.machines.is_served(volume, FAR, site.seen(volume).provider_auth)
    assert not site.machines.is_served(volume, HOME, site.seen(volume).provider_auth)
    assert site.machines.content(volume, FAR) == written
    assert (site.seen(plain).status, site.seen(plain).previous_status) == (VolumeStatus.ERROR, VolumeStatus.AVAILABLE)
    service = site.service()
    assert (service.active_backend_id, service.replication_status) == (FAR, ReplicationStatus.FAILED_OVER)
    site.restart()
    assert site.machines.is_served(volume, FAR, site.seen(volume).provider_auth)
    site.replicate()
    assert site.seen(volume).replication_status is ReplicationStatus.FAILED_OVER
    site.fail_over("default")
    seen = site.seen(volume)
    assert (seen.status, seen.replication_status) == (VolumeStatus.IN_USE, ReplicationStatus.ENABLED)
    assert site.portal(use) == "10.1.0.11:3260"
    assert site.seen(plain).status is VolumeStatus.AVAILABLE
    assert site.service().active_backend_id is None


def test_a_dead_primary(site: Site) -> None:
    """Also for a daemon that starts when it is dead already: what is lost is told, and the way back is complete."""
    volume = site.made()
    use = attached(site, volume)
    site.replicate()
    site.replicate()
    site.machines.clock.advance(10)
    site.machines.write(volume, HOME)
    lost = site.machines.content(volume, HOME)
    site.machines.cut_power(HOME)
    replication.failover(site.plane, ADMIN, HOST, None)
    site.restart()  # the process died before it came to that
    site.work()
    seen = site.seen(volume)
    assert (seen.status, seen.replication_status) == (VolumeStatus.IN_USE, ReplicationStatus.FAILED_OVER)
    assert "What was written after" in site.told(volume)
    assert "unplanned" in str(seen.replication_extended_status)
    assert site.portal(use) == "10.1.0.12:3260"
    assert any("is not in it" in one.sentence for one in site.findings(Finding.REPLICATION))
    assert not site.findings(Finding.DATASET_MISSING)
    assert not [one for one in site.findings() if one.kind.value.startswith("export")]
    site.machines.write(volume, FAR)
    site.machines.boot(HOME)
    for _ in range(3):
        site.replicate()
    assert "set aside" in site.told(volume)
    (aside,) = site.machines.aside(HOME)
    assert site.machines.hosts[HOME].content(aside) == lost
    written = site.machines.content(volume, FAR)
    site.fail_over("default")
    assert site.machines.content(volume, HOME) == written
    assert site.seen(volume).replication_extended_status is None
    assert [one.subject for one in site.findings(Finding.SET_ASIDE)] == [aside]


def test_a_machine_that_was_restarted_serves_again(site: Site) -> None:
    """The daemon went on elsewhere; of itself the machine serves nothing that might be another's by now."""
    volume = site.made()
    attached(site, volume)
    site.machines.cut_power(HOME)
    site.manager.export_again(ADMIN)
    site.machines.boot(HOME)
    assert not site.machines.is_served(volume, HOME, site.seen(volume).provider_auth)
    site.manager.export_again(ADMIN)
    site.settle()
    assert site.machines.is_served(volume, HOME, site.seen(volume).provider_auth)


def test_a_restarted_machine_that_has_not_imported_its_pool_yet_loses_no_volume(site: Site) -> None:
    """It answers before its pools are there: what cannot be seen is not gone, and is served once they are."""
    volume = site.made()
    attached(site, volume)
    site.machines.cut_power(HOME)
    site.manager.export_again(ADMIN)
    site.machines.boot(HOME)
    import_again = site.machines.lose_pool(HOME, "tank")
    for _ in range(2):
        site.manager.export_again(ADMIN)
        site.settle()
    assert site.seen(volume).status is VolumeStatus.IN_USE
    assert not site.told(volume)
    import_again()
    site.manager.export_again(ADMIN)
    site.settle()
    assert site.machines.is_served(volume, HOME, site.seen(volume).provider_auth)


def test_a_deletion_waits_for_a_pool_that_is_not_imported_yet(site: Site) -> None:
    volume = site.made("default")
    import_again = site.machines.lose_pool(HOME, "tank")
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.settle()
    assert site.seen(volume).status is VolumeStatus.DELETING
    import_again()
    site.settle()
    with pytest.raises(Fault):
        site.seen(volume)
    assert site.machines.kind(volume, HOME) is None


def test_an_extension_after_a_restart_of_the_machine_does_not_wait_for_what_waits_for_it(site: Site) -> None:
    volume = site.made()
    attached(site, volume)
    site.machines.cut_power(HOME)
    site.machines.boot(HOME)
    lifecycle.extend(site.plane, OWNER, volume.id, 2, attached=True)
    site.work()
    assert (site.seen(volume).status, site.seen(volume).size_gib) == (VolumeStatus.IN_USE, 2)
    assert site.machines.is_served(volume, HOME, site.seen(volume).provider_auth)


def test_an_away_target_leaves_it_in_service(site: Site) -> None:
    volume = site.made()
    site.machines.cut_off(FAR)
    site.fail_over(FAR)
    seen = site.service()
    assert (seen.replication_status, seen.disabled) == (ReplicationStatus.ENABLED, False)
    assert str(seen.disabled_reason).startswith("not failed over: far does not answer")  # it was accepted by then
    assert site.made().status is VolumeStatus.AVAILABLE
    assert site.seen(volume).status is VolumeStatus.AVAILABLE
    site.machines.boot(FAR)
    site.fail_over(FAR)
    assert site.service().disabled_reason == "failed-over"
    site.machines.cut_off(HOME)
    site.fail_over("default")
    seen = site.service()
    assert (seen.replication_status, seen.disabled) == (ReplicationStatus.FAILED_OVER, True)
    assert str(seen.disabled_reason).startswith("failed-over; then not failed over: default does not answer")
    site.machines.boot(HOME)
    site.fail_over("default")
    assert site.service().disabled_reason is None


def test_a_volume_whose_first_copy_never_ended_is_in_error_and_comes_back(site: Site) -> None:
    copied = site.made()
    site.replicate()
    late = site.made()
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    assert site.seen(copied).status is VolumeStatus.AVAILABLE
    assert (site.seen(late).status, site.seen(late).replication_status) == (VolumeStatus.ERROR, ReplicationStatus.ERROR)
    site.machines.boot(HOME)
    for _ in range(2):
        site.replicate()
    site.fail_over("default")
    assert site.seen(copied).status is VolumeStatus.AVAILABLE
    assert site.seen(late).status is VolumeStatus.AVAILABLE
    assert site.machines.kind(late, HOME) is Kind.VOLUME


def test_who_was_detached_while_nobody_served_it_is_shut_out_when_it_is_back(site: Site) -> None:
    volume = site.made()
    use = attached(site, volume)
    secret = site.seen(volume).provider_auth
    site.machines.cut_off(HOME)
    site.fail_over(FAR)
    assert site.seen(volume).status is VolumeStatus.ERROR
    attachments.delete(site.plane, OWNER, use)
    site.work()
    site.machines.hosts[HOME].is_cut_off = False
    site.fail_over("default")
    site.settle()
    assert site.seen(volume).status is VolumeStatus.AVAILABLE
    assert not site.machines.is_served(volume, HOME, secret)


def test_who_was_detached_from_what_failed_to_grow_while_nobody_served_it_is_shut_out(site: Site) -> None:
    """It was on its way, so that it is not in the error that says that nobody serves it."""
    volume = site.made()
    use = attached(site, volume)
    secret = site.seen(volume).provider_auth
    site.machines.cut_off(HOME)
    lifecycle.extend(site.plane, OWNER, volume.id, 2, attached=True)
    site.fail_over(FAR)
    site.settle()
    assert site.seen(volume).status is VolumeStatus.ERROR_EXTENDING
    attachments.delete(site.plane, OWNER, use)
    site.work()
    site.machines.hosts[HOME].is_cut_off = False
    site.fail_over("default")
    site.settle()
    assert not site.machines.is_served(volume, HOME, secret)


def test_a_snapshot_that_a_failover_lost_is_said_to_be(site: Site) -> None:
    volume = site.made()
    kept = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    for _ in range(2):
        site.replicate()
    lost = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    state = {one.id: snapshots.get(site.plane, OWNER, one.id).status for one in (kept, lost)}
    assert state == {kept.id: VolumeSnapshotStatus.AVAILABLE, lost.id: VolumeSnapshotStatus.ERROR}
    assert f"Nor are its snapshots {lost.id}." in site.told(volume)
    assert not site.findings(Finding.SNAPSHOT_MISSING)
    for one in (kept, lost):
        snapshots.delete(site.plane, OWNER, one.id)
    site.settle()
    with pytest.raises(Fault):
        snapshots.get(site.plane, OWNER, lost.id)
    site.machines.boot(HOME)
    site.replicate()
    site.fail_over("default")
    site.settle()
    (aside,) = site.machines.aside(HOME)
    assert f"snapshot-{lost.id}" in site.machines.hosts[HOME].filesystem(aside).snapshots
    assert not [one for one in site.findings() if one.is_drift]  # it is part of what was set aside


def test_a_snapshot_that_arrived_and_was_not_marked_is_not_lost(site: Site) -> None:
    """The sync that it came with did not end."""
    volume = site.made()
    for _ in range(2):
        site.replicate()
    taken = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
    site.work()
    site.machines.write(volume, HOME)
    site.replicate()
    far = site.machines.hosts[FAR].filesystem(site.machines.place(volume, FAR))
    far.snapshots[f"snapshot-{taken.id}"].local.clear()
    site.machines.cut_power(HOME)
    site.fail_over(FAR)
    assert snapshots.get(site.plane, OWNER, taken.id).status is VolumeSnapshotStatus.AVAILABLE
    assert not site.findings(Finding.SNAPSHOT_MISSING)


def test_a_copy_of_nobody_goes_though_something_was_set_aside_of_it(site: Site) -> None:
    volume = site.made()
    for _ in range(2):
        site.replicate()
    site.machines.write(volume, HOME)
    site.machines.cut_off(HOME)
    site.fail_over(FAR)
    site.machines.write(volume, FAR)
    site.machines.hosts[HOME].is_cut_off = False
    for _ in range(3):
        site.replicate()
    (aside,) = site.machines.aside(HOME)
    site.machines.cut_off(HOME)
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    site.machines.hosts[HOME].is_cut_off = False
    for _ in range(2):
        site.replicate()
    assert site.machines.kind(volume, HOME) is None
    assert site.machines.aside(HOME) == [aside]


def test_what_is_asked_for_meanwhile_waits(site: Site) -> None:
    volume = site.made()
    with site.manager.turn("failover_host"):
        taken = snapshots.create(site.plane, OWNER, NewVolumeSnapshot(volume.id))
        site.work()
        assert snapshots.get(site.plane, OWNER, taken.id).status is VolumeSnapshotStatus.CREATING
    site.settle()
    assert snapshots.get(site.plane, OWNER, taken.id).status is VolumeSnapshotStatus.AVAILABLE


def test_retyping_switches_it_on_and_off(site: Site) -> None:
    volume = site.made("default")
    retyping.retype(site.plane, OWNER, volume.id, "replicated")
    site.work()
    site.replicate()
    site.replicate()
    assert site.seen(volume).replication_status is ReplicationStatus.ENABLED
    assert site.machines.kind(volume, FAR) is Kind.REPLICA
    retyping.retype(site.plane, OWNER, volume.id, "default")
    site.work()
    assert site.seen(volume).replication_status is ReplicationStatus.DISABLED
    assert site.machines.kind(volume, FAR) is None


def test_deleted_while_the_target_is_away(site: Site) -> None:
    volume = site.made()
    site.replicate()
    site.machines.cut_off(FAR)
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    with pytest.raises(Fault):
        site.seen(volume)
    site.machines.hosts[FAR].is_cut_off = False
    site.replicate()
    assert site.machines.kind(volume, FAR) is None

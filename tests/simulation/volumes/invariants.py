"""What must hold of volumes after any run once nothing is left to do."""

from __future__ import annotations

from pathlib import Path

from penstock.doctor.findings import Kind as Finding
from penstock.doctor.volumes.examination import examine_volumes
from penstock.doctor.volumes.stuck import is_unanswered
from penstock.domain.attachments import AttachStatus, attach_status_of
from penstock.domain.quotas import Usage
from penstock.domain.volume_groups import GroupStatus, VolumeGroup
from penstock.domain.volume_lifecycle import RESTING, SNAPSHOT_TRANSITIONAL, VOLUME_TRANSITIONAL, at_rest
from penstock.domain.volume_message_codes import VolumeMessageAction
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volumes import MigrationStatus, Volume, VolumeStatus
from penstock.services import messages
from penstock.services.volumes import quotas
from penstock.store.keyset import KeysetPage
from penstock.volume_site import volume_site_of
from tests.simulation.volumes.users import Users, name_of
from tests.simulation.volumes.world import CONTEXT, SERVICE, World


class Truth:
    """The rows and the backend, side by side."""

    def __init__(self, world: World, users: Users) -> None:
        self.world = world
        self.users = users
        self.volumes = users.volumes()
        self.snapshots = users.snapshots()

    def check(self) -> None:
        """Raise AssertionError at the first thing that is not so."""
        assert not self.world.pending
        for volume in self.volumes:
            self._check_volume(volume)
        for snapshot in self.snapshots:
            self._check_snapshot(snapshot)
        self._check_groups()
        self._check_no_orphan()
        self._check_quota()
        self._check_doctor()

    def _check_doctor(self) -> None:
        """Who looks at rows and storage finds nothing to say either."""
        site = volume_site_of(self.world.manager, Path("/nowhere"))
        found = [finding for finding in examine_volumes(site).findings if finding.is_drift]
        # who connected and never said that he uses it is named for somebody to decide, after an hour
        named = [finding for finding in found if finding.kind is not Finding.CONNECTION]
        if self.world.trouble.told:  # a connection that failed for good, and could not be taken back, either
            left = {one.id for volume in self.volumes for one in volume.attachments if is_unanswered(one)}
            named = [finding for finding in named if finding.subject not in left]
        drift = [finding.sentence for finding in named]
        assert not drift, "; ".join(drift)

    def _check_volume(self, volume: Volume) -> None:
        assert volume.status not in VOLUME_TRANSITIONAL, f"volume {volume.id} is stuck in {volume.status}"
        assert volume.size_target_gib is None, f"volume {volume.id} still promises {volume.size_target_gib} GiB"
        attach_status = attach_status_of(volume.attachments)
        assert volume.attach_status is attach_status, f"volume {volume.id} is {volume.attach_status}"
        assert not volume.is_migrating, f"volume {volume.id} migrates for ever"
        if volume.status is VolumeStatus.AWAITING_TRANSFER:
            return
        if not self.world.trouble.told and volume.host is not None:
            if volume.migration_status is MigrationStatus.ERROR:
                assert self._had_no_room(volume), f"volume {volume.id} did not move"
            assert volume.status in RESTING, f"volume {volume.id} is {volume.status} though nothing failed for good"
        if volume.status not in RESTING:
            return
        assert volume.status is at_rest(attach_status), f"volume {volume.id} is {volume.status}, not {attach_status}"
        record = self.world.storage.volumes.get(name_of(volume))
        assert record is not None, f"volume {volume.id} is {volume.status} and not there"
        assert volume.host == f"{SERVICE}#{record.pool}", (
            f"volume {volume.id} is on {record.pool}, not on {volume.host}"
        )
        assert record.size_gib == volume.size_gib, f"volume {volume.id} has {record.size_gib} GiB"
        assert self.users.expects(volume.id, record.written), f"volume {volume.id} lost or gained data"
        self._check_connections(volume)

    def _had_no_room(self, volume: Volume) -> bool:
        """Was its owner told that it did not move, and why not?"""
        found = messages.list_about_volumes(self.world.plane, CONTEXT, KeysetPage(), {}, {})
        about = [one for one in found if one.resource_id == volume.id]
        return any(one.action_id == VolumeMessageAction.MIGRATE_VOLUME and "no room" in one.text for one in about)

    def _check_connections(self, volume: Volume) -> None:
        record = self.world.storage.volumes[name_of(volume)]
        for attachment in volume.attachments:
            wants = attachment.connector is not None and attachment.status in (
                AttachStatus.ATTACHING,
                AttachStatus.ATTACHED,
            )
            if not self.world.trouble.told:
                assert not wants or attachment.connection_info, f"attachment {attachment.id} waits for its connection"
                failed = (AttachStatus.ERROR_ATTACHING, AttachStatus.ERROR_DETACHING)
                assert attachment.status not in failed, f"attachment {attachment.id} is {attachment.status}"
        served = {one.connector["initiator"] for one in volume.attachments if one.connector}
        sure = {one.connector["initiator"] for one in volume.attachments if one.connector and one.connection_info}
        broken = {AttachStatus.ERROR_ATTACHING, AttachStatus.ERROR_DETACHING, AttachStatus.DETACHED}
        open_ends = volume.id in self.users.half_ended or any(one.status in broken for one in volume.attachments)
        assert set(record.initiators) <= served, f"a stranger may connect to volume {volume.id}"
        if not open_ends:
            assert set(record.initiators) >= sure, f"an initiator of volume {volume.id} is shut out"
            assert record.is_exported is bool(served), f"volume {volume.id} is exported: {record.is_exported}"

    def _check_snapshot(self, snapshot: VolumeSnapshot) -> None:
        assert snapshot.status not in SNAPSHOT_TRANSITIONAL, f"snapshot {snapshot.id} is stuck in {snapshot.status}"
        if not self.world.trouble.told:
            assert snapshot.status is VolumeSnapshotStatus.AVAILABLE, f"snapshot {snapshot.id} is {snapshot.status}"
        if snapshot.status is not VolumeSnapshotStatus.AVAILABLE:
            return
        records = self.world.storage.volumes.values()
        found = [one for record in records for one in record.snapshots.values() if one.owner == snapshot.id]
        assert len(found) == 1, f"snapshot {snapshot.id} exists {len(found)} times"
        assert found[0].written == self.users.taken[snapshot.id], f"snapshot {snapshot.id} changed"

    def _check_groups(self) -> None:
        settled = (GroupStatus.AVAILABLE, GroupStatus.ERROR, GroupStatus.ERROR_DELETING)
        fine = (GroupStatus.AVAILABLE,)
        for one in (*self.users.groups(), *self.users.group_snapshots()):
            assert one.status in settled, f"group {one.id} is stuck in {one.status}"
            is_placed = not isinstance(one, VolumeGroup) or one.host is not None
            assert self.world.trouble.told or one.status in fine or not is_placed, f"group {one.id} is {one.status}"
        known = {group.id for group in self.users.groups()}
        for volume in self.volumes:
            assert volume.group_id is None or volume.group_id in known, f"volume {volume.id} is in a group that is gone"

    def _check_no_orphan(self) -> None:
        owners = {volume.name_id or volume.id for volume in self.volumes}
        taken = {snapshot.id for snapshot in self.snapshots}
        if self.world.trouble.told:
            owners |= self.users.forced  # type: ignore[arg-type] # their operators were told that something stays
        for name, record in self.world.storage.volumes.items():
            assert record.owner in owners, f"{name} is an orphan"
            for key, item in record.snapshots.items():
                is_left = self.world.trouble.told and record.owner in self.users.forced
                assert item.owner in taken or is_left, f"{key} of {name} is an orphan"

    def _check_quota(self) -> None:
        lines = quotas.show(self.world.plane, "p1")
        gib = sum(volume.size_gib for volume in self.volumes) + sum(one.volume_size_gib for one in self.snapshots)
        assert lines["volumes"].usage == Usage(len(self.volumes)), f"the quota counts {lines['volumes'].usage}"
        assert lines["snapshots"].usage == Usage(len(self.snapshots)), f"the quota counts {lines['snapshots'].usage}"
        assert lines["gigabytes"].usage == Usage(gib), f"the quota counts {lines['gigabytes'].usage}, not {gib}"


def check_nothing_left(world: World, users: Users) -> None:
    """After everything was deleted: no record and no row of ours."""
    assert not users.attachments()
    assert not users.snapshots()
    busy = users.forced if world.trouble.told else set()  # with what a forced deletion left of it behind, which is told
    left = [one for one in users.volumes() if one.status is not VolumeStatus.DELETED and one.id not in busy]
    assert not left, f"{[(one.id, one.status) for one in left]} are left"
    if not (world.trouble.told and users.forced):
        assert not world.storage.volumes, f"{list(world.storage.volumes)} were left behind"

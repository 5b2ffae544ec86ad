"""The rows of one volume or snapshot, from what its storage says of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from penstock.domain.attachments import Attachment, AttachMode, AttachStatus, attach_status_of
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.volume_lifecycle import at_rest
from penstock.domain.volume_snapshots import VolumeSnapshot, VolumeSnapshotStatus
from penstock.domain.volume_types import VolumeType
from penstock.domain.volumes import ATTACHED_MODE, Volume, VolumeStatus
from penstock.ids import AttachmentId, VolumeId, VolumeSnapshotId, new_id
from penstock.recovery.rows import Place
from penstock.units import bytes_to_gib_ceil
from penstock.volume.inventory import FoundVolume, FoundVolumeSnapshot, VolumeClient


@dataclass(frozen=True, slots=True)
class Source:
    """What a volume was made from, as far as that is known."""

    snapshot_id: VolumeSnapshotId | None = None
    volume_id: VolumeId | None = None


def volume_row(
    found: FoundVolume,
    volume_type: VolumeType | None,
    source: Source,
    clients: Sequence[VolumeClient],
    place: Place,
) -> Volume:
    """The volume with an attachment for each of the `clients` that its target lets in.

    Whoever is let in may be writing: the volume is ``in-use`` until somebody who knows ends the attachment.
    """
    created_at = found.created_at or place.now
    attachments = tuple(_attachment(found, client, place) for client in clients)
    attach_status = attach_status_of(attachments)
    made = new_volume(
        size_gib=bytes_to_gib_ceil(found.size_bytes),
        project_id=found.project_id or "",
        user_id=found.user_id or "",
        volume_type=volume_type,
        pool=PoolRef.parse(f"{place.host}#{found.pool}"),
        zone=place.zone,
        status=VolumeStatus.AVAILABLE,
        now=created_at,
        name=found.name,
        name_id=found.id if found.id != found.volume_id else None,
        snapshot_id=source.snapshot_id,
        source_volid=source.volume_id,
        provider_id=found.location,
        provider_location=found.provider_location,
        provider_auth=found.auth,
        launched_at=created_at,
        admin_metadata={ATTACHED_MODE: AttachMode.RW.value} if attachments else {},
        attachments=attachments,
    )
    return replace(
        made,
        id=found.volume_id,
        status=at_rest(attach_status),
        attach_status=attach_status,
        is_multiattach=made.is_multiattach or len(attachments) > 1,
    )


def _attachment(found: FoundVolume, client: VolumeClient, place: Place) -> Attachment:
    return Attachment(
        id=AttachmentId(new_id()),
        volume_id=found.volume_id,
        project_id=found.project_id,  # type: ignore[arg-type] # volumes that do not say whose they are have no rows
        instance_uuid=None,
        attached_host=None,
        mountpoint=None,
        mode=AttachMode.RW,
        status=AttachStatus.ATTACHED,
        connector={"initiator": client.name},
        connection_info={},
        attach_time=place.now,
        detach_time=None,
        created_at=place.now,
        updated_at=None,
    )


def snapshot_row(found: FoundVolumeSnapshot, parent: Volume, place: Place) -> VolumeSnapshot:
    """A snapshot of `parent`, ``available``. Which group snapshot it was taken in is not known any more."""
    return VolumeSnapshot(
        id=found.id,
        volume_id=parent.id,
        name=found.name,
        description=None,
        project_id=found.project_id or parent.project_id,
        user_id=found.user_id or parent.user_id,
        volume_size_gib=max(1, found.size_gib),
        status=VolumeSnapshotStatus.AVAILABLE,
        progress="100%",
        volume_type_id=parent.volume_type_id,
        group_snapshot_id=None,
        encryption_key_id=None,
        uses_quota=True,
        provider_location=None,
        provider_id=found.location,
        provider_auth=None,
        created_at=found.created_at or place.now,
        updated_at=None,
    )

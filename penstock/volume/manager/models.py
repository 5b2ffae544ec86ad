"""From our rows to the frozen values that volume drivers are handed."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.domain.attachments import Attachment
from penstock.domain.volume_snapshots import VolumeSnapshot
from penstock.domain.volume_types import WholeVolumeType
from penstock.domain.volumes import Volume
from penstock.domain.volumes_at_work import TypedSnapshot, TypedVolume
from penstock.store.database import Transaction
from penstock.store.volumes_at_work import Types, read_snapshot
from penstock.volume.manager.backend import VolumeBackend
from penstock.volume.models import (
    AttachmentModel,
    EncryptionModel,
    QosSpecsModel,
    SnapshotModel,
    VolumeModel,
    VolumeTypeModel,
)


def volume_models(tx: Transaction, backend: VolumeBackend, found: Sequence[Volume]) -> list[VolumeModel]:
    """Models of these volumes; each type is read once."""
    read = Types(tx)
    types = {type_id: _type_model(read.of(type_id)) for type_id in {volume.volume_type_id for volume in found}}
    return [_volume_model(backend, volume, types[volume.volume_type_id]) for volume in found]


def volume_model(tx: Transaction, backend: VolumeBackend, volume: Volume) -> VolumeModel:
    """The model of one volume, whose type has to be read."""
    return volume_models(tx, backend, [volume])[0]


def model_of(backend: VolumeBackend, found: TypedVolume) -> VolumeModel:
    """The model of one volume, for which nothing has to be read any more."""
    return _volume_model(backend, found.volume, _type_model(found.type))


def bare_model(backend: VolumeBackend, volume: Volume) -> VolumeModel:
    """The model of one volume without its type."""
    return _volume_model(backend, volume, None)


def snapshot_model(
    tx: Transaction, backend: VolumeBackend, snapshot: VolumeSnapshot, *, volume: Volume | None = None
) -> SnapshotModel:
    """The model of a snapshot with the volume it is of, `volume` for who has read it already.

    Raises NotFound when that is gone.
    """
    return snapshot_model_of(backend, read_snapshot(tx, snapshot, volume))


def snapshot_model_of(backend: VolumeBackend, found: TypedSnapshot) -> SnapshotModel:
    """The model of a snapshot with the volume it is of, for which nothing has to be read any more."""
    return _snapshot_model(backend, found.snapshot, model_of(backend, found.of), _type_model(found.type))


def _snapshot_model(
    backend: VolumeBackend, snapshot: VolumeSnapshot, parent: VolumeModel, volume_type: VolumeTypeModel | None
) -> SnapshotModel:
    return SnapshotModel(
        id=snapshot.id,
        name=backend.conf.snapshot_name_template % snapshot.id,
        volume_id=snapshot.volume_id,
        volume_size=snapshot.volume_size_gib,
        status=snapshot.status.value,
        project_id=snapshot.project_id,
        user_id=snapshot.user_id,
        volume=parent,
        display_name=snapshot.name,
        display_description=snapshot.description,
        progress=snapshot.progress,
        metadata=dict(snapshot.metadata),
        volume_type_id=snapshot.volume_type_id,
        volume_type=volume_type,
        provider_location=snapshot.provider_location,
        provider_id=snapshot.provider_id,
        provider_auth=snapshot.provider_auth,
        group_snapshot_id=snapshot.group_snapshot_id,
        encryption_key_id=snapshot.encryption_key_id,
        use_quota=snapshot.uses_quota,
        created_at=snapshot.created_at,
        updated_at=snapshot.updated_at,
    )


def type_model(tx: Transaction, type_id: str | None) -> VolumeTypeModel | None:
    """The model of a type with its QoS specs and encryption; None when there is none of that id."""
    return _type_model(Types(tx).of(type_id))


def _type_model(whole: WholeVolumeType | None) -> VolumeTypeModel | None:
    if whole is None:
        return None
    found, encryption, qos = whole.own, whole.encryption, whole.qos_specs
    return VolumeTypeModel(
        id=found.id,
        name=found.name,
        description=found.description,
        is_public=found.is_public,
        extra_specs=dict(found.extra_specs),
        qos_specs=None if qos is None else QosSpecsModel(qos.id, qos.name, qos.consumer.value, dict(qos.specs)),
        encryption=None
        if encryption is None
        else EncryptionModel(
            provider=encryption.provider,
            cipher=encryption.cipher,
            key_size=encryption.key_size_bits,
            control_location=encryption.control_location.value,
            encryption_id=encryption.encryption_id,
        ),
    )


def attachment_model(attachment: Attachment) -> AttachmentModel:
    """The model of one attachment."""
    return AttachmentModel(
        id=attachment.id,
        volume_id=attachment.volume_id,
        attach_status=attachment.status.value,
        attach_mode=attachment.mode.value,
        instance_uuid=attachment.instance_uuid,
        attached_host=attachment.attached_host,
        mountpoint=attachment.mountpoint,
        attach_time=attachment.attach_time,
        detach_time=attachment.detach_time,
        connector=dict(attachment.connector or {}),
        connection_info=dict(attachment.connection_info or {}),
    )


def _volume_model(backend: VolumeBackend, volume: Volume, volume_type: VolumeTypeModel | None) -> VolumeModel:
    name_id = volume.name_id or volume.id
    return VolumeModel(
        id=volume.id,
        name=backend.conf.volume_name_template % name_id,
        name_id=name_id,
        size=volume.size_gib,
        status=volume.status.value,
        host=volume.host or "",
        project_id=volume.project_id,
        user_id=volume.user_id,
        display_name=volume.name,
        display_description=volume.description,
        attach_status=volume.attach_status.value,
        previous_status=None if volume.previous_status is None else volume.previous_status.value,
        migration_status=None if volume.migration_status is None else volume.migration_status.value,
        availability_zone=volume.availability_zone,
        volume_type_id=volume.volume_type_id,
        volume_type=volume_type,
        metadata=dict(volume.metadata),
        admin_metadata=dict(volume.admin_metadata),
        glance_metadata=dict(volume.image_metadata),
        volume_attachment=tuple(attachment_model(attachment) for attachment in volume.attachments),
        provider_location=volume.provider_location,
        provider_id=volume.provider_id,
        provider_auth=volume.provider_auth,
        provider_geometry=volume.provider_geometry,
        snapshot_id=volume.snapshot_id,
        source_volid=volume.source_volid,
        group_id=volume.group_id,
        encryption_key_id=volume.encryption_key_id,
        bootable=volume.is_bootable,
        multiattach=volume.is_multiattach,
        shared_targets=volume.shared_targets,
        use_quota=volume.uses_quota,
        replication_status=None if volume.replication_status is None else volume.replication_status.value,
        replication_extended_status=volume.replication_extended_status,
        replication_driver_data=volume.replication_driver_data,
        created_at=volume.created_at,
        updated_at=volume.updated_at,
        launched_at=volume.launched_at,
    )

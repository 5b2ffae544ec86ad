"""What volume drivers are handed: frozen values with the published field names, read as attributes or as a mapping.

The names are those third-party drivers know (``volume['name']``, ``snapshot.volume_size``). The manager makes them from
rows. Nothing a driver does to its copy reaches the database: it answers with a model update, a mapping of field names.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Self

from penstock.domain.record import Record

TEMPORARY = "temporary"
"""Key of `VolumeModel.admin_metadata` that marks a volume made for the time of one operation."""


class Updatable(Record):
    """A record that can be seen as it will be once a driver's model update is stored."""

    __slots__ = ()

    def updated(self, updates: Mapping[str, Any] | None) -> Self:
        """A copy with the fields that `updates` names; names that are no field of it are for the database alone."""
        known = {name: value for name, value in (updates or {}).items() if name in self.__dataclass_fields__}  # type: ignore[attr-defined]
        return dataclasses.replace(self, **known)  # type: ignore[type-var]

    def says(self, updates: Mapping[str, Any]) -> bool:
        """Is all that `updates` names so already? False when they name what is no field of it."""
        return all(getattr(self, name, _NO_FIELD) == value for name, value in updates.items())


_NO_FIELD = object()


@dataclass(frozen=True, slots=True)
class QosSpecsModel(Record):
    """A set of quality of service specs. `consumer` is ``front-end``, ``back-end`` or ``both``."""

    id: str
    name: str
    consumer: str = "back-end"
    specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EncryptionModel(Record):
    """How volumes of a type are encrypted. `control_location` is ``front-end`` or ``back-end``; `key_size` in bits."""

    provider: str
    cipher: str | None = None
    key_size: int | None = None
    control_location: str = "front-end"
    encryption_id: str | None = None


@dataclass(frozen=True, slots=True)
class VolumeTypeModel(Record):
    """A volume type with everything that hangs on it."""

    id: str
    name: str
    description: str | None = None
    is_public: bool = True
    extra_specs: dict[str, str] = field(default_factory=dict)
    qos_specs: QosSpecsModel | None = None
    encryption: EncryptionModel | None = None

    @property
    def qos_specs_id(self) -> str | None:
        """The id of the specs, as older drivers ask for it."""
        return None if self.qos_specs is None else self.qos_specs.id


@dataclass(frozen=True, slots=True)
class AttachmentModel(Record):
    """One attachment of a volume, to an instance or to a host (`attached_host`)."""

    id: str
    volume_id: str
    attach_status: str = "reserved"
    attach_mode: str = "rw"
    instance_uuid: str | None = None
    attached_host: str | None = None
    mountpoint: str | None = None
    attach_time: datetime | None = None
    detach_time: datetime | None = None
    connector: dict[str, Any] = field(default_factory=dict)
    connection_info: dict[str, Any] = field(default_factory=dict, repr=False)  # it may hold a CHAP password


@dataclass(frozen=True, slots=True)
class VolumeModel(Updatable):
    """A volume. `size` is in GiB, `host` is ``host@backend#pool``.

    `name` is the backend name, made by volume_name_template from `name_id`; that is the volume's id until a migration
    leaves the data under the name of the volume it was copied to.
    """

    id: str
    name: str
    name_id: str
    size: int
    status: str
    host: str
    project_id: str
    user_id: str
    display_name: str | None = None
    display_description: str | None = None
    attach_status: str = "detached"
    previous_status: str | None = None
    migration_status: str | None = None
    availability_zone: str | None = None
    cluster_name: str | None = None
    volume_type_id: str | None = None
    volume_type: VolumeTypeModel | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    admin_metadata: dict[str, str] = field(default_factory=dict)
    glance_metadata: dict[str, str] = field(default_factory=dict)
    volume_attachment: tuple[AttachmentModel, ...] = ()
    provider_location: str | None = None
    provider_id: str | None = None
    provider_auth: str | None = field(default=None, repr=False)  # "CHAP user password"
    provider_geometry: str | None = None
    snapshot_id: str | None = None
    source_volid: str | None = None
    group_id: str | None = None
    consistencygroup_id: str | None = None
    encryption_key_id: str | None = None
    bootable: bool = False
    multiattach: bool = False
    shared_targets: bool = False
    use_quota: bool = True
    replication_status: str | None = None
    replication_extended_status: str | None = None
    replication_driver_data: str | None = None
    driver_data: str | None = None
    service_uuid: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    launched_at: datetime | None = None

    @property
    def _name_id(self) -> str | None:
        """`name_id` where it is not the id, as older drivers ask for it."""
        return None if self.name_id == self.id else self.name_id

    @property
    def volume_metadata(self) -> list[dict[str, str]]:
        """`metadata` as the rows older drivers expect."""
        return [{"key": key, "value": value} for key, value in self.metadata.items()]

    @property
    def is_encrypted(self) -> bool:
        """Is what is on the volume encrypted by whoever attaches it?"""
        return bool(self.encryption_key_id)


@dataclass(frozen=True, slots=True)
class SnapshotModel(Updatable):
    """A snapshot with the volume it was taken of. `volume_size` is in GiB, as the volume was then."""

    id: str
    name: str
    volume_id: str
    volume_size: int
    status: str
    project_id: str
    user_id: str
    volume: VolumeModel
    display_name: str | None = None
    display_description: str | None = None
    progress: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    volume_type_id: str | None = None
    volume_type: VolumeTypeModel | None = None
    provider_location: str | None = None
    provider_id: str | None = None
    provider_auth: str | None = field(default=None, repr=False)
    group_snapshot_id: str | None = None
    cgsnapshot_id: str | None = None
    encryption_key_id: str | None = None
    use_quota: bool = True
    created_at: datetime | None = None
    updated_at: datetime | None = None

    @property
    def volume_name(self) -> str:
        """The backend name of the volume it was taken of."""
        return self.volume.name

    @property
    def host(self) -> str:
        """Where it lies: where its volume is."""
        return self.volume.host

    @property
    def size(self) -> int:
        """`volume_size`, as older drivers ask for it."""
        return self.volume_size


@dataclass(frozen=True, slots=True)
class GroupTypeModel(Record):
    """A group type with its specs."""

    id: str
    name: str
    description: str | None = None
    is_public: bool = True
    group_specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class GroupModel(Updatable):
    """A group of volumes on one backend."""

    id: str
    name: str | None
    status: str
    host: str
    project_id: str
    user_id: str
    group_type_id: str | None = None
    group_type: GroupTypeModel | None = None
    volume_type_ids: tuple[str, ...] = ()
    description: str | None = None
    availability_zone: str | None = None
    cluster_name: str | None = None
    group_snapshot_id: str | None = None
    source_group_id: str | None = None
    replication_status: str | None = None
    created_at: datetime | None = None

    @property
    def is_replicated(self) -> bool:
        """Does the group's type ask for replication of the whole group?"""
        specs = self.group_type.group_specs if self.group_type else {}
        wanted = "<is> True"
        return wanted in (specs.get("group_replication_enabled"), specs.get("consistent_group_replication_enabled"))


@dataclass(frozen=True, slots=True)
class GroupSnapshotModel(Updatable):
    """A snapshot of all volumes of a group."""

    id: str
    name: str | None
    status: str
    group_id: str
    project_id: str
    user_id: str
    group: GroupModel | None = None
    group_type_id: str | None = None
    description: str | None = None
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class BackupModel(Updatable):
    """A backup. `size` is in GiB; `snapshot_id` names the snapshot it is of, when it is not of the volume itself."""

    id: str
    volume_id: str
    status: str
    size: int
    project_id: str
    user_id: str
    display_name: str | None = None
    snapshot_id: str | None = None
    parent_id: str | None = None
    container: str | None = None
    service: str | None = None
    service_metadata: str | None = None
    object_count: int = 0
    temp_volume_id: str | None = None
    temp_snapshot_id: str | None = None
    encryption_key_id: str | None = None
    host: str | None = None
    created_at: datetime | None = None

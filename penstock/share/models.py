"""What drivers are handed: frozen values with the published field names, read as attributes or as a mapping.

The names are those third-party drivers know (`share['share_proto']`, `snapshot['share_instance_id']`). The manager
makes them from the domain's values. Nothing a driver does to its copy reaches the database: it answers with updates.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from penstock.domain.record import Record


@dataclass(frozen=True, slots=True)
class ExportLocationModel(Record):
    """An export location as stored."""

    path: str
    is_admin_only: bool = False
    preferred: bool = False
    metadata: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ShareModel(Record):
    """A share instance with its share's data.

    `id` is the instance's; `size` is in GiB; `host` is ``host@backend#pool``.
    """

    id: str
    share_id: str
    name: str
    display_name: str | None
    size: int
    share_proto: str
    project_id: str
    user_id: str
    host: str
    status: str
    share_type_id: str | None
    extra_specs: dict[str, str] = field(default_factory=dict)
    metadata: dict[str, str] = field(default_factory=dict)
    snapshot_id: str | None = None
    is_public: bool = False
    snapshot_support: bool = True
    create_share_from_snapshot_support: bool = True
    revert_to_snapshot_support: bool = False
    mount_snapshot_support: bool = False
    replication_type: str | None = None
    replica_state: str | None = None
    epoch: int = 1  # the reign this replica has seen; when it is to be promoted: the number kept for its own reign
    access_rules_status: str = "active"
    availability_zone: str | None = None
    share_network_id: str | None = None
    share_server_id: str | None = None
    share_group_id: str | None = None
    mount_point_name: str | None = None
    provider_location: str | None = None
    progress: str | None = None
    created_at: datetime | None = None
    updated_at: datetime | None = None
    export_locations: tuple[ExportLocationModel, ...] = ()
    share_type_name: str | None = None
    is_only_begun: bool = False  # made elsewhere since: what is deleted is no more than stands in a new share's place

    @property
    def export_location(self) -> str | None:
        """The path of the first export location, as older drivers ask for it."""
        return self.export_locations[0].path if self.export_locations else None


@dataclass(frozen=True, slots=True)
class SnapshotModel(Record):
    """A snapshot instance with its snapshot's data. `share` is the instance it was taken of; sizes are in GiB."""

    id: str
    snapshot_id: str
    share_id: str
    share_instance_id: str
    name: str
    share_name: str
    display_name: str | None
    status: str
    progress: str
    size: int
    share_size: int
    share_proto: str
    project_id: str
    user_id: str
    provider_location: str | None
    share: ShareModel
    metadata: dict[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AccessModel(Record):
    """One access rule as it concerns one instance."""

    id: str
    access_id: str
    share_id: str
    share_instance_id: str
    access_type: str
    access_to: str
    access_level: str
    access_key: str | None
    state: str
    metadata: dict[str, str] = field(default_factory=dict)

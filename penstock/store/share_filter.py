"""What a list of shares is narrowed to and sorted by, as conditions over the rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Select, exists, or_

from penstock.store.lists import like
from penstock.store.schema import export_locations, share_instances, share_metadata, share_type_extra_specs, shares

SORTABLE = {
    "id": shares.c.id,
    "name": shares.c.display_name,
    "display_name": shares.c.display_name,
    "status": share_instances.c.status,
    "size": shares.c.size_gib,
    "host": share_instances.c.host,
    "share_proto": shares.c.share_proto,
    "availability_zone": share_instances.c.availability_zone,
    "availability_zone_id": share_instances.c.availability_zone,
    "user_id": shares.c.user_id,
    "project_id": shares.c.project_id,
    "created_at": shares.c.created_at,
    "updated_at": shares.c.updated_at,
    "display_description": shares.c.display_description,
    "share_type_id": shares.c.share_type_id,
    "share_type": shares.c.share_type_id,
    "share_network_id": share_instances.c.share_network_id,
    "share_network": share_instances.c.share_network_id,
    "snapshot_id": shares.c.snapshot_id,
    "snapshot": shares.c.snapshot_id,
}


@dataclass(frozen=True, slots=True)
class ShareFilter:
    """What a list of shares is narrowed to; None means no matter. `*_like` are substrings."""

    project_id: str | None = None
    or_public: bool = False  # with project_id: also public shares of others
    is_public: bool | None = None
    is_soft_deleted: bool | None = None
    ids: Sequence[str] | None = None
    name: str | None = None
    name_like: str | None = None
    description: str | None = None
    description_like: str | None = None
    status: str | None = None
    host: str | None = None
    user_id: str | None = None
    protocol: str | None = None
    share_type_id: str | None = None
    snapshot_id: str | None = None
    share_network_id: str | None = None
    share_server_id: str | None = None
    share_group_id: str | None = None
    availability_zone: str | None = None
    mount_point_name: str | None = None
    export_location_id: str | None = None
    export_location_path: str | None = None
    metadata: Mapping[str, str] = field(default_factory=dict)
    extra_specs: Mapping[str, str] = field(default_factory=dict)


def narrow(query: Select[Any], wanted: ShareFilter) -> Select[Any]:
    """`query` over shares and their instances, with the conditions of `wanted`."""
    for where in _conditions(wanted):
        query = query.where(where)
    return query


def _conditions(wanted: ShareFilter) -> list[Any]:
    equal = {
        shares.c.is_public: wanted.is_public,
        shares.c.is_soft_deleted: wanted.is_soft_deleted,
        shares.c.display_name: wanted.name,
        shares.c.display_description: wanted.description,
        shares.c.user_id: wanted.user_id,
        shares.c.share_proto: wanted.protocol,
        shares.c.share_type_id: wanted.share_type_id,
        shares.c.snapshot_id: wanted.snapshot_id,
        shares.c.share_group_id: wanted.share_group_id,
        shares.c.mount_point_name: wanted.mount_point_name,
        share_instances.c.status: wanted.status,
        share_instances.c.host: wanted.host,
        share_instances.c.share_network_id: wanted.share_network_id,
        share_instances.c.share_server_id: wanted.share_server_id,
        share_instances.c.availability_zone: wanted.availability_zone,
    }
    found = [column == value for column, value in equal.items() if value is not None]
    if wanted.project_id is not None:
        mine = shares.c.project_id == wanted.project_id
        found.append(or_(mine, shares.c.is_public.is_(True)) if wanted.or_public else mine)
    if wanted.ids is not None:
        found.append(shares.c.id.in_(list(wanted.ids)))
    if wanted.name_like is not None:
        found.append(like(shares.c.display_name, wanted.name_like))
    if wanted.description_like is not None:
        found.append(like(shares.c.display_description, wanted.description_like))
    return found + _related(wanted)


def _related(wanted: ShareFilter) -> list[Any]:
    found: list[Any] = []
    location = export_locations.c.share_instance_id == shares.c.instance_id
    if wanted.export_location_id is not None:
        found.append(exists().where(location, export_locations.c.id == wanted.export_location_id))
    if wanted.export_location_path is not None:
        found.append(exists().where(location, export_locations.c.path == wanted.export_location_path))
    for key, value in wanted.metadata.items():
        mine = share_metadata.c.share_id == shares.c.id
        found.append(exists().where(mine, share_metadata.c.key == key, share_metadata.c.value == value))
    for key, value in wanted.extra_specs.items():
        specs = share_type_extra_specs.c
        found.append(
            exists().where(specs.share_type_id == shares.c.share_type_id, specs.key == key, specs.value == value)
        )
    return found

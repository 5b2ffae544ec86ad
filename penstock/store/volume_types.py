"""Rows of volume types: extra specs, the projects they are open to, encryption, and projects' default types."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, insert, or_, select, update

from penstock.domain.volume_types import ControlLocation, TypeEncryption, VolumeType
from penstock.ids import QosSpecsId, VolumeTypeId
from penstock.store.schema import (
    default_volume_types,
    volume_type_encryptions,
    volume_type_extra_specs,
    volume_type_projects,
    volume_types,
    volumes,
)

_ALL = select(volume_types).order_by(volume_types.c.created_at, volume_types.c.id)
_BY_ID = _ALL.where(volume_types.c.id == bindparam("id"))
_BY_NAME = _ALL.where(volume_types.c.name == bindparam("name"))
_SPECS = select(volume_type_extra_specs).where(
    volume_type_extra_specs.c.volume_type_id.in_(bindparam("ids", expanding=True))
)
_NAMES = select(volume_types.c.id, volume_types.c.name)
_IS_OPEN = select(volume_type_projects.c.project_id).where(
    volume_type_projects.c.volume_type_id == bindparam("id"),
    volume_type_projects.c.project_id == bindparam("project_id"),
)
_ENCRYPTION = select(volume_type_encryptions).where(volume_type_encryptions.c.volume_type_id == bindparam("id"))
_DEFAULT = select(default_volume_types.c.volume_type_id).where(
    default_volume_types.c.project_id == bindparam("project_id")
)


def insert_type(tx: Connection, made: VolumeType) -> None:
    """Store a new type with its extra specs."""
    tx.execute(
        insert(volume_types).values(
            id=made.id,
            name=made.name,
            description=made.description,
            is_public=made.is_public,
            qos_specs_id=made.qos_specs_id,
            created_at=made.created_at,
            updated_at=made.updated_at,
        )
    )
    set_extra_specs(tx, made.id, made.extra_specs)


def get(tx: Connection, type_id: str) -> VolumeType | None:
    """The type by id, or None."""
    found = _types(tx, _BY_ID, {"id": type_id})
    return found[0] if found else None


def get_by_name(tx: Connection, name: str) -> VolumeType | None:
    """The type by name, or None."""
    found = _types(tx, _BY_NAME, {"name": name})
    return found[0] if found else None


def list_types(
    tx: Connection, *, project_id: str | None = None, is_public: bool | None = None, qos_specs_id: str | None = None
) -> list[VolumeType]:
    """Types, oldest first; with `project_id` those open to that project, with `is_public` only (non-)public ones,
    with `qos_specs_id` those associated with these QoS specs."""
    query = _ALL
    if is_public is not None:
        query = query.where(volume_types.c.is_public.is_(is_public))
    if project_id is not None:
        grants = volume_type_projects.c
        granted = exists().where(grants.volume_type_id == volume_types.c.id, grants.project_id == project_id)
        query = query.where(or_(volume_types.c.is_public.is_(True), granted))
    if qos_specs_id is not None:
        query = query.where(volume_types.c.qos_specs_id == qos_specs_id)
    return _types(tx, query)


def names(tx: Connection) -> dict[str, str]:
    """The name of every type, by id."""
    return {row.id: row.name for row in tx.execute(_NAMES)}


def is_open_to(tx: Connection, type_id: str, project_id: str) -> bool:
    """Has the project been given this private type?"""
    return tx.execute(_IS_OPEN, {"id": type_id, "project_id": project_id}).first() is not None


def in_use(tx: Connection, type_id: str) -> bool:
    """Do volumes have this type?"""
    return bool(tx.execute(select(exists().where(volumes.c.volume_type_id == type_id))).scalar())


def update_type(tx: Connection, type_id: str, *, now: datetime, **values: Any) -> None:
    """Change ``name``, ``description``, ``is_public`` or ``qos_specs_id``."""
    tx.execute(update(volume_types).where(volume_types.c.id == type_id).values(updated_at=now, **values))


def delete_type(tx: Connection, type_id: str) -> None:
    """Forget the type with all that belongs to it."""
    tx.execute(delete(volume_types).where(volume_types.c.id == type_id))


def set_extra_specs(tx: Connection, type_id: str, items: Mapping[str, str]) -> None:
    """Set these extra specs, keep the others."""
    table = volume_type_extra_specs
    tx.execute(delete(table).where(table.c.volume_type_id == type_id, table.c.key.in_(list(items))))
    if items:
        tx.execute(insert(table), [{"volume_type_id": type_id, "key": k, "value": v} for k, v in items.items()])


def delete_extra_spec(tx: Connection, type_id: str, key: str) -> bool:
    """Remove one extra spec; False when it was not there."""
    table = volume_type_extra_specs
    return tx.execute(delete(table).where(table.c.volume_type_id == type_id, table.c.key == key)).rowcount > 0


def projects_of(tx: Connection, type_id: str) -> list[str]:
    """The projects a non-public type is open to."""
    table = volume_type_projects
    query = select(table.c.project_id).where(table.c.volume_type_id == type_id).order_by(table.c.project_id)
    return list(tx.execute(query).scalars())


def add_project(tx: Connection, type_id: str, project_id: str) -> None:
    """Open the type to a project. The caller has checked that it is not open yet."""
    tx.execute(insert(volume_type_projects).values(volume_type_id=type_id, project_id=project_id))


def remove_project(tx: Connection, type_id: str, project_id: str) -> bool:
    """Close the type to a project; False when it was not open."""
    table = volume_type_projects
    gone = delete(table).where(table.c.volume_type_id == type_id, table.c.project_id == project_id)
    return tx.execute(gone).rowcount > 0


def encryption_of(tx: Connection, type_id: str) -> TypeEncryption | None:
    """How volumes of the type are encrypted, or None."""
    row = tx.execute(_ENCRYPTION, {"id": type_id}).first()
    return None if row is None else _encryption(row)


def insert_encryption(tx: Connection, made: TypeEncryption) -> None:
    """Store how volumes of a type are encrypted. The caller has checked that there is nothing yet."""
    tx.execute(insert(volume_type_encryptions).values(**_encryption_row(made)))


def update_encryption(tx: Connection, changed: TypeEncryption) -> None:
    """Store all of it anew."""
    table = volume_type_encryptions
    mine = table.c.volume_type_id == changed.volume_type_id
    tx.execute(update(table).where(mine).values(**_encryption_row(changed)))


def delete_encryption(tx: Connection, type_id: str) -> None:
    """Volumes of the type are not encrypted any more."""
    tx.execute(delete(volume_type_encryptions).where(volume_type_encryptions.c.volume_type_id == type_id))


def default_of(tx: Connection, project_id: str) -> str | None:
    """The id of the type the project has by default, or None where it has the configured one."""
    found: str | None = tx.execute(_DEFAULT, {"project_id": project_id}).scalar()
    return found


def list_defaults(tx: Connection) -> list[tuple[str, str]]:
    """Project and type id of every default that is set, by project."""
    table = default_volume_types
    query = select(table.c.project_id, table.c.volume_type_id).order_by(table.c.project_id)
    return [(row.project_id, row.volume_type_id) for row in tx.execute(query)]


def is_default(tx: Connection, type_id: str) -> bool:
    """Is it some project's default?"""
    return bool(tx.execute(select(exists().where(default_volume_types.c.volume_type_id == type_id))).scalar())


def set_default(tx: Connection, project_id: str, type_id: str, *, now: datetime) -> None:
    """The type is the project's default from now on."""
    table = default_volume_types
    values = {"volume_type_id": type_id, "updated_at": now}
    if tx.execute(update(table).where(table.c.project_id == project_id).values(**values)).rowcount == 0:
        tx.execute(insert(table).values(project_id=project_id, created_at=now, volume_type_id=type_id))


def unset_default(tx: Connection, project_id: str) -> bool:
    """The project has the configured default again; False when it had no other."""
    table = default_volume_types
    return tx.execute(delete(table).where(table.c.project_id == project_id)).rowcount > 0


def _types(tx: Connection, query: Any, of: Mapping[str, str] | None = None) -> list[VolumeType]:
    rows = tx.execute(query, of).all()
    specs: dict[str, dict[str, str]] = {}
    for row in tx.execute(_SPECS, {"ids": [row.id for row in rows]}):
        specs.setdefault(row.volume_type_id, {})[row.key] = row.value
    return [
        VolumeType(
            id=VolumeTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            qos_specs_id=None if row.qos_specs_id is None else QosSpecsId(row.qos_specs_id),
            created_at=row.created_at,
            updated_at=row.updated_at,
            extra_specs=specs.get(row.id, {}),
        )
        for row in rows
    ]


def _encryption(row: Row[Any]) -> TypeEncryption:
    return TypeEncryption(
        volume_type_id=VolumeTypeId(row.volume_type_id),
        encryption_id=row.encryption_id,
        provider=row.provider,
        control_location=ControlLocation(row.control_location),
        cipher=row.cipher,
        key_size_bits=row.key_size,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _encryption_row(made: TypeEncryption) -> dict[str, Any]:
    return {
        "volume_type_id": made.volume_type_id,
        "encryption_id": made.encryption_id,
        "provider": made.provider,
        "control_location": made.control_location,
        "cipher": made.cipher,
        "key_size": made.key_size_bits,
        "created_at": made.created_at,
        "updated_at": made.updated_at,
    }

"""Rows of volume types: extra specs, the projects they are open to, encryption, and projects' default types."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Row, bindparam, delete, exists, insert, select, update

from penstock.domain.volume_types import ControlLocation, TypeEncryption, VolumeType
from penstock.ids import QosSpecsId, VolumeTypeId
from penstock.store.json_pairs import parse_pairs
from penstock.store.schema import (
    default_volume_types,
    volume_type_encryptions,
    volume_type_extra_specs,
    volume_type_projects,
    volume_types,
    volumes,
)
from penstock.store.transaction import Transaction
from penstock.store.type_rows import TypeRows


def _read(_tx: Transaction, rows: Sequence[Row[Any]]) -> list[VolumeType]:
    return [
        VolumeType(
            id=VolumeTypeId(row.id),
            name=row.name,
            description=row.description,
            is_public=row.is_public,
            qos_specs_id=None if row.qos_specs_id is None else QosSpecsId(row.qos_specs_id),
            created_at=row.created_at,
            updated_at=row.updated_at,
            extra_specs=parse_pairs(row.specs),
        )
        for row in rows
    ]


ROWS = TypeRows(volume_types, volume_type_extra_specs, volume_type_projects, "volume_type_id", _read)
get = ROWS.get
get_by_name = ROWS.get_by_name
list_types = ROWS.list_types
names = ROWS.names
update_type = ROWS.update
delete_type = ROWS.delete
set_extra_specs = ROWS.set_specs
delete_extra_spec = ROWS.delete_spec

_ENCRYPTION = select(volume_type_encryptions).where(volume_type_encryptions.c.volume_type_id == bindparam("id"))
_LABELS = {column.name: f"encryption_{column.name}" for column in volume_type_encryptions.c}
_WITH_ENCRYPTION = ROWS.by_id.outerjoin(volume_type_encryptions).add_columns(
    *(volume_type_encryptions.c[name].label(label) for name, label in _LABELS.items())
)
_DEFAULT = select(default_volume_types.c.volume_type_id).where(
    default_volume_types.c.project_id == bindparam("project_id")
)


def insert_type(tx: Transaction, made: VolumeType) -> None:
    """Store a new type with its extra specs."""
    ROWS.insert(tx, made, made.extra_specs)


def with_qos_specs(tx: Transaction, qos_specs_id: str) -> list[VolumeType]:
    """Types associated with these QoS specs, oldest first."""
    return ROWS.found(tx, ROWS.all.where(volume_types.c.qos_specs_id == qos_specs_id))


def in_use(tx: Transaction, type_id: str) -> bool:
    """Do volumes have this type?"""
    return bool(tx.execute(select(exists().where(volumes.c.volume_type_id == type_id))).scalar())


def encryption_of(tx: Transaction, type_id: str) -> TypeEncryption | None:
    """How volumes of the type are encrypted, or None."""
    row = tx.execute(_ENCRYPTION, {"id": type_id}).first()
    return None if row is None else _encryption(row)


def with_encryption(tx: Transaction, type_id: str) -> tuple[VolumeType, TypeEncryption | None] | None:
    """The type, and how its volumes are encrypted, by one look; None when there is no such type."""
    rows = tx.execute(_WITH_ENCRYPTION, {"id": type_id}).all()
    if not rows:
        return None
    (volume_type,) = _read(tx, rows)
    encryption = SimpleNamespace(**{name: getattr(rows[0], label) for name, label in _LABELS.items()})
    return volume_type, None if encryption.encryption_id is None else _encryption(encryption)


def insert_encryption(tx: Transaction, made: TypeEncryption) -> None:
    """Store how volumes of a type are encrypted. The caller has checked that there is nothing yet."""
    tx.execute(insert(volume_type_encryptions).values(**_encryption_row(made)))


def update_encryption(tx: Transaction, changed: TypeEncryption) -> None:
    """Store all of it anew."""
    table = volume_type_encryptions
    mine = table.c.volume_type_id == changed.volume_type_id
    tx.execute(update(table).where(mine).values(**_encryption_row(changed)))


def delete_encryption(tx: Transaction, type_id: str) -> None:
    """Volumes of the type are not encrypted any more."""
    tx.execute(delete(volume_type_encryptions).where(volume_type_encryptions.c.volume_type_id == type_id))


def default_of(tx: Transaction, project_id: str) -> str | None:
    """The id of the type the project has by default, or None where it has the configured one."""
    found: str | None = tx.execute(_DEFAULT, {"project_id": project_id}).scalar()
    return found


def list_defaults(tx: Transaction) -> list[tuple[str, str]]:
    """Project and type id of every default that is set, by project."""
    table = default_volume_types
    query = select(table.c.project_id, table.c.volume_type_id).order_by(table.c.project_id)
    return [(row.project_id, row.volume_type_id) for row in tx.execute(query)]


def is_default(tx: Transaction, type_id: str) -> bool:
    """Is it some project's default?"""
    return bool(tx.execute(select(exists().where(default_volume_types.c.volume_type_id == type_id))).scalar())


def set_default(tx: Transaction, project_id: str, type_id: str, *, now: datetime) -> None:
    """The type is the project's default from now on."""
    table = default_volume_types
    values = {"volume_type_id": type_id, "updated_at": now}
    if tx.execute(update(table).where(table.c.project_id == project_id).values(**values)).rowcount == 0:
        tx.execute(insert(table).values(project_id=project_id, created_at=now, volume_type_id=type_id))


def unset_default(tx: Transaction, project_id: str) -> bool:
    """The project has the configured default again; False when it had no other."""
    table = default_volume_types
    return tx.execute(delete(table).where(table.c.project_id == project_id)).rowcount > 0


def _encryption(row: Row[Any] | SimpleNamespace) -> TypeEncryption:
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

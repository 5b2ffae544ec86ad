"""Rows of share instances and their export locations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Integer, Row, bindparam, delete, func, insert, select

from penstock.domain.shares import AccessRulesStatus, ExportLocation, ReplicaState, ShareInstance, ShareStatus
from penstock.ids import ExportLocationId, InstanceId, ShareId, ShareTypeId, new_id
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.schema import export_location_metadata, export_locations, share_instances, shares
from penstock.store.statements import insert_into, update_row
from penstock.store.transaction import Transaction

_NOTES = pairs_of(export_location_metadata, export_location_metadata.c.export_location_id == export_locations.c.id)
_LOCATIONS = (
    select(*export_locations.c, _NOTES.label("metadata"))
    .where(export_locations.c.share_instance_id.in_(bindparam("ids", expanding=True)))
    .order_by(export_locations.c.ordinal)
)
_BY_ID = select(share_instances).where(share_instances.c.id == bindparam("id"))
_OF_SHARE = (
    select(share_instances)
    .where(share_instances.c.share_id == bindparam("share_id"))
    .order_by(share_instances.c.created_at, share_instances.c.id)
)


def get(tx: Transaction, instance_id: InstanceId | str) -> ShareInstance | None:
    """The instance, or None."""
    row = tx.execute(_BY_ID, {"id": instance_id}).first()
    return None if row is None else instance_of(row)


def of_share(tx: Transaction, share_id: ShareId | str) -> list[ShareInstance]:
    """All instances of a share, oldest first."""
    return [instance_of(row) for row in tx.execute(_OF_SHARE, {"share_id": share_id})]


def on_backend(backend: str) -> ColumnElement[bool]:
    """Is the instance on a pool of ``host@backend``? Exactly that one: to SQLite's LIKE ``zfs`` and ``ZFS`` are one."""
    prefix = f"{backend}#"
    return func.substr(share_instances.c.host, 1, len(prefix)) == prefix


IS_ON_BACKEND = func.substr(share_instances.c.host, 1, bindparam("prefix_length", type_=Integer)) == bindparam("prefix")


def prefix_of(backend: str) -> dict[str, Any]:
    """What IS_ON_BACKEND, the same for statements that are built once, is to be given for ``host@backend``."""
    prefix = f"{backend}#"
    return {"prefix": prefix, "prefix_length": len(prefix)}


def of_backend(tx: Transaction, backend: str, *, statuses: Sequence[ShareStatus] | None = None) -> list[ShareInstance]:
    """Instances placed on any pool of ``host@backend``."""
    query = select(share_instances).where(on_backend(backend))
    if statuses is not None:
        query = query.where(share_instances.c.status.in_(list(statuses)))
    return [instance_of(row) for row in tx.execute(query.order_by(share_instances.c.created_at))]


def list_all(
    tx: Transaction,
    *,
    export_location_id: str | None = None,
    export_location_path: str | None = None,
    is_soft_deleted: bool | None = None,
) -> list[ShareInstance]:
    """Every instance (an administrator's list), optionally the one with that export location, or only those whose
    share is (not) soft-deleted."""
    query = select(share_instances).order_by(share_instances.c.created_at.desc(), share_instances.c.id)
    if export_location_id is not None or export_location_path is not None:
        query = query.join(export_locations, export_locations.c.share_instance_id == share_instances.c.id)
    if export_location_id is not None:
        query = query.where(export_locations.c.id == export_location_id)
    if export_location_path is not None:
        query = query.where(export_locations.c.path == export_location_path)
    if is_soft_deleted is not None:
        query = query.join(shares, shares.c.id == share_instances.c.share_id)
        query = query.where(shares.c.is_soft_deleted.is_(is_soft_deleted))
    return [instance_of(row) for row in tx.execute(query)]


def replicas_of_project(tx: Transaction, project_id: str | None) -> list[ShareInstance]:
    """Instances of replicated shares of a project (None: of all), oldest first."""
    query = select(share_instances).where(share_instances.c.replica_state.is_not(None))
    if project_id is not None:
        mine = select(shares.c.id).where(shares.c.project_id == project_id)
        query = query.where(share_instances.c.share_id.in_(mine))
    return [instance_of(row) for row in tx.execute(query.order_by(share_instances.c.created_at, share_instances.c.id))]


def insert_instance(tx: Transaction, instance: ShareInstance) -> None:
    """Store another instance of a share there is."""
    values = {name: getattr(instance, name) for name in ShareInstance.__dataclass_fields__}
    tx.execute(insert_into(share_instances), values)


def update_instance(tx: Transaction, instance_id: InstanceId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the instance row other than its status."""
    if "status" in values:
        raise ValueError("a status is written by store.shares.move")
    row = {"updated_at": now, **values}
    tx.execute(update_row(share_instances, tuple(row)), {**row, "of_id": instance_id})


def export_locations_of(tx: Transaction, instance_id: InstanceId | str) -> list[ExportLocation]:
    """The instance's export locations in the driver's order."""
    return locations_of_instances(tx, [instance_id]).get(str(instance_id), [])


def locations_of_instances(tx: Transaction, instance_ids: Sequence[str]) -> dict[str, list[ExportLocation]]:
    """Export locations of several instances, by instance, in one query."""
    found: dict[str, list[ExportLocation]] = {}
    for row in tx.execute(_LOCATIONS, {"ids": list(instance_ids)}):
        found.setdefault(row.share_instance_id, []).append(
            ExportLocation(
                id=ExportLocationId(row.id),
                path=row.path,
                is_admin_only=row.is_admin_only,
                preferred=row.preferred,
                metadata=parse_pairs(row.metadata),
                share_instance_id=InstanceId(row.share_instance_id),
                created_at=row.created_at,
                updated_at=row.updated_at,
            )
        )
    return found


def put_export_locations(
    tx: Transaction, instance_id: InstanceId | str, wanted: Sequence[Mapping[str, Any]], *, now: datetime
) -> None:
    """Make the stored locations those the driver reported; a path that stays keeps its id and its metadata.

    Each item has ``path`` and may have ``is_admin_only``, ``preferred`` and ``metadata``.
    """
    known = {row.path: row.id for row in tx.execute(_LOCATIONS, {"ids": [instance_id]})}
    gone = [known[path] for path in known.keys() - {item["path"] for item in wanted}]
    if gone:
        tx.execute(delete(export_locations).where(export_locations.c.id.in_(gone)))
    for ordinal, item in enumerate(wanted):
        metadata = dict(item.get("metadata") or {})
        row: dict[str, Any] = {
            "is_admin_only": bool(item.get("is_admin_only", False)),
            "preferred": bool(item.get("preferred", metadata.pop("preferred", False))),
            "ordinal": ordinal,
        }
        location_id = known.get(item["path"])
        if location_id is None:
            location_id = new_id()
            row |= {"id": location_id, "share_instance_id": instance_id, "path": item["path"], "created_at": now}
            tx.execute(insert_into(export_locations), row)
        else:
            tx.execute(update_row(export_locations, tuple(row)), {**row, "of_id": location_id})
        set_location_metadata(tx, location_id, metadata)


def set_location_metadata(
    tx: Transaction, location_id: str, items: Mapping[str, str], *, replace: bool = False
) -> None:
    """Set these metadata keys of an export location; with `replace` the rest goes."""
    if not items and not replace:
        return
    table = export_location_metadata
    mine = table.c.export_location_id == location_id
    tx.execute(delete(table).where(mine if replace else mine & table.c.key.in_(list(items))))
    if items:
        tx.execute(insert(table), [{"export_location_id": location_id, "key": k, "value": v} for k, v in items.items()])


def delete_location_metadata(tx: Transaction, location_id: str, key: str) -> bool:
    """Remove one key; False when it was not there."""
    table = export_location_metadata
    mine = (table.c.export_location_id == location_id) & (table.c.key == key)
    return tx.execute(delete(table).where(mine)).rowcount > 0


def instance_of(row: Row[Any], prefix: str = "") -> ShareInstance:
    """The instance in a row whose instance columns are called `prefix` + name."""
    data = row._mapping  # noqa: SLF001 - the published name of SQLAlchemy's mapping view
    replica_state = data[f"{prefix}replica_state"]
    share_type_id = data[f"{prefix}share_type_id"]
    return ShareInstance(
        id=InstanceId(data[f"{prefix}id"]),
        share_id=ShareId(data[f"{prefix}share_id"]),
        host=data[f"{prefix}host"],
        status=ShareStatus(data[f"{prefix}status"]),
        access_rules_status=AccessRulesStatus(data[f"{prefix}access_rules_status"]),
        replica_state=None if replica_state is None else ReplicaState(replica_state),
        availability_zone=data[f"{prefix}availability_zone"],
        share_network_id=data[f"{prefix}share_network_id"],
        share_server_id=data[f"{prefix}share_server_id"],
        share_type_id=None if share_type_id is None else ShareTypeId(share_type_id),
        cast_rules_to_readonly=data[f"{prefix}cast_rules_to_readonly"],
        progress=data[f"{prefix}progress"],
        provider_location=data[f"{prefix}provider_location"],
        scheduled_at=data[f"{prefix}scheduled_at"],
        launched_at=data[f"{prefix}launched_at"],
        terminated_at=data[f"{prefix}terminated_at"],
        created_at=data[f"{prefix}created_at"],
        updated_at=data[f"{prefix}updated_at"],
        synced_at=data[f"{prefix}synced_at"],
        lag_alarm=data[f"{prefix}lag_alarm"],
        epoch=data[f"{prefix}epoch"],
    )

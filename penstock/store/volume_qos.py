"""Rows of QoS specs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, insert, select, update

from penstock.domain.volume_types import QosConsumer, QosSpecs
from penstock.ids import QosSpecsId
from penstock.store.schema import qos_spec_items, qos_specs, volume_types
from penstock.store.transaction import Transaction

_ALL = select(qos_specs).order_by(qos_specs.c.created_at, qos_specs.c.id)
_BY_ID = _ALL.where(qos_specs.c.id == bindparam("id"))
_ITEMS = select(qos_spec_items).where(qos_spec_items.c.qos_specs_id.in_(bindparam("ids", expanding=True)))


def insert_specs(tx: Transaction, made: QosSpecs) -> None:
    """Store new QoS specs."""
    tx.execute(
        insert(qos_specs).values(
            id=made.id,
            name=made.name,
            consumer=made.consumer,
            created_at=made.created_at,
            updated_at=made.updated_at,
        )
    )
    set_items(tx, made.id, made.specs)


def get(tx: Transaction, specs_id: str) -> QosSpecs | None:
    """The QoS specs by id, or None."""
    found = _specs(tx, _BY_ID, {"id": specs_id})
    return found[0] if found else None


def get_by_name(tx: Transaction, name: str) -> QosSpecs | None:
    """The QoS specs by name, or None."""
    found = _specs(tx, _ALL.where(qos_specs.c.name == name))
    return found[0] if found else None


def list_specs(tx: Transaction) -> list[QosSpecs]:
    """All QoS specs, oldest first."""
    return _specs(tx, _ALL)


def set_consumer(tx: Transaction, specs_id: str, consumer: QosConsumer, *, now: datetime) -> None:
    """Say who enforces them."""
    tx.execute(update(qos_specs).where(qos_specs.c.id == specs_id).values(consumer=consumer, updated_at=now))


def set_items(tx: Transaction, specs_id: str, items: Mapping[str, str]) -> None:
    """Set these keys, keep the others."""
    delete_items(tx, specs_id, list(items))
    if items:
        tx.execute(insert(qos_spec_items), [{"qos_specs_id": specs_id, "key": k, "value": v} for k, v in items.items()])


def delete_items(tx: Transaction, specs_id: str, keys: Collection[str]) -> None:
    """Remove these keys, where they are."""
    table = qos_spec_items
    tx.execute(delete(table).where(table.c.qos_specs_id == specs_id, table.c.key.in_(list(keys))))


def disassociate_all(tx: Transaction, specs_id: str, *, now: datetime) -> None:
    """No volume type has these QoS specs any more."""
    mine = volume_types.c.qos_specs_id == specs_id
    tx.execute(update(volume_types).where(mine).values(qos_specs_id=None, updated_at=now))


def delete_specs(tx: Transaction, specs_id: str) -> None:
    """Forget them. The caller has seen to it that no volume type has them."""
    tx.execute(delete(qos_specs).where(qos_specs.c.id == specs_id))


def _specs(tx: Transaction, query: Any, of: Mapping[str, str] | None = None) -> list[QosSpecs]:
    rows = tx.execute(query, of).all()
    items: dict[str, dict[str, str]] = {}
    for row in tx.execute(_ITEMS, {"ids": [row.id for row in rows]}):
        items.setdefault(row.qos_specs_id, {})[row.key] = row.value
    return [
        QosSpecs(
            id=QosSpecsId(row.id),
            name=row.name,
            consumer=QosConsumer(row.consumer),
            created_at=row.created_at,
            updated_at=row.updated_at,
            specs=items.get(row.id, {}),
        )
        for row in rows
    ]

"""QoS specs, and which volume types have them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

from penstock.domain.volume_types import QosConsumer, QosSpecs, VolumeType
from penstock.errors import Conflict, Invalid, NotFound
from penstock.ids import QosSpecsId, new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types.types import known_type
from penstock.store import volume_qos as rows
from penstock.store import volume_types
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class NewSpecs:
    """What is asked for."""

    name: str
    consumer: QosConsumer = QosConsumer.BACK_END
    specs: Mapping[str, str] = field(default_factory=dict)


def create(plane: ControlPlane, wanted: NewSpecs) -> QosSpecs:
    """New QoS specs. Raises Conflict when the name is taken."""
    made = QosSpecs(
        id=QosSpecsId(new_id()),
        name=wanted.name,
        consumer=wanted.consumer,
        created_at=plane.clock.utc(),
        updated_at=None,
        specs=dict(wanted.specs),
    )
    with plane.database.begin() as tx:
        if rows.get_by_name(tx, wanted.name) is not None:
            raise Conflict(f"There are QoS specs named '{wanted.name}' already.")
        rows.insert_specs(tx, made)
    return made


def get(plane: ControlPlane, specs_id: str) -> QosSpecs:
    """The QoS specs by id. Raises NotFound."""
    with plane.database.read() as tx:
        return _specs(tx, specs_id)


def list_specs(plane: ControlPlane) -> list[QosSpecs]:
    """All of them, oldest first."""
    with plane.database.read() as tx:
        return rows.list_specs(tx)


def update(
    plane: ControlPlane, specs_id: str, items: Mapping[str, str], *, consumer: QosConsumer | None = None
) -> None:
    """Set these keys, keep the others; and say who enforces them. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        found = _specs(tx, specs_id)
        rows.set_items(tx, found.id, items)
        if consumer is not None:
            rows.set_consumer(tx, found.id, consumer, now=plane.clock.utc())


def delete_keys(plane: ControlPlane, specs_id: str, keys: Collection[str]) -> None:
    """Remove these keys. Raises NotFound, also for a key that is not there: then all stay."""
    with plane.database.begin() as tx:
        found = _specs(tx, specs_id)
        for key in keys:
            if key not in found.specs:
                raise NotFound(f"QoS specs {found.id} have no key '{key[:64]}'.")
        rows.delete_items(tx, found.id, keys)


def delete(plane: ControlPlane, specs_id: str, *, force: bool = False) -> None:
    """Forget them; `force` also when volume types have them, which then have none. Raises NotFound, Invalid."""
    with plane.database.begin() as tx:
        found = _specs(tx, specs_id)
        if not force and volume_types.with_qos_specs(tx, found.id):
            raise Invalid(
                f"QoS specs '{found.name}' are associated with volume types; disassociate them, or use force."
            )
        rows.disassociate_all(tx, found.id, now=plane.clock.utc())
        rows.delete_specs(tx, found.id)


def associations(plane: ControlPlane, specs_id: str) -> list[VolumeType]:
    """The volume types that have them. Raises NotFound."""
    with plane.database.read() as tx:
        return volume_types.with_qos_specs(tx, _specs(tx, specs_id).id)


def associate(plane: ControlPlane, specs_id: str, type_id: str) -> None:
    """Give them to a volume type. Safe to repeat. Raises NotFound, Invalid for a type that has others."""
    with plane.database.begin() as tx:
        found, of_type = _specs(tx, specs_id), known_type(tx, type_id)
        if of_type.qos_specs_id not in (None, found.id):
            raise Invalid(f"Volume type '{of_type.name}' has other QoS specs; disassociate those first.")
        volume_types.update_type(tx, of_type.id, now=plane.clock.utc(), qos_specs_id=found.id)


def disassociate(plane: ControlPlane, specs_id: str, type_id: str) -> None:
    """Take them from a volume type. Safe to repeat. Raises NotFound."""
    with plane.database.begin() as tx:
        found, of_type = _specs(tx, specs_id), known_type(tx, type_id)
        if of_type.qos_specs_id == found.id:
            volume_types.update_type(tx, of_type.id, now=plane.clock.utc(), qos_specs_id=None)


def disassociate_all(plane: ControlPlane, specs_id: str) -> None:
    """Take them from every volume type. Safe to repeat. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.disassociate_all(tx, _specs(tx, specs_id).id, now=plane.clock.utc())


def _specs(tx: Transaction, specs_id: str) -> QosSpecs:
    found = rows.get(tx, specs_id)
    if found is None:
        raise NotFound(f"There are no QoS specs {specs_id[:64]}.")
    return found

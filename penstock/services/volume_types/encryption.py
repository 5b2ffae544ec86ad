"""How volumes of a type are encrypted."""

from __future__ import annotations

from dataclasses import dataclass, replace

from penstock.context import RequestContext
from penstock.domain.volume_types import ControlLocation, TypeEncryption
from penstock.errors import Conflict, NotFound
from penstock.ids import new_id
from penstock.services.control_plane import ControlPlane
from penstock.services.volume_types import types
from penstock.store import volume_types as rows
from penstock.store.database import Transaction

ANY = "provider"  # what python-cinderclient says instead of the id: a type has but one encryption


@dataclass(frozen=True, slots=True)
class EncryptionChange:
    """What to set; None leaves it. `clears` names what is taken away: ``cipher``, ``key_size_bits``."""

    provider: str | None = None
    control_location: ControlLocation | None = None
    cipher: str | None = None
    key_size_bits: int | None = None
    clears: frozenset[str] = frozenset()


def get(plane: ControlPlane, context: RequestContext, type_id: str) -> TypeEncryption | None:
    """How volumes of the type are encrypted; None when they are not. Raises NotFound for an unknown type."""
    found = types.get(plane, context, type_id)
    with plane.database.read() as tx:
        return rows.encryption_of(tx, found.id)


def create(plane: ControlPlane, type_id: str, provider: str, wanted: EncryptionChange) -> TypeEncryption:
    """Encrypt the volumes made with this type from now on. Raises NotFound, Conflict when they are already."""
    with plane.database.begin() as tx:
        found = types.known_type(tx, type_id)
        if rows.encryption_of(tx, found.id) is not None:
            raise Conflict(f"Volume type '{found.name}' is encrypted already; change that instead.")
        made = TypeEncryption(
            volume_type_id=found.id,
            encryption_id=new_id(),
            provider=provider,
            control_location=wanted.control_location or ControlLocation.FRONT_END,
            cipher=wanted.cipher,
            key_size_bits=wanted.key_size_bits,
            created_at=plane.clock.utc(),
            updated_at=None,
        )
        rows.insert_encryption(tx, made)
    return made


def update(plane: ControlPlane, type_id: str, encryption_id: str, change: EncryptionChange) -> TypeEncryption:
    """Change how volumes made from now on are encrypted. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        found = _encryption(tx, type_id, encryption_id)
        changed = replace(
            found,
            provider=change.provider or found.provider,
            control_location=change.control_location or found.control_location,
            cipher=None if "cipher" in change.clears else change.cipher or found.cipher,
            key_size_bits=None if "key_size_bits" in change.clears else change.key_size_bits or found.key_size_bits,
            updated_at=plane.clock.utc(),
        )
        rows.update_encryption(tx, changed)
    return changed


def delete(plane: ControlPlane, type_id: str, encryption_id: str) -> None:
    """Do not encrypt volumes of the type any more. Raises NotFound."""
    with plane.database.begin() as tx:
        rows.delete_encryption(tx, _encryption(tx, type_id, encryption_id).volume_type_id)


def _encryption(tx: Transaction, type_id: str, encryption_id: str) -> TypeEncryption:
    found = rows.encryption_of(tx, types.known_type(tx, type_id).id)
    if found is None or encryption_id not in (found.encryption_id, ANY):
        raise NotFound(f"Volume type {type_id[:64]} has no encryption {encryption_id[:64]}.")
    return found

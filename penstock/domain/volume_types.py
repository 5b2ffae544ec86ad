"""Volume types: what an administrator offers under a name, how such volumes are encrypted, and their QoS specs."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum

from penstock.ids import QosSpecsId, VolumeTypeId

MULTIATTACH_SPEC = "multiattach"
ZONES_SPEC = "RESKEY:availability_zones"
REPLICATION_SPEC = "replication_enabled"
# What a project may know of a type: it decides what its volumes can do, not where they go.
VISIBLE_SPECS = frozenset({MULTIATTACH_SPEC, ZONES_SPEC, REPLICATION_SPEC})


class QosConsumer(StrEnum):
    """Who enforces QoS specs: the hypervisor (front-end), the storage (back-end), or both."""

    FRONT_END = "front-end"
    BACK_END = "back-end"
    BOTH = "both"


class ControlLocation(StrEnum):
    """Who encrypts: the hypervisor (front-end) or the storage (back-end)."""

    FRONT_END = "front-end"
    BACK_END = "back-end"


@dataclass(frozen=True, slots=True)
class VolumeType:
    """A volume type with its extra specs. A type that is not public is open to the projects it has been given to."""

    id: VolumeTypeId
    name: str
    description: str | None
    is_public: bool
    qos_specs_id: QosSpecsId | None
    created_at: datetime
    updated_at: datetime | None
    extra_specs: dict[str, str] = field(default_factory=dict)

    def claims(self, spec: str) -> bool:
        """Does the type claim the boolean `spec`, in the published form ``<is> True``?"""
        return self.extra_specs.get(spec, "").strip().lower() == "<is> true"


@dataclass(frozen=True, slots=True)
class TypeEncryption:
    """How volumes of a type are encrypted. `key_size_bits` is None when the provider decides."""

    volume_type_id: VolumeTypeId
    encryption_id: str
    provider: str
    control_location: ControlLocation
    cipher: str | None
    key_size_bits: int | None
    created_at: datetime
    updated_at: datetime | None


@dataclass(frozen=True, slots=True)
class QosSpecs:
    """Limits of speed under a name, which volume types can be associated with."""

    id: QosSpecsId
    name: str
    consumer: QosConsumer
    created_at: datetime
    updated_at: datetime | None
    specs: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class WholeVolumeType:
    """A type with what belongs to it: how its volumes are encrypted, and their QoS specs."""

    own: VolumeType
    encryption: TypeEncryption | None
    qos_specs: QosSpecs | None

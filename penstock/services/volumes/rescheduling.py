"""Another place for a volume that a backend refused to make: see `penstock.services.rescheduling`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.domain.pools import PoolRef
from penstock.domain.volume_types import ZONES_SPEC
from penstock.domain.volumes import Volume
from penstock.scheduler.requirements import Requirements
from penstock.services.control_plane import ControlPlane
from penstock.services.rescheduling import elsewhere
from penstock.services.volumes import placement
from penstock.store import volume_types
from penstock.store.database import Transaction


@dataclass(frozen=True, slots=True)
class Rescheduler:
    """`penstock.volume.manager.backend.Placer`."""

    plane: ControlPlane

    def __call__(
        self, tx: Transaction, volume: Volume, asked: Mapping[str, Any], refused: Mapping[str, str]
    ) -> tuple[PoolRef, str]:
        volume_type = None if volume.volume_type_id is None else volume_types.get(tx, volume.volume_type_id)
        specs = {} if volume_type is None else volume_type.extra_specs
        wanted = Requirements(
            size_gib=volume.size_gib,
            protocol=None,
            extra_specs={key: value for key, value in specs.items() if key != ZONES_SPEC},
            volume={"project_id": volume.project_id, "volume_type_id": volume.volume_type_id},
        )
        return placement.place_in_zone(tx, self.plane, elsewhere(wanted, asked, refused))

"""Another place for what a backend refused to make: as the request asked, without those who refused it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from penstock.domain.pools import PoolRef
from penstock.domain.shares import Share
from penstock.operations.refusals import ASKED
from penstock.scheduler.requirements import Requirements
from penstock.services import placement
from penstock.services.control_plane import ControlPlane
from penstock.store import backends, types
from penstock.store.database import Transaction


def asked(requirements: Requirements) -> dict[str, Any]:
    """What only the request says of a place, as JSON under its name; nothing for what can be on one pool only: that of
    its source, of its group, or the one an administrator named; nor for a share made from a snapshot."""
    is_bound = requirements.only_pool is not None or requirements.hinted_pool is not None
    if is_bound or requirements.source is not None:
        return {}
    found = {
        "availability_zone": requirements.availability_zone,
        "same_hosts": sorted(requirements.same_hosts),
        "different_hosts": sorted(requirements.different_hosts),
    }
    return {ASKED: {name: value for name, value in found.items() if value}}


def elsewhere(wanted: Requirements, asked: Mapping[str, Any], refused: Mapping[str, str]) -> Requirements:
    """The same, with what was `asked` of a place, and not where it was `refused`."""
    return replace(
        wanted,
        availability_zone=asked.get("availability_zone"),
        same_hosts=frozenset(asked.get("same_hosts", ())),
        different_hosts=frozenset(asked.get("different_hosts", ())),
        refused_by=refused,
    )


@dataclass(frozen=True, slots=True)
class Rescheduler:
    """`penstock.share.manager.backend.Placer`."""

    plane: ControlPlane

    def __call__(
        self, tx: Transaction, share: Share, asked: Mapping[str, Any], refused: Mapping[str, str]
    ) -> tuple[PoolRef, str]:
        share_type = None if share.share_type_id is None else types.get(tx, share.share_type_id)
        wanted = Requirements(
            size_gib=share.size_gib,
            protocol=share.protocol,
            extra_specs={} if share_type is None else share_type.extra_specs,
            share={"project_id": share.project_id, "user_id": share.user_id, "share_type_id": share.share_type_id},
        )
        pool = placement.place(tx, self.plane, elsewhere(wanted, asked, refused))
        return pool, backends.list_services(tx, host=pool.service_host)[0].availability_zone

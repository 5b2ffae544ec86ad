"""Quotas of volumes: whether a request fits, and an administrator's changes.

A limit that is not set falls through: project, quota class ``default``, configuration. Limits by type
(``volumes_fast``) hold beside the project's.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from penstock.domain.quotas import UNLIMITED, Usage
from penstock.domain.volume_quotas import (
    PER_ITEM,
    TYPED,
    Counted,
    Limits,
    VolumeResource,
    VolumeUsage,
    check_fits,
    configured,
    named,
)
from penstock.errors import Invalid
from penstock.services.control_plane import ControlPlane
from penstock.store import volume_quotas as rows
from penstock.store import volume_types
from penstock.store.database import Transaction, hold


@dataclass(frozen=True, slots=True)
class VolumeQuotaLine:
    """One resource with its limit and usage."""

    limit: int
    usage: Usage


def check(
    tx: Transaction, plane: ControlPlane, project_id: str, type_id: str | None, more: Mapping[VolumeResource, int]
) -> None:
    """Raise QuotaExceeded unless `more` fits the project's quota, and its quota of that type, in this transaction.

    `more` holds additions; for PER_VOLUME_GIGABYTES the whole size. Holds the project's quota until the transaction
    ends, so that two requests cannot both take what is left.
    """
    rows.check(tx, configured(plane.conf), project_id, type_id, more)


def check_type(
    tx: Transaction, plane: ControlPlane, project_id: str, type_id: str, more: Mapping[VolumeResource, int]
) -> None:
    """Raise QuotaExceeded unless `more`, which the project has already, fits its quota of that type."""
    hold(tx, f"volume quota {project_id}")
    wanted = {Counted(resource, type_id): amount for resource, amount in more.items() if resource in TYPED}

    def type_name() -> str | None:
        return volume_types.names(tx).get(type_id)

    check_fits(_limits(tx, plane, project_id), _usage(tx, plane, project_id), wanted, type_name)


def show(plane: ControlPlane, project_id: str) -> dict[str, VolumeQuotaLine]:
    """Limits and usage by published name, those of every type included."""
    with plane.database.read() as tx:
        return _lines(tx, plane, project_id)


def defaults(plane: ControlPlane) -> dict[str, int]:
    """The limits, by published name, of a project for which nothing is set."""
    return class_limits(plane, rows.DEFAULT_CLASS)


def update(plane: ControlPlane, project_id: str, limits: Mapping[str, int]) -> dict[str, VolumeQuotaLine]:
    """Set limits by published name and return all lines. Safe to repeat.

    Raises Invalid for a name that is not one, or a limit that cannot be. A limit below the usage is taken: nothing more
    can be made then, as published.
    """
    with plane.database.begin() as tx:
        hold(tx, f"volume quota {project_id}")
        rows.set_limits(tx, rows.PROJECT, project_id, _parsed(tx, limits), now=plane.clock.utc())
        return _lines(tx, plane, project_id)


def delete(plane: ControlPlane, project_id: str) -> None:
    """Forget the project's own limits. Safe to repeat."""
    with plane.database.begin() as tx:
        rows.delete_limits(tx, rows.PROJECT, project_id)


def class_limits(plane: ControlPlane, name: str) -> dict[str, int]:
    """The limits of a quota class by published name."""
    with plane.database.read() as tx:
        return _named(tx, _class_limits(tx, plane, name))


def update_class(plane: ControlPlane, name: str, limits: Mapping[str, int]) -> dict[str, int]:
    """Set limits of a quota class; those of ``default`` hold for every project without its own. Safe to repeat.

    Raises Invalid for a name that is not one, or a limit that cannot be.
    """
    with plane.database.begin() as tx:
        rows.set_limits(tx, rows.CLASS, name, _parsed(tx, limits), now=plane.clock.utc())
        return _named(tx, _class_limits(tx, plane, name))


def _lines(tx: Transaction, plane: ControlPlane, project_id: str) -> dict[str, VolumeQuotaLine]:
    names = volume_types.names(tx)
    limits, used = _limits(tx, plane, project_id), _usage(tx, plane, project_id)
    return {
        counted.key(names): VolumeQuotaLine(
            limits.get(counted, UNLIMITED), Usage(0) if counted.resource in PER_ITEM else used.of(counted)
        )
        for counted in _all(names)
    }


def _usage(tx: Transaction, plane: ControlPlane, project_id: str) -> VolumeUsage:
    return rows.usage(tx, project_id, counts_snapshot_gib=not plane.conf.no_snapshot_gb_quota)


def _limits(tx: Transaction, plane: ControlPlane, project_id: str) -> Limits:
    return rows.project_limits(tx, configured(plane.conf), project_id)


def _class_limits(tx: Transaction, plane: ControlPlane, name: str) -> Limits:
    return rows.class_limits(tx, configured(plane.conf), name)


def _all(names: Mapping[str, str]) -> list[Counted]:
    typed = [Counted(resource, type_id) for type_id in names for resource in TYPED]
    return [*(Counted(resource) for resource in VolumeResource), *typed]


def _named(tx: Transaction, limits: Limits) -> dict[str, int]:
    names = volume_types.names(tx)
    return {counted.key(names): limits.get(counted, UNLIMITED) for counted in _all(names)}


def _parsed(tx: Transaction, limits: Mapping[str, int]) -> Limits:
    type_ids = {name: type_id for type_id, name in volume_types.names(tx).items()}
    found: Limits = {}
    for text, limit in limits.items():
        counted = named(text, type_ids)
        if counted is None:
            raise Invalid(f"'{text[:64]}' is nothing that volumes have a quota of.")
        if limit < UNLIMITED:
            raise Invalid(f"The limit of '{text}' must be at least -1, which is no limit, not {limit}.")
        found[counted] = limit
    return found

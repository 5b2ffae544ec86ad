"""Quotas of volumes: what is counted, also by type, and under which names."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from penstock.domain.quotas import UNLIMITED, Usage
from penstock.errors import QuotaExceeded


class VolumeResource(StrEnum):
    """What is counted. Names as the quota-sets resource publishes them."""

    VOLUMES = "volumes"
    SNAPSHOTS = "snapshots"
    GIGABYTES = "gigabytes"
    PER_VOLUME_GIGABYTES = "per_volume_gigabytes"
    BACKUPS = "backups"
    BACKUP_GIGABYTES = "backup_gigabytes"
    GROUPS = "groups"


TYPED = (VolumeResource.VOLUMES, VolumeResource.SNAPSHOTS, VolumeResource.GIGABYTES)
PER_ITEM = (VolumeResource.PER_VOLUME_GIGABYTES,)  # limits of one thing: nothing is added up


@dataclass(frozen=True, slots=True, order=True)
class Counted:
    """One thing that has a limit: a resource, or the part of it that is of one volume type."""

    resource: VolumeResource
    type_id: str | None = None

    def key(self, type_names: Mapping[str, str]) -> str:
        """The published name, e.g. ``volumes`` or ``volumes_fast``; `type_names` by id."""
        return self.resource.value if self.type_id is None else f"{self.resource}_{type_names[self.type_id]}"


Limits = dict[Counted, int]

OPTIONS = {  # by which options a limit is given that nobody set otherwise
    VolumeResource.VOLUMES: "quota_volumes",
    VolumeResource.SNAPSHOTS: "quota_snapshots",
    VolumeResource.GIGABYTES: "quota_gigabytes",
    VolumeResource.PER_VOLUME_GIGABYTES: "per_volume_size_limit",
    VolumeResource.BACKUPS: "quota_backups",
    VolumeResource.BACKUP_GIGABYTES: "quota_backup_gigabytes",
    VolumeResource.GROUPS: "quota_groups",
}


@dataclass(frozen=True, slots=True)
class QuotaRules:
    """What the configuration says of quotas: limits, and whether the size of snapshots counts."""

    limits: Limits
    counts_snapshot_gib: bool = True


def configured(options: Mapping[str, Any]) -> QuotaRules:
    """The rules that these options, by name, make."""
    limits = {Counted(resource): int(options[option]) for resource, option in OPTIONS.items()}
    return QuotaRules(limits, counts_snapshot_gib=not options["no_snapshot_gb_quota"])


@dataclass(frozen=True, slots=True)
class VolumeUsage:
    """What a project uses, as the rows say. What is not in `lines` is not used."""

    lines: Mapping[Counted, Usage] = field(default_factory=dict)

    def of(self, counted: Counted) -> Usage:
        """The usage of one."""
        return self.lines.get(counted, Usage(0))


def named(text: str, type_ids: Mapping[str, str]) -> Counted | None:
    """What a published name means; `type_ids` by type name. None when it means nothing."""
    if text in set(VolumeResource):
        return Counted(VolumeResource(text))
    for resource in TYPED:
        type_id = type_ids.get(text.removeprefix(f"{resource}_"))
        if text.startswith(f"{resource}_") and type_id is not None:
            return Counted(resource, type_id)
    return None


def check_fits(
    limits: Limits, usage: VolumeUsage, more: Mapping[Counted, int], type_name: Callable[[], str | None]
) -> None:
    """Raise QuotaExceeded, naming the resource and the numbers, when `usage` + `more` would pass a limit.

    `type_name` is asked only then.
    """
    for counted, wanted in more.items():
        limit = limits.get(counted, UNLIMITED)
        line = usage.of(counted)
        have = 0 if counted.resource in PER_ITEM else line.in_use + line.reserved
        if limit != UNLIMITED and wanted > 0 and have + wanted > limit:
            whose = "project" if counted.type_id is None else f"project for type '{type_name()}'"
            raise QuotaExceeded(
                f"Requested {wanted} {counted.resource} exceeds the quota of the {whose}:"
                f" {have} of {limit} are in use already."
            )

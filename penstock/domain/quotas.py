"""Quotas: the resources that are counted, and whether a request still fits."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from penstock.errors import QuotaExceeded

UNLIMITED = -1


class QuotaResource(StrEnum):
    """What is counted. Names as the quota-sets resource publishes them."""

    SHARES = "shares"
    GIGABYTES = "gigabytes"
    SNAPSHOTS = "snapshots"
    SNAPSHOT_GIGABYTES = "snapshot_gigabytes"
    SHARE_NETWORKS = "share_networks"
    SHARE_GROUPS = "share_groups"
    SHARE_GROUP_SNAPSHOTS = "share_group_snapshots"
    SHARE_REPLICAS = "share_replicas"
    REPLICA_GIGABYTES = "replica_gigabytes"
    PER_SHARE_GIGABYTES = "per_share_gigabytes"


DEFAULT_LIMITS: dict[QuotaResource, int] = {
    QuotaResource.SHARES: 50,
    QuotaResource.GIGABYTES: 1000,
    QuotaResource.SNAPSHOTS: 50,
    QuotaResource.SNAPSHOT_GIGABYTES: 1000,
    QuotaResource.SHARE_NETWORKS: 10,
    QuotaResource.SHARE_GROUPS: 50,
    QuotaResource.SHARE_GROUP_SNAPSHOTS: 50,
    QuotaResource.SHARE_REPLICAS: 100,
    QuotaResource.REPLICA_GIGABYTES: 1000,
    QuotaResource.PER_SHARE_GIGABYTES: UNLIMITED,
}


@dataclass(frozen=True, slots=True)
class Usage:
    """How much of one resource is in use, and how much of that is promised to operations not finished yet."""

    in_use: int
    reserved: int = 0


def check_fits(
    limits: Mapping[QuotaResource, int],
    used: Mapping[QuotaResource, int],
    more: Mapping[QuotaResource, int],
    whose: str,
) -> None:
    """Raise QuotaExceeded, naming the resource and the numbers, when `used` + `more` would pass a limit."""
    for resource, wanted in more.items():
        limit = limits.get(resource, UNLIMITED)
        have = used.get(resource, 0)
        if limit != UNLIMITED and wanted > 0 and have + wanted > limit:
            raise QuotaExceeded(
                f"Requested {wanted} {resource} exceeds the quota of the {whose}: {have} of {limit} are in use already."
            )

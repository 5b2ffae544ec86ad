"""Quotas on the wire: which resources each version knows, how limits are read and written."""

from __future__ import annotations

from collections.abc import Collection, Mapping

from penstock.api.bodies import parse_flag, parse_whole
from penstock.api.microversion import ApiVersion
from penstock.api.request import ApiRequest
from penstock.domain.quotas import UNLIMITED, QuotaResource
from penstock.errors import Invalid
from penstock.services.quotas import TYPE_RESOURCES, QuotaChange

R = QuotaResource
SINCE: Mapping[QuotaResource, str] = {
    R.SHARES: "2.0",
    R.GIGABYTES: "2.0",
    R.SNAPSHOTS: "2.0",
    R.SNAPSHOT_GIGABYTES: "2.0",
    R.SHARE_NETWORKS: "2.0",
    R.SHARE_GROUPS: "2.40",
    R.SHARE_GROUP_SNAPSHOTS: "2.40",
    R.SHARE_REPLICAS: "2.53",
    R.REPLICA_GIGABYTES: "2.53",
    R.PER_SHARE_GIGABYTES: "2.62",
}
ALSO_SENT = frozenset({"tenant_id", "project_id", "id", "class_name", "user_id", "share_type"})  # known, not read


def known_in(version: ApiVersion, *, by_type: bool = False) -> list[QuotaResource]:
    """The resources that version has quotas for."""
    return [
        resource
        for resource, since in SINCE.items()
        if version.at_least(since) and (not by_type or resource in TYPE_RESOURCES)
    ]


def change_of(request: ApiRequest, envelope: str) -> QuotaChange:
    """The new limits in the body under `envelope`. Raises Invalid, also for resources this version does not know."""
    body = request.body_as(dict[str, object])
    fields = body.get(envelope)
    if not isinstance(fields, dict):
        raise Invalid(f"The body needs a '{envelope}'.")
    known = known_in(request.version)
    _refuse_unknown(fields, known)
    force = parse_flag("force", fields.get("force", False))
    limits = {
        resource: parse_whole(resource, fields[resource], minimum=UNLIMITED)
        for resource in known
        if fields.get(resource) is not None
    }
    return QuotaChange(limits, force)


def _refuse_unknown(fields: Mapping[str, object], known: Collection[QuotaResource]) -> None:
    unknown = sorted(set(fields) - set(known) - ALSO_SENT - {"force"})
    if unknown:
        raise Invalid(f"These are not quotas in this API version: {', '.join(unknown)[:255]}.")

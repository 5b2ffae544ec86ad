"""What a list of volumes is narrowed to, from the query. Filters newer than the request's version are not looked at."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from penstock.api.bodies import check_name, parse_flag, parse_whole
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.volumes.resource_filters import refuse_unknown
from penstock.errors import Invalid
from penstock.services.volumes.volumes import VolumeFilter

_EQUAL = (  # name in the query, field of the filter, since
    ("name", "name", "3.0"),
    ("status", "status", "3.0"),
    ("availability_zone", "availability_zone", "3.0"),
    ("migration_status", "migration_status", "3.0"),
    ("group_id", "group_id", "3.10"),
    ("name~", "name_like", "3.34"),
    ("description~", "description_like", "3.34"),
)
FOR_ADMINISTRATORS = {  # name in the query → field of the filter
    "project_id": "project_id",
    "user_id": "user_id",
    "host": "host",
    "description": "description",
    "volume_type_id": "volume_type_id",
    "snapshot_id": "snapshot_id",
    "source_volid": "source_volid",
    "attach_status": "attach_status",
    "replication_status": "replication_status",
}
ALSO = frozenset({*FOR_ADMINISTRATORS, "encrypted", "multiattach", "glance_metadata", "id", "tenant_id"})
OPERATORS = ("lt", "lte", "eq", "neq", "gte", "gt")
TIMES = ("created_at", "updated_at")


def wanted_volumes(request: ApiRequest) -> VolumeFilter:
    """The filter of this request. Raises Invalid."""
    refuse_unknown(request, "volume", ALSO)
    query, version = request.query, request.version
    found: dict[str, Any] = {
        field: check_name(name, query[name])
        for name, field, since in _EQUAL
        if name in query and version.at_least(since)
    }
    if "metadata" in query:
        found["metadata"] = parse_pairs("metadata", query["metadata"])
    if "glance_metadata" in query and version.at_least("3.4"):
        found["image_metadata"] = parse_pairs("glance_metadata", query["glance_metadata"])
    if "bootable" in query:
        found["is_bootable"] = _bootable(request)
    if "size" in query:
        found["size_gib"] = parse_whole("size", query["size"])
    found["times"] = time_filters(request, "3.60")
    if "consumes_quota" in query and version.at_least("3.65"):
        found["uses_quota"] = parse_flag("consumes_quota", query["consumes_quota"])
    return VolumeFilter(**found, **(_for_administrators(request) if request.context.is_admin else {}))


def _for_administrators(request: ApiRequest) -> dict[str, Any]:
    query = request.query
    found: dict[str, Any] = {field: query[name] for name, field in FOR_ADMINISTRATORS.items() if name in query}
    if "tenant_id" in query:
        found["project_id"] = query["tenant_id"]
    if "id" in query:
        found["ids"] = [query["id"]]
    for name, field in (("encrypted", "is_encrypted"), ("multiattach", "is_multiattach")):
        if name in query:
            found[field] = parse_flag(name, query[name])
    return found


def all_projects(request: ApiRequest) -> bool:
    """Does the caller want everybody's, and may it? Raises Invalid."""
    return flag(request, "all_tenants") and request.context.is_admin


def flag(request: ApiRequest, name: str) -> bool:
    """A yes-or-no of the query; no when it is not there. Raises Invalid."""
    return name in request.query and parse_flag(name, request.query[name])


def time_filters(request: ApiRequest, since: str) -> tuple[tuple[str, str, datetime], ...]:
    """``created_at`` and ``updated_at`` as ``gt:2026-11-21T12:00:00,lt:...``, or a bare time. Raises Invalid."""
    if not request.version.at_least(since):
        return ()
    parts = ((name, part.strip()) for name in TIMES for part in request.query.get(name, "").split(","))
    return tuple((name, *_condition(name, part)) for name, part in parts if part)


def _condition(name: str, text: str) -> tuple[str, datetime]:
    operator, colon, rest = text.partition(":")
    if operator in OPERATORS and colon:
        return operator, _moment(name, rest)
    return "eq", _moment(name, text)


def _moment(name: str, text: str) -> datetime:
    try:
        moment = datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise Invalid(
            f"'{name}' must be times such as gt:2026-11-21T12:00:00 with commas between, not '{text[:64]}'."
        ) from err
    return moment if moment.tzinfo is None else moment.astimezone(UTC).replace(tzinfo=None)


def _bootable(request: ApiRequest) -> bool:
    text = request.query["bootable"]
    if request.version.at_least("3.2"):
        return parse_flag("bootable", text)
    return text not in ("false", "False")

"""What a list of shares is narrowed to, from the query. Filters newer than the request's version are not looked at."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import parse_flag
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.services.shares import ShareFilter

_EQUAL = (  # name in the query, field of the filter, since
    ("name", "name", "2.0"),
    ("display_name", "name", "2.0"),
    ("status", "status", "2.0"),
    ("share_type_id", "share_type_id", "2.0"),
    ("volume_type_id", "share_type_id", "2.0"),
    ("snapshot_id", "snapshot_id", "2.0"),
    ("share_network_id", "share_network_id", "2.0"),
    ("host", "host", "2.0"),
    ("share_server_id", "share_server_id", "2.0"),
    ("share_group_id", "share_group_id", "2.31"),
    ("export_location_id", "export_location_id", "2.35"),
    ("export_location_path", "export_location_path", "2.35"),
    ("description", "description", "2.36"),
    ("display_description", "description", "2.36"),
    ("name~", "name_like", "2.36"),
    ("description~", "description_like", "2.36"),
)
_FOR_ADMINISTRATORS = ("share_proto", "user_id", "project_id")
_GUARDED = (
    ("host", "share:list_by_host"),
    ("share_server_id", "share:list_by_share_server_id"),
    ("extra_specs", "share_types_extra_spec:index"),
)


def wanted_shares(request: ApiRequest) -> ShareFilter:
    """The filter of this request. Raises Forbidden for filters that policy keeps from the caller, Invalid."""
    query = request.query
    for name, rule in _GUARDED:
        if name in query:
            request.enforce(rule)
    found: dict[str, Any] = {
        field: query[name] for name, field, since in _EQUAL if name in query and request.version.at_least(since)
    }
    if "is_public" in query:
        found["is_public"] = parse_flag("is_public", query["is_public"])
    found["is_soft_deleted"] = request.version.at_least("2.69") and flag(request, "is_soft_deleted")
    for name in ("metadata", "extra_specs"):
        if query.get(name):
            found[name] = parse_pairs(name, query[name])
    if request.context.is_admin:
        found |= {_ADMIN_FIELD.get(name, name): query[name] for name in _FOR_ADMINISTRATORS if name in query}
    return ShareFilter(**found)


_ADMIN_FIELD = {"share_proto": "protocol"}


def flag(request: ApiRequest, name: str) -> bool:
    """A yes-or-no of the query; no when it is not there. Raises Invalid."""
    return name in request.query and parse_flag(name, request.query[name])

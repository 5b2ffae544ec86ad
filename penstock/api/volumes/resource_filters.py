"""The resource ``resource_filters``: by what each list can be narrowed, and the one place that knows (since 3.33)."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.errors import Invalid

routes = Routes()

# As published for a stock service; an unknown filter is refused since 3.31 and not looked at before.
FILTERS: Mapping[str, tuple[str, ...]] = {
    "volume": (
        "name",
        "status",
        "metadata",
        "bootable",
        "migration_status",
        "availability_zone",
        "group_id",
        "size",
        "created_at",
        "updated_at",
        "consumes_quota",
    ),
    "backup": ("name", "status", "volume_id"),
    "snapshot": ("name", "status", "volume_id", "metadata", "availability_zone", "consumes_quota"),
    "group": (),
    "group_snapshot": ("status", "group_id"),
    "attachment": ("volume_id", "status", "instance_id", "attach_status"),
    "message": ("resource_uuid", "resource_type", "event_id", "request_id", "message_level"),
    "pool": ("name", "volume_type"),
    "volume_type": ("is_public",),
}
GENERAL = frozenset({"limit", "marker", "offset", "sort", "sort_key", "sort_dir", "all_tenants", "with_count"})


@routes.get("resource_filters", "3.33")
def index(request: ApiRequest) -> Answer:
    """The filters of every resource, or of the one that ``resource`` names."""
    wanted = request.query.get("resource")
    shown = [
        {"resource": name, "filters": list(filters)} for name, filters in FILTERS.items() if wanted in (None, name)
    ]
    return Answer({"resource_filters": shown})


def refuse_unknown(request: ApiRequest, resource: str, also: frozenset[str] = frozenset()) -> None:
    """Raise Invalid, since 3.31, for a filter that the list does not have. ``name~`` is like ``name`` (since 3.34).

    Administrators may use `also` what is not published for everybody.
    """
    if not request.version.at_least("3.31"):
        return
    known = GENERAL | set(FILTERS[resource]) | (also if request.context.is_admin else frozenset())
    unknown = [name for name in request.query if name not in known and name.removesuffix("~") not in known]
    if unknown:
        raise Invalid(f"Lists of this kind cannot be narrowed by {', '.join(unknown)[:128]}.")

"""Bodies about shares, parsed into the use cases' requests."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, Whole, check_pairs, parse_flag, parse_whole
from penstock.api.request import ApiRequest
from penstock.errors import Forbidden, Invalid
from penstock.services.hints import Hints
from penstock.services.share_creation import NewShare
from penstock.services.share_metadata import check_items
from penstock.services.shares import ShareChange

MOST_HINTS = 50


class SchedulerHints(Strict):
    """Ids of shares, separated by commas. ``only_host``, a pool's name, is of 2.67 and not looked at before."""

    same_host: str | None = None
    different_host: str | None = None
    only_host: str | None = None


class CreateFields(Strict):
    """A new share, with every name the published clients use. Fields newer than the version are not looked at."""

    share_proto: Name
    size: Whole | None = None
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    share_type: Name | None = None
    volume_type: Name | None = None
    snapshot_id: Name | None = None
    is_public: Flag = False
    metadata: dict[str, Any] | None = None
    availability_zone: Name | None = None
    share_network_id: Name | None = None
    share_group_id: Name | None = None
    consistency_group_id: Name | None = None
    scheduler_hints: SchedulerHints | None = None
    mount_point_name: Name | None = None
    encryption_key_ref: Name | None = None


class CreateBody(Strict):
    """``{"share": {...}}``"""

    share: CreateFields


class UpdateFields(Strict):
    """What an owner may change."""

    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    is_public: Flag = None


class UpdateBody(Strict):
    """``{"share": {...}}``"""

    share: UpdateFields


def new_share(request: ApiRequest) -> NewShare:
    """The share this request asks for. Raises Invalid, and Forbidden for what policy keeps from the caller."""
    asked = request.body_as(CreateBody).share
    version = request.version
    if asked.share_type is not None and asked.volume_type is not None:
        raise Invalid("Give 'share_type' or 'volume_type', which mean the same, not both.")
    is_public = asked.is_public is not None and parse_flag("is_public", asked.is_public)
    if is_public:
        request.enforce("share:create_public_share")
    metadata = check_pairs("metadata", asked.metadata or {})
    check_items(request.plane, metadata, may_set_reserved=request.allows("share:update_admin_only_metadata"))
    return NewShare(
        protocol=asked.share_proto,
        size_gib=None if asked.size is None else parse_whole("size", asked.size, minimum=1),
        name=asked.name if asked.name is not None else asked.display_name,
        description=asked.description if asked.description is not None else asked.display_description,
        share_type=asked.share_type or asked.volume_type or None,
        snapshot_id=asked.snapshot_id or None,
        is_public=is_public,
        metadata=metadata,
        availability_zone=asked.availability_zone or None,
        share_network_id=asked.share_network_id or None,
        share_group_id=(asked.share_group_id or None) if version.at_least("2.31") else None,
        hints=_hints(request, asked.scheduler_hints),
        checks_clone_support=version.at_least("2.24"),
        checks_type_zones=version.at_least("2.48"),
    )


def share_change(request: ApiRequest) -> ShareChange:
    """What this request changes. Raises Invalid, Forbidden."""
    asked = request.body_as(UpdateBody).share
    is_public = None if asked.is_public is None else parse_flag("is_public", asked.is_public)
    if is_public:
        request.enforce("share:set_public_share")
    return ShareChange(
        name=asked.display_name if asked.display_name is not None else asked.name,
        description=asked.display_description if asked.display_description is not None else asked.description,
        is_public=is_public,
    )


def _hints(request: ApiRequest, asked: SchedulerHints | None) -> Hints:
    if asked is None or not request.version.at_least("2.65"):
        return Hints()
    only_host = (asked.only_host or None) if request.version.at_least("2.67") else None
    if only_host is not None and not request.context.is_admin:
        raise Forbidden("Only an administrator may give the scheduler hint 'only_host'.")
    return Hints(_ids("same_host", asked.same_host), _ids("different_host", asked.different_host), only_host)


def _ids(name: str, text: str | None) -> tuple[str, ...]:
    found = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if len(found) > MOST_HINTS:
        raise Invalid(f"The scheduler hint '{name}' names more than {MOST_HINTS} shares.")
    return found

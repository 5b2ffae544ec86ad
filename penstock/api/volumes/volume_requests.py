"""Bodies about volumes, parsed into the use cases' requests."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api.bodies import Flag, Name, Strict, Text, Whole, check_pairs, parse_flag, parse_whole
from penstock.api.request import ApiRequest
from penstock.errors import Invalid
from penstock.services.volumes.creation import NewVolume, VolumeHints
from penstock.services.volumes.volumes import VolumeChange

HINTS = "OS-SCH-HNT:scheduler_hints"
VALUE_LENGTH = 255
MOST_HINTS = 50
Hint = str | list[str] | None


class SchedulerHints(Strict):
    """Ids of volumes, one, several, or with commas between. `local_to_instance` and `query` are known, not read."""

    same_host: Hint = None
    different_host: Hint = None
    local_to_instance: Hint = None
    query: Any = None


class CreateFields(Strict):
    """A new volume, with every name the published clients use. Fields newer than the version are not looked at."""

    size: Whole | None = None
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    volume_type: Name | None = None
    snapshot_id: Name | None = None
    source_volid: Name | None = None
    backup_id: Name | None = None
    image_ref: Name | None = msgspec.field(default=None, name="imageRef")
    image_id: Name | None = None
    metadata: dict[str, Any] | None = None
    availability_zone: Name | None = None
    consistencygroup_id: Name | None = None
    group_id: Name | None = None
    multiattach: Flag = None
    scheduler_hints: SchedulerHints | None = msgspec.field(default=None, name=HINTS)


class OldCreateFields(CreateFields, forbid_unknown_fields=False):
    """Before 3.53 unknown fields were not looked at: clients sent many."""


class CreateBody(Strict):
    """``{"volume": {...}}``, and hints for the scheduler beside it."""

    volume: CreateFields
    scheduler_hints: SchedulerHints | None = msgspec.field(default=None, name=HINTS)


class OldCreateBody(Strict, forbid_unknown_fields=False):
    """The same, before 3.53."""

    volume: OldCreateFields
    scheduler_hints: SchedulerHints | None = msgspec.field(default=None, name=HINTS)


class UpdateFields(Strict):
    """What an owner may change."""

    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    metadata: dict[str, Any] | None = None


class OldUpdateFields(UpdateFields, forbid_unknown_fields=False):
    """Before 3.53 unknown fields were not looked at."""


class UpdateBody(Strict):
    """``{"volume": {...}}``"""

    volume: UpdateFields


class OldUpdateBody(Strict):
    """The same, before 3.53."""

    volume: OldUpdateFields


def new_volume(request: ApiRequest) -> NewVolume:
    """The volume this request asks for. Raises Invalid, and Forbidden for what policy keeps from the caller."""
    version = request.version
    body = request.body_as(CreateBody) if version.at_least("3.53") else request.body_as(OldCreateBody)
    asked = body.volume
    if asked.multiattach is not None and parse_flag("multiattach", asked.multiattach):
        raise Invalid("Whether a volume can be attached several times is its type's decision: name such a type.")
    image_id = asked.image_ref or asked.image_id or None
    if image_id is not None:
        request.enforce("volume:create_from_image")
    if asked.consistencygroup_id:
        raise Invalid("There are no consistency groups; use groups (since 3.13).")
    return NewVolume(
        size_gib=None if asked.size is None else parse_whole("size", asked.size, minimum=1),
        name=stripped(asked.name if asked.name is not None else asked.display_name),
        description=stripped(asked.description if asked.description is not None else asked.display_description),
        volume_type=asked.volume_type or None,
        snapshot_id=asked.snapshot_id or None,
        source_volid=asked.source_volid or None,
        image_id=image_id,
        backup_id=(asked.backup_id or None) if version.at_least("3.47") else None,
        metadata=check_metadata(asked.metadata or {}),
        availability_zone=asked.availability_zone or None,
        hints=_hints(body.scheduler_hints or asked.scheduler_hints),
        group_id=(asked.group_id or None) if version.at_least("3.13") else None,
    )


def volume_change(request: ApiRequest) -> VolumeChange:
    """What this request changes. Raises Invalid."""
    if request.version.at_least("3.53"):
        asked = request.body_as(UpdateBody).volume
    else:
        asked = request.body_as(OldUpdateBody).volume
    change = VolumeChange(
        name=stripped(asked.name if asked.name is not None else asked.display_name),
        description=stripped(asked.description if asked.description is not None else asked.display_description),
        metadata=None if asked.metadata is None else check_metadata(asked.metadata),
    )
    if change == VolumeChange() and request.version.at_least("3.53") and asked == UpdateFields():
        raise Invalid("Give a 'name', a 'description' or 'metadata' to change.")
    return change


def check_metadata(items: dict[str, Any]) -> dict[str, str]:
    """Metadata of a volume or snapshot. Raises Invalid, naming the key."""
    return check_pairs("metadata", items, value_length=VALUE_LENGTH)


def stripped(text: str | None) -> str | None:
    """Names and descriptions lose the blanks around them, as published."""
    return None if text is None else text.strip()


def _hints(asked: SchedulerHints | None) -> VolumeHints:
    if asked is None:
        return VolumeHints()
    return VolumeHints(_ids("same_host", asked.same_host), _ids("different_host", asked.different_host))


def _ids(name: str, hint: Hint) -> tuple[str, ...]:
    texts = hint if isinstance(hint, list) else (hint or "").split(",")
    found = tuple(text.strip() for text in texts if text.strip())
    if len(found) > MOST_HINTS:
        raise Invalid(f"The scheduler hint '{name}' names more than {MOST_HINTS} volumes.")
    return found

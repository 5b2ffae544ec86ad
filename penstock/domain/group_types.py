"""Share group types: which share types an administrator lets go together in a group, and what such a group can do."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from penstock.ids import ShareGroupTypeId, ShareTypeId


@dataclass(frozen=True, slots=True)
class ShareGroupType:
    """A share group type with its group specs; `share_type_ids` are in the order of the ids."""

    id: ShareGroupTypeId
    name: str
    is_public: bool
    created_at: datetime
    updated_at: datetime | None
    share_type_ids: tuple[ShareTypeId, ...]
    group_specs: dict[str, str] = field(default_factory=dict)

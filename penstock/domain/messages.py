"""User messages: why an asynchronous operation ended as it did, in words for the owner."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from penstock.ids import MessageId, ProjectId


@dataclass(frozen=True, slots=True)
class Message:
    """A stored user message. `action_id` and `detail_id` are the published three-digit codes."""

    id: MessageId
    project_id: ProjectId
    request_id: str
    resource_type: str
    resource_id: str
    action_id: str
    detail_id: str
    level: str
    text: str
    created_at: datetime
    expires_at: datetime

    @property
    def is_about_volumes(self) -> bool:
        """Is it one of the volume API's, not of the share API's?"""
        return self.resource_type.startswith("VOLUME")

"""Access rules: who may mount a share, how, and how far the backend got with it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from penstock.ids import AccessRuleId, ShareId


class AccessLevel(StrEnum):
    """Read-write or read-only."""

    RW = "rw"
    RO = "ro"


class AccessType(StrEnum):
    """What `access_to` names."""

    IP = "ip"
    USER = "user"
    CERT = "cert"
    CEPHX = "cephx"


class AccessState(StrEnum):
    """The published states of one rule on one instance; before 2.28 clients see ``new`` and ``out_of_sync`` instead."""

    QUEUED_TO_APPLY = "queued_to_apply"
    QUEUED_TO_DENY = "queued_to_deny"
    APPLYING = "applying"
    DENYING = "denying"
    ACTIVE = "active"
    ERROR = "error"
    DELETED = "deleted"


@dataclass(frozen=True, slots=True)
class AccessRule:
    """One rule of a share. `state` is its state on the instance that speaks for the share."""

    id: AccessRuleId
    share_id: ShareId
    access_type: AccessType
    access_to: str
    access_level: AccessLevel
    access_key: str | None
    state: AccessState
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime | None

"""Replication as a type asks for it and an owner sees it: kinds, the recovery point objective, lag."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from penstock.domain.shares import ReplicaState, ShareInstance
from penstock.errors import Invalid

RPO_KEY = "replication_rpo_seconds"  # in a share's metadata, or an extra spec of its type
TYPE_SPEC = "replication_type"
LONGEST_RPO_S = 366 * 24 * 3600


class ReplicationType(StrEnum):
    """The published kinds: all copies writable; one writable and the others readable; one reachable at all."""

    WRITABLE = "writable"
    READABLE = "readable"
    DR = "dr"


def parse_replication_type(text: str) -> ReplicationType:
    """The kind called `text`. Raises Invalid."""
    try:
        return ReplicationType(text)
    except ValueError:
        choices = ", ".join(ReplicationType)
        raise Invalid(f"The extra spec '{TYPE_SPEC}' must be one of {choices}, not '{text[:64]}'.") from None


def parse_objective(text: str) -> int:
    """A recovery point objective in seconds. Raises Invalid."""
    if not (text.isascii() and text.isdigit() and len(text) <= 9 and 1 <= int(text) <= LONGEST_RPO_S):
        raise Invalid(f"'{RPO_KEY}' must be a whole number of seconds from 1 to {LONGEST_RPO_S}, not '{text[:64]}'.")
    return int(text)


def objective_s(metadata: Mapping[str, str], extra_specs: Mapping[str, str], default_s: int) -> int:
    """By how many seconds a replica may lag: the share says, else its type, else `default_s`.

    What is not a number, set before it was checked, is passed over.
    """
    for text in (metadata.get(RPO_KEY), extra_specs.get(RPO_KEY)):
        try:
            return parse_objective(text or "")
        except Invalid:
            continue
    return default_s


def lag_s(replica: ShareInstance, now: datetime) -> int | None:
    """How old what the replica holds is, in whole seconds; None for the active one and before the first sync."""
    if replica.replica_state is ReplicaState.ACTIVE or replica.synced_at is None:
        return None
    return max(0, int((now - replica.synced_at).total_seconds()))

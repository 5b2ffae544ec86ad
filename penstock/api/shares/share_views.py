"""Shares as the API shows them: which fields, decided once per version and role, then filled per share."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from operator import itemgetter
from typing import Any

import msgspec

from penstock.api.links import links
from penstock.api.microversion import ApiVersion
from penstock.api.request import ApiRequest
from penstock.api.views import stamp
from penstock.domain.shares import AccessRulesStatus
from penstock.services.shares import COLUMNS, CREATED_AT, ID, METADATA, Shown

DUE = "scheduled_to_be_deleted_at"
# Source: Shared File Systems API v2, microversion history.
_ALWAYS = (
    "id",
    "size",
    "availability_zone",
    "created_at",
    "status",
    "name",
    "description",
    "project_id",
    "snapshot_id",
    "share_network_id",
    "share_proto",
    "share_type",
    "is_public",
)
_SINCE = (
    ("snapshot_support", "2.2"),
    ("task_state", "2.5"),
    ("access_rules_status", "2.10"),
    ("replication_type", "2.11"),
    ("has_replicas", "2.11"),
    ("user_id", "2.16"),
    ("create_share_from_snapshot_support", "2.24"),
    ("revert_to_snapshot_support", "2.27"),
    ("share_group_id", "2.31"),
    ("source_share_group_snapshot_member_id", "2.31"),
    ("mount_snapshot_support", "2.32"),
    ("progress", "2.54"),
    ("is_soft_deleted", "2.69"),
    (DUE, "2.69"),
)
_FOR_ADMINISTRATORS = ("share_server_id", "host")


@dataclass(frozen=True, slots=True)
class ShareView:
    """How shares are shown in one version to one role: the columns picked of a line, then what is made for it."""

    names: tuple[str, ...]
    pick: Callable[[Sequence[Any]], tuple[Any, ...]]
    has_paths: bool
    has_type_name: bool
    has_old_rules_status: bool
    has_due_time: bool
    constants: dict[str, Any]

    def detail(self, shown: Shown, url: str) -> dict[str, Any]:
        """One share in detail. `url` is the API's address as the client writes it."""
        line, type_name, paths = shown
        text = line[METADATA]
        fields = dict(zip(self.names, self.pick(line), strict=True))
        fields["created_at"] = stamp(line[CREATED_AT])
        if self.has_due_time:
            fields[DUE] = stamp(fields[DUE])
        fields["metadata"] = _pairs(text) if text else {}
        fields["links"] = links(url, "shares", line[ID])
        fields["volume_type"] = type_name
        fields["share_type_name" if self.has_type_name else "share_type"] = type_name
        if self.has_paths:
            fields["export_location"] = paths[0] if paths else None
            fields["export_locations"] = paths
        if self.has_old_rules_status:
            fields["access_rules_status"] = old_rules_status(fields["access_rules_status"])
        return {**fields, **self.constants} if self.constants else fields


def summary(shown: Shown, url: str) -> dict[str, Any]:
    """One share in a list without detail."""
    share_id, name = _SUMMARY(shown.line)
    return {"id": share_id, "name": name, "links": links(url, "shares", share_id)}


def view_of(request: ApiRequest) -> ShareView:
    """How this request is shown shares."""
    return _view(request.version, request.context.is_admin)


def one(request: ApiRequest, shown: Shown) -> dict[str, Any]:
    """The body with one share."""
    return {"share": view_of(request).detail(shown, request.url)}


def old_rules_status(status: str) -> str:
    """``access_rules_status`` as it was called before 2.28."""
    return "out_of_sync" if status == AccessRulesStatus.SYNCING else status


@lru_cache(maxsize=512)
def _view(version: ApiVersion, is_admin: bool) -> ShareView:
    names = _ALWAYS + tuple(name for name, since in _SINCE if version.at_least(since))
    if is_admin:
        names += _FOR_ADMINISTRATORS
    return ShareView(
        names=names,
        pick=_picker(names),
        has_paths=not version.at_least("2.9"),
        has_type_name=version.at_least("2.6"),
        has_old_rules_status=version.at_least("2.10") and not version.at_least("2.28"),
        has_due_time=version.at_least("2.69"),
        constants=_constants(version),
    )


def _constants(version: ApiVersion) -> dict[str, Any]:
    """Published fields of things that are not served, so that every share has the same there."""
    found: dict[str, Any] = {}
    if version.at_least("2.4") and not version.at_least("2.31"):
        found |= {"consistency_group_id": None, "source_cgsnapshot_member_id": None}
    return found


def _picker(names: Sequence[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return itemgetter(*(COLUMNS.index(name) for name in names))


_SUMMARY = _picker(("id", "name"))
_pairs = msgspec.json.Decoder(dict[str, str]).decode

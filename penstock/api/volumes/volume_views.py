"""Volumes as the API shows them: which fields, decided once per version and rights, then filled per volume."""

from __future__ import annotations

import uuid
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
from penstock.domain.pools import service_host
from penstock.domain.volumes import ATTACHED_MODE, READONLY
from penstock.services.volumes.listing import COLUMNS, Shown

# Source: Block Storage API v3, microversion history.
_ALWAYS = (
    "id",
    "name",
    "description",
    "size",
    "status",
    "availability_zone",
    "user_id",
    "snapshot_id",
    "source_volid",
    "multiattach",
    "replication_status",
)
_SINCE = (("group_id", "3.13"), ("shared_targets", "3.48"), ("volume_type_id", "3.63"), ("consumes_quota", "3.65"))
_HOST, _TENANT = "os-vol-host-attr:host", "os-vol-tenant-attr:tenant_id"
_MIGRATION = ("os-vol-mig-status-attr:migstat", "os-vol-mig-status-attr:name_id")
_VISIBLE_NOTES = (READONLY, ATTACHED_MODE)  # of the admin metadata, shown among the owner's
_SERVICE = uuid.UUID("5c6bd1de-3ef9-4bd0-9d1d-4d6c1c56e2ac")
_NOTHING = (None, "{}")


@dataclass(frozen=True, slots=True)
class VolumeView:
    """How volumes are shown in one version to one caller: the columns picked of a line, then what is made for it."""

    names: tuple[str, ...]
    pick: Callable[[Sequence[Any]], tuple[Any, ...]]
    is_admin: bool
    is_detailed: bool
    has_service: bool
    has_cluster: bool
    has_key: bool

    def detail(self, shown: Shown, url: str) -> dict[str, Any]:
        """One volume. `url` is the API's address as the client writes it."""
        line, type_name, uses = shown
        fields = dict(zip(self.names, self.pick(line), strict=True))
        key, host, bootable, created_at, updated_at, notes, private, of_image = _made_of(line)
        fields["created_at"] = stamp(created_at)
        fields["updated_at"] = stamp(updated_at)
        fields["metadata"] = _metadata(notes, private)
        fields["volume_type"] = type_name
        fields["bootable"] = "true" if bootable else "false"
        fields["encrypted"] = key is not None
        fields["consistencygroup_id"] = None
        fields["links"] = links(url, "volumes", fields["id"])
        fields["attachments"] = [_use(use, is_admin=self.is_admin) for use in uses]
        if self.has_service:
            fields["service_uuid"] = None if host is None else service_uuid(service_host(host))
        if self.has_cluster:
            fields["cluster_name"] = None
        if self.has_key and key is not None:
            fields["encryption_key_id"] = key
        if self.is_detailed and of_image not in _NOTHING:
            fields["volume_image_metadata"] = _pairs(of_image)
        return fields


def summary(line: Sequence[Any], url: str) -> dict[str, Any]:
    """One volume in a list without detail."""
    return {"id": line[0], "name": line[1], "links": links(url, "volumes", line[0])}


def view_of(request: ApiRequest, *, is_detailed: bool = True) -> VolumeView:
    """How this request is shown volumes; `is_detailed` with what lists in detail and shows add."""
    rights = tuple(
        rule
        for rule in (
            "volume_extension:volume_host_attribute",
            "volume_extension:volume_tenant_attribute",
            "volume_extension:volume_mig_status_attribute",
        )
        if is_detailed and request.allows(rule)
    )
    return _view(request.version, request.context.is_admin, is_detailed, rights)


def one(request: ApiRequest, shown: Shown, *, is_detailed: bool = True) -> dict[str, Any]:
    """The body with one volume."""
    return {"volume": view_of(request, is_detailed=is_detailed).detail(shown, request.url)}


@lru_cache(maxsize=1024)
def service_uuid(host: str) -> str:
    """A lasting id of the service ``host@backend``."""
    return str(uuid.uuid5(_SERVICE, host))


@lru_cache(maxsize=512)
def _view(version: ApiVersion, is_admin: bool, is_detailed: bool, rights: tuple[str, ...]) -> VolumeView:
    names = _ALWAYS + tuple(name for name, since in _SINCE if version.at_least(since))
    if is_admin:
        names += ("migration_status",)
        names += ("provider_id",) if version.at_least("3.21") else ()
    given = {
        "volume_extension:volume_host_attribute": (_HOST,),
        "volume_extension:volume_tenant_attribute": (_TENANT,),
        "volume_extension:volume_mig_status_attribute": _MIGRATION,
    }
    for rule in rights:
        names += given[rule]
    return VolumeView(
        names=names,
        pick=_picker(names),
        is_admin=is_admin,
        is_detailed=is_detailed,
        has_service=version.at_least("3.48"),
        has_cluster=is_admin and version.at_least("3.61"),
        has_key=version.at_least("3.64"),
    )


def _picker(names: Sequence[str]) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    return itemgetter(*(COLUMNS.index(name) for name in names))


def _metadata(notes: str | None, private: str | None) -> dict[str, str]:
    found = {} if notes in _NOTHING else _pairs(notes)
    if private not in _NOTHING:
        known = _pairs(private)
        found |= {key: known[key] for key in _VISIBLE_NOTES if key in known}
    return found


def _use(use: Sequence[Any], *, is_admin: bool) -> dict[str, Any]:
    attachment_id, volume_id, instance, host, device, since = use
    return {
        "id": volume_id,
        "attachment_id": attachment_id,
        "volume_id": volume_id,
        "server_id": instance,
        "host_name": host if is_admin else None,
        "device": device,
        "attached_at": stamp(since),
    }


_made_of = _picker(
    (
        "encryption_key_id",
        _HOST,
        "bootable",
        "created_at",
        "updated_at",
        "metadata",
        "admin_metadata",
        "image_metadata",
    )
)
_decode = msgspec.json.Decoder(dict[str, str]).decode


def _pairs(text: str | None) -> dict[str, str]:
    return _decode(text or "{}")

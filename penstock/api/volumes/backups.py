"""The resource ``backups``."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.api.bodies import Flag, Name, Strict, Text, check_name, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.links import links
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.pairs import parse_pairs
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.resource_filters import refuse_unknown
from penstock.api.volumes.volume_filters import all_projects, flag
from penstock.api.volumes.volume_requests import check_metadata, stripped
from penstock.domain.backups import Backup
from penstock.errors import Invalid
from penstock.services.volumes import backup_records, backups
from penstock.services.volumes.backups import BackupChange, BackupFilter, NewBackup

routes = Routes()

ONE, ACTION = "backups/{backup_id}", "backups/{backup_id}/action"
ADMIN = "volume_extension:backup_admin_actions"
_ALSO = frozenset({"project_id", "tenant_id", "host", "snapshot_id"})


class CreateFields(Strict):
    """Of which volume, or of which snapshot of it; `metadata` since 3.43, `availability_zone` since 3.51."""

    volume_id: Name
    snapshot_id: Name | None = None
    name: Name | None = None
    description: Text | None = None
    container: Name | None = None
    incremental: Flag = False
    force: Flag = False
    metadata: dict[str, Any] | None = None
    availability_zone: Name | None = None


class CreateBody(Strict):
    """``{"backup": {...}}``"""

    backup: CreateFields


class UpdateFields(Strict):
    """What to change; `metadata` since 3.43."""

    name: Name | None = None
    description: Text | None = None
    metadata: dict[str, Any] | None = None


class UpdateBody(Strict):
    """``{"backup": {...}}``"""

    backup: UpdateFields


class RestoreFields(Strict):
    """Onto which volume; a new one where none is named."""

    volume_id: Name | None = None
    name: Name | None = None


class RestoreBody(Strict):
    """``{"restore": {...}}``"""

    restore: RestoreFields


class RecordFields(Strict):
    """A backup as a record."""

    backup_service: Name
    backup_url: str


class RecordBody(Strict):
    """``{"backup-record": {...}}``"""

    record: RecordFields = msgspec.field(name="backup-record")


class Reset(Strict):
    """A state to write by hand."""

    status: str


@routes.get("backups")
def list_summary(request: ApiRequest) -> Answer:
    """Backups by id and name."""
    return _list(request, is_detailed=False)


@routes.get("backups/detail")
def list_detail(request: ApiRequest) -> Answer:
    """Backups with all their fields."""
    return _list(request, is_detailed=True)


@routes.post("backups")
def create(request: ApiRequest) -> Answer:
    """Back a volume up."""
    request.enforce("backup:create")
    asked = request.body_as(CreateBody).backup
    wanted = NewBackup(
        volume_id=asked.volume_id,
        snapshot_id=asked.snapshot_id or None,
        name=stripped(asked.name),
        description=stripped(asked.description),
        container=asked.container or None,
        incremental=_flag("incremental", asked.incremental),
        force=_flag("force", asked.force),
        metadata=_metadata(request, asked.metadata) or {},
    )
    made = backups.create(request.plane, request.context, wanted)
    return Answer({"backup": _named(request, made)}, 202)


@routes.get(ONE)
def show(request: ApiRequest) -> Answer:
    """One backup."""
    request.enforce("backup:get")
    found = backups.get(request.plane, request.context, request.params["backup_id"])
    return Answer({"backup": _view(request, found)})


@routes.put(ONE, "3.9")
def update(request: ApiRequest) -> Answer:
    """Change name, description or metadata."""
    request.enforce("backup:update")
    asked = request.body_as(UpdateBody).backup
    if asked == UpdateFields():
        raise Invalid("Give a 'name', a 'description' or 'metadata' to change.")
    change = BackupChange(stripped(asked.name), stripped(asked.description), _metadata(request, asked.metadata))
    changed = backups.update(request.plane, request.context, request.params["backup_id"], change)
    return Answer({"backup": _named(request, changed)})


@routes.delete(ONE)
def delete(request: ApiRequest) -> Answer:
    """Delete a backup."""
    request.enforce("backup:delete")
    backups.delete(request.plane, request.context, request.params["backup_id"])
    return ACCEPTED


@routes.post("backups/{backup_id}/restore")
def restore(request: ApiRequest) -> Answer:
    """Write it onto a volume."""
    request.enforce("backup:restore")
    asked = request.body_as(RestoreBody).restore
    backup_id = request.params["backup_id"]
    volume = backups.restore(
        request.plane, request.context, backup_id, asked.volume_id or None, stripped(asked.name) or None
    )
    shown = {"backup_id": backup_id, "volume_id": volume.id, "volume_name": volume.name or ""}
    return Answer({"restore": shown}, 202)


@routes.get("backups/{backup_id}/export_record")
def export_record(request: ApiRequest) -> Answer:
    """All that is known of it, to be kept elsewhere."""
    request.enforce("backup:export-import")
    service, record = backup_records.export(request.plane, request.context, request.params["backup_id"])
    return Answer({"backup-record": {"backup_service": service, "backup_url": record}})


@routes.post("backups/import_record")
def import_record(request: ApiRequest) -> Answer:
    """Bring it back from such a record."""
    request.enforce("backup:backup-import")
    asked = request.body_as(RecordBody).record
    made = backup_records.bring_back(request.plane, request.context, asked.backup_service, asked.backup_url)
    return Answer({"backup": _summary(request, made)}, 201)


@routes.action(ACTION, "os-reset_status")
def reset_status(request: ApiRequest) -> Answer:
    """Write a state by hand."""
    request.enforce(f"{ADMIN}:reset_status")
    status = request.body_as(Reset).status.strip().lower()
    backups.reset_status(request.plane, request.context, request.params["backup_id"], status)
    return ACCEPTED


@routes.action(ACTION, "os-force_delete")
def force_delete(request: ApiRequest) -> Answer:
    """Delete it in whatever state it is."""
    request.enforce(f"{ADMIN}:force_delete")
    request.no_arguments()
    backups.delete(request.plane, request.context, request.params["backup_id"], force=True)
    return ACCEPTED


def _list(request: ApiRequest, *, is_detailed: bool) -> Answer:
    request.enforce("backup:get_all")
    page = marked_page_of(request, backups.SORT_KEYS)
    with_count = request.version.at_least("3.45") and flag(request, "with_count")
    found = backups.list_backups(
        request.plane,
        request.context,
        _wanted(request),
        page,
        all_projects=all_projects(request),
        with_count=with_count,
    )
    items = [_view(request, item) if is_detailed else _summary(request, item) for item in found.items]
    body: dict[str, Any] = {"backups": items, **marked_links(request, page, items, "backups")}
    if found.count is not None:
        body["count"] = found.count
    return Answer(body)


def _wanted(request: ApiRequest) -> BackupFilter:
    refuse_unknown(request, "backup", _ALSO)
    query, version = request.query, request.version
    found: dict[str, Any] = {
        name: check_name(name, query[name]) for name in ("name", "status", "volume_id") if name in query
    }
    if "name~" in query and version.at_least("3.34"):
        found["name_like"] = check_name("name~", query["name~"])
    if "metadata" in query and not version.at_least("3.31"):
        found["metadata"] = parse_pairs("metadata", query["metadata"])
    if request.context.is_admin:
        found |= {name: query[name] for name in ("project_id", "host", "snapshot_id") if name in query}
        if "tenant_id" in query:
            found["project_id"] = query["tenant_id"]
    return BackupFilter(**found)


def _summary(request: ApiRequest, found: Backup) -> dict[str, Any]:
    return {"id": found.id, "name": found.name, "links": links(request.url, "backups", found.id)}


def _named(request: ApiRequest, found: Backup) -> dict[str, Any]:
    """What creating and changing answer."""
    view = _summary(request, found)
    if request.version.at_least("3.43"):
        view["metadata"] = found.metadata
    return view


def _view(request: ApiRequest, found: Backup) -> dict[str, Any]:
    version = request.version
    view: dict[str, Any] = {
        **_summary(request, found),
        "description": found.description,
        "status": found.status,
        "size": found.size_gib,
        "object_count": found.object_count,
        "availability_zone": found.availability_zone,
        "container": found.container,
        "created_at": stamp(found.created_at),
        "updated_at": stamp(found.updated_at),
        "fail_reason": found.fail_reason,
        "volume_id": found.volume_id,
        "is_incremental": found.is_incremental,
        "has_dependent_backups": found.has_dependents,
        "snapshot_id": found.snapshot_id,
        "data_timestamp": stamp(found.data_timestamp),
    }
    if version.at_least("3.18") and request.allows("backup:backup_project_attribute"):
        view["os-backup-project-attr:project_id"] = found.project_id
    if version.at_least("3.43"):
        view["metadata"] = found.metadata
    if version.at_least("3.56"):
        view["user_id"] = found.user_id
    if version.at_least("3.64") and found.encryption_key_id is not None:
        view["encryption_key_id"] = found.encryption_key_id
    return view


def _metadata(request: ApiRequest, items: dict[str, Any] | None) -> dict[str, str] | None:
    if items is None:
        return None
    if not request.version.at_least("3.43"):
        raise Invalid("Backups have 'metadata' since API version 3.43.")
    return check_metadata(items)


def _flag(name: str, value: Flag) -> bool:
    return value is not None and parse_flag(name, value)

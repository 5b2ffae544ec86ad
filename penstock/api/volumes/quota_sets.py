"""The resources ``os-quota-sets``, ``os-quota-class-sets`` and ``limits``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import check_name, parse_flag, parse_whole
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.domain.quotas import UNLIMITED
from penstock.domain.volume_quotas import VolumeResource as R
from penstock.errors import Invalid
from penstock.services.visibility import owner_of
from penstock.services.volumes import quotas

routes = Routes()

PROJECT = "os-quota-sets/{project_id}"
CLASS = "os-quota-class-sets/{class_name}"
ALSO_SENT = frozenset({"tenant_id", "project_id", "id", "class_name", "force", "skip_validation"})  # known, not read
LIMITS = {
    R.VOLUMES: ("maxTotalVolumes", "totalVolumesUsed"),
    R.GIGABYTES: ("maxTotalVolumeGigabytes", "totalGigabytesUsed"),
    R.SNAPSHOTS: ("maxTotalSnapshots", "totalSnapshotsUsed"),
    R.BACKUPS: ("maxTotalBackups", "totalBackupsUsed"),
    R.BACKUP_GIGABYTES: ("maxTotalBackupGigabytes", "totalBackupGigabytesUsed"),
}


@routes.get(PROJECT)
def show(request: ApiRequest) -> Answer:
    """The limits of a project, with ``usage`` also what it uses."""
    project_id = _project(request, "volume_extension:quotas:show")
    lines = quotas.show(request.plane, project_id)
    if not parse_flag("usage", request.query.get("usage", "false")):
        return Answer({"quota_set": {"id": project_id, **{name: line.limit for name, line in lines.items()}}})
    shown = {
        name: {"limit": line.limit, "in_use": line.usage.in_use, "reserved": line.usage.reserved}
        for name, line in lines.items()
    }
    return Answer({"quota_set": {"id": project_id, **shown}})


@routes.get("os-quota-sets/{project_id}/defaults")
def defaults(request: ApiRequest) -> Answer:
    """The limits where nothing is set."""
    project_id = _project(request, "volume_extension:quotas:show")
    return Answer({"quota_set": {"id": project_id, **quotas.defaults(request.plane)}})


@routes.put(PROJECT)
def update(request: ApiRequest) -> Answer:
    """Set limits."""
    project_id = _project(request, "volume_extension:quotas:update")
    lines = quotas.update(request.plane, project_id, _limits(request, "quota_set"))
    return Answer({"quota_set": {name: line.limit for name, line in lines.items()}})


@routes.delete(PROJECT)
def delete(request: ApiRequest) -> Answer:
    """Forget what was set."""
    quotas.delete(request.plane, _project(request, "volume_extension:quotas:delete"))
    return Answer(None, 200)


@routes.get(CLASS)
def show_class(request: ApiRequest) -> Answer:
    """The limits of a quota class."""
    request.enforce("volume_extension:quota_classes:get")
    name = request.params["class_name"]
    return Answer({"quota_class_set": {"id": name, **quotas.class_limits(request.plane, name)}})


@routes.put(CLASS)
def update_class(request: ApiRequest) -> Answer:
    """Set limits of a quota class; ``default`` holds for every project."""
    request.enforce("volume_extension:quota_classes:update")
    name = check_name("quota class", request.params["class_name"]) or ""
    return Answer({"quota_class_set": quotas.update_class(request.plane, name, _limits(request, "quota_class_set"))})


@routes.get("limits")
def limits(request: ApiRequest) -> Answer:
    """What a project may have and has: the caller's, or for administrators since 3.39 another. No rate limits."""
    request.enforce("limits_extension:used_limits")
    project_id, _ = owner_of(request.context)
    if request.version.at_least("3.39") and request.context.is_admin:
        project_id = request.query.get("project_id") or request.query.get("tenant_id") or project_id
    lines = quotas.show(request.plane, check_name("project_id", project_id) or "")
    absolute: dict[str, int] = {}
    for resource, (most, used) in LIMITS.items():
        line = lines[resource]
        absolute[most] = line.limit
        absolute[used] = line.usage.in_use + line.usage.reserved
    return Answer({"limits": {"rate": [], "absolute": absolute}})


def _project(request: ApiRequest, rule: str) -> str:
    project_id = check_name("project", request.params["project_id"]) or ""
    request.enforce(rule, {"project_id": project_id, "user_id": request.context.user_id})
    return project_id


def _limits(request: ApiRequest, envelope: str) -> dict[str, int]:
    body = request.body_as(dict[str, Any])
    fields = body.get(envelope)
    if not isinstance(fields, dict) or set(body) != {envelope}:
        raise Invalid(f"The body needs a '{envelope}', and nothing else.")
    found = {
        name: parse_whole(name, value, minimum=UNLIMITED) for name, value in fields.items() if name not in ALSO_SENT
    }
    if not found:
        raise Invalid(f"'{envelope}' is empty: there is nothing to set.")
    return found

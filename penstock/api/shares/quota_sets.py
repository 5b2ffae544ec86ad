"""The resources ``quota-sets`` and ``quota-class-sets`` (with ``os-`` in front before 2.7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.api.bodies import check_name
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.quota_bodies import change_of, known_in
from penstock.domain.quotas import QuotaResource
from penstock.errors import Invalid
from penstock.services import quotas
from penstock.services.quotas import QuotaLine, QuotaOwner

routes = Routes()


@routes.get("os-quota-sets/{project_id}", "2.0", "2.6")
@routes.get("quota-sets/{project_id}", "2.7")
def show(request: ApiRequest) -> Answer:
    """The limits of a project, a user of it, or a type in it."""
    owner = _owner(request)
    _enforce(request, "quota_set:show", owner)
    lines = quotas.show(request.plane, owner)
    return Answer({"quota_set": {"id": owner.project_id, **_limits(request, owner, lines)}})


@routes.get("quota-sets/{project_id}/detail", "2.25")
def detail(request: ApiRequest) -> Answer:
    """Limits with usage."""
    owner = _owner(request)
    _enforce(request, "quota_set:show", owner)
    lines = quotas.show(request.plane, owner)
    known = known_in(request.version, by_type=owner.share_type is not None)
    return Answer({"quota_set": {"id": owner.project_id, **{item: _detail(lines[item]) for item in known}}})


@routes.get("os-quota-sets/{project_id}/defaults", "2.0", "2.6")
@routes.get("quota-sets/{project_id}/defaults", "2.7")
def defaults(request: ApiRequest) -> Answer:
    """The limits where nothing is set."""
    owner = QuotaOwner(request.params["project_id"])
    _enforce(request, "quota_set:show", owner)
    limits = quotas.defaults(request.plane)
    return Answer({"quota_set": {"id": owner.project_id, **{item: limits[item] for item in known_in(request.version)}}})


@routes.put("os-quota-sets/{project_id}", "2.0", "2.6")
@routes.put("quota-sets/{project_id}", "2.7")
def update(request: ApiRequest) -> Answer:
    """Set limits."""
    owner = _owner(request)
    _enforce(request, "quota_set:update", owner)
    lines = quotas.update(request.plane, owner, change_of(request, "quota_set"))
    return Answer({"quota_set": _limits(request, owner, lines)})


@routes.delete("os-quota-sets/{project_id}", "2.0", "2.6")
@routes.delete("quota-sets/{project_id}", "2.7")
def delete(request: ApiRequest) -> Answer:
    """Forget what was set."""
    owner = _owner(request)
    _enforce(request, "quota_set:delete", owner)
    quotas.delete(request.plane, owner)
    return ACCEPTED


@routes.get("os-quota-class-sets/{class_name}", "2.0", "2.6")
@routes.get("quota-class-sets/{class_name}", "2.7")
def show_class(request: ApiRequest) -> Answer:
    """The limits of a quota class."""
    request.enforce("quota_class_set:show")
    name = request.params["class_name"]
    limits = quotas.class_limits(request.plane, name)
    return Answer({"quota_class_set": {"id": name, **{item: limits[item] for item in known_in(request.version)}}})


@routes.put("os-quota-class-sets/{class_name}", "2.0", "2.6")
@routes.put("quota-class-sets/{class_name}", "2.7")
def update_class(request: ApiRequest) -> Answer:
    """Set limits of a quota class; ``default`` holds for every project."""
    request.enforce("quota_class_set:update")
    name = check_name("quota class", request.params["class_name"]) or ""
    limits = quotas.update_class(request.plane, name, change_of(request, "quota_class_set").limits)
    return Answer({"quota_class_set": {item: limits[item] for item in known_in(request.version)}})


def _owner(request: ApiRequest) -> QuotaOwner:
    """Whose quota the path and query name. Raises Invalid."""
    project_id = check_name("project", request.params["project_id"]) or ""
    user_id = check_name("user_id", request.query.get("user_id"))
    share_type = request.query.get("share_type")
    if share_type is not None and not request.version.at_least("2.39"):
        raise Invalid("Quotas by 'share_type' are there since API version 2.39.")
    if user_id and share_type:
        raise Invalid("'user_id' and 'share_type' exclude each other.")
    return QuotaOwner(project_id, user_id or None, share_type or None)


def _enforce(request: ApiRequest, rule: str, owner: QuotaOwner) -> None:
    request.enforce(rule, {"project_id": owner.project_id, "user_id": owner.user_id or request.context.user_id})


def _limits(request: ApiRequest, owner: QuotaOwner, lines: Mapping[QuotaResource, QuotaLine]) -> dict[str, Any]:
    known = known_in(request.version, by_type=owner.share_type is not None)
    return {item: lines[item].limit for item in known}


def _detail(line: QuotaLine) -> dict[str, int]:
    return {"limit": line.limit, "in_use": line.usage.in_use, "reserved": line.usage.reserved}

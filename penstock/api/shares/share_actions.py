"""Actions on one share: ``POST shares/{share_id}/action``. Before 2.7 their names begin with ``os-``."""

from __future__ import annotations

from penstock.api.bodies import Flag, Name, Strict, Whole, parse_flag, parse_whole
from penstock.api.http import ACCEPTED, Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.plain_actions import plain_action, status_action
from penstock.services import manage, recycle_bin, share_lifecycle, share_sizes

routes = Routes()
ACTION = "shares/{share_id}/action"


class NewSize(Strict):
    """``{"new_size": 2, "force": false}``; ``force`` since 2.64."""

    new_size: Whole
    force: Flag = False


class NewTaskState(Strict):
    """``{"task_state": null}``"""

    task_state: Name | None


class Revert(Strict):
    """``{"snapshot_id": "..."}``"""

    snapshot_id: Name


@routes.action(ACTION, "os-extend", until="2.6")
@routes.action(ACTION, "extend", since="2.7")
def extend(request: ApiRequest) -> Answer:
    """Make a share larger."""
    request.enforce("share:extend")
    asked = request.body_as(NewSize)
    force = request.version.at_least("2.64") and asked.force is not None and parse_flag("force", asked.force)
    if force:
        request.enforce("share:force_extend")
    new_size_gib = parse_whole("new_size", asked.new_size, minimum=1)
    share_sizes.extend(request.plane, request.context, request.params["share_id"], new_size_gib, force=force)
    return ACCEPTED


@routes.action(ACTION, "os-shrink", until="2.6")
@routes.action(ACTION, "shrink", since="2.7")
def shrink(request: ApiRequest) -> Answer:
    """Make a share smaller."""
    request.enforce("share:shrink")
    new_size_gib = parse_whole("new_size", request.body_as(NewSize).new_size, minimum=1)
    share_sizes.shrink(request.plane, request.context, request.params["share_id"], new_size_gib)
    return ACCEPTED


plain_action(routes, ACTION, "force_delete", "share:force_delete", share_lifecycle.force_delete, has_old_name=True)
plain_action(routes, ACTION, "soft_delete", "share:soft_delete", recycle_bin.put, since="2.69")
plain_action(routes, ACTION, "restore", "share:restore", recycle_bin.restore, since="2.69")
status_action(routes, ACTION, "share:reset_status", share_lifecycle.reset_status)


@routes.action(ACTION, "reset_task_state", since="2.22", experimental=True)
def reset_task_state(request: ApiRequest) -> Answer:
    """Write the state of a migration by hand."""
    request.enforce("share:reset_task_state")
    task_state = request.body_as(NewTaskState).task_state
    share_lifecycle.reset_task_state(request.plane, request.context, request.params["share_id"], task_state)
    return ACCEPTED


@routes.action(ACTION, "revert", since="2.27")
def revert(request: ApiRequest) -> Answer:
    """Go back to the latest snapshot."""
    request.enforce("share:revert_to_snapshot")
    snapshot_id = request.body_as(Revert).snapshot_id
    share_lifecycle.revert(request.plane, request.context, request.params["share_id"], snapshot_id)
    return ACCEPTED


unmanage = plain_action(routes, ACTION, "unmanage", "share:unmanage", manage.unmanage_share)


@routes.post("os-share-unmanage/{share_id}/unmanage", until="2.6")
def unmanage_legacy(request: ApiRequest) -> Answer:
    """The same, where it was before 2.7."""
    return unmanage(request)

"""The resource ``shares``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import next_links, page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.share_filters import flag, wanted_shares
from penstock.api.shares.share_requests import new_share, share_change
from penstock.api.shares.share_views import one, summary, view_of
from penstock.services import share_creation, share_lifecycle, shares

routes = Routes()


@routes.get("shares")
def list_summary(request: ApiRequest) -> Answer:
    """Shares by id and name."""
    url = request.url
    return _list(request, lambda shown: summary(shown, url), with_paths=False)


@routes.get("shares/detail")
def list_detail(request: ApiRequest) -> Answer:
    """Shares with all their fields."""
    view, url = view_of(request), request.url
    return _list(request, lambda shown: view.detail(shown, url), with_paths=view.has_paths)


@routes.post("shares")
def create(request: ApiRequest) -> Answer:
    """Create a share."""
    request.enforce("share:create")
    share = share_creation.create(request.plane, request.context, new_share(request))
    return Answer(one(request, shares.shown(request.plane, share)))


@routes.get("shares/{share_id}")
def show(request: ApiRequest) -> Answer:
    """One share."""
    request.enforce("share:get")
    has_paths = view_of(request).has_paths
    return Answer(
        one(request, shares.show(request.plane, request.context, request.params["share_id"], with_paths=has_paths))
    )


@routes.put("shares/{share_id}")
def update(request: ApiRequest) -> Answer:
    """Change name, description or visibility."""
    request.enforce("share:update")
    share = shares.update(request.plane, request.context, request.params["share_id"], share_change(request))
    return Answer(one(request, shares.shown(request.plane, share, with_paths=view_of(request).has_paths)))


@routes.delete("shares/{share_id}")
def delete(request: ApiRequest) -> Answer:
    """Delete a share."""
    request.enforce("share:delete")
    group_id = request.query.get("share_group_id") if request.version.at_least("2.31") else None
    share_lifecycle.delete(request.plane, request.context, request.params["share_id"], group_id=group_id)
    return ACCEPTED


def _list(request: ApiRequest, show_one: Callable[[shares.Shown], dict[str, Any]], *, with_paths: bool) -> Answer:
    request.enforce("share:get_all")
    page = page_of(request, shares.SORT_KEYS)
    listed = shares.list_shares(
        request.plane,
        request.context,
        wanted_shares(request),
        page,
        all_projects=flag(request, "all_tenants") and request.allows("share:list_all_projects"),
        with_count=request.version.at_least("2.42") and flag(request, "with_count"),
        with_paths=with_paths,
    )
    items = [show_one(shown) for shown in listed.items]
    body: dict[str, Any] = {"shares": items, **next_links(request, page, items, "shares")}
    if listed.count is not None:
        body["count"] = listed.count
    return Answer(body)

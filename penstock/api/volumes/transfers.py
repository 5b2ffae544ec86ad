"""The resources ``os-volume-transfer`` and, since 3.55, ``volume-transfers``, which are the same."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, check_name, parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.links import links
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.api.volumes.volume_filters import all_projects
from penstock.api.volumes.volume_requests import stripped
from penstock.domain.volume_transfers import VolumeTransfer
from penstock.errors import Invalid
from penstock.services.paging import KeysetPage
from penstock.services.volumes import transfers
from penstock.services.volumes.transfers import NewTransfer

routes = Routes()

OLD, NEW = "os-volume-transfer", "volume-transfers"
LONGEST_KEY = 255


class CreateFields(Strict):
    """Which volume; `no_snapshots` since 3.55."""

    volume_id: Name
    name: Name | None = None
    no_snapshots: Flag = None


class CreateBody(Strict):
    """``{"transfer": {...}}``"""

    transfer: CreateFields


class AcceptFields(Strict):
    """The key that was told."""

    auth_key: str


class AcceptBody(Strict):
    """``{"accept": {...}}``"""

    accept: AcceptFields


@routes.get(OLD)
@routes.get(NEW, "3.55")
def index(request: ApiRequest) -> Answer:
    """Offers by id and name."""
    return _list(request, is_detailed=False)


@routes.get(f"{OLD}/detail")
@routes.get(f"{NEW}/detail", "3.55")
def detail(request: ApiRequest) -> Answer:
    """Offers with all their fields."""
    return _list(request, is_detailed=True)


@routes.post(OLD)
@routes.post(NEW, "3.55")
def create(request: ApiRequest) -> Answer:
    """Offer a volume."""
    request.enforce("volume:create_transfer")
    asked = request.body_as(CreateBody).transfer
    if asked.no_snapshots is not None and not request.version.at_least("3.55"):
        raise Invalid("Transfers have 'no_snapshots' since API version 3.55.")
    no_snapshots = asked.no_snapshots is not None and parse_flag("no_snapshots", asked.no_snapshots)
    wanted = NewTransfer(asked.volume_id, stripped(asked.name), no_snapshots)
    made, key = transfers.create(request.plane, request.context, wanted)
    return Answer({"transfer": {**_view(request, made), "auth_key": key}}, 202)


@routes.get(f"{OLD}/{{transfer_id}}")
@routes.get(f"{NEW}/{{transfer_id}}", "3.55")
def show(request: ApiRequest) -> Answer:
    """One offer."""
    request.enforce("volume:get_transfer")
    found = transfers.get(request.plane, request.context, request.params["transfer_id"])
    return Answer({"transfer": _view(request, found)})


@routes.post(f"{OLD}/{{transfer_id}}/accept")
@routes.post(f"{NEW}/{{transfer_id}}/accept", "3.55")
def accept(request: ApiRequest) -> Answer:
    """Take the volume."""
    request.enforce("volume:accept_transfer")
    key = request.body_as(AcceptBody).accept.auth_key
    if not key or len(key) > LONGEST_KEY:
        raise Invalid("'auth_key' is the text that was told when the transfer was made.")
    taken = transfers.accept(request.plane, request.context, request.params["transfer_id"], key)
    return Answer({"transfer": _summary(request, taken)}, 202)


@routes.delete(f"{OLD}/{{transfer_id}}")
@routes.delete(f"{NEW}/{{transfer_id}}", "3.55")
def delete(request: ApiRequest) -> Answer:
    """Take the offer back."""
    request.enforce("volume:delete_transfer")
    transfers.delete(request.plane, request.context, request.params["transfer_id"])
    return ACCEPTED


def _list(request: ApiRequest, *, is_detailed: bool) -> Answer:
    request.enforce("volume:get_all_transfers")
    in_parts = request.version.at_least("3.59")
    page = marked_page_of(request, transfers.SORT_KEYS) if in_parts else KeysetPage()
    found = transfers.list_transfers(
        request.plane,
        request.context,
        page,
        name=check_name("name", request.query.get("name")),
        volume_id=check_name("volume_id", request.query.get("volume_id")),
        all_projects=all_projects(request),
    )
    items = [_view(request, item) if is_detailed else _summary(request, item) for item in found]
    further = marked_links(request, page, items, "transfers") if in_parts else {}
    return Answer({"transfers": items, **further})


def _summary(request: ApiRequest, found: VolumeTransfer) -> dict[str, Any]:
    collection = NEW if request.path.startswith(NEW) else OLD
    return {
        "id": found.id,
        "volume_id": found.volume_id,
        "name": found.name,
        "links": links(request.url, collection, found.id),
    }


def _view(request: ApiRequest, found: VolumeTransfer) -> dict[str, Any]:
    view = {**_summary(request, found), "created_at": stamp(found.created_at)}
    if request.version.at_least("3.55"):
        view["no_snapshots"] = found.no_snapshots
    if request.version.at_least("3.57"):
        view |= {"source_project_id": found.source_project_id, "destination_project_id": None, "accepted": False}
    return view

"""The resource ``volumes``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import parse_flag
from penstock.api.http import ACCEPTED, Answer
from penstock.api.paging import marked_links, marked_page_of
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.volumes.volume_filters import all_projects, flag, wanted_volumes
from penstock.api.volumes.volume_requests import new_volume, volume_change
from penstock.api.volumes.volume_views import one, summary, view_of
from penstock.errors import NotFound
from penstock.services.paging import KeysetPage
from penstock.services.volume_types import encryption
from penstock.services.volumes import creation, lifecycle, listing, volumes

routes = Routes()


@routes.get("volumes")
def list_summary(request: ApiRequest) -> Answer:
    """Volumes by id and name."""
    request.enforce("volume:get_all")
    page = marked_page_of(request, volumes.SORT_KEYS)
    found = listing.list_names(
        request.plane,
        request.context,
        wanted_volumes(request),
        page,
        all_projects=all_projects(request),
        with_count=_with_count(request),
    )
    items = [summary(line, request.url) for line in found.items]
    return _listed(request, page, items, found.count)


@routes.get("volumes/detail")
def list_detail(request: ApiRequest) -> Answer:
    """Volumes with all their fields."""
    request.enforce("volume:get_all")
    page = marked_page_of(request, volumes.SORT_KEYS)
    found = listing.list_shown(
        request.plane,
        request.context,
        wanted_volumes(request),
        page,
        all_projects=all_projects(request),
        with_count=_with_count(request),
    )
    view, url = view_of(request), request.url
    items = [view.detail(shown, url) for shown in found.items]
    return _listed(request, page, items, found.count)


@routes.get("volumes/summary", "3.12")
def summed(request: ApiRequest) -> Answer:
    """How many volumes there are and their GiB, since 3.36 with the values of their metadata."""
    request.enforce("volume:get_all")
    found = volumes.summary(request.plane, request.context, wanted_volumes(request), all_projects=all_projects(request))
    view: dict[str, Any] = {"total_count": found.count, "total_size": found.gib}
    if request.version.at_least("3.36"):
        view["metadata"] = found.metadata
    return Answer({"volume-summary": view})


@routes.post("volumes")
def create(request: ApiRequest) -> Answer:
    """Create a volume."""
    request.enforce("volume:create")
    made = creation.create_typed(request.plane, request.context, new_volume(request))
    return Answer(one(request, listing.new_shown(made), is_detailed=False), 202)


@routes.get("volumes/{volume_id}")
def show(request: ApiRequest) -> Answer:
    """One volume."""
    request.enforce("volume:get")
    return Answer(one(request, listing.show(request.plane, request.context, request.params["volume_id"])))


@routes.put("volumes/{volume_id}")
def update(request: ApiRequest) -> Answer:
    """Change name, description or metadata."""
    request.enforce("volume:update")
    volume = volumes.update(request.plane, request.context, request.params["volume_id"], volume_change(request))
    return Answer(one(request, listing.shown(request.plane, volume), is_detailed=False))


@routes.delete("volumes/{volume_id}")
def delete(request: ApiRequest) -> Answer:
    """Delete a volume, with ``cascade`` its snapshots too, with ``force`` (since 3.23) in any state."""
    request.enforce("volume:delete")
    force = request.version.at_least("3.23") and flag(request, "force")
    if force:
        request.enforce("volume:force_delete")
    cascade = flag(request, "cascade")
    lifecycle.delete(request.plane, request.context, request.params["volume_id"], cascade=cascade, force=force)
    return ACCEPTED


@routes.get("volumes/{volume_id}/encryption")
def show_encryption(request: ApiRequest) -> Answer:
    """How the volume is encrypted."""
    return Answer(_encryption(request))


@routes.get("volumes/{volume_id}/encryption/{key}")
def show_encryption_field(request: ApiRequest) -> Answer:
    """One field of that, as bare text."""
    found, key = _encryption(request), request.params["key"]
    if key not in found:
        raise NotFound(f"The encryption of the volume has no '{key[:64]}'.")
    return Answer(str(found[key] or "").encode())


def _encryption(request: ApiRequest) -> dict[str, Any]:
    request.enforce("volume_extension:volume_encryption_metadata")
    volume = volumes.get(request.plane, request.context, request.params["volume_id"])
    found: dict[str, Any] = {"encryption_key_id": volume.encryption_key_id}
    if volume.encryption_key_id is None or volume.volume_type_id is None:
        return found
    of_type = encryption.get(request.plane, request.context.elevated(), volume.volume_type_id)
    if of_type is not None:
        found |= {
            "control_location": of_type.control_location,
            "cipher": of_type.cipher,
            "key_size": of_type.key_size_bits,
            "provider": of_type.provider,
        }
    return found


def _with_count(request: ApiRequest) -> bool:
    text = request.query.get("with_count")
    return text is not None and request.version.at_least("3.45") and parse_flag("with_count", text)


def _listed(request: ApiRequest, page: KeysetPage, items: list[dict[str, Any]], count: int | None) -> Answer:
    body: dict[str, Any] = {"volumes": items, **marked_links(request, page, items, "volumes")}
    if count is not None:
        body["count"] = count
    return Answer(body)

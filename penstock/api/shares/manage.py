"""Take existing shares under management: ``shares/manage``, before 2.7 ``os-share-manage``."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import Flag, Name, Strict, Text, check_pairs, parse_flag
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.share_views import one, view_of
from penstock.errors import Unprocessable
from penstock.services import manage, shares

routes = Routes()
LONGEST_PATH = 1024
LONGEST_PROTOCOL = 32


class ManageFields(Strict):
    """An existing export; ``is_public`` since 2.8. Some clients send a whole export location as its path."""

    service_host: Name
    export_path: str | dict[str, Any]
    protocol: Name
    share_type: Name | None = None
    name: Name | None = None
    display_name: Name | None = None
    description: Text | None = None
    display_description: Text | None = None
    is_public: Flag = False
    driver_options: dict[str, Any] | None = None
    share_server_id: Name | None = None
    mount_point_name: Name | None = None


class ManageBody(Strict):
    """``{"share": {...}}``"""

    share: ManageFields


@routes.post("os-share-manage", until="2.6")
@routes.post("shares/manage", since="2.7")
def manage_share(request: ApiRequest) -> Answer:
    """Accept an existing export as a share."""
    request.enforce("share:manage")
    asked = request.body_as(ManageBody).share
    export_path = _path(asked.export_path)
    _check_texts(asked, export_path)
    is_public = request.version.at_least("2.8") and parse_flag("is_public", asked.is_public or False)
    if is_public:
        request.enforce("share:create_public_share")
    existing = manage.ExistingShare(
        service_host=asked.service_host,
        export_path=export_path,
        protocol=asked.protocol,
        share_type=asked.share_type or None,
        name=asked.display_name if asked.display_name is not None else asked.name,
        description=asked.display_description if asked.display_description is not None else asked.description,
        is_public=is_public,
        driver_options=driver_options(asked.driver_options),
    )
    share = manage.manage_share(request.plane, request.context, existing)
    return Answer(one(request, shares.shown(request.plane, share, with_paths=view_of(request).has_paths)))


def driver_options(asked: dict[str, Any] | None) -> dict[str, str]:
    """Pairs for the driver; clients write numbers as numbers, drivers are given text. Raises Invalid."""
    texts = {key: str(value) if isinstance(value, int | float) else value for key, value in (asked or {}).items()}
    return check_pairs("driver_options", texts)


def _path(asked: str | dict[str, Any]) -> str:
    """The path itself. Raises Unprocessable."""
    path = asked.get("path") if isinstance(asked, dict) else asked
    if not isinstance(path, str):
        raise Unprocessable("'export_path' must be a path, or an export location with its 'path'.")
    return path


def _check_texts(asked: ManageFields, export_path: str) -> None:
    for name, text in (
        ("service_host", asked.service_host),
        ("export_path", export_path),
        ("protocol", asked.protocol),
    ):
        if not text.strip():
            raise Unprocessable(f"'{name}' must not be empty.")
    if not export_path.isprintable() or len(export_path) > LONGEST_PATH:
        raise Unprocessable(f"'export_path' must be one line of at most {LONGEST_PATH} printable characters.")
    if len(asked.protocol) > LONGEST_PROTOCOL:
        raise Unprocessable(f"'protocol' must have at most {LONGEST_PROTOCOL} characters.")

"""Lists in parts: ``limit``, ``offset``, ``marker``, ``sort_key``, ``sort_dir``, and the link to the next part.

The share API goes on by ``offset``, the volume API by ``marker`` and with several keys in ``sort``.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode

from penstock.api.request import ApiRequest
from penstock.errors import Invalid
from penstock.services.paging import KeysetPage, Page

DIRECTIONS = ("desc", "asc")
MOST_SORT_KEYS = 8


def page_of(
    request: ApiRequest, sort_keys: Collection[str], *, sort_key: str = "created_at", descending: bool = True
) -> Page:
    """The part of a list that the query asks for, never more than ``osapi_max_limit`` items.

    Raises Invalid for a limit or offset that is not a number or is negative, and for an unknown key or direction.
    """
    most = int(request.plane.conf.osapi_max_limit)
    limit = _number(request, "limit", 0)  # as published, 0 means no limit of the client's own
    wanted_key = request.query.get("sort_key") or sort_key
    direction = (request.query.get("sort_dir") or ("desc" if descending else "asc")).lower()
    if wanted_key not in sort_keys:
        raise Invalid(f"Cannot sort by '{wanted_key[:64]}'; possible are {', '.join(sorted(sort_keys))}.")
    if direction not in DIRECTIONS:
        raise Invalid(f"'sort_dir' must be 'asc' or 'desc', not '{direction[:64]}'.")
    return Page(
        limit=min(limit, most) if limit else most,
        offset=_number(request, "offset", 0) or 0,
        sort_key=wanted_key,
        descending=direction == "desc",
    )


def next_links(
    request: ApiRequest, page: Page, items: Sequence[dict[str, Any]], collection: str
) -> dict[str, list[dict[str, str]]]:
    """``{"<collection>_links": [{"rel": "next", ...}]}`` when the part is full and the client asked for parts.

    The link goes on by ``marker`` when the client came with one, else by ``offset``.
    """
    if not items or page.limit is None or len(items) < page.limit or "limit" not in request.query:
        return {}
    query = {key: value for key, value in request.query.items() if key not in ("offset", "marker")}
    if "marker" in request.query:
        query["marker"] = str(items[-1]["id"])
    else:
        query["offset"] = str(page.offset + len(items))
    href = f"{request.url}/{request.path}?{urlencode(query)}"
    return {f"{collection}_links": [{"rel": "next", "href": href}]}


def marked_page_of(
    request: ApiRequest,
    sort_keys: Collection[str],
    *,
    names: Mapping[str, str] | None = None,
    sort_key: str = "created_at",
) -> KeysetPage:
    """The part of a list that the query asks for by ``marker``, never more than ``osapi_max_limit`` items.

    `names` says what some published keys are called inside; `sort_key` is the one where the query names none.

    Raises Invalid for a limit or offset that is not a number or is negative, and for an unknown key or direction.
    """
    most = int(request.plane.conf.osapi_max_limit)
    limit = _number(request, "limit", 0)
    return KeysetPage(
        limit=most if limit is None else min(limit, most),
        offset=_number(request, "offset", 0) or 0,
        marker=request.query.get("marker") or None,
        sort=tuple(
            ((names or {}).get(key, key), descending) for key, descending in _sort(request, sort_keys, sort_key)
        ),
    )


def marked_links(
    request: ApiRequest, page: KeysetPage, items: Sequence[dict[str, Any]], collection: str
) -> dict[str, list[dict[str, str]]]:
    """``{"<collection>_links": [{"rel": "next", ...}]}`` when the part is full, also when it is the last."""
    if not items or page.limit is None or len(items) < page.limit:
        return {}
    query = {key: value for key, value in request.query.items() if key not in ("offset", "marker")}
    query["marker"] = str(items[-1]["id"])
    return {f"{collection}_links": [{"rel": "next", "href": f"{request.url}/{request.path}?{urlencode(query)}"}]}


def _sort(request: ApiRequest, sort_keys: Collection[str], usual: str) -> tuple[tuple[str, bool], ...]:
    text = request.query.get("sort")
    if text is None:
        pairs = [(request.query.get("sort_key") or usual, request.query.get("sort_dir") or "desc")]
    elif "sort_key" in request.query or "sort_dir" in request.query:
        raise Invalid("'sort' and 'sort_key' or 'sort_dir' exclude each other.")
    else:
        parts = [part.strip().partition(":") for part in text.split(",") if part.strip()]
        pairs = [(key.strip(), direction.strip() or "desc") for key, _, direction in parts]
    if not pairs or len(pairs) > MOST_SORT_KEYS:
        raise Invalid(f"'sort' must name 1 to {MOST_SORT_KEYS} keys, such as 'name:asc,created_at:desc'.")
    for key, direction in pairs:
        if key not in sort_keys:
            raise Invalid(f"Cannot sort by '{key[:64]}'; possible are {', '.join(sorted(sort_keys))}.")
        if direction not in DIRECTIONS:
            raise Invalid(f"The direction of sorting must be 'asc' or 'desc', not '{direction[:64]}'.")
    return tuple((key, direction == "desc") for key, direction in pairs)


def _number(request: ApiRequest, name: str, minimum: int) -> int | None:
    text = request.query.get(name)
    if text is None:
        return None
    if not (text.isascii() and text.isdigit()) or len(text) > 18 or int(text) < minimum:
        raise Invalid(f"'{name}' must be a whole number, at least {minimum}, not '{text[:64]}'.")
    return int(text)

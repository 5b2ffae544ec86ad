"""The two links every resource carries: itself, and the same without the version."""

from __future__ import annotations

import re
from functools import lru_cache

_VERSION = re.compile(r"/v[23](?=/|$)")


def links(url: str, collection: str, resource_id: str) -> list[dict[str, str]]:
    """``self`` and ``bookmark`` of a resource. `url` ends in the API's version, or in that and a project id."""
    return [
        {"rel": "self", "href": f"{url}/{collection}/{resource_id}"},
        {"rel": "bookmark", "href": f"{_unversioned(url)}/{collection}/{resource_id}"},
    ]


@lru_cache(maxsize=1024)
def _unversioned(url: str) -> str:
    return _VERSION.sub("", url, count=1)

"""The two links every resource carries: itself, and the same without the version."""

from __future__ import annotations


def links(url: str, collection: str, resource_id: str) -> list[dict[str, str]]:
    """``self`` and ``bookmark`` of a resource. `url` ends in ``/v2`` or ``/v2/<project id>``."""
    root, _, rest = url.partition("/v2")
    return [
        {"rel": "self", "href": f"{url}/{collection}/{resource_id}"},
        {"rel": "bookmark", "href": f"{root}{rest}/{collection}/{resource_id}"},
    ]

"""The version documents: what a client reads before it has a token."""

from __future__ import annotations

from typing import Any

from penstock.api.http import Answer, HttpRequest
from penstock.api.microversion import SHARES, VOLUMES, Negotiation

IDENTITY_VERSION = "v3.14"
_UPDATED = "2015-08-27T11:33:21Z"  # the published date of v2 of the share API
_VOLUME_UPDATED = "2023-08-31T00:00:00Z"  # that of v3 of the volume API


def share_versions(request: HttpRequest) -> Answer:
    """``GET /v2/``: the one version there."""
    return Answer({"versions": [_share_version(request.base_url)]}, route="/v2")


def all_versions(request: HttpRequest) -> Answer:
    """``GET /``: every API of this address, so that ``http://host:port`` does as an authentication URL too.

    The current share version comes first: python-manilaclient takes the first one whose status is CURRENT.
    """
    body = {"versions": [_share_version(request.base_url), identity_version(f"{request.base_url}/v3")]}
    return Answer(body, 300, route="/")


def identity_version(url: str) -> dict[str, Any]:
    """The version document of Identity v3 at `url`."""
    return {
        "id": IDENTITY_VERSION,
        "status": "stable",
        "updated": "2020-04-07T00:00:00Z",
        "links": [{"rel": "self", "href": f"{url}/"}],
        "media-types": [{"base": "application/json", "type": "application/vnd.openstack.identity-v3+json"}],
    }


def volume_versions(request: HttpRequest) -> Answer:
    """``GET /volume/v3/``, and ``GET /volume/`` but for its status: the one version there."""
    return Answer({"versions": [_volume_version(request.base_url)]}, route="/volume/v3")


def _share_version(base_url: str) -> dict[str, Any]:
    return _version("v2.0", SHARES, _UPDATED, f"{base_url}/v2/", "application/vnd.openstack.share+json;version=1")


def _volume_version(base_url: str) -> dict[str, Any]:
    media = "application/vnd.openstack.volume+json;version=3"
    return _version("v3.0", VOLUMES, _VOLUME_UPDATED, f"{base_url}/volume/v3/", media)


def _version(name: str, negotiation: Negotiation, updated: str, url: str, media: str) -> dict[str, Any]:
    return {
        "id": name,
        "status": "CURRENT",
        "version": str(negotiation.newest),
        "min_version": str(negotiation.oldest),
        "updated": updated,
        "links": [
            {"rel": "describedby", "type": "text/html", "href": "https://docs.openstack.org/"},
            {"rel": "self", "href": url},
        ],
        "media-types": [{"base": "application/json", "type": media}],
    }

"""The Shared File Systems API under ``/v2``."""

from __future__ import annotations

from penstock.api.microversion import EXPERIMENTAL_HEADER, SHARES
from penstock.api.storage_api import ApiKind
from penstock.api.versions import share_versions

SHARE_API = ApiKind("v2", SHARES, share_versions, EXPERIMENTAL_HEADER)

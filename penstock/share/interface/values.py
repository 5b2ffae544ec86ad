"""The words the interface's signatures use."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from penstock.domain.driver_words import Context, Updates

ExportLocation = Mapping[str, Any]
"""``path`` and, if wanted, ``is_admin_only``, ``preferred`` and ``metadata`` (text to text)."""

ShareServer = Any
"""The share server of a backend that makes them, else None."""

__all__ = ["Context", "ExportLocation", "ShareServer", "Updates"]

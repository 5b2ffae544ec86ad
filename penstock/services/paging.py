"""The part of a list a client asks for, as the use cases take it."""

from __future__ import annotations

from penstock.store.shares import Page

__all__ = ["Page"]

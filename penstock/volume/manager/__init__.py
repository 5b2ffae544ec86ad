"""The volume manager: rows → driver → rows."""

from __future__ import annotations

from penstock.volume.manager.manager import VolumeManager

__all__ = ["VolumeManager"]

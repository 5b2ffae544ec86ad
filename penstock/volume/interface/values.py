"""The words the interface's signatures use."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from penstock.domain.driver_words import Context, Updates

Connector = Mapping[str, Any]
"""Who wants to connect, as os-brick tells it: ``host``, ``ip``, ``initiator`` (an IQN), ``multipath`` and so on."""

ConnectionInfo = Mapping[str, Any]
"""``driver_volume_type`` and ``data``, as os-brick wants them to connect."""

VolumeUpdates = Sequence[Updates]
"""One model update for each volume or snapshot, each with its ``id``."""

__all__ = ["ConnectionInfo", "Connector", "Context", "Updates", "VolumeUpdates"]

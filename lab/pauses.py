"""How long to wait between two looks at a real machine."""

from __future__ import annotations

import time

SHARE = 0.05


def pause(waited_s: float, shortest_s: float) -> None:
    """What takes long is asked less often, so that asking does not take the processor from what is waited for."""
    time.sleep(max(shortest_s, SHARE * waited_s))

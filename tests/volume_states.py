"""Waiting for the state of a volume, snapshot or backup that a stock client of either kind looks at."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import cinderclient.exceptions
import openstack.exceptions

from tests.waiting import until as until_so


def until(look: Callable[[], Any], status: str = "available", *, wait_s: float = 300) -> Any:
    """What `look` finds, once it has that status; it may be gone when that is ``deleted``, and must not be in error."""

    def found() -> Any:
        try:
            seen = look()
        except (cinderclient.exceptions.NotFound, openstack.exceptions.NotFoundException):
            assert status == "deleted"
            return None
        assert seen.status == status or "error" not in seen.status, seen
        return seen

    return until_so(found, lambda seen: seen is None or seen.status == status, timeout_s=wait_s)

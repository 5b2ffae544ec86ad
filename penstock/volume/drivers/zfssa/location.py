"""The place a backend names to others, so that volumes can be migrated to it: published form, without credentials."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Self

from penstock.volume.drivers.zfssa.options import Settings

_FORM = re.compile(r"(\[[^\]]+\]|[^:]*):([^:]*):([^:]*):([^:]*):([^:]*):(.*)")


@dataclass(frozen=True, slots=True)
class Location:
    """``host:credentials:pool:project:target group:replication address``.

    The published driver puts the password into the second field, where the scheduler and every log can read it. Ours is
    empty: who migrates takes the credentials from its own configuration.
    """

    host: str
    pool: str
    project: str
    target_group: str
    replication_ip: str

    @classmethod
    def of(cls, settings: Settings) -> Self:
        """This backend's."""
        group, address = settings.target_group, settings.replication_ip
        return cls(settings.address.host, settings.pool, settings.project, group, address)

    @classmethod
    def parsed(cls, text: object) -> Self | None:
        """Another backend's; None when it is not of this form, whoever wrote it."""
        found = _FORM.fullmatch(text) if isinstance(text, str) else None
        if found is None or not all((found[1], found[3], found[4], found[5])):
            return None
        return cls(found[1].strip("[]"), found[3], found[4], found[5], found[6])

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return ":".join((host, "", self.pool, self.project, self.target_group, self.replication_ip))

"""Where a share can live: ``host@backend#pool``, and what each pool last reported."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from penstock.errors import Invalid


@dataclass(frozen=True, slots=True, order=True)
class PoolRef:
    """A pool's full name. Raises Invalid when parsed from text that lacks a part."""

    host: str
    backend: str
    pool: str

    @classmethod
    def parse(cls, text: str) -> PoolRef:
        """From ``host@backend#pool``."""
        service, hash_, pool = text.partition("#")
        host, at, backend = service.partition("@")
        if not (hash_ and at and host and backend and pool):
            raise Invalid(f"'{text}' is not of the form host@backend#pool.")
        return cls(host, backend, pool)

    @property
    def service_host(self) -> str:
        """``host@backend``: the backend whose worker serves the pool."""
        return f"{self.host}@{self.backend}"

    def __str__(self) -> str:
        return f"{self.host}@{self.backend}#{self.pool}"


def service_host(host: str) -> str:
    """The ``host@backend`` part of a pool or service name."""
    return host.partition("#")[0]


@dataclass(frozen=True, slots=True)
class PoolReport:
    """What a driver reported of one pool, as the published capabilities dictionary.

    `capabilities` always has ``total_capacity_gb`` and ``free_capacity_gb`` (floats, GiB, usable),
    ``reserved_percentage``, ``thin_provisioning``, ``max_over_subscription_ratio``, ``share_backend_name``,
    ``storage_protocol``, ``driver_handles_share_servers``, ``snapshot_support`` and the rest of the published names.
    """

    ref: PoolRef
    capabilities: dict[str, Any]
    reported_at: datetime

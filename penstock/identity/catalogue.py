"""The catalogue: which services there are and where. Data, so that a new service is one more row."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

INTERFACES = ("public", "internal", "admin")
_NAMESPACE = uuid.UUID("9c6d8a52-3a0e-4d5e-9f5b-0c1c6f0a7d11")


@dataclass(frozen=True, slots=True)
class Service:
    """A service as clients look for it. `path` is below the address of this process."""

    type: str
    name: str
    path: str

    @property
    def id(self) -> str:
        """The same on every start and host."""
        return uuid.uuid5(_NAMESPACE, self.type).hex


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is, for one interface."""

    service: Service
    interface: str
    region: str
    url: str

    @property
    def id(self) -> str:
        """The same on every start and host."""
        return uuid.uuid5(_NAMESPACE, f"{self.service.type} {self.interface} {self.region}").hex


SERVICES = (
    Service("identity", "keystone", "/v3"),
    Service("shared-file-system", "manila", "/v2"),
    Service("sharev2", "manilav2", "/v2"),
    Service("block-storage", "cinder", "/volume/v3"),
    Service("volumev3", "cinderv3", "/volume/v3"),
)


def endpoints(base_url: str, region: str) -> list[Endpoint]:
    """Every endpoint, at the address under which the client sees us."""
    return [
        Endpoint(service, interface, region, f"{base_url}{service.path}")
        for service in SERVICES
        for interface in INTERFACES
    ]

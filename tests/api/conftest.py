"""A control plane in memory, an application over it, and clients that already hold a token."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.clock import ManualClock
from penstock.config.loading import load
from penstock.domain.pools import PoolRef, PoolReport
from penstock.errors import Unauthorized
from penstock.identity.callers import Caller
from penstock.identity.passwords import Passwords
from penstock.images.choosing import image_service
from penstock.operations.queue import OperationQueue
from penstock.services.control_plane import ControlPlane
from penstock.store import backends
from tests.databases import in_memory

ADMIN_PROJECT = "a" * 32
PROJECT = "1" * 32
OTHER_PROJECT = "2" * 32
USER = "b" * 32
FAR = datetime(2100, 1, 1)
QUICK = Passwords(memory_kib=8, passes=1)  # argon2 with the least work: tests hash many passwords

CALLERS = {
    "admin": Caller("ad" * 16, "admin", ADMIN_PROJECT, "admin", ("admin", "member", "reader"), FAR),
    "member": Caller(USER, "ann", PROJECT, "one", ("member", "reader"), FAR),
    "reader": Caller("c" * 32, "rea", PROJECT, "one", ("reader",), FAR),
    "other": Caller("d" * 32, "oto", OTHER_PROJECT, "two", ("member", "reader"), FAR),
    "unscoped": Caller("e" * 32, "uma", None, None, (), FAR),
}


class FixedTokens:
    """A token checker whose tokens are the names in CALLERS."""

    def check(self, token: str) -> Caller:
        if token not in CALLERS:
            raise Unauthorized("The token is not valid.")
        return CALLERS[token]


@dataclass
class Client:
    """Speaks JSON as one caller in one version; `version` None sends no version header."""

    http: TestClient
    token: str | None
    version: str | None = "2.75"
    headers: dict[str, str] = field(default_factory=dict)
    prefix: str = "/v2"
    version_header: str = "X-OpenStack-Manila-API-Version"
    service: str = ""

    def at(self, version: str | None, **headers: str) -> Client:
        return replace(self, version=version, headers=headers)

    def request(self, method: str, path: str, body: Any = None, **options: Any) -> Any:
        headers = dict(self.headers)
        if self.token is not None:
            headers["X-Auth-Token"] = self.token
        if self.version is not None:
            headers[self.version_header] = f"{self.service}{self.version}"
        headers.update(options.pop("headers", {}))
        return self.http.request(method, f"{self.prefix}/{path}", json=body, headers=headers, **options)

    def get(self, path: str, **params: Any) -> Any:
        return self.request("GET", path, params=params or None)

    def post(self, path: str, body: Any = None) -> Any:
        return self.request("POST", path, body)

    def put(self, path: str, body: Any = None) -> Any:
        return self.request("PUT", path, body)

    def delete(self, path: str, **params: Any) -> Any:
        return self.request("DELETE", path, params=params or None)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def plane(clock: ManualClock, tmp_path: Path) -> Iterator[ControlPlane]:
    conf = load()
    conf.set_override("state_path", str(tmp_path))
    conf.set_override("host", "store1")
    database = in_memory()
    yield ControlPlane(database, OperationQueue(clock), clock, conf, image_service(conf, clock))
    database.close()


@pytest.fixture
def http(plane: ControlPlane) -> Iterator[TestClient]:
    with TestClient(make_app(plane, tokens=FixedTokens()), raise_server_exceptions=False) as client:
        yield client


@pytest.fixture
def admin(http: TestClient) -> Client:
    return Client(http, "admin")


@pytest.fixture
def member(http: TestClient) -> Client:
    return Client(http, "member")


@pytest.fixture
def reader(http: TestClient) -> Client:
    return Client(http, "reader")


@pytest.fixture
def other(http: TestClient) -> Client:
    return Client(http, "other")


def volume_client(http: TestClient, name: str) -> Client:
    """Speaks to the volume API, in its newest version."""
    return Client(http, name, "3.71", {}, "/volume/v3", "OpenStack-API-Version", "volume ")


@pytest.fixture
def vadmin(http: TestClient) -> Client:
    return volume_client(http, "admin")


@pytest.fixture
def vmember(http: TestClient) -> Client:
    return volume_client(http, "member")


@pytest.fixture
def vreader(http: TestClient) -> Client:
    return volume_client(http, "reader")


@pytest.fixture
def vother(http: TestClient) -> Client:
    return volume_client(http, "other")


@pytest.fixture
def backend(plane: ControlPlane) -> PoolRef:
    """One backend that is up, with one pool of 100 GiB."""
    pool = PoolRef("store1", "alpha", "tank")
    now = plane.clock.utc()
    capabilities = {
        "pool_name": "tank",
        "total_capacity_gb": 100.0,
        "free_capacity_gb": 100.0,
        "reserved_percentage": 0,
        "thin_provisioning": [True],
        "max_over_subscription_ratio": 20.0,
        "share_backend_name": "ALPHA",
        "storage_protocol": "NFS",
        "driver_handles_share_servers": False,
        "snapshot_support": True,
        "create_share_from_snapshot_support": True,
        "revert_to_snapshot_support": True,
        "mount_snapshot_support": False,
        "dedupe": [True, False],
        "compression": [True, False],
        "replication_type": None,
        "vendor_name": "Penstock",
    }
    with plane.database.begin() as tx:
        backends.heartbeat(tx, binary="manila-share", host=pool.service_host, zone="nova", ready=True, now=now)
        backends.put_pools(tx, pool.service_host, [PoolReport(pool, capabilities, now)])
    return pool


@pytest.fixture
def vbackend(plane: ControlPlane) -> PoolRef:
    """One volume backend that is up, with one pool of 1,000 GiB."""
    pool = PoolRef("store1", "block", "tank")
    now = plane.clock.utc()
    capabilities = {
        "pool_name": "tank",
        "total_capacity_gb": 1000.0,
        "free_capacity_gb": 1000.0,
        "reserved_percentage": 0,
        "thin_provisioning_support": True,
        "thick_provisioning_support": True,
        "max_over_subscription_ratio": 20.0,
        "volume_backend_name": "BLOCK",
        "storage_protocol": "iSCSI",
        "driver_version": "1.0",
        "vendor_name": "Penstock",
        "QoS_support": False,
        "multiattach": True,
    }
    with plane.database.begin() as tx:
        backends.heartbeat(tx, binary="cinder-volume", host=pool.service_host, zone="nova", ready=True, now=now)
        backends.put_pools(tx, pool.service_host, [PoolReport(pool, capabilities, now)])
    return pool

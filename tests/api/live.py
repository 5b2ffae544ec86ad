"""Whole servers on loopback with dummy backends, for the field's own clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from penstock.api.app import make_app
from penstock.config.loading import load
from penstock.daemon import Daemon, prepare_schema
from penstock.domain.types import ShareType
from penstock.identity.bootstrap import Account, bootstrap
from penstock.ids import ShareTypeId, new_id
from penstock.store import types
from tests.api.conftest import QUICK
from tests.serving import serving
from tests.waiting import until

PASSWORD = "root password"
ZONES = {"east": "nova", "west": "nova", "north": "north"}
SPECS = {
    "driver_handles_share_servers": "False",
    "snapshot_support": "True",
    "create_share_from_snapshot_support": "True",
    "revert_to_snapshot_support": "True",
    "replication_type": "readable",
}
_DEFAULT = """
[DEFAULT]
host = host
state_path = {folder}
enabled_share_backends = {backends}
default_share_type = copied
replica_state_update_interval = 4
enabled_share_protocols = NFS
[database]
connection = sqlite:///{folder}/penstock.sqlite
"""
_BACKEND = """
[{name}]
share_driver = penstock.share.drivers.dummy.DummyDriver
replication_domain = ring
backend_availability_zone = {zone}
"""


@contextmanager
def replicating_server(folder: Path) -> Iterator[str]:
    """The server's address. Its administrator is ``admin`` with PASSWORD, its default type ``copied``."""
    sections = "".join(_BACKEND.format(name=name, zone=zone) for name, zone in ZONES.items())

    def arrange(daemon: Daemon) -> None:
        with daemon.database.begin() as tx:
            made = ShareType(ShareTypeId(new_id()), "copied", None, True, daemon.clock.utc(), None, SPECS)
            types.insert_type(tx, made)

    with running_server(folder, _DEFAULT.format(folder=folder, backends=",".join(ZONES)) + sections, arrange) as url:
        yield url


@contextmanager
def running_server(folder: Path, configuration: str, arrange: Callable[[Daemon], None]) -> Iterator[str]:
    """A server of that configuration, on a free port, once all its backends are ready; its address.

    It has ``admin`` in the project ``admin`` with PASSWORD, and the member ``ann`` in ``one`` with ``secret``.
    """
    path = folder / "penstock.conf"
    path.write_text(configuration)
    daemon = Daemon(load([path]))
    prepare_schema(daemon.database)
    bootstrap(
        daemon.database,
        daemon.clock,
        admin_password=PASSWORD,
        accounts=[Account("ann", "one", ("member",), "secret")],
        passwords=QUICK,
    )
    arrange(daemon)
    try:
        with serving(make_app(daemon.plane)) as url:
            for backend in daemon.backends:
                backend.start()
            until(lambda: all(backend.manager.is_service_ready() for backend in daemon.backends))
            yield url
    finally:
        for backend in daemon.backends:
            backend.stop()
        daemon.database.close()

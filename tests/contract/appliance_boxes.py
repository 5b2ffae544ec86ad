"""Appliances to run the driver against: the real server behind real TLS, on a simulated ZFS host or a real one."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from penstock.appliance import certificate
from penstock.appliance.http import TRANSPORT, Application
from penstock.appliance.replication import Destination, Replication
from penstock.appliance.service import Service
from penstock.appliance.serving import listening_socket, uvicorn_config
from penstock.appliance.sessions import Sessions
from penstock.appliance.site import Site
from penstock.appliance.trouble import Trouble
from penstock.clock import ManualClock, SystemClock
from penstock.config.backend import volume_backend
from penstock.config.loading import load
from penstock.exports.iscsi import IscsiExports, IscsiTarget
from penstock.exports.iscsi_lio import LioIscsi
from penstock.host.local import LocalHost
from penstock.host.streaming import Route
from penstock.identity.passwords import Passwords
from penstock.secret_box import SecretBox
from penstock.units import GIB
from penstock.volume.drivers.zfssa.migration_tasks import MigrateVolumeSendReplUpdate
from penstock.volume.drivers.zfssa.zfssaiscsi import ZFSSAISCSIDriver
from penstock.volume.models import SnapshotModel, VolumeModel
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import ZFS_FUSE, Flavour, detect
from penstock.zfs.names import Dataset
from tests.serving import running
from tests.simulation.zfs_host import OPENZFS, SimulatedHost
from tests.simulation.zfs_network import SimulatedNetwork

USER, PASSWORD = "cinder", "a password"
QUICK = Passwords(memory_kib=8, passes=1)
IQNS = ("iqn.2026-11.org.example:one", "iqn.2026-11.org.example:two")
FLAVOURS: Mapping[str, Flavour] = {"openzfs": replace(OPENZFS, has_zvols=False), "zfs-fuse": ZFS_FUSE}


class RecordedExports:
    """An iSCSI server of which only the configuration exists."""

    def __init__(self) -> None:
        self.targets: dict[str, IscsiTarget] = {}
        self.fault: Exception | None = None

    def check(self, target: IscsiTarget) -> None:
        """As LIO."""
        LioIscsi(LocalHost("nowhere")).check(target)

    def apply(self, targets: Sequence[IscsiTarget], *, remove: Sequence[str] = ()) -> None:
        if self.fault is not None:
            raise self.fault
        self.targets.update({target.iqn: target for target in targets})
        for iqn in remove:
            self.targets.pop(iqn, None)

    def put_back(self) -> frozenset[str]:
        return frozenset()

    @property
    def seen(self) -> dict[str, dict[int, str]]:
        """LU number to path of what each initiator sees."""
        return {
            one.name: {lun.number: lun.path for lun in target.luns if one.luns is None or lun.number in one.luns}
            for target in self.targets.values()
            for one in target.initiators
        }


@dataclass
class Box:
    """One appliance that listens. `requests` is what came since it was last cleared."""

    name: str
    site: Site
    exports: Any
    trouble: Trouble
    sessions: Sessions
    replication: Replication
    port: int = 0
    certificate: str = ""
    host: Any = None
    stop: Callable[[], None] = field(default=lambda: None)

    @property
    def requests(self) -> list[str]:
        return self.trouble.requests

    def destination(self, label: str, address: str, route: Callable[[Any, Any], Route], source: Any) -> Destination:
        """This appliance, as another may replicate to it."""

        def reach() -> tuple[Zfs, Route]:
            return self.site.zfs, route(source, self.host)

        return Destination(label, self.site.asn, address, self.site.pools, reach)


def simulated_box(name: str, folder: Path, flavour: str = "openzfs", size: int = 64 * GIB) -> Box:
    """On a simulated host with a pool ``tank``, not listening yet."""
    host = SimulatedHost(name, flavour=FLAVOURS[flavour], pools={"tank": size})
    host.programs["truncate"] = lambda _args, _stdin: (0, "", "")
    return make_box(name, folder, host, RecordedExports(), shows_some=True, flavour=FLAVOURS[flavour])


def make_box(
    name: str,
    folder: Path,
    host: Any,
    exports: IscsiExports | Any,
    *,
    shows_some: bool = False,
    flavour: Flavour | None = None,
    root: str = "tank/appliance",
) -> Box:
    """On any host."""
    zfs = Zfs(host, flavour or detect(host), clock=getattr(host, "clock", None) or SystemClock())
    site = Site(
        name=name,
        zfs=zfs,
        pools={"tank": Dataset(root)},
        secrets=SecretBox(folder / f"{name}.key"),
        clock=SystemClock(),
        exports=exports,
        shows_some=shows_some,
    )
    site.open()
    clock = ManualClock()
    sessions = Sessions({USER: QUICK.hash(PASSWORD)}, clock, idle_timeout_s=900, passwords=QUICK)
    return Box(name, site, exports, Trouble(), sessions, Replication(site, {}), host=host)


def connect_boxes(source: Box, target: Box, address: str, route: Callable[[Any, Any], Route] | None = None) -> None:
    """Let one replicate to the other."""
    between = route or SimulatedNetwork().between
    label = target.name
    source.replication = Replication(source.site, {label: target.destination(label, address, between, source.host)})


class Droppable(HttpToolsProtocol):
    """Lets the application end a connection without a word, which ASGI has no way for."""

    def on_headers_complete(self) -> None:
        super().on_headers_complete()
        self.scope[TRANSPORT] = self.transport  # type: ignore[typeddict-unknown-key]


@contextmanager
def listening(box: Box, folder: Path, *, address: str = "127.0.0.1") -> Iterator[Box]:
    """The box behind TLS on loopback."""
    pem = certificate.ensure(folder / f"{box.name}-tls", ("localhost", "127.0.0.1"), SystemClock())
    service = Service(box.site, box.sessions, box.replication)
    config = uvicorn_config(Application(service, box.trouble), ssl_certfile=str(pem))
    config.http = Droppable
    config.timeout_graceful_shutdown = 0
    socket_ = listening_socket(address, 0)
    try:
        with running(config, socket_):
            box.port, box.certificate = socket_.getsockname()[1], str(pem)
            yield box
    finally:
        box.replication.stop()


_CONF = """
[DEFAULT]
state_path = {folder}/state
enabled_backends = {backends}
[{name}]
volume_backend_name = {name}
volume_driver = cinder.volume.drivers.zfssa.zfssaiscsi.ZFSSAISCSIDriver
"""
OPTIONS: Mapping[str, str] = {
    "san_ip": "127.0.0.1",
    "san_login": USER,
    "san_password": PASSWORD,
    "zfssa_pool": "tank",
    "zfssa_project": "volumes",
    "zfssa_lun_sparse": "True",
    "zfssa_rest_timeout": "20",
    "zfssa_initiator_config": str({"one": [{"iqn": IQNS[0]}], "two": [{"iqn": IQNS[1]}]}),
    "zfssa_target_portal": "127.0.0.1:3260",
}


class QuickClock(ManualClock):
    """Nobody waits; what was waited for is known."""


def make_driver(
    box: Box,
    folder: Path,
    *,
    more: str = "",
    backends: str = "",
    kind: type[ZFSSAISCSIDriver] = ZFSSAISCSIDriver,
    **options: str,
) -> ZFSSAISCSIDriver:
    """A driver for the box, not set up yet. `more` is text of other sections."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{box.name}.conf"
    values = {**OPTIONS, "zfssa_rest_port": str(box.port), **options}
    lines = "".join(f"{name} = {value}\n" for name, value in values.items() if value)
    path.write_text(_CONF.format(folder=folder, name=box.name, backends=backends or box.name) + lines + more)
    driver = kind(configuration=volume_backend(load([path]), box.name), host=f"host@{box.name}")
    driver.zfssa.clock = QuickClock()
    return driver


def set_up(driver: ZFSSAISCSIDriver) -> ZFSSAISCSIDriver:
    driver.do_setup(None)
    driver.check_for_setup_error()
    return driver


def volume(number: int = 1, size: int = 1, **more: Any) -> VolumeModel:
    """A volume with an id made from the number."""
    id_ = f"00000000-0000-4000-8000-{number:012d}"
    given = {"status": "available", "host": "host@box#tank", "project_id": "p", "user_id": "u", **more}
    return VolumeModel(id=id_, name=f"volume-{id_}", name_id=id_, size=size, **given)


def snapshot(of: VolumeModel, number: int = 1) -> SnapshotModel:
    """A snapshot of the volume, with an id made from the number."""
    id_ = f"10000000-0000-4000-8000-{number:012d}"
    return SnapshotModel(
        id=id_,
        name=f"snapshot-{id_}",
        volume_id=of.id,
        volume_size=of.size,
        status="available",
        project_id="p",
        user_id="u",
        volume=of,
    )


def connector(iqn: str = IQNS[0]) -> dict[str, Any]:
    """Of a host with this initiator."""
    return {"initiator": iqn, "host": iqn.rpartition(":")[2], "ip": "127.0.0.1", "multipath": False}


POLL = MigrateVolumeSendReplUpdate.POLL_S

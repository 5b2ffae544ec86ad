"""``penstock appliance serve``: a site made from the configuration, and its REST service behind TLS."""

from __future__ import annotations

import os
import socket
import threading
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import structlog
import uvicorn
from oslo_config import cfg

from penstock.appliance import certificate, presenting
from penstock.appliance.http import Application
from penstock.appliance.iscsi_choice import choose
from penstock.appliance.replication import Destination, Replication
from penstock.appliance.service import Service
from penstock.appliance.sessions import Sessions, read_users
from penstock.appliance.site import Peer, Site
from penstock.clock import Clock, SystemClock
from penstock.config.appliance_options import REPLICATION_TARGET
from penstock.errors import Fault, Invalid, Unavailable
from penstock.exports.iscsi import Portal
from penstock.host.audit import AuditedHost
from penstock.host.local import LocalHost
from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.host.ssh import SshHost
from penstock.host.streaming import Route
from penstock.secret_box import SecretBox
from penstock.zfs.client import Zfs
from penstock.zfs.flavour import detect
from penstock.zfs.names import Dataset

KEEP_ALIVE_S = 75  # longer than a driver's pauses between requests

log = structlog.get_logger(__name__)


class ApplianceServer:
    """One appliance of one process."""

    def __init__(self, conf: cfg.ConfigOpts, *, host: Host | None = None, clock: Clock | None = None) -> None:
        """Reaches the host's ZFS. Raises Invalid for options that do not fit, Unavailable, Unsupported."""
        self._conf = conf.appliance
        self._state = Path(conf.state_path) / "appliance"
        self._clock = clock or SystemClock()
        self._host = host or AuditedHost(
            LocalHost(socket.gethostname(), prefix=() if os.geteuid() == 0 else ("sudo", "-n"))
        )
        self.site = self._site()
        self._destinations = {label: self._destination(conf, label) for label in self._conf.replication_targets}
        self._stopping = threading.Event()

    def run(self) -> None:
        """Serve until a signal ends it. Raises Invalid (users), Conflict (a dataset that is somebody else's)."""
        with ExitStack() as running:
            service = self.service(running)
            pem = self._certificate()
            options = {"ssl_certfile": str(pem), "ssl_keyfile": self._conf.private_key_file or None}
            config = uvicorn_config(Application(service), **options)
            log.info("appliance.serving", address=self._conf.listen, port=self._conf.port, pid=os.getpid())
            running.enter_context(self._looking())
            server = uvicorn.Server(config)
            server.run(sockets=[listening_socket(self._conf.listen, self._conf.port)])
        log.info("appliance.stopped")

    def service(self, running: ExitStack) -> Service:
        """Everything but the port; what is begun ends with `running`."""
        if not self._conf.users_file:
            raise Invalid(
                "[appliance] users_file is not set; make a line for it with: penstock appliance password USER"
            )
        users = read_users(Path(self._conf.users_file))
        self.site.open()
        presenting.put_back(self.site)
        sending = Replication(self.site, self._destinations)
        running.callback(sending.stop)
        sessions = Sessions(users, self._clock, idle_timeout_s=float(self._conf.session_timeout))
        return Service(self.site, sessions, sending)

    def _certificate(self) -> Path:
        if self._conf.certificate_file:
            return Path(self._conf.certificate_file)
        names = dict.fromkeys(name for name in (self._conf.name, self._conf.listen, socket.getfqdn()) if name)
        return certificate.ensure(self._state, tuple(names), self._clock)

    def _site(self) -> Site:
        conf = self._conf
        zfs = Zfs(self._host, detect(self._host))
        found = choose(self._host, conf.iscsi_server)
        return Site(
            name=conf.name,
            zfs=zfs,
            pools=parse_pools("[appliance] pools", conf.pools),
            secrets=SecretBox(self._state / "secret.key"),
            clock=self._clock,
            exports=found.exports if found else None,
            shows_some=found.shows_some if found else False,
            allows_unmasked=conf.tgt_unmasked,
            portals=tuple(parse_portal(text) for text in conf.iscsi_portals),
            peer=Peer(conf.cluster_peer_asn, conf.cluster_peer_name, conf.cluster_peer_state),
            asn=conf.asn or "",
        )

    def _destination(self, conf: cfg.ConfigOpts, label: str) -> Destination:
        conf.register_opts(REPLICATION_TARGET, group=label)
        section = conf[label]
        if not section.asn or not section.address:
            raise Invalid(f"[{label}] needs the asn and the address of the appliance it describes")
        pools = parse_pools(f"[{label}] pools", section.pools)
        return Destination(label, section.asn, section.address, pools, self._reaching(section))

    def _reaching(self, section: cfg.ConfigOpts.GroupAttr) -> Callable[[], tuple[Zfs, Route]]:
        address = section.ssh_host or section.address.rpartition(":")[0].strip("[]")
        use_sudo = section.ssh_user != "root" if section.use_sudo is None else section.use_sudo
        target = SshHost(
            address,
            address,
            user=section.ssh_user,
            control_dir=self._state / "ssh",
            private_key_path=section.ssh_private_key_path or None,
            known_hosts_path=section.ssh_known_hosts_file or None,
            prefix=("sudo", "-n") if use_sudo else (),
        )
        return partial(reach, self._host, AuditedHost(target), SshRoutes())

    def _looking(self) -> ExitStack:
        """Now and then, whether the target server still serves what it was told."""
        running = ExitStack()
        if self._conf.exports_check_interval and self.site.exports is not None:
            thread = threading.Thread(target=self._look, name="exports", daemon=True)
            thread.start()
            running.callback(thread.join)
            running.callback(self._stopping.set)
        return running

    def _look(self) -> None:
        while not self._stopping.wait(self._conf.exports_check_interval):
            try:
                presenting.put_back(self.site)
            except Fault as fault:  # the loop's outermost frame: the next look may find it better
                log.warning("appliance.look_failed", fault=fault.message)


def reach(here: Host, there: Host, routes: SshRoutes) -> tuple[Zfs, Route]:
    """Another host's ZFS, and the way a stream goes there. Raises Unavailable."""
    return Zfs(there, detect(there)), routes.between(here, there)


def uvicorn_config(application: Application, **options: str | None) -> uvicorn.Config:
    """How the application is served."""
    return uvicorn.Config(
        application,
        log_config=None,
        access_log=False,
        lifespan="off",
        http="httptools",
        server_header=False,
        timeout_graceful_shutdown=10,
        timeout_keep_alive=KEEP_ALIVE_S,
        **options,  # type: ignore[arg-type]
    )


def parse_pools(option: str, entries: list[str]) -> Mapping[str, Dataset]:
    """Datasets by zpool. Raises Invalid."""
    found: dict[str, Dataset] = {}
    for entry in entries:
        dataset = Dataset(entry.strip().strip("/"))
        if dataset.pool in found:
            raise Invalid(f"{option} names the zpool {dataset.pool} twice")
        found[dataset.pool] = dataset
    if not found:
        raise Invalid(f"{option} is not set: name at least one zpool, or a dataset in one")
    return found


def parse_portal(text: str) -> Portal:
    """``address``, ``address:port`` or ``[address]:port``. Raises Invalid."""
    address, colon, port = text.strip().rpartition(":")
    if colon and port.isdecimal() and (":" not in address or address.startswith("[")):
        return Portal(address.strip("[]"), int(port))
    return Portal(text.strip().strip("[]"))


def listening_socket(address: str, port: int) -> socket.socket:
    """Bound. Raises Unavailable.

    The protocol is named, because asyncio switches Nagle's algorithm off only where it is: 40 ms for each answer.
    """
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((address, port))
    except OSError as err:
        found.close()
        raise Unavailable(f"{address} port {port} cannot be listened on: {err}") from err
    found.listen(128)
    return found

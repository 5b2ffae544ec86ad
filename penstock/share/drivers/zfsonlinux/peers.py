"""The other backends that replicas live on: each is reached by its own section of the configuration."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from typing import Protocol

from oslo_config import cfg

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.config.stream_options import RELAY
from penstock.domain.pools import PoolRef
from penstock.errors import Invalid, Unavailable
from penstock.host.routes import SshRoutes
from penstock.host.streaming import Routes
from penstock.share.drivers.zfsonlinux.options import Settings, read_settings, zfsonlinux_opts
from penstock.share.drivers.zfsonlinux.storage import Storage, open_storage


@dataclass(frozen=True, slots=True)
class Peer:
    """A backend's host and options. `section` is its name in the configuration."""

    section: str
    storage: Storage
    settings: Settings


class Peers(Protocol):
    """Finds the backend of ``host@SECTION#pool``."""

    def storage_of(self, host: str) -> Peer:
        """The backend, connected. Raises Unavailable when it cannot be reached now, Invalid when it is not one of the
        configuration's ZFS backends."""
        ...


def ways(settings: Settings) -> Routes:
    """How this backend's data gets to others."""
    return SshRoutes(direct=settings.replication_route != RELAY)


class ConfiguredPeers:
    """By the sections of the configuration that our own section stands in. Threads may share it.

    A backend that could be reached once is remembered: its connection renews itself, and a host that is away then
    shows in the commands (Unavailable).
    """

    def __init__(
        self,
        own: Peer,
        conf: cfg.ConfigOpts,
        *,
        clock: Clock | None = None,
        before_command: Callable[[], None] | None = None,
    ) -> None:
        """`before_command` is our own backend's: what we do at the others is our work."""
        self._conf = conf
        self._clock = clock
        self._before_command = before_command
        self._own = own
        self._known: dict[str, Peer] = {}
        self._opening: dict[str, Lock] = {}
        self._lock = Lock()

    def storage_of(self, host: str) -> Peer:
        """See Peers."""
        ref = PoolRef.parse(host)
        section, is_here = ref.backend, ref.host == self._conf.host
        if is_here and section == self._own.section:
            return self._own
        with self._lock:
            known = self._known.get(section)
            opening = self._opening.setdefault(section, Lock())
        if known is not None:
            return known
        with opening:  # one attempt at a time to reach a host that may be away; other hosts are not held up
            return self._known.get(section) or self._open(section, is_here=is_here)

    def _open(self, section: str, *, is_here: bool) -> Peer:
        if section not in self._conf.list_all_sections():
            raise Invalid(f"the configuration has no section [{section}], so what it holds cannot be reached")
        configuration = BackendConfiguration(self._conf, section)
        configuration.append_config_values(zfsonlinux_opts)
        settings = read_settings(configuration)
        if settings.remote is None and not is_here:  # else we would look for the replica on our own machine
            raise Invalid(
                f"[{section}] is local to another machine: for replicas set zfs_use_ssh, zfs_service_ip and "
                "zfs_ssh_username there, so that it can be reached from here"
            )
        timeout_s = configuration.safe_get("ssh_conn_timeout") or 60
        try:
            storage = open_storage(
                settings,
                connect_timeout_s=timeout_s,
                host=None,
                nfs=None,
                clock=self._clock,
                before_command=self._before_command,
            )
        except Unavailable as err:
            raise Unavailable(f"backend {section}: {err.message}") from err
        peer = Peer(section, storage, settings)
        with self._lock:
            self._known[section] = peer
        return peer

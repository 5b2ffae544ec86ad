"""The ways of a stream between two hosts that commands can be started on: within one, directly, or through here."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import structlog

from penstock.errors import Fault, Unsupported
from penstock.host.audit import AuditedHost
from penstock.host.joined import Ends, Joined, Login
from penstock.host.runner import Host
from penstock.host.streaming import LoginFrom, Route, StreamHost

# a master that the source keeps open to the target, so that a small stream need not log in anew
KEEP_S = 300
# the look whether the way is open is repeated before the master goes
OPEN_FOR_S = 240.0
CLOSED_FOR_S = 60.0
PROBE_TIMEOUT_S = 20.0

_PROBE = 'mkdir -p -m 700 "$HOME/.ssh" && exec "$@"'

log = structlog.get_logger("penstock.streams")


class SshRoutes:
    """Finds the best way: within a host; from host to host, when the source can log in to the target; else by relay.

    One for a whole process, so that what was found out about a way is known to all. `login` may tell otherwise than the
    target host itself how it is reached from the others. Threads may share it.
    """

    def __init__(
        self,
        *,
        login: Callable[[Host], LoginFrom | None] | None = None,
        direct: bool = True,
        monotonic_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self._login = login
        self._direct = direct
        self._monotonic_s = monotonic_s
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}
        self._lock = threading.Lock()

    def between(self, source: Host, target: Host) -> Route:
        """See Routes. Raises Unsupported for hosts that no stream can be made of."""
        ends = Ends(source, target, stream_host(source), stream_host(target))
        if source.name == target.name:
            return Joined("one host", ends)
        login = self._login(target) if self._login is not None else ends.to.login
        # from our own machine, a relay is the direct way
        if not self._direct or login is None or ends.of.login is None:
            return Joined("relay", ends)
        if not self._is_open(source, target, login):
            return Joined("relay", ends)
        way = Login(ssh_words(login), login.prefix)
        return Joined("direct", ends, way, lambda: self._forget(source, target))

    def _is_open(self, source: Host, target: Host, login: LoginFrom) -> bool:
        """Whether the source can log in to the target, looked at now and then."""
        key, now = (source.name, target.name), self._monotonic_s()
        with self._lock:
            is_open, until = self._known.get(key, (False, now))
        if now < until:
            return is_open
        reason = probe(source, login)
        if reason:
            log.warning("stream.relayed", source=source.name, target=target.name, reason=reason)
        with self._lock:
            self._known[key] = (not reason, now + (CLOSED_FOR_S if reason else OPEN_FOR_S))
        return not reason

    def _forget(self, source: Host, target: Host) -> None:
        with self._lock:
            self._known.pop((source.name, target.name), None)


def stream_host(host: Host) -> StreamHost:
    """The host's own streams, behind its audit if need be. Raises Unsupported."""
    inner = host.streams if isinstance(host, AuditedHost) else host
    if isinstance(inner, StreamHost):
        return inner
    raise Unsupported(f"no stream can be made of {host.name}")


def probe(source: Host, login: LoginFrom) -> str:
    """Why the source cannot log in to the target; empty when it can. Leaves a master behind that streams may use."""
    keep = ("-o", "ControlMaster=auto", "-o", f"ControlPersist={KEEP_S}")
    words = (*ssh_words(login)[:1], *keep, *ssh_words(login)[1:], "true")
    try:
        done = source.run(("sh", "-c", _PROBE, "penstock-probe", *words), timeout_s=PROBE_TIMEOUT_S)
    except Fault as fault:
        return fault.message
    return "" if done.exit_code == 0 else done.stderr.strip() or f"ssh ended with {done.exit_code}"


def ssh_words(login: LoginFrom) -> tuple[str, ...]:
    """``ssh`` with all that is needed to log in, to be followed by one word: the line for the target's shell."""
    settings = {
        "BatchMode": "yes",
        "ConnectTimeout": "10",
        "ControlPath": "~/.ssh/penstock-%C",
        "ForwardAgent": "no",
        "LogLevel": "ERROR",
        "Port": str(login.port),
        "ServerAliveCountMax": "3",
        "ServerAliveInterval": "5",
        "StrictHostKeyChecking": "yes",
        "User": login.user,
    }
    if login.known_hosts_path:
        settings["UserKnownHostsFile"] = login.known_hosts_path
    if login.private_key_path:
        settings |= {"IdentityFile": login.private_key_path, "IdentitiesOnly": "yes"}
    options = [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]
    return ("ssh", *options, "-T", login.address)

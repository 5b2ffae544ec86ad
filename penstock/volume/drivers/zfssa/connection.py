"""One HTTPS request to the appliance and its answer: TLS, deadlines, and broken connections as faults of ours."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from penstock.errors import Unavailable, UnknownResult
from penstock.volume.drivers.zfssa.faults import Garbled

REST_PORT = 215
MOST_BODY_BYTES = 64 * 2**20  # a listing of tens of thousands of LUNs; more is not read
IDLE_CONNECTIONS = 8
_SAFE_TO_REPEAT = frozenset({"GET", "PUT", "DELETE"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where an appliance answers, and whether its certificate must be one that we believe.

    `authorities` is a file or folder of certificates to believe instead of the machine's. `timeout_s` is for a request.
    """

    host: str
    port: int = REST_PORT
    is_verified: bool = False
    authorities: str | None = None
    timeout_s: float = 60.0

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == REST_PORT else f"{host}:{self.port}"


@dataclass(frozen=True, slots=True)
class RawAnswer:
    """As it came over the wire. `body` is None when the connection ended in the middle of it."""

    status: int
    reason: str
    headers: Mapping[str, str]
    body: bytes | None


class Connections:
    """Keeps a few connections open, so that not every request pays for TLS. Threads may share it."""

    def __init__(self, address: Address) -> None:
        self.address = address
        self._tls = _tls(address)
        self._idle: list[http.client.HTTPSConnection] = []
        self._lock = threading.Lock()

    def send(self, method: str, path: str, headers: Mapping[str, str], body: bytes | None) -> RawAnswer:
        """Send and read the answer, whatever its status.

        Raises Unavailable when it did not take effect, or may be repeated without harm; UnknownResult when it may have
        taken effect; Garbled for what is not HTTP.
        """
        while True:
            connection, is_fresh = self._take()
            try:
                return self._exchange(connection, method, path, headers, body)
            except (http.client.RemoteDisconnected, ConnectionError) as err:
                connection.close()
                # an idle connection that the other end closed just now: nothing was read of the request
                if not is_fresh and method in _SAFE_TO_REPEAT:
                    continue
                raise self._lost(method, path, err) from err
            except (OSError, http.client.HTTPException) as err:
                connection.close()
                raise self._lost(method, path, err) from err

    def close(self) -> None:
        """Close what is idle. Safe to repeat."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()

    def _exchange(
        self,
        connection: http.client.HTTPSConnection,
        method: str,
        path: str,
        headers: Mapping[str, str],
        body: bytes | None,
    ) -> RawAnswer:
        connection.request(method, path, body=body, headers=dict(headers))
        response = connection.getresponse()
        names = {name.lower(): value for name, value in response.getheaders()}
        content = _read(response, time.monotonic() + self.address.timeout_s)
        if content is None:
            connection.close()
            return RawAnswer(response.status, response.reason, names, None)
        if response.will_close:
            connection.close()
        else:
            self._give_back(connection)
        return RawAnswer(response.status, response.reason, names, content)

    def _lost(self, method: str, path: str, err: Exception) -> Unavailable:
        what = f"{method} {path} on {self.address}"
        if isinstance(err, ssl.SSLError) and not isinstance(err, ssl.SSLEOFError | ssl.SSLZeroReturnError):
            return Unavailable(f"{what}: no TLS connection: {err.reason or err}")
        if isinstance(err, TimeoutError):
            late = f"{what}: no answer within {self.address.timeout_s:g} s"
            return Unavailable(late) if method == "GET" else UnknownResult(late)
        if isinstance(err, http.client.HTTPException) and not isinstance(err, http.client.RemoteDisconnected):
            return Garbled(f"{what}: the answer is not HTTP: {err!r}")
        if isinstance(err, ConnectionRefusedError | socket.gaierror) or method == "GET":
            return Unavailable(f"{what}: {err or type(err).__name__}")
        return UnknownResult(f"{what}: the connection was lost: {err or type(err).__name__}")

    def _take(self) -> tuple[http.client.HTTPSConnection, bool]:
        with self._lock:
            idle = self._idle.pop() if self._idle else None
        if idle is not None and idle.sock is not None and not _is_closing(idle.sock):
            return idle, False
        if idle is not None:
            idle.close()
        address = self.address
        fresh = http.client.HTTPSConnection(address.host, address.port, timeout=address.timeout_s, context=self._tls)
        return fresh, True

    def _give_back(self, connection: http.client.HTTPSConnection) -> None:
        with self._lock:
            if len(self._idle) < IDLE_CONNECTIONS:
                self._idle.append(connection)
                return
        connection.close()


def _read(response: http.client.HTTPResponse, deadline_s: float) -> bytes | None:
    """The whole body; None when the connection ends in it, or it is larger or comes slower than we bear."""
    parts: list[bytes] = []
    size = 0
    try:
        while part := response.read1(65536):
            parts.append(part)
            size += len(part)
            if size > MOST_BODY_BYTES or time.monotonic() > deadline_s:
                return None
    except (http.client.IncompleteRead, OSError):
        return None
    if response.length:  # what was promised and did not come
        return None
    response.close()  # or the connection cannot be used again
    return b"".join(parts)


def _is_closing(sock: socket.socket) -> bool:
    """Between requests the other end has nothing to say but farewell."""
    readable, _, _ = select.select([sock], [], [], 0)
    return bool(readable)


def _tls(address: Address) -> ssl.SSLContext:
    """Raises Unavailable for authorities that cannot be read."""
    given = address.authorities if address.is_verified else None
    is_folder = given is not None and Path(given).is_dir()
    try:
        context = ssl.create_default_context(cafile=None if is_folder else given, capath=given if is_folder else None)
    except (OSError, ssl.SSLError) as err:
        raise Unavailable(f"the certificates in {given} cannot be used: {err}") from err
    if not address.is_verified:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context

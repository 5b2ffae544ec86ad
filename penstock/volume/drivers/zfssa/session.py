"""A logged-in conversation with one appliance: sessions renewed, patience with a busy one, refusals as faults.

Protocol page, section 1. The defects of the published client are not repeated: there is always a deadline, a wrong
password is said at once, and what the appliance says in the body of a refusal reaches the reader.
"""

from __future__ import annotations

import base64
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import msgspec
import structlog

from penstock.clock import Clock, SystemClock
from penstock.errors import Unavailable
from penstock.volume.drivers.zfssa.connection import Address, Connections, RawAnswer
from penstock.volume.drivers.zfssa.faults import ApplianceFault, Garbled, LoginRefused, fault_of

ACCESS = "/api/access/v1"
TRIES = 10
PAUSE_S = 1.0
_BUSY, _RENEW = frozenset({503}), frozenset({401, 500})

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Login:
    """Who we are on the appliance."""

    user: str
    password: str

    def __repr__(self) -> str:
        return f"Login({self.user!r})"  # never the password

    @property
    def basic(self) -> str:
        """The value of the header ``authorization``."""
        return "Basic " + base64.b64encode(f"{self.user}:{self.password}".encode()).decode()


@dataclass(frozen=True, slots=True)
class Answer:
    """A good answer. `body` is what the JSON said; reading it is up to the caller."""

    what: str
    status: int
    raw: bytes | None

    @property
    def body(self) -> dict[str, Any]:
        """The JSON object. Raises Garbled for half a body, no JSON, or no object."""
        try:
            found = None if self.raw is None else msgspec.json.decode(self.raw)
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise Garbled(f"{self.what}: the answer is not JSON: {err}", status=self.status) from err
        if not isinstance(found, dict):
            missing = "ends in the middle" if self.raw is None else "is not an object"
            raise Garbled(f"{self.what}: the answer {missing}", status=self.status)
        return found


class Session:
    """Sends requests as one user. Threads may share it."""

    def __init__(self, address: Address, login: Login, *, clock: Clock | None = None) -> None:
        self.address = address
        self._login = login
        self._clock = clock or SystemClock()
        self._connections = Connections(address)
        self._token: str | None = None
        self._lock = threading.Lock()
        self.requests_sent = 0

    def log_in(self) -> None:
        """Have a new session. Raises LoginRefused, Unavailable, and Overloaded when the appliance stays busy."""
        with self._lock:
            self._log_in()

    def log_out(self) -> None:
        """End the session and close the connections. Never raises a fault: the session ends by itself otherwise."""
        with self._lock:
            token, self._token = self._token, None
        if token is not None:
            try:
                self._send("DELETE", ACCESS, {"x-auth-session": token}, None)
            except (Unavailable, ApplianceFault) as fault:
                log.info("zfssa.logout_failed", appliance=str(self.address), fault=fault.message)
        self._connections.close()

    def call(
        self, method: str, path: str, good: int, body: Mapping[str, Any] | None = None, *, also_good: int | None = None
    ) -> Answer:
        """Have it done; `good` is the one status that is success.

        Repeats what the appliance had no time for (503), and renews a session that ended (401) or is suspected (500),
        ten tries in all, a second apart: so the request may reach the appliance more than once. Raises ApplianceFault
        and what is below it, Unavailable, UnknownResult.
        """
        what = f"{method} {path} on {self.address}"
        content = msgspec.json.encode(body) if body else None
        for tries_left in range(TRIES - 1, -1, -1):
            token = self._current_token()
            answer = self._send(method, path, {"x-auth-session": token}, content)
            if answer.status in (good, also_good):
                return Answer(what, answer.status, answer.body)
            if answer.status not in _BUSY | _RENEW or not tries_left:
                raise _refusal(what, answer, patience_ended=not tries_left)
            if answer.status in _RENEW:
                self._renew(token)
            self._clock.sleep(PAUSE_S)
        raise AssertionError("the last try returns or raises")

    def _current_token(self) -> str:
        with self._lock:
            return self._token or self._log_in()

    def _renew(self, used: str) -> None:
        """Another thread may have been quicker: then its session is taken."""
        with self._lock:
            if self._token == used:
                self._log_in()

    def _log_in(self) -> str:
        what = f"login of {self._login.user} on {self.address}"
        self._token = None
        for tries_left in range(TRIES - 1, -1, -1):
            answer = self._send("POST", ACCESS, {"authorization": self._login.basic}, None)
            if answer.status == 201:
                token = answer.headers.get("x-auth-session")
                if not token:
                    raise Garbled(f"{what}: the answer has no X-Auth-Session", status=201)
                self._token = token
                return token
            if answer.status not in (500, 503) or not tries_left:
                break
            self._clock.sleep(PAUSE_S)
        fault = _refusal(what, answer, patience_ended=answer.status in (500, 503))
        if answer.status == 404:
            fault = LoginRefused(
                f"{what}: there is no REST service; switch it on, or upgrade the appliance", status=404
            )
        raise fault

    def _send(self, method: str, path: str, headers: Mapping[str, str], content: bytes | None) -> RawAnswer:
        self.requests_sent += 1
        return self._connections.send(method, path, {"content-type": "application/json", **headers}, content)


def _refusal(what: str, answer: RawAnswer, *, patience_ended: bool) -> ApplianceFault:
    """The fault, with what the appliance said of it in the body."""
    name = details = ""
    try:
        found = msgspec.json.decode(answer.body or b"")
    except (msgspec.DecodeError, UnicodeDecodeError):
        found = None
    fault = found.get("fault") if isinstance(found, dict) else None
    if isinstance(fault, dict):
        name, details = str(fault.get("message", "")), str(fault.get("details", ""))
    return fault_of(what, answer.status, answer.reason, name, details[:500], patience_ended=patience_ended)

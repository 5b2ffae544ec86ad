"""A bare HTTP client, so that what is measured is the server and not a client library."""

from __future__ import annotations

import http.client
import json
import time
from collections.abc import Callable
from typing import Any

VERSION = "2.73"
VOLUME_VERSION = "3.71"
POLL_S = 0.02  # seldom enough not to slow what is measured; ends are read from the operations' rows
WAIT_S = 120.0
KEPT_S = 2.0


class Api:
    """One connection with a token. Not for several threads: `another` gives each its own."""

    def __init__(self, address: str, port: int, token: str = "") -> None:
        self._address, self._port, self._token = address, port, token
        self._connection = http.client.HTTPConnection(address, port, timeout=60)
        self._used = time.monotonic()

    @classmethod
    def login(cls, address: str, port: int, password: str) -> Api:
        """As the administrator."""
        api = cls(address, port)
        user = {"name": "admin", "domain": {"id": "default"}, "password": password}
        scope = {"project": {"name": "admin", "domain": {"id": "default"}}}
        body = {"auth": {"identity": {"methods": ["password"], "password": {"user": user}}, "scope": scope}}
        api._connection.request("POST", "/v3/auth/tokens", json.dumps(body), {"Content-Type": "application/json"})
        answer = api._connection.getresponse()
        answer.read()
        return cls(address, port, answer.headers["X-Subject-Token"])

    def another(self) -> Api:
        """A further connection with the same token."""
        return Api(self._address, self._port, self._token)

    def call(self, method: str, path: str, body: object = None, *, root: str = "/v2") -> Any:
        """Send to the share API, or another at `root`, and parse. Raises RuntimeError for an answer of 400 and more."""
        headers = {
            "X-Auth-Token": self._token,
            "X-OpenStack-Manila-API-Version": VERSION,
            "OpenStack-API-Version": f"volume {VOLUME_VERSION}",
            "Content-Type": "application/json",
        }
        if time.monotonic() - self._used > KEPT_S:
            self._connection.close()  # the server ends idle connections; the next request opens a new one
        self._used = time.monotonic()
        self._connection.request(method, f"{root}{path}", None if body is None else json.dumps(body), headers)
        answer = self._connection.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise RuntimeError(f"{method} {path}: {answer.status} {text[:300]!r}")
        return json.loads(text) if text else None

    def volumes(self, path: str, method: str = "GET", body: object = None) -> Any:
        """Ask the volume API."""
        return self.call(method, path, body, root="/volume/v3")

    def until_volume(self, volume_id: str, status: str = "available") -> None:
        """Wait until the volume has that status."""
        self._until(lambda: self.volumes(f"/volumes/{volume_id}")["volume"]["status"], status)

    # -- shares

    def create(self, name: str = "bench", size: int = 1, snapshot_id: str | None = None) -> str:
        """Ask for a share; its id."""
        wanted = {"share_proto": "NFS", "size": size, "name": name, "snapshot_id": snapshot_id}
        return str(self.call("POST", "/shares", {"share": wanted})["share"]["id"])

    def snapshot(self, share_id: str) -> str:
        """Ask for a snapshot; its id."""
        return str(self.call("POST", "/snapshots", {"snapshot": {"share_id": share_id}})["snapshot"]["id"])

    def allow(self, share_id: str, address: str) -> str:
        """Ask for a read-write rule; its id."""
        wanted = {"access_type": "ip", "access_to": address, "access_level": "rw"}
        return str(self.call("POST", f"/shares/{share_id}/action", {"allow_access": wanted})["access"]["id"])

    def action(self, share_id: str, name: str, **arguments: object) -> None:
        """An action of a share."""
        self.call("POST", f"/shares/{share_id}/action", {name: arguments or None})

    def until_share(self, share_id: str, status: str = "available") -> None:
        """Wait until the share has that status."""
        self._until(lambda: self.call("GET", f"/shares/{share_id}")["share"]["status"], status)

    def until_snapshot(self, snapshot_id: str) -> None:
        """Wait until the snapshot is available."""
        self._until(lambda: self.call("GET", f"/snapshots/{snapshot_id}")["snapshot"]["status"], "available")

    def until_rule(self, rule_id: str) -> None:
        """Wait until the rule is active."""
        self._until(lambda: self.call("GET", f"/share-access-rules/{rule_id}")["access"]["state"], "active")

    def until_gone(self, path: str) -> None:
        """Wait until there is no such thing."""

        def state() -> str:
            try:
                self.call("GET", path)
            except RuntimeError as err:
                if ": 404 " in str(err):
                    return "gone"
                raise
            return "there"

        self._until(state, "gone")

    def _until(self, state: Callable[[], str], wanted: str) -> None:
        deadline = time.monotonic() + WAIT_S
        while (seen := state()) != wanted:
            if "error" in seen or time.monotonic() > deadline:
                told = [message["user_message"] for message in self.call("GET", "/messages")["messages"][:1]]
                raise RuntimeError(f"'{seen}' instead of '{wanted}': {told}")
            time.sleep(POLL_S)

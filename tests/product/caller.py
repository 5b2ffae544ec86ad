"""The API by plain HTTP: one request, one answer, nothing of any client library."""

from __future__ import annotations

import http.client
import json
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

VERSION = "2.75"
TIMEOUT_S = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, headers in lower case, and the body as it came."""

    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


def call(
    url: str, method: str, path: str, *, body: object = None, raw: bytes | None = None, headers: dict[str, str]
) -> Answer:
    """One request on a connection of its own; `body` is sent as JSON, `raw` as it is."""
    connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=TIMEOUT_S)
    content = raw if raw is not None else None if body is None else json.dumps(body).encode()
    try:
        connection.request(method, path, body=content, headers={"Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        return Answer(answer.status, {key.lower(): value for key, value in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Caller:
    """Somebody who is logged in, by name and password, for a project."""

    def __init__(self, url: str, user: str, password: str, project: str) -> None:
        self.url = url
        self._who = (user, password, project)
        self.project_id = ""
        self.token = ""
        self.log_in()

    def log_in(self) -> None:
        """Ask for a token."""
        user, password, project = self._who
        domain = {"id": "default"}
        identity = {
            "methods": ["password"],
            "password": {"user": {"name": user, "password": password, "domain": domain}},
        }
        body = {"auth": {"identity": identity, "scope": {"project": {"name": project, "domain": domain}}}}
        answer = call(self.url, "POST", "/v3/auth/tokens", body=body, headers={})
        assert answer.status == 201, answer
        self.token = answer.headers["x-subject-token"]
        self.project_id = answer.json()["token"]["project"]["id"]

    def call(self, method: str, path: str, body: object = None, *, version: str = VERSION, **headers: str) -> Answer:
        """A request under ``/v2`` with our token."""
        ours = {"X-Auth-Token": self.token, "X-OpenStack-Manila-API-Version": version}
        return call(self.url, method, f"/v2{path}", body=body, headers=ours | headers)

    def ok(self, method: str, path: str, body: object = None) -> Any:
        """The answer's body, None when it has none; anything but success fails the test."""
        answer = self.call(method, path, body)
        assert 200 <= answer.status < 300, (method, path, body, answer)
        return answer.json() if answer.content else None

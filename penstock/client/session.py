"""Speaking to Penstock, or any server of its APIs: a token, and requests with it. Standard library only."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.client import HTTPException
from typing import Any
from urllib.error import HTTPError, URLError
from urllib.parse import quote, urlencode, urlsplit
from urllib.request import Request, urlopen

from penstock.errors import (
    BackendFault,
    Conflict,
    Fault,
    Forbidden,
    Invalid,
    NotFound,
    QuotaExceeded,
    Unauthorized,
    Unavailable,
)

VERSION = "2.75"
VERSION_HEADER = "X-OpenStack-Manila-API-Version"
EXPERIMENTS = {"X-OpenStack-Manila-API-Experimental": "true"}  # migration is one in the versions we speak
TIMEOUT_S = 60.0
MEANING: dict[int, type[Fault]] = {
    400: Invalid,
    401: Unauthorized,
    403: Forbidden,
    404: NotFound,
    409: Conflict,
    413: QuotaExceeded,
    503: Unavailable,
}


@dataclass(frozen=True, slots=True)
class Api:
    """One of the APIs: the names it has in a catalogue, what it is called, and the headers of a request to it."""

    types: tuple[str, ...]
    what: str
    headers: Mapping[str, str]


SHARES = Api(("shared-file-system", "sharev2"), "shared file systems", {VERSION_HEADER: VERSION, **EXPERIMENTS})
VOLUMES = Api(("block-storage", "volumev3"), "block storage", {"OpenStack-API-Version": "volume 3.65"})


@dataclass(frozen=True, slots=True)
class Credentials:
    """Who asks, and where: `auth_url` is Identity's address, with or without ``/v3``."""

    auth_url: str
    user: str
    password: str = field(repr=False)
    project: str
    user_domain: str = "Default"
    project_domain: str = "Default"

    @property
    def tokens_url(self) -> str:
        """Where tokens are given out."""
        base = self.auth_url.rstrip("/")
        return f"{base if base.endswith('/v3') else f'{base}/v3'}/auth/tokens"

    def body(self) -> dict[str, Any]:
        """The request for a token that is good for the project."""
        user = {"name": self.user, "password": self.password, "domain": {"name": self.user_domain}}
        project = {"name": self.project, "domain": {"name": self.project_domain}}
        identity = {"methods": ["password"], "password": {"user": user}}
        return {"auth": {"identity": identity, "scope": {"project": project}}}


class Session:
    """One caller. Logs in at the first request, and again when the token has expired.

    Every method raises what the server's answer means (`MEANING`), Unavailable when there is none, BackendFault when it
    cannot be understood.
    """

    def __init__(self, credentials: Credentials, api: Api = SHARES) -> None:
        self._credentials = credentials
        self._api = api
        self._token = ""
        self._endpoint = ""

    def of_volumes(self) -> Session:
        """The same caller at Block Storage."""
        return Session(self._credentials, VOLUMES)

    def get(self, path: str, **query: Any) -> Any:
        """The document at `path` below the endpoint."""
        return self.request("GET", path, query=query)

    def post(self, path: str, body: Any) -> Any:
        """Send `body`; the answer's document, None when it has none."""
        return self.request("POST", path, body=body)

    def delete(self, path: str) -> None:
        """Delete what is at the path."""
        self.request("DELETE", path)

    def request(self, method: str, path: str, *, body: Any = None, query: Mapping[str, Any] | None = None) -> Any:
        """One request below the endpoint."""
        if not self._token:
            self._log_in()
        given = {name: value for name, value in (query or {}).items() if value is not None}
        tail = f"?{urlencode(given)}" if given else ""
        try:
            return self._send(method, f"{self._endpoint}/{quote(path)}{tail}", body)
        except Unauthorized:
            self._log_in()
            return self._send(method, f"{self._endpoint}/{quote(path)}{tail}", body)

    def _send(self, method: str, url: str, body: Any) -> Any:
        return _exchange(method, url, body, {"X-Auth-Token": self._token, **self._api.headers})[0]

    def _log_in(self) -> None:
        credentials = self._credentials
        answer, headers = _exchange("POST", credentials.tokens_url, credentials.body(), {})
        token = headers.get("X-Subject-Token")
        if not token or not isinstance(answer, dict):
            raise BackendFault(f"{credentials.tokens_url} gave no token; is it an Identity v3 server?")
        self._token = token
        self._endpoint = _endpoint(answer, self._api).rstrip("/")


def _endpoint(answer: Mapping[str, Any], api: Api) -> str:
    """The public endpoint in the token's catalogue. Raises NotFound."""
    for wanted in api.types:
        for service in answer.get("token", {}).get("catalog", ()):
            for endpoint in service.get("endpoints", ()) if service.get("type") == wanted else ():
                if endpoint.get("interface") == "public":
                    return str(endpoint["url"])
    raise NotFound(f"The catalogue has no {api.what} service for this project.")


def _exchange(method: str, url: str, body: Any, headers: Mapping[str, str]) -> tuple[Any, Mapping[str, str]]:
    if urlsplit(url).scheme not in ("http", "https"):
        raise Invalid(f"'{url}' is not an http or https address.")
    data = None if body is None else json.dumps(body).encode()
    request = Request(url, data, {"Accept": "application/json", **headers}, method=method)  # noqa: S310 - checked above
    if data is not None:
        request.add_header("Content-Type", "application/json")
    try:
        with urlopen(request, timeout=TIMEOUT_S) as response:  # noqa: S310 - checked above
            return _document(response.read(), url), response.headers
    except HTTPError as err:
        raise _fault(err, url) from err
    except (URLError, HTTPException, OSError) as err:
        reason = getattr(err, "reason", None) or err
        raise Unavailable(f"{url} does not answer: {reason}.") from err


def _document(text: bytes, url: str) -> Any:
    if not text.strip():
        return None
    try:
        return json.loads(text)
    except ValueError as err:
        raise BackendFault(f"{url} did not answer in JSON.") from err


def _fault(err: HTTPError, url: str) -> Fault:
    """What an error answer means: the sentence in its body, whatever the name it is under."""
    kind = MEANING.get(err.code, Unavailable if err.code in (502, 504) else BackendFault)
    try:
        document = json.loads(err.read())
        (details,) = document.values()
        return kind(str(details["message"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return kind(f"{url} answered {err.code} {err.reason}.")

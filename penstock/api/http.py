"""One HTTP request and one answer, before and after any meaning: what the edge gives an API and takes from it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

from starlette.datastructures import QueryParams


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A request read to its end. `headers` have lower-case names; `path` is below the API's prefix, without slashes
    at its ends; `base_url` is ``scheme://host:port`` as the client sees us."""

    method: str
    path: str
    query: QueryParams
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    request_id: str
    client: str = ""  # the address it came from

    @property
    def segments(self) -> tuple[str, ...]:
        """The parts of the path."""
        return tuple(self.path.split("/")) if self.path else ()


@dataclass(frozen=True, slots=True)
class Answer:
    """What to send. `body` becomes JSON unless it is bytes (sent as they are) or None (nothing)."""

    body: object = None
    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    route: str = ""  # the pattern that matched, for logs and metrics


class Api(Protocol):
    """Everything under one path prefix. `handle` raises no Fault: it answers in its own published form."""

    def handle(self, request: HttpRequest) -> Answer:
        """Answer the request."""
        ...


NO_CONTENT = Answer(None, 204)
ACCEPTED = Answer(None, 202)

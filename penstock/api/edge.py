"""The edge: one ASGI callable that reads a request to its end, has it answered in a thread, and sends the answer.

The product's coroutines are here; everything behind them is plain blocking code. It makes the request id, binds it for
every log line that comes of the request, and writes the one access line.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import msgspec
import structlog
from starlette.datastructures import QueryParams
from starlette.types import Receive, Scope, Send

from penstock.api.fault_bodies import identity_fault, share_fault, unexpected
from penstock.api.http import Answer, Api, HttpRequest
from penstock.errors import Fault, Invalid, RequestTooLarge
from penstock.full_pool import full_pool
from penstock.ids import new_request_id
from penstock.metrics import REQUEST_SECONDS, REQUESTS

log = structlog.get_logger(__name__)

_REQUEST_ID = re.compile(r"req-[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_encode = msgspec.json.Encoder().encode
THREADS = 40  # requests that are answered at once, of which `operations.queue.MOST_WAITERS` may wait for a backend


class Edge:
    """Serves `apis`, pairs of path prefix (without slashes) and API; the first that fits gets the request."""

    def __init__(self, apis: Sequence[tuple[str, Api]], *, most_body_bytes: int, public_url: str | None) -> None:
        self._apis = [(tuple(prefix.split("/")) if prefix else (), api) for prefix, api in apis]
        self._most_body_bytes = most_body_bytes
        self._public_url = public_url.rstrip("/") if public_url else None
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="request")

    def start(self) -> None:
        """Have all threads run from now on. Raises Unavailable when they cannot be had."""
        self._threads.shutdown(wait=False)
        self._threads = full_pool(THREADS, "request")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})
        else:
            await self._serve(scope, receive, send)

    async def _live(self, receive: Receive, send: Send) -> None:
        """There is nothing to begin, and threads to end; for servers that ask for it, as those of tests do."""
        while (event := (await receive())["type"]) != "lifespan.shutdown":
            await send({"type": f"{event}.complete"})
        self._threads.shutdown(wait=False)
        await send({"type": f"{event}.complete"})

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        started_s = time.perf_counter()
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        asked_as = headers.get("x-openstack-request-id", "")
        ids = {"request_id": new_request_id()}
        if _REQUEST_ID.fullmatch(asked_as):
            ids["global_request_id"] = asked_as
        body = await self._read(headers, receive)
        loop = asyncio.get_running_loop()
        try:
            answer = await loop.run_in_executor(self._threads, self._answer, scope, headers, body, ids)
        except asyncio.CancelledError:  # we are told to stop, and the client learns nothing: what it asked for goes on
            log.warning("request.cut_off", method=_known_method(scope["method"]), path=scope["path"], **ids)
            raise
        took_s = time.perf_counter() - started_s
        try:
            await _send(send, answer, scope["method"], ids["request_id"])
        finally:
            _tell(scope, answer, ids, took_s)  # last: the client need not wait for that

    async def _read(self, headers: dict[str, str], receive: Receive) -> bytes | None:
        """The body, or None when it is larger than we read."""
        declared = headers.get("content-length", "0")
        is_too_large = not re.fullmatch(r"[0-9]{1,18}", declared) or int(declared) > self._most_body_bytes
        parts: list[bytes] = []
        size = 0
        while True:
            message = await receive()
            part = message.get("body", b"")
            size += len(part)
            is_too_large = is_too_large or size > self._most_body_bytes
            if not is_too_large:
                parts.append(part)
            if message["type"] != "http.request" or not message.get("more_body", False):
                return None if is_too_large else b"".join(parts)
            if is_too_large and size > 16 * self._most_body_bytes:
                return None  # enough: answer and let the server close the connection

    def _answer(self, scope: Scope, headers: dict[str, str], body: bytes | None, ids: dict[str, str]) -> Answer:
        structlog.contextvars.clear_contextvars()
        structlog.contextvars.bind_contextvars(**ids)
        return self._answer_or_fault(scope, headers, body, ids["request_id"])

    def _checked(self, scope: Scope, body: bytes | None) -> bytes:
        if body is None:
            raise RequestTooLarge(f"The request body is larger than {self._most_body_bytes} bytes.")
        if "\x00" in scope["path"]:
            raise Invalid("A path cannot hold NUL characters.")
        return body

    def _answer_or_fault(self, scope: Scope, headers: dict[str, str], body: bytes | None, request_id: str) -> Answer:
        path = scope["path"].removeprefix("/")  # a slash at the end stays: behind a collection it asks for "", a 404
        segments = tuple(path.split("/")) if path else ()
        is_identity = segments[:1] in (("v3",), ("identity",))
        try:
            content = self._checked(scope, body)
            prefix, api = next((p, api) for p, api in self._apis if segments[: len(p)] == p)
            path = "/".join(segments[len(prefix) :])
            query = QueryParams(scope["query_string"])
            url = self._public_url or _url(scope, headers)
            return api.handle(
                HttpRequest(scope["method"], path, query, headers, content, url, request_id, _client(scope))
            )
        except Fault as fault:
            return identity_fault(fault) if is_identity else share_fault(fault)
        except Exception:  # the outermost frame of a request: whatever it is, the client gets an answer
            log.exception("request.crashed")
            return unexpected(request_id, identity=is_identity)


def _tell(scope: Scope, answer: Answer, ids: dict[str, str], took_s: float) -> None:
    """The access line, and the request among the metrics."""
    route, method = answer.route or "unmatched", _known_method(scope["method"])
    REQUESTS.labels(route, method, str(answer.status)).inc()
    REQUEST_SECONDS.labels(route, method).observe(took_s)
    log.info(
        "request",
        method=method,
        path=scope["path"],
        status=answer.status,
        seconds=round(took_s, 4),
        client=_client(scope),
        **ids,
    )


def _url(scope: Scope, headers: dict[str, str]) -> str:
    """Our address as the client writes it. A Host header with anything odd in it is not repeated."""
    host = headers.get("host", "")
    if not _HOST.fullmatch(host):
        name, port = scope.get("server") or ("127.0.0.1", 80)
        host = f"{name}:{port}"
    return f"{scope.get('scheme', 'http')}://{host}"


def _client(scope: Scope) -> str:
    return str((scope.get("client") or ("",))[0])


def _known_method(method: str) -> str:
    return method if method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS") else "other"


async def _send(send: Send, answer: Answer, method: str, request_id: str) -> None:
    headers = {"x-openstack-request-id": request_id, "x-compute-request-id": request_id, **answer.headers}
    body = answer.body
    if body is None:
        content = b""
    elif isinstance(body, bytes):
        content = body
    else:
        content = _encode(body)
        headers.setdefault("Content-Type", "application/json")
    if answer.status != 204:
        headers["Content-Length"] = str(len(content))
    raw: list[tuple[bytes, bytes]] = [(k.lower().encode("latin-1"), v.encode("latin-1")) for k, v in headers.items()]
    start: dict[str, Any] = {"type": "http.response.start", "status": answer.status, "headers": raw}
    await send(start)
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})

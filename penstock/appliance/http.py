"""The appliance over HTTP: an ASGI application; everything behind it is plain blocking code in threads."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import msgspec
import structlog
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from penstock.appliance.faults import InvalidArgument, OverLimit, Refusal
from penstock.appliance.service import Reply, Service, fault_reply
from penstock.appliance.trouble import MEANING, Rule, Trouble, Wire

MOST_BODY_BYTES = 64 * 1024
HANG_S = 3600.0
TRANSPORT = "penstock.transport"  # of the scope, where a server that can be troubled gives its connections
ROOM_FOR_THE_REST = 10  # bytes of half a body that never come

log = structlog.get_logger(__name__)


class Application:
    """One service behind a port."""

    def __init__(self, service: Service, trouble: Trouble | None = None) -> None:
        self._service = service
        self._trouble = trouble

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one ASGI request."""
        if scope["type"] != "http":
            return
        body = await _read(receive)
        path = scope.get("raw_path", scope["path"].encode()).decode("latin-1").partition("?")[0]
        rule = self._trouble.of(scope["method"], path) if self._trouble is not None else None
        if rule is not None and rule.delay_s:
            await asyncio.sleep(rule.delay_s)
        reply = await run_in_threadpool(self._answer, scope, path, body, rule)
        wire = rule.wire if rule is not None else Wire.WHOLE
        if wire is Wire.HANG:
            await asyncio.sleep(HANG_S)
        if wire in (Wire.HANG, Wire.DROP):
            scope[TRANSPORT].abort()
        else:
            await _send(send, reply, wire)

    def _answer(self, scope: Scope, path: str, body: bytes | None, rule: Rule | None) -> Reply:
        started_s = time.perf_counter()
        if rule is not None and rule.ends_sessions:
            self._service.sessions.end_all()
        lost = rule is not None and rule.wire in (Wire.HANG, Wire.DROP)
        is_refused = rule is not None and (rule.status is not None or lost)
        if rule is not None and is_refused and not rule.takes_effect:
            reply = _refused(rule)
        else:
            reply = self._lagging(self._carry_out(scope, path, body))
            if rule is not None and rule.status is not None:
                reply = _refused(rule)
        took_s = round(time.perf_counter() - started_s, 4)
        log.info("appliance.request", method=scope["method"], path=path, status=reply.status, seconds=took_s)
        return reply

    def _lagging(self, reply: Reply) -> Reply:
        """Real appliances count clones late."""
        found = (reply.body or {}).get("snapshot")
        if self._trouble is None or not self._trouble.clones_lag or found is None:
            return reply
        late = {**found, "numclones": found["numclones"] + self._trouble.clones_lag}
        return Reply(reply.status, {"snapshot": late}, reply.headers)

    def _carry_out(self, scope: Scope, path: str, body: bytes | None) -> Reply:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        try:
            if body is None:
                return fault_reply(OverLimit(f"the body is larger than {MOST_BODY_BYTES} bytes"))
            if "\x00" in path or "%00" in path:
                return fault_reply(InvalidArgument("the path has a NUL in it"))
            return self._service.handle(scope["method"], path, headers, body)
        except Exception:  # the outermost frame of a request: whatever it is, the client gets an answer
            log.exception("appliance.crashed", path=path)
            return fault_reply(Refusal("this should not happen; the appliance's log says more"))


def _refused(rule: Rule) -> Reply:
    status = rule.status or 503
    body = {"fault": {"message": MEANING.get(status, "ERR_INTERNAL"), "details": "as asked for", "code": status}}
    return Reply(status, body)


async def _read(receive: Receive) -> bytes | None:
    """The body; None when it is larger than we read."""
    parts: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        part = message.get("body", b"")
        size += len(part)
        if size <= MOST_BODY_BYTES:
            parts.append(part)
        if message["type"] != "http.request" or not message.get("more_body", False) or size > 16 * MOST_BODY_BYTES:
            return None if size > MOST_BODY_BYTES else b"".join(parts)


async def _send(send: Send, reply: Reply, wire: Wire) -> None:
    content = b"" if reply.body is None else msgspec.json.encode(reply.body)
    if wire is Wire.GARBAGE:
        content = b"<html>\xff\x00 not JSON"
    headers = {"Content-Type": "application/json", **reply.headers}
    if reply.status != 204:
        headers["Content-Length"] = str(len(content) + (ROOM_FOR_THE_REST if wire is Wire.HALF else 0))
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    start: dict[str, Any] = {"type": "http.response.start", "status": reply.status, "headers": raw}
    await send(start)
    if wire is Wire.HALF:
        await send({"type": "http.response.body", "body": content[: len(content) // 2], "more_body": True})
        return  # the server closes the connection of who ends in the middle
    await send({"type": "http.response.body", "body": content})

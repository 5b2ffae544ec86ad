"""The edge, where no client library can go: what becomes of a request that a stop cuts off."""

from __future__ import annotations

import asyncio
import threading
from typing import Any

from structlog.testing import capture_logs

from penstock.api.edge import Edge
from penstock.api.http import Answer, HttpRequest


class Waiting:
    """An API that answers when it may."""

    def __init__(self) -> None:
        self.asked = threading.Event()
        self.may_answer = threading.Event()
        self.answered = threading.Event()

    def handle(self, request: HttpRequest) -> Answer:
        """See Api."""
        self.asked.set()
        assert self.may_answer.wait(20)
        self.answered.set()
        return Answer({"path": request.path})


def test_a_request_that_is_cut_off_is_told_of_and_goes_on() -> None:
    api = Waiting()
    edge = Edge([("", api)], most_body_bytes=1000, public_url=None)
    edge.start()
    scope = {"type": "http", "method": "POST", "path": "/x", "headers": [], "query_string": b"", "client": ("c", 1)}

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        raise AssertionError(message)

    async def cut_off() -> None:
        request = asyncio.create_task(edge(scope, receive, send))
        await asyncio.to_thread(api.asked.wait, 20)
        request.cancel()
        await asyncio.wait([request])
        assert request.cancelled()

    with capture_logs() as told:
        asyncio.run(cut_off())
    assert [(one["event"], one["method"], one["path"]) for one in told] == [("request.cut_off", "POST", "/x")]
    assert told[0]["request_id"].startswith("req-")
    api.may_answer.set()
    assert api.answered.wait(20)

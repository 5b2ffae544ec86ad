"""Applications on ports of their own, for clients that speak HTTP."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn

START_S = 60
STOP_S = 20


class _Server(uvicorn.Server):
    """Says when it answers."""

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self.answers = threading.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        self.answers.set()


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address under which `app` answers on loopback, as long as the block lasts."""
    listening = socket.create_server(("127.0.0.1", 0))
    with running(uvicorn.Config(app, log_config=None, access_log=False, lifespan="off"), listening):
        yield f"http://127.0.0.1:{listening.getsockname()[1]}"


@contextmanager
def running(config: uvicorn.Config, listening: socket.socket) -> Iterator[None]:
    """A server of that configuration on that socket answers, as long as the block lasts."""
    server = _Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]}, daemon=True)
    thread.start()
    try:
        assert server.answers.wait(START_S), "the server does not start"
        yield
    finally:
        server.should_exit = True
        thread.join(STOP_S)

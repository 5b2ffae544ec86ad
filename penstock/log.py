"""Logs: structlog, JSON for machines or aligned text for people; what libraries log is told there, too.

A line is a fixed event name plus fields. Request, operation and resource ids are bound once per request or operation
(`structlog.contextvars`) and so stand on every line that comes of it, also on those of libraries.
"""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Mapping
from typing import Any, Literal, TextIO

import msgspec
import structlog

NOISY = ("sqlalchemy", "alembic", "uvicorn.access", "oslo_policy", "httpcore")


def set_up(*, debug: bool, style: Literal["json", "console"], quiet: bool = False, stream: TextIO = sys.stderr) -> None:
    """Send all logging of this process to `stream`; when `quiet` only what is critical. May be called again."""
    level = logging.CRITICAL if quiet else logging.DEBUG if debug else logging.INFO
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.processors.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if style == "json":
        last: list[structlog.typing.Processor] = [structlog.processors.format_exc_info, _as_json]
    else:
        # the plain form: rich tracebacks show local variables, and with them tokens and passwords
        last = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    # Ours do not go through the standard library: that takes three times as long, several times for each request.
    structlog.configure(
        processors=[*shared, *last],
        logger_factory=lambda *name: Lines(stream, *name),
        wrapper_class=structlog.make_filtering_bound_logger(level),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)


class Lines:
    """Writes each message as a line. What does not take it (a full disk, say) ends nobody's work for that."""

    def __init__(self, stream: TextIO, name: str = "") -> None:
        self.name = name
        self._stream = stream

    def msg(self, message: str) -> None:
        """Write it, in one piece."""
        try:
            self._stream.write(f"{message}\n")
            self._stream.flush()
        except (OSError, ValueError):  # as the standard library's handlers, which have nowhere else to tell it either
            return

    log = debug = info = warning = error = critical = fatal = msg


_encode: Callable[[Any], bytes] = msgspec.json.Encoder().encode
_PLAIN = (str, int, float, bool, type(None))


def _as_json(_logger: object, _method: str, fields: structlog.typing.EventDict) -> str:
    try:
        plain = {str(name): _plain(value) for name, value in fields.items()}
    except Exception as error:  # somebody else's words for a value may fail as they like: no work ends for its log line
        plain = {"event": str(fields.get("event")), "untold": type(error).__name__}
    try:
        return _encode(plain).decode()
    except (ValueError, OverflowError):  # half a character of somebody else's text, or a number without end
        return json.dumps(plain, default=str)


def _plain(value: Any) -> Any:
    """As JSON has it; what is not JSON's by its own words, which leave out what it does not tell of itself."""
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Mapping):
        return {str(name): _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    return str(value)

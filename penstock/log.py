"""Logs: structlog over the standard library, JSON for machines or aligned text for people.

A line is a fixed event name plus fields. Request, operation and resource ids are bound once per request or operation
(`structlog.contextvars`) and so stand on every line that comes of it, also on those of libraries.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal, TextIO

import structlog

NOISY = ("sqlalchemy", "alembic", "uvicorn.access", "oslo_policy", "httpcore")


def set_up(*, debug: bool, style: Literal["json", "console"], stream: TextIO = sys.stderr) -> None:
    """Send all logging of this process to `stream`. May be called again."""
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    if style == "json":
        last: list[structlog.typing.Processor] = [
            structlog.processors.format_exc_info,
            structlog.processors.JSONRenderer(default=str),
        ]
    else:
        # the plain form: rich tracebacks show local variables, and with them tokens and passwords
        last = [
            structlog.dev.ConsoleRenderer(colors=stream.isatty(), exception_formatter=structlog.dev.plain_traceback)
        ]
    handler = logging.StreamHandler(stream)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *last],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.DEBUG if debug else logging.INFO)
    for name in NOISY:
        logging.getLogger(name).setLevel(logging.WARNING)
    structlog.configure(
        processors=[*shared, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.make_filtering_bound_logger(logging.DEBUG if debug else logging.INFO),
        cache_logger_on_first_use=False,
    )

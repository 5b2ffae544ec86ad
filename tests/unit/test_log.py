"""Lines of the log: ours and those of libraries, whatever is in them, whatever becomes of the stream."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import pytest
import structlog

from penstock import log


@pytest.fixture(autouse=True)
def _as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def _lines(stream: io.StringIO) -> list[dict[str, Any]]:
    return [json.loads(line) for line in stream.getvalue().splitlines()]


def test_a_line_of_ours_and_one_of_a_library_have_the_same_fields() -> None:
    stream = io.StringIO()
    log.set_up(debug=False, style="json", stream=stream)
    with structlog.contextvars.bound_contextvars(request_id="req-1"):
        structlog.get_logger("penstock.one").info("volume.made", volume="v")
        logging.getLogger("library").warning("words %d", 7)
        structlog.get_logger("penstock.one").debug("not told")
    ours, theirs = _lines(stream)
    assert (ours["event"], theirs["event"]) == ("volume.made", "words 7")
    assert ours["volume"] == "v"
    assert (ours["logger"], theirs["logger"]) == ("penstock.one", "library")
    assert (ours["level"], theirs["level"]) == ("info", "warning")
    assert ours["request_id"] == theirs["request_id"] == "req-1"
    assert ours["timestamp"].endswith("Z")
    assert theirs["timestamp"].endswith("Z")


def test_a_quiet_process_tells_nothing_of_ours_nor_of_libraries() -> None:
    stream = io.StringIO()
    log.set_up(debug=False, style="console", quiet=True, stream=stream)
    structlog.get_logger("penstock.one").error("volume.lost")
    logging.getLogger("library").error("words")
    assert stream.getvalue() == ""


def test_what_is_no_json_is_told_as_text() -> None:
    stream = io.StringIO()
    log.set_up(debug=True, style="json", stream=stream)
    when = datetime(2026, 11, 22, tzinfo=UTC)
    structlog.get_logger().info("odd", half="\ud800", big=2**80, when=when, error=OSError("gone"), names={"b"})
    structlog.get_logger().debug("nested", deep={"half": "\udcff", "line": "a\nb"})
    first, second = _lines(stream)
    assert first["half"] == "\ud800"
    assert first["big"] == 2**80
    assert "2026-11-22" in first["when"]
    assert first["error"] == "gone"
    assert second["deep"] == {"half": "\udcff", "line": "a\nb"}


def test_what_a_value_does_not_tell_of_itself_is_not_told() -> None:
    @dataclass(frozen=True)
    class Login:
        user: str
        password: str = field(repr=False)

    stream = io.StringIO()
    log.set_up(debug=False, style="json", stream=stream)
    structlog.get_logger().info("login", one=Login("u", "secret"), many=[Login("v", "secret")], by={1: {"a": ("b",)}})
    (line,) = _lines(stream)
    assert "secret" not in stream.getvalue()
    assert "Login(user='u')" in line["one"]
    assert "Login(user='v')" in line["many"][0]
    assert line["by"] == {"1": {"a": ["b"]}}


def test_a_value_that_cannot_be_told_ends_nobodys_work() -> None:
    class Mute:
        def __str__(self) -> str:
            raise RuntimeError("no")

    endless: list[object] = []
    endless.append(endless)
    stream = io.StringIO()
    log.set_up(debug=False, style="json", stream=stream)
    structlog.get_logger().info("first", value=Mute())
    structlog.get_logger().info("second", value=endless)
    first, second = _lines(stream)
    assert first == {"event": "first", "untold": "RuntimeError"}
    assert second == {"event": "second", "untold": "RecursionError"}


def test_a_traceback_is_in_the_line() -> None:
    stream = io.StringIO()
    log.set_up(debug=False, style="json", stream=stream)
    try:
        _fails()
    except RuntimeError:
        structlog.get_logger().exception("it.crashed")
    (line,) = _lines(stream)
    assert line["level"] == "error"
    assert "RuntimeError: why" in line["exception"]


def _fails() -> None:
    raise RuntimeError("why")


def test_for_people_a_line_is_plain_text() -> None:
    stream = io.StringIO()
    log.set_up(debug=False, style="console", stream=stream)
    structlog.get_logger("penstock.one").warning("volume.made", volume="v")
    assert "volume.made" in stream.getvalue()
    assert "volume=v" in stream.getvalue()


@pytest.mark.parametrize("fault", [OSError(28, "No space left on device"), ValueError("I/O operation on closed file")])
def test_a_stream_that_takes_nothing_ends_nobodys_work(fault: Exception) -> None:
    class Full(io.StringIO):
        def flush(self) -> None:
            raise fault

    log.set_up(debug=False, style="json", stream=Full())
    structlog.get_logger().info("volume.made")

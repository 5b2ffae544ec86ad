"""Waiting for the end of what the API accepted, and showing how far it is."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import click

DEFAULT_TIMEOUT_S = 600.0


def wait_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """``--wait/--no-wait`` and ``--timeout``."""
    command = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(min=0),
        default=DEFAULT_TIMEOUT_S,
        show_default=True,
        help="Seconds to wait at most.",
    )(command)
    return click.option(
        "--wait/--no-wait", "is_waiting", default=True, show_default=True, help="Wait until it is done."
    )(command)


class ProgressLine:
    """One line on stderr that is written over, on a terminal only."""

    def __init__(self) -> None:
        self._is_shown = False
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, state: str) -> None:
        if self._is_terminal:
            click.echo(f"\r\x1b[K{state} ...", err=True, nl=False)
            self._is_shown = True

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            click.echo("\r\x1b[K", err=True, nl=False)

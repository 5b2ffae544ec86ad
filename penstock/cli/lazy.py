"""Groups whose commands are imported when they are used, so that ``penstock --help`` is instant."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import click


@dataclass(frozen=True, slots=True)
class Later:
    """Where a command is (``module:name``) and the line that help shows for it."""

    place: str
    summary: str


class LazyGroup(click.Group):
    """A group that knows its commands by `later`: name to place."""

    def __init__(self, *args: Any, later: Mapping[str, Later], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._later = dict(later)

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(self._later)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - click's
        if cmd_name not in self._later:
            return None
        module, _, name = self._later[cmd_name].place.partition(":")
        command: click.Command = getattr(importlib.import_module(module), name)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:  # noqa: ARG002 - click's
        rows = [(name, later.summary) for name, later in self._later.items()]
        with formatter.section("Commands"):
            formatter.write_dl(rows)

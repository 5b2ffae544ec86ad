"""The documentation says what is so: links lead somewhere, named scripts exist, generated pages are up to date."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from docs.generate import FOLDER, PAGES
from penstock.cli import main as penstock

ROOT = Path(__file__).resolve().parents[2]
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "lab").rglob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
BLOCK = re.compile(r"```[a-z]*\n(.*?)```", re.DOTALL)
INLINE = re.compile(r"`([^`\n]+)`")
SCRIPT = re.compile(r"\bscript/([a-z]+)\b")


@pytest.mark.parametrize("page", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere_and_named_scripts_exist(page: Path) -> None:
    text = page.read_text()
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for name in SCRIPT.findall(text):
        assert (ROOT / "script" / name).exists(), f"{page.name} names script/{name}"


@pytest.mark.parametrize("page", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_named_commands_exist_with_their_options(page: Path) -> None:
    if page.name != "CHANGELOG.md":  # which tells of what was
        for line in commands_in(page.read_text()):
            assert unknown_in(line) is None, f"{page.name}: {line}: there is no {unknown_in(line)}"


def commands_in(text: str) -> Iterator[str]:
    """Everything that begins with ``penstock``, in blocks and in sentences."""
    for line in [line for block in BLOCK.findall(text) for line in block.splitlines()] + INLINE.findall(text):
        command = line.strip().removeprefix(".venv/bin/")
        if command.startswith("penstock "):
            yield command


def unknown_in(line: str) -> str | None:
    """The first word that is no command of the group before it, or no option of the command before it."""
    command: click.Command = penstock
    words = iter(shlex.split(line, comments=True)[1:])
    for word in words:
        context = click.Context(command, **penstock.context_settings)
        if word.startswith("-"):
            found = next((one for one in command.get_params(context) if word in (*one.opts, *one.secondary_opts)), None)
            if not isinstance(found, click.Option):
                return word
            if not found.is_flag:
                next(words, None)
        elif isinstance(command, click.Group):
            below = command.get_command(context, word)
            if below is None:
                return word
            command = below
    return None


@pytest.mark.parametrize("name", PAGES)
def test_reference_is_made_from_the_code_as_it_is(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run script/docs"


def test_the_index_reaches_every_page_written_by_hand() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        relative = page.relative_to(ROOT / "docs")
        if relative.parts[0] not in ("decisions", "reference") and relative.name != "index.md":
            assert str(relative) in index, f"{relative} is not in the index"

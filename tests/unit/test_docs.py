"""The documentation says what is so: links lead somewhere, named scripts exist, generated pages are up to date."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from docs.generate import FOLDER, PAGES

ROOT = Path(__file__).resolve().parents[2]
PROSE = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md"), *(ROOT / "lab").rglob("*.md")])
LINK = re.compile(r"\[[^\]]+\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)")
SCRIPT = re.compile(r"\bscript/([a-z]+)\b")


@pytest.mark.parametrize("page", PROSE, ids=lambda p: str(p.relative_to(ROOT)))
def test_links_lead_somewhere_and_named_scripts_exist(page: Path) -> None:
    text = page.read_text()
    for target in LINK.findall(text):
        assert (page.parent / target).exists(), f"{page.name} links to {target}"
    for name in SCRIPT.findall(text):
        assert (ROOT / "script" / name).exists(), f"{page.name} names script/{name}"


@pytest.mark.parametrize("name", PAGES)
def test_reference_is_made_from_the_code_as_it_is(name: str) -> None:
    assert (FOLDER / name).read_text() == PAGES[name](), "run script/docs"


def test_the_index_reaches_every_page_written_by_hand() -> None:
    index = (ROOT / "docs" / "index.md").read_text()
    for page in (ROOT / "docs").rglob("*.md"):
        relative = page.relative_to(ROOT / "docs")
        if relative.parts[0] not in ("decisions", "reference") and relative.name != "index.md":
            assert str(relative) in index, f"{relative} is not in the index"

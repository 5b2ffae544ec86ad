"""Modules stay small and are called by what they hold (docs: style)."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(p for folder in ("penstock", "tests", "lab") for p in (ROOT / folder).rglob("*.py"))
LONGEST = 500
NAMELESS = re.compile(r"^(utils|common|helpers|base|misc)(\.py)?$")
PUBLISHED = {ROOT / "penstock/share/drivers/zfsonlinux/utils.py"}  # the seed's own name


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_is_small_and_named(path: Path) -> None:
    if "migrations" not in path.parts:
        assert len(path.read_text().splitlines()) <= LONGEST
    if path not in PUBLISHED:
        assert not NAMELESS.match(path.name), f"{path.name} says nothing: find the concept"
        assert not any(NAMELESS.match(part) for part in path.relative_to(ROOT).parts[:-1])

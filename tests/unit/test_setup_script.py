"""``script/setup`` says what it does in its own words; what pip says is for when it fails."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[2] / "script" / "setup"
PIP = """#!/bin/sh
echo "WARNING: Location 'file:///simple/' is ignored" >&2
echo "ERROR: No matching distribution found for penstock-needs-this" >&2
exit {code}
"""


def ran(folder: Path, code: int) -> subprocess.CompletedProcess[str]:
    """The script in a folder of its own, whose environment has a pip that ends with `code`."""
    (folder / "script").mkdir()
    shutil.copy(SCRIPT, folder / "script")
    (folder / "pyproject.toml").write_text("[project]\nname = 'x'\n")
    python = folder / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    (folder / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    python.write_text(PIP.format(code=code))
    python.chmod(0o755)
    return subprocess.run([folder / "script" / "setup"], capture_output=True, text=True, check=False, timeout=60)


def test_chatter_is_kept_out_of_sight(tmp_path: Path) -> None:
    done = ran(tmp_path, 0)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert all(line.startswith("setup: ") for line in done.stderr.splitlines())
    assert "is ignored" in (tmp_path / ".work" / "setup.log").read_text()


def test_a_failure_shows_its_end_and_where_the_rest_is(tmp_path: Path) -> None:
    done = ran(tmp_path, 1)
    assert done.returncode != 0
    assert "No matching distribution" in done.stderr
    assert str(tmp_path / ".work" / "setup.log") in done.stderr
    assert not (tmp_path / ".venv" / "inputs").exists()


@pytest.mark.parametrize("option", ["--help", "-h"])
def test_help_does_nothing_else(tmp_path: Path, option: str) -> None:
    done = subprocess.run([SCRIPT, option], capture_output=True, text=True, check=False, timeout=60, cwd=tmp_path)
    assert done.returncode == 0
    assert "--system" in done.stdout

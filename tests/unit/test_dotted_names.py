"""Loading what a configuration names."""

from __future__ import annotations

import subprocess
import sys

import pytest

from penstock.dotted_names import import_module

IN_A_WORKER = """
import faulthandler
from concurrent.futures import ThreadPoolExecutor
from penstock.volume.data_path.local import connector_for
faulthandler.dump_traceback_later(100, exit=True)

def attach():
    ways = {"use_multipath": False, "device_scan_attempts": 1, "lock_path": "."}
    return connector_for("iscsi", {}, way="kernel", initiator="iqn.2026-11.org.example:me", **ways)

pool = ThreadPoolExecutor(1)
print(type(pool.submit(attach).result()).__name__)
pool.shutdown()
"""


def test_a_worker_that_used_os_brick_ends(tmp_path: object) -> None:
    argv = [sys.executable, "-c", IN_A_WORKER]
    done = subprocess.run(argv, cwd=str(tmp_path), capture_output=True, text=True, check=False, timeout=120)
    assert (done.returncode, done.stdout) == (0, "_Brick\n"), done.stderr


def test_what_cannot_be_imported_says_why() -> None:
    with pytest.raises(ModuleNotFoundError, match="no_such_module"):
        import_module("penstock.no_such_module")

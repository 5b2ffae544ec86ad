"""The first requests of a kind may come from ten clients at once."""

from __future__ import annotations

import subprocess
import sys

# In a process of its own: what it looks for ends the process. Threads take turns as often as they can.
FIRST_AT_ONCE = """
import sys, threading
from typing import Annotated
import msgspec
from penstock.api.bodies import parse

sys.setswitchinterval(1e-6)
for n in range(60):
    texts = [(f"t{i}", Annotated[str, msgspec.Meta(pattern=f"{n}x{i}")] | None, None) for i in range(20)]
    inner = msgspec.defstruct(f"Inner{n}", texts)
    outer = msgspec.defstruct(f"Outer{n}", [("one", inner | None, None), ("two", inner | None, None)])
    together = threading.Barrier(8)

    def first():
        together.wait()
        parse(b'{"two": {"t0": null}}', outer)

    threads = [threading.Thread(target=first) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
"""


def test_first_requests_of_a_kind_at_once() -> None:
    done = subprocess.run([sys.executable, "-c", FIRST_AT_ONCE], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")

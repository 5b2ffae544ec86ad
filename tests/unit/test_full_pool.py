"""A pool whose threads are all there, or that is not."""

from __future__ import annotations

import threading

import pytest

from penstock.errors import Unavailable
from penstock.full_pool import full_pool


def test_a_full_pool_starts_no_thread_later(monkeypatch: pytest.MonkeyPatch) -> None:
    pool = full_pool(3, "some")
    try:
        monkeypatch.setattr(threading.Thread, "start", lambda _: pytest.fail("a thread was wanted"))
        assert [pool.submit(abs, n).result(20) for n in range(5)] == list(range(5))
        assert sorted(one.name for one in threading.enumerate() if one.name.startswith("some_")) == [
            "some_0",
            "some_1",
            "some_2",
        ]
    finally:
        pool.shutdown()


def test_without_its_threads_there_is_no_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    start = threading.Thread.start

    def start_two_only(thread: threading.Thread) -> None:
        if thread.name == "few_2":
            raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", start_two_only)
    with pytest.raises(Unavailable, match="No 3 threads for few"):
        full_pool(3, "few")
    for one in [one for one in threading.enumerate() if one.name.startswith("few_")]:
        one.join(20)
        assert not one.is_alive()

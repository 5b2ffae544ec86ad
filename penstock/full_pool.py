"""A pool of threads that all run from its beginning."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from penstock.errors import Unavailable


def full_pool(threads: int, name: str) -> ThreadPoolExecutor:
    """A pool of so many threads, which never has to start one. Raises Unavailable when they cannot be had.

    A pool that cannot start a thread tells so who gives it something to do, keeps that, and does it later.
    """
    pool = ThreadPoolExecutor(threads, thread_name_prefix=name)
    gathered = threading.Barrier(threads + 1)
    try:
        for _ in range(threads):
            pool.submit(gathered.wait)
    except RuntimeError as error:
        gathered.abort()
        pool.shutdown(wait=False, cancel_futures=True)
        raise Unavailable(f"No {threads} threads for {name}: {error}.") from error
    gathered.wait()
    return pool

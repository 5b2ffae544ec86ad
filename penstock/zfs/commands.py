"""Running zfs and zpool: the prefix, the deadline, the daemon's lock, patience with "busy", failures as faults."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from threading import Lock

from penstock.clock import Clock
from penstock.errors import Unavailable
from penstock.host.runner import Completed, Host
from penstock.zfs.faults import Busy, fault_of, fault_of_transfer, has_failed
from penstock.zfs.flavour import Flavour

FIRST_PAUSE_S = 0.03
LONGEST_PAUSE_S = 1.0


@cache
def mount_lock(host_name: str) -> Lock:  # noqa: ARG001 - the cache's key
    """The one lock of a host's daemon, however many backends and threads use that host in this process."""
    return Lock()


class Commands:
    """zfs and zpool on one host. Every method raises the fault that the command's words mean."""

    def __init__(self, host: Host, flavour: Flavour, *, timeout_s: float, clock: Clock) -> None:
        self.host = host
        self.flavour = flavour
        self._timeout_s = timeout_s
        self.clock = clock

    def complete(self, program: str, *args: str) -> Completed:
        """Run and return what came back, failed or not."""
        return self.host.run((program, *args), timeout_s=self._timeout_s)

    def zfs(self, *args: str) -> str:
        """Run ``zfs``, return its output."""
        return _output(self.complete("zfs", *args))

    def zpool(self, *args: str) -> str:
        """Run ``zpool``, return its output."""
        return _output(self.complete("zpool", *args))

    def mounting(self, *args: str) -> str:
        """Run a ``zfs`` command that mounts or unmounts: one at a time where the daemon cannot bear two."""
        with self._one_at_a_time():
            return self.zfs(*args)

    def mounting_at_once(self, *args: str) -> bool:
        """`mounting`, unless that would have to wait for others who mount: then nothing was done, and False."""
        lock = mount_lock(self.host.name) if self.flavour.serial_mounts else None
        if lock is not None and not lock.acquire(blocking=False):
            return False
        try:
            self.zfs(*args)
        finally:
            if lock is not None:
                lock.release()
        return True

    def patiently(self, *args: str) -> str:
        """As `mounting`, again while ZFS says busy, for as long as that may be lateness: FUSE lets go of a mount late.

        Raises Busy when it stays so. A recursive destroy gets on by one dataset with every attempt, so the patience is
        for each dataset that is named busy: new words start it anew, words heard before do not.
        """
        heard: set[str] = set()
        while True:
            try:
                return self.mounting(*args)
            except Busy as busy:
                if busy.message not in heard:
                    heard.add(busy.message)
                    deadline_s = self.clock.monotonic_s() + self.flavour.busy_patience_s
                    pause_s = FIRST_PAUSE_S
                if self.clock.monotonic_s() + pause_s > deadline_s:
                    raise
            self.clock.sleep(pause_s)
            pause_s = min(pause_s * 2, LONGEST_PAUSE_S)

    def transfer(self, send: Sequence[str], receive: Sequence[str], *, timeout_s: float) -> None:
        """``zfs <send> | zfs <receive>`` on this host. Takes no lock: receive with ``-u``, so that nothing mounts."""
        source, target = self.host.pipe(("zfs", *send), ("zfs", *receive), timeout_s=timeout_s)
        fault = fault_of_transfer(source, target)
        if fault is not None:
            raise fault

    @contextmanager
    def _one_at_a_time(self) -> Iterator[None]:
        if not self.flavour.serial_mounts:
            yield
            return
        lock = mount_lock(self.host.name)
        if not lock.acquire(timeout=self._timeout_s):
            raise Unavailable(
                f"{self.host.name}: commands that mount have kept each other waiting for {self._timeout_s:g} s"
            )
        try:
            yield
        finally:
            lock.release()


def _output(done: Completed) -> str:
    if has_failed(done):
        raise fault_of(done)
    return done.stdout

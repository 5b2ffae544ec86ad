"""Brings what was committed to the disk: SQLite's write-ahead log, synced by us after the commit.

SQLite can do it within the commit (``synchronous=FULL``), and every other writer waits for the disk then, as does
whoever only wants to get ready. With NORMAL a commit is seen by everybody at once and is as whole, but a power cut may
take the last ones back until the log was synced (https://www.sqlite.org/pragma.html#pragma_synchronous): that is done
here, once for all who wait for it.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path

from penstock.errors import Unavailable, Unsure


class LogSync:
    """The log of one database file, `path`; without one (PostgreSQL, in memory) there is nothing for us to sync.

    `save` brings what is in the log into the database itself, and that to the disk, or returns False: after a failure
    of the disk nothing less proves anything, since the kernel tells of one once, and then takes its pages for written.
    """

    def __init__(self, save: Callable[[], bool]) -> None:
        self.path: str | None = None
        self._save = save
        self._changed = threading.Condition()  # guards the next three
        self._tickets = 0
        self._open: set[int] = set()  # of commits that may be seen and are not on the disk
        self._arrived = 0
        self._turn = threading.Lock()  # guards the next four
        self._fault: OSError | None = None
        self._synced = 0  # of those that arrived
        self._descriptor: int | None = None
        self._inode = 0

    def expect(self) -> int | None:
        """Before a commit: until its ticket is settled or dropped, `wait` waits for it. None: nobody need wait."""
        if self.path is None:
            return None
        with self._changed:
            self._tickets += 1
            self._open.add(self._tickets)
            return self._tickets

    def drop(self, ticket: int | None) -> None:
        """It was not committed, or is on the disk."""
        if ticket is None:
            return
        with self._changed:
            self._open.discard(ticket)
            self._changed.notify_all()

    def settle(self, ticket: int | None) -> None:
        """After the commit: returns when it is on the disk. Raises Unavailable when that cannot be had."""
        if ticket is None:
            return
        try:
            self._sync()
        except OSError as err:
            raise Unavailable(_unsaved(err)) from err
        finally:
            self.drop(ticket)

    def wait(self) -> None:
        """Return when all that can be seen now is on the disk. Raises Unsure when that cannot be had."""
        with self._changed:
            seen = set(self._open)
            self._changed.wait_for(lambda: seen.isdisjoint(self._open))
            has_failed = self._fault is not None
        if has_failed:
            try:
                self._sync()
            except OSError as err:  # no Unavailable: a driver would take its host for gone
                raise Unsure(_unsaved(err)) from err

    def _sync(self) -> None:
        with self._changed:
            self._arrived += 1
            mine = self._arrived
        with self._turn:
            if self._synced >= mine:
                return  # it began after our commit
            with self._changed:
                arrived = self._arrived
            self._sync_or_save()
            self._synced = arrived

    def _sync_or_save(self) -> None:
        try:
            if self._fault is None:
                self._sync_file()
            elif not self._save():
                raise self._fault
        except OSError as err:
            self._fault = err
            raise
        self._fault = None

    def _sync_file(self) -> None:
        """One call of the system, if nothing has changed: whoever holds the interpreter meanwhile does not delay it."""
        if self.path is None:
            return
        if self._descriptor is not None:
            os.fdatasync(self._descriptor)
        try:
            inode = os.stat(f"{self.path}-wal").st_ino  # noqa: PTH116 - as quick as can be
        except FileNotFoundError:
            return  # the last connection was closed, and that brings all of it to the disk
        if inode != self._inode:
            self._meet_file()

    def _meet_file(self) -> None:
        """The log was made anew, and its name is to be on the disk, too."""
        self._let_go()
        self._descriptor = os.open(f"{self.path}-wal", os.O_RDONLY | os.O_CLOEXEC)
        os.fdatasync(self._descriptor)
        folder = os.open(Path(str(self.path)).parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
        self._inode = os.fstat(self._descriptor).st_ino

    def close(self) -> None:
        """Let go of the file; whoever settles next opens it again."""
        with self._turn:
            self._let_go()

    def _let_go(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
        self._descriptor, self._inode = None, 0


def _unsaved(err: OSError) -> str:
    return f"The database's log could not be brought to the disk: {err.strerror}."

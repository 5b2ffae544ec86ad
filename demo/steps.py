"""The main job, step by step, through the unmodified openstacksdk; each step is timed and says what was seen."""

from __future__ import annotations

import hashlib
import re
import secrets
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import SDKException

from demo.clients import NfsClient
from demo.place import DemoError

MIB = 2**20
POLL_S = 0.05
WAIT_S = 120.0
# More than 1 GiB, so that a shrink to 1 GiB would lose data; several files at once, as one writer alone waits for each
# answer of the server.
FILES, FILE_MIB, AT_ONCE = 16, 65, 4


@dataclass(frozen=True, slots=True)
class Step:
    """One finished step."""

    what: str
    seen: str
    seconds: float


def timed(what: str, act: Callable[[], tuple[Any, str]], tell: Callable[[Step], None]) -> Any:
    """Carry out one step and tell of it; what came of it. Raises DemoError."""
    started = time.monotonic()
    try:
        result, seen = act()
    except SDKException as err:
        raise DemoError(f"{what}: {err}") from err
    tell(Step(what, seen, time.monotonic() - started))
    return result


class Story:
    """Runs the steps and keeps what they need of each other."""

    def __init__(
        self, cloud: Connection, friend: NfsClient, stranger: NfsClient, work: Path, tell: Callable[[Step], None]
    ):
        self._api = cloud.shared_file_system
        self._friend = friend
        self._stranger = stranger
        self._work = work
        self._tell = tell
        self._text = work / "hello.txt"
        self._text.write_text(f"Hello from the Penstock demo, {secrets.token_hex(16)}\n")
        self._digest = hashlib.sha256(self._text.read_bytes()).hexdigest()
        self._suffix = secrets.token_hex(3)

    def run(self) -> list[Any]:
        """All steps; returns the shares that are left for the user to try. Raises DemoError where one went wrong."""
        share = self._step("create a share of 1 GiB", self._create)
        location = self._location(share)
        self._step(f"grant {self._friend.address} read-write", lambda: self._grant(share))
        self._step("write and read a file over NFS", lambda: self._write_and_read(location))
        self._step(f"{self._stranger.address} has no rule", lambda: self._refused(location))
        snapshot = self._step("take a snapshot", lambda: self._snapshot(share))
        copy = self._step("make a share from the snapshot", lambda: self._from_snapshot(share, snapshot))
        self._step("read the file in the new share", lambda: self._read_copy(copy))
        self._step("extend to 3 GiB", lambda: self._resize(share, 3))
        self._step(f"write {FILES * FILE_MIB} MiB over NFS", lambda: self._write_much(location))
        self._step("shrink to 2 GiB", lambda: self._resize(share, 2))
        self._step("shrink to 1 GiB would lose data", lambda: self._refused_shrink(share))
        return [share, copy]

    def _step(self, what: str, act: Callable[[], tuple[Any, str]]) -> Any:
        return timed(what, act, self._tell)

    # -- steps: what came of it, and what was seen

    def _create(self) -> tuple[Any, str]:
        share = self._api.create_share(name=f"demo-{self._suffix}", size=1, share_protocol="NFS")
        share = self._until(lambda: self._api.get_share(share.id), "available")
        return share, self._location(share)

    def _grant(self, share: Any) -> tuple[Any, str]:
        rule = self._api.create_access_rule(
            share.id, access_type="ip", access_to=self._friend.address, access_level="rw"
        )
        self._until(lambda: self._api.get_access_rule(rule.id), "active", of="state")
        return rule, "rule is active"

    def _write_and_read(self, location: str) -> tuple[None, str]:
        written = self._friend.write(location, "hello.txt", self._text)
        if written.exit_code != 0:
            raise DemoError(f"The client could not write: {written.stderr.strip()}")
        if self._friend.read_digest(location, "hello.txt") != self._digest:
            raise DemoError("What was read is not what was written.")
        return None, "the same bytes came back"

    def _refused(self, location: str) -> tuple[None, str]:
        listed = self._stranger.names(location)
        if listed.exit_code == 0:
            raise DemoError(f"{self._stranger.address} has no rule and could list the share.")
        return None, f"refused: {_last_words(listed.stderr)}"

    def _snapshot(self, share: Any) -> tuple[Any, str]:
        snapshot = self._api.create_share_snapshot(share_id=share.id, name=f"demo-{self._suffix}")
        snapshot = self._until(lambda: self._api.get_share_snapshot(snapshot.id), "available")
        return snapshot, snapshot.id

    def _from_snapshot(self, share: Any, snapshot: Any) -> tuple[Any, str]:
        copy = self._api.create_share(
            name=f"demo-{self._suffix}-copy", size=share.size, share_protocol="NFS", snapshot_id=snapshot.id
        )
        copy = self._until(lambda: self._api.get_share(copy.id), "available")
        self._grant(copy)
        return copy, f"{self._location(copy)} (a clone: no data copied)"

    def _read_copy(self, copy: Any) -> tuple[None, str]:
        if self._friend.read_digest(self._location(copy), "hello.txt") != self._digest:
            raise DemoError("The file in the share made from the snapshot is not the one written before it.")
        return None, "the same bytes"

    def _resize(self, share: Any, size_gib: int) -> tuple[None, str]:
        self._api.resize_share(share.id, size_gib)
        resized = self._until(lambda: self._api.get_share(share.id), "available")
        if resized.size != size_gib:
            raise DemoError(f"The share has {resized.size} GiB, not {size_gib}.")
        return None, f"available, {size_gib} GiB"

    def _write_much(self, location: str) -> tuple[None, str]:
        started = time.monotonic()
        content = self._work / "content.bin"
        content.write_bytes(secrets.token_bytes(FILE_MIB * MIB))  # nothing of it can be compressed away
        with ThreadPoolExecutor(AT_ONCE) as writers:
            names = [f"big-{number}.bin" for number in range(FILES)]
            written = list(writers.map(lambda name: self._friend.write(location, name, content), names))
        content.unlink()
        for one in written:
            if one.exit_code != 0:
                raise DemoError(f"The client could not write: {one.stderr.strip()}")
        rate = FILES * FILE_MIB / (time.monotonic() - started)
        return None, f"{rate:.0f} MiB/s, {AT_ONCE} files at a time, through a userspace client"

    def _refused_shrink(self, share: Any) -> tuple[None, str]:
        self._api.resize_share(share.id, 1)
        left = self._until(lambda: self._api.get_share(share.id), "available")
        reasons = [message.user_message for message in self._api.user_messages() if message.resource_id == share.id]
        if left.size != 2 or not reasons:
            raise DemoError(f"The share has {left.size} GiB and the messages {reasons}.")
        return None, f"refused, still 2 GiB: {reasons[0]}"

    def _location(self, share: Any) -> str:
        return str(next(iter(self._api.export_locations(share.id))).path)

    def _until(self, fetch: Callable[[], Any], wanted: str, *, of: str = "status") -> Any:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = fetch()
            state = getattr(found, of)
            if state == wanted:
                return found
            if "error" in state:
                told = [m.user_message for m in self._api.user_messages() if m.resource_id == found.id]
                raise DemoError(f"{found.id} went to '{state}' instead of '{wanted}'. {' '.join(told)}")
            if time.monotonic() > deadline:
                raise DemoError(f"{found.id} is still '{state}' after {WAIT_S:.0f} s.")
            time.sleep(POLL_S)  # the API tells nobody of changes


def _last_words(stderr: str) -> str:
    """The error's name where the client tells it, else its last line."""
    names = re.findall(r"(?:NFS[34]|MNT3)ERR_[A-Z]+", stderr)
    return names[-1] if names else (stderr.strip().splitlines() or ["no answer"])[-1]

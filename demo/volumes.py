"""The life of a volume, step by step, through the unmodified openstacksdk; its data go through iSCSI."""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any

from openstack.connection import Connection
from openstack.exceptions import NotFoundException

from demo.place import DemoError
from demo.steps import POLL_S, WAIT_S, Step, timed
from lab.initiator import Initiator

TYPE = "zfs"
MIB, GIB = 2**20, 2**30
FIRST, LATER = 0xA1, 0xA2
WRITTEN_MIB = 64


class VolumeStory:
    """Runs the steps and keeps what they need of each other."""

    def __init__(self, cloud: Connection, friend: Initiator, stranger: Initiator, tell: Callable[[Step], None]) -> None:
        self._api = cloud.block_storage
        self._friend = friend
        self._stranger = stranger
        self._tell = tell
        self._suffix = secrets.token_hex(3)

    def run(self) -> list[Any]:
        """All steps; returns the volumes that are left for the user to try. Raises DemoError where one went wrong."""
        if not any(found.name == TYPE for found in self._api.types()):
            self._api.create_type(name=TYPE)
        volume = self._step("create a volume of 1 GiB", lambda: self._create(size=1, name=f"demo-{self._suffix}"))
        attachment, info = self._step(f"attach it to {self._friend.address}", lambda: self._attach(volume))
        self._step(f"write and read {WRITTEN_MIB} MiB over iSCSI", lambda: self._write_and_read(info))
        self._step(f"{self._stranger.address} was not let in", lambda: self._refused(info))
        snapshot = self._step("take a snapshot", lambda: self._snapshot(volume))
        self._step("extend to 2 GiB while attached", lambda: self._extend(volume, info))
        copy = self._step("make a volume from the snapshot", lambda: self._from_snapshot(snapshot, info))
        clone = self._step(
            "clone the volume",
            lambda: self._create(size=2, source_volume_id=volume.id, name=f"demo-{self._suffix}-clone"),
        )
        self._step("detach", lambda: self._detach(volume, attachment, info))
        self._step("delete the volume its clones came from", lambda: self._delete(snapshot, volume))
        return [copy, clone]

    def _step(self, what: str, act: Callable[[], tuple[Any, str]]) -> Any:
        return timed(what, act, self._tell)

    # -- steps: what came of it, and what was seen

    def _create(self, **wanted: Any) -> tuple[Any, str]:
        volume = self._api.create_volume(volume_type=TYPE, **wanted)
        volume = self._until(lambda: self._api.get_volume(volume.id), "available")
        return volume, f"{volume.id}, {volume.size} GiB"

    def _attach(self, volume: Any) -> tuple[tuple[Any, Mapping[str, Any]], str]:
        attachment = self._api.create_attachment(volume, connector={}, instance=None)
        attachment = self._api.update_attachment(attachment, connector=self._friend.connector)
        self._api.complete_attachment(attachment)
        info = dict(attachment.connection_info)
        return (attachment, info), f"{info['target_iqn']} at {info['target_portal']}, LUN {info['target_lun']}, CHAP"

    def _write_and_read(self, info: Mapping[str, Any]) -> tuple[None, str]:
        started = time.monotonic()
        self._friend.write(info, FIRST, 0, WRITTEN_MIB * MIB)
        seconds = time.monotonic() - started
        if not self._friend.holds(info, FIRST, 0, WRITTEN_MIB * MIB):
            raise DemoError("What was read is not what was written.")
        return None, f"the same bytes came back; {WRITTEN_MIB / seconds:.0f} MiB/s written, flushed"

    def _refused(self, info: Mapping[str, Any]) -> tuple[None, str]:
        if self._stranger.is_let_in(info):
            raise DemoError(f"{self._stranger.name} was not let in and could read the volume.")
        return None, f"{self._stranger.name} is refused, though it knows the secret"

    def _snapshot(self, volume: Any) -> tuple[Any, str]:
        snapshot = self._api.create_snapshot(volume_id=volume.id, name=f"demo-{self._suffix}", force=True)
        return self._until(lambda: self._api.get_snapshot(snapshot.id), "available"), snapshot.id

    def _extend(self, volume: Any, info: Mapping[str, Any]) -> tuple[None, str]:
        self._friend.write(info, LATER, 0, MIB)
        self._api.extend_volume(volume, 2)
        self._until(lambda: self._api.get_volume(volume.id), "in-use")
        size = self._friend.size_bytes(info)
        if size != 2 * GIB:
            raise DemoError(f"The initiator sees {size} bytes, not 2 GiB.")
        return None, "in use all the while; the initiator sees 2 GiB"

    def _from_snapshot(self, snapshot: Any, info: Mapping[str, Any]) -> tuple[Any, str]:
        name = f"demo-{self._suffix}-copy"
        copy, _ = self._create(size=1, snapshot_id=snapshot.id, name=name)
        (attachment, own), _ = self._attach(copy)
        if not self._friend.holds(own, FIRST, 0, MIB) or not self._friend.holds(info, LATER, 0, MIB):
            raise DemoError("The copy does not hold what the volume held when its snapshot was taken.")
        self._api.delete_attachment(attachment)
        self._until(lambda: self._api.get_volume(copy.id), "available")
        return copy, "what was written before the snapshot (a clone: no data copied)"

    def _detach(self, volume: Any, attachment: Any, info: Mapping[str, Any]) -> tuple[None, str]:
        self._api.delete_attachment(attachment)
        self._until(lambda: self._api.get_volume(volume.id), "available")
        if self._friend.is_let_in(info):
            raise DemoError("The initiator could still read the volume.")
        return None, "the initiator is refused from now on"

    def _delete(self, snapshot: Any, volume: Any) -> tuple[None, str]:
        self._api.delete_snapshot(snapshot)
        self._gone(lambda: self._api.get_snapshot(snapshot.id))
        self._api.delete_volume(volume)
        self._gone(lambda: self._api.get_volume(volume.id))
        return None, "gone, and its clones live on"

    def _until(self, fetch: Callable[[], Any], wanted: str) -> Any:
        deadline = time.monotonic() + WAIT_S
        while True:
            found = fetch()
            if found.status == wanted:
                return found
            if "error" in found.status or time.monotonic() > deadline:
                raise DemoError(f"{found.id} is '{found.status}' and not '{wanted}'.")
            time.sleep(POLL_S)

    def _gone(self, fetch: Callable[[], Any]) -> None:
        deadline = time.monotonic() + WAIT_S
        while time.monotonic() < deadline:
            try:
                fetch()
            except NotFoundException:
                return
            time.sleep(POLL_S)
        raise DemoError(f"{fetch().id} is still there.")

"""Speed of single operations on volumes, against the same commands typed by hand on the same host."""

from __future__ import annotations

import time
from typing import Any

from bench.http import Api
from bench.rows import Row, median
from bench.stage import Stage

TIMES = 25  # the disk, and the other processor, make single ones vary by a half
TYPE = "bench"
CONNECTOR = {
    "initiator": "iqn.2026-11.org.penstock.bench:c1",
    "ip": "10.89.0.101",
    "host": "c1",
    "platform": "x86_64",
    "os_type": "linux",
    "multipath": False,
    "do_local_attach": False,
}
FIRST_TID = 5000
CREATE = "zfs create -o lab:id={n} tank/vfloor{n}\n(umask 077; truncate -s 1G /tank/vfloor{n}/volume)"
ATTACH = """tgtadm --lld iscsi --mode target --op new --tid {tid} -T iqn.2026-11.org.penstock.bench:floor{n}
tgtadm --lld iscsi --mode logicalunit --op new --tid {tid} --lun 1 -b /tank/vfloor{n}/volume
tgtadm --lld iscsi --mode logicalunit --op update --tid {tid} --lun 1 --params scsi_sn=floor{n},scsi_id=floor{n}
tgtadm --lld iscsi --mode target --op bind --tid {tid} -Q iqn.2026-11.org.penstock.bench:c1"""
DETACH = "tgtadm --lld iscsi --mode target --op delete --tid {tid} --force"
DELETE = "until zfs destroy -r tank/vfloor{n}c 2>/dev/null; do sleep 0.02; done"  # FUSE lets go late


class Volumes:
    """What is asked of the API, each timed from the request to the end of its work."""

    def __init__(self, stage: Stage, api: Api) -> None:
        self._stage = stage
        self._api = api
        self._ids: list[str] = []
        self._snapshots: list[str] = []
        self._clones: list[str] = []
        self._attachments: list[str] = []

    def create(self, n: int) -> float:
        return self._made({"name": f"single-{n}"}, self._ids)

    def snapshot(self, n: int) -> float:
        started = time.time()
        body = {"snapshot": {"volume_id": self._ids[n]}}
        self._snapshots.append(self._api.volumes("/snapshots", "POST", body)["snapshot"]["id"])
        return self._ended(self._ids[n]) - started

    def clone(self, n: int) -> float:
        return self._made({"snapshot_id": self._snapshots[n]}, self._clones)

    def attach(self, n: int) -> float:
        body = {"attachment": {"volume_uuid": self._ids[n], "connector": None, "instance_uuid": None}}
        made = self._api.volumes("/attachments", "POST", body)["attachment"]["id"]
        started = time.time()
        self._api.volumes(f"/attachments/{made}", "PUT", {"attachment": {"connector": CONNECTOR}})
        ended = time.time()
        self._attachments.append(made)
        return ended - started

    def detach(self, n: int) -> float:
        started = time.time()
        self._api.volumes(f"/attachments/{self._attachments[n]}", "DELETE")
        return time.time() - started

    def delete(self, n: int) -> float:
        started = time.time()
        self._api.volumes(f"/volumes/{self._clones[n]}", "DELETE")
        return self._ended(self._clones[n]) - started

    def _made(self, wanted: dict[str, Any], ids: list[str]) -> float:
        started = time.time()
        body = {"volume": {"size": 1, "volume_type": TYPE, **wanted}}
        ids.append(self._api.volumes("/volumes", "POST", body)["volume"]["id"])
        ended = self._ended(ids[-1])
        self._api.until_volume(ids[-1])
        return ended - started

    def _ended(self, volume_id: str) -> float:
        return self._stage.at_rest(f"volume:{volume_id}")


def single(stage: Stage, api: Api) -> list[Row]:
    """Create, snapshot, clone, attach, detach and delete, each to its final state."""
    api.volumes("/types", "POST", {"volume_type": {"name": TYPE}})
    ours = Volumes(stage, api)
    by_hand = (
        (ours.create, "create volume to available", 2.0, "zfs create, truncate", CREATE),
        (ours.snapshot, "snapshot of a volume", 2.0, "zfs snapshot", "zfs snapshot tank/vfloor{n}@s"),
        (ours.clone, "volume from a snapshot", 2.0, "zfs clone", "zfs clone tank/vfloor{n}@s tank/vfloor{n}c"),
        (ours.attach, "attach, connection told", 1.5, "four tgtadm", ATTACH),
        (ours.detach, "detach", None, "one tgtadm", DETACH),
        (ours.delete, "delete volume", 2.0, "zfs destroy", DELETE),
    )
    rows = []
    for act, what, most, bare, hand in by_hand:
        # in turns, so that both see the machine in the same mood
        pairs = [(act(n), stage.script(hand.format(n=n, tid=FIRST_TID + n))) for n in range(TIMES)]
        mine, floor = (median(side) for side in zip(*pairs, strict=True))
        rows.append(Row(what, 1000 * mine, "ms", most, 1000 * floor, bare))
    return rows

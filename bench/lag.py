"""Many lightly written shares that are replicated: how far behind their replicas get, and what it takes to keep up."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.http import Api
from bench.rows import Row
from bench.stage import LAST_LOG, TICKS
from demo.place import DRIVER
from lab.daemon import LabDaemon
from lab.hosts import ENTER, Lab
from penstock.host.ssh_master import SshAccount, SshMaster

PORT = 8798
CLIENT = "10.89.3.101"
CONTROL_DIR = Path("/run/penstock/ssh")
OBJECTIVE_S = 10
MOST_CPU = 25.0
WRITE_EVERY_S = 60.0
POLL_S = 2.0
SETTLE_S = 1200.0
WARM_UP_S = 20.0
OPTIONS = (
    "log_format = json",
    "[quota]",
    "shares = -1",
    "gigabytes = -1",
    "share_replicas = -1",
    "replica_gigabytes = -1",
)
TYPE = {
    "name": "followed",
    "extra_specs": {
        "driver_handles_share_servers": "False",
        "replication_type": "readable",
        "replication_rpo_seconds": str(OBJECTIVE_S),
    },
}
# $1: seconds between two writes; the others are the directories, written one after another for ever
WRITER = """pause=$1
shift
while :; do
    for place in "$@"; do
        head -c 4096 /dev/urandom >"$place/data"
        sleep "$pause"
    done
done
"""


@dataclass(frozen=True)
class Cpu:
    """CPU seconds: the daemon's own, those of its processes that have ended, and of the connections it keeps."""

    own_s: float
    ended_s: float
    connections_s: float

    @property
    def all_s(self) -> float:
        return self.own_s + self.ended_s + self.connections_s


def lag(shares: int, seconds: float) -> Iterator[Row]:
    """`shares` with one replica each, on two hosts; measured for so many seconds once all of them are in sync."""
    with tempfile.TemporaryDirectory(prefix="penstock-bench") as folder:
        lab = Lab("benchl", Path(folder) / "lab", "10.89.3", pool_mib=4096)
        work = Path(folder) / "daemon"
        daemon = LabDaemon(work, _backends(lab), port=PORT, options=OPTIONS)
        try:
            lab.up(2, 0)
            daemon.up()
            password = (work / "state" / "admin-password").read_text().strip()
            api = Api.login("127.0.0.1", PORT, password)
            places = _made(api, shares)
            _in_sync(api, shares)
            with _written(lab, places):
                time.sleep(WARM_UP_S)
                yield from _measured(api, daemon, _connections(lab), shares, seconds)
        finally:
            daemon.down()
            LAST_LOG.parent.mkdir(parents=True, exist_ok=True)
            if daemon.log.exists():
                shutil.copy(daemon.log, LAST_LOG.with_name("lag.log"))
            lab.down()


def _backends(lab: Lab) -> dict[str, tuple[str, ...]]:
    return {
        f"on-{name}": (
            *DRIVER,
            f"zfs_share_export_ip = {lab.address(name)}",
            f"zfs_service_ip = {lab.address(name)}",
            "zfs_zpool_list = tank",
            "zfs_use_ssh = True",
            "zfs_ssh_username = root",
            f"zfs_ssh_private_key_path = {lab.key_path}",
            f"zfs_ssh_known_hosts_file = {lab.known_hosts_path}",
            "replication_domain = lab",
            "max_over_subscription_ratio = 10000",
        )
        for name in ("h1", "h2")
    }


def _made(api: Api, shares: int) -> dict[str, list[str]]:
    """The shares with a replica each; the directories that clients would write to, by host."""
    api.call("POST", "/types", {"share_type": TYPE})
    wanted = {"share_proto": "NFS", "size": 1, "share_type": TYPE["name"]}
    ids = [str(api.call("POST", "/shares", {"share": wanted})["share"]["id"]) for _ in range(shares)]
    places: dict[str, list[str]] = {"h1": [], "h2": []}
    for share_id in ids:
        api.until_share(share_id)
        share = api.call("GET", f"/shares/{share_id}")["share"]
        (location, *_) = api.call("GET", f"/shares/{share_id}/export_locations")["export_locations"]
        places["h1" if "@on-h1#" in share["host"] else "h2"].append(location["path"].partition(":")[2])
    for share_id in ids:
        api.allow(share_id, CLIENT)
        api.call("POST", "/share-replicas", {"share_replica": {"share_id": share_id}})
    return places


@contextmanager
def _written(lab: Lab, places: dict[str, list[str]]) -> Iterator[None]:
    """Each directory gets 4 KiB about once a minute, until the end of the block."""
    writers = [
        subprocess.Popen(
            (str(ENTER), str(lab.directory), name, "sh", "-c", WRITER, "writer", f"{WRITE_EVERY_S / len(on):.3f}", *on),
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        for name, on in places.items()
        if on
    ]
    try:
        yield
    finally:
        for writer in writers:
            os.killpg(writer.pid, 9)
            writer.wait()


def _followers(api: Api) -> list[dict[str, Any]]:
    found = api.call("GET", "/share-replicas/detail")["share_replicas"]
    return [row for row in found if row["replica_state"] != "active"]


def _in_sync(api: Api, shares: int) -> None:
    deadline = time.monotonic() + SETTLE_S
    while True:
        found = _followers(api)
        if len(found) == shares and all(row["replica_state"] == "in_sync" for row in found):
            return
        if time.monotonic() > deadline:
            states = sorted({f"{row['status']}/{row['replica_state']}" for row in found})
            raise RuntimeError(f"{len(found)} replicas are {', '.join(states)} after {SETTLE_S:g} s")
        time.sleep(POLL_S)


def _measured(api: Api, daemon: LabDaemon, connections: set[bytes], shares: int, seconds: float) -> Iterator[Row]:
    started, before = time.monotonic(), _cpu(daemon, connections)
    lags: list[float] = []
    late = set()
    while time.monotonic() < started + seconds:
        for row in _followers(api):
            lags.append(row["lag_seconds"])
            if row["lag_seconds"] > OBJECTIVE_S:
                late.add(row["id"])
        time.sleep(POLL_S)
    after, took = _cpu(daemon, connections), time.monotonic() - started
    busy = f"4 KiB a minute each; load of the machine {os.getloadavg()[0]:.1f}"
    own, ended, connections = (
        100 * (new - old) / took
        for new, old in (
            (after.own_s, before.own_s),
            (after.ended_s, before.ended_s),
            (after.connections_s, before.connections_s),
        )
    )
    yield Row(f"{shares} replicas, largest lag seen in {took:.0f} s", max(lags), "s", OBJECTIVE_S, None, busy)
    yield Row(f"{shares} replicas, median lag", sorted(lags)[len(lags) // 2], "s", None)
    yield Row(f"{shares} replicas, ever later than {OBJECTIVE_S} s", len(late), "", None)
    told = "its own, its ended processes', its ssh connections'"
    yield Row(f"{shares} replicas, CPU of a core", own + ended + connections, "%", MOST_CPU, None, told)
    yield Row("  of that the daemon's own", own, "%", None)
    yield Row("  of that its ended processes' (ssh clients)", ended, "%", None)


def _cpu(daemon: LabDaemon, connections: set[bytes]) -> Cpu:
    pid = daemon.pid()
    if pid is None:
        raise RuntimeError(f"the daemon is gone; see {daemon.log}")
    own, ended = _ticks(pid)
    kept = 0.0
    for each in Path("/proc").iterdir():
        try:
            if each.name.isdecimal() and any(mark in (each / "cmdline").read_bytes() for mark in connections):
                kept += _ticks(int(each.name))[0]
        except (FileNotFoundError, ProcessLookupError):  # it ended just now
            continue
    return Cpu(own, ended, kept)


def _connections(lab: Lab) -> set[bytes]:
    """What the processes of the daemon's connections have in their titles, or arguments."""
    found = set()
    for name in ("h1", "h2"):
        account = SshAccount(lab.address(name), "root", private_key_path=str(lab.key_path))
        found |= {os.fsencode(SshMaster(account, CONTROL_DIR, purpose).control_path) for purpose in ("", "streams")}
    return found


def _ticks(pid: int) -> tuple[float, float]:
    """Its own CPU seconds, and those of its children that have ended."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    own, ended = (int(fields[a]) + int(fields[a + 1]) for a in (11, 13))
    return own / TICKS, ended / TICKS

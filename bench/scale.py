"""What it costs when there is much: lists, restarts, exports, memory. Rows are put in the database and datasets on the
pool by hand, quickly; what is measured goes through the API."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from bench.http import Api
from bench.rows import Row, median, repeat
from bench.stage import Stage
from penstock.domain.new_volumes import new_volume
from penstock.domain.pools import PoolRef
from penstock.domain.shares import ShareStatus
from penstock.domain.volumes import VolumeStatus
from penstock.exports.ganesha_files import parse
from penstock.exports.model import ClientRule, Export, Squash
from penstock.exports.nfs_ganesha import DIRECTORY, GaneshaNfs
from penstock.exports.shards import Shards
from penstock.store import shares, types, volume_types, volumes
from penstock.store.database import Database
from tests.factories import a_share

MANY = 10_000
BUS = "dbus-send --system --print-reply --dest=org.ganesha.nfsd /org/ganesha/nfsd/ExportMgr org.ganesha.nfsd.exportmgr."
BY_HAND = (
    f"cp {{file}} {{file}}.new; sync {{file}}.new; mv {{file}}.new {{file}}\n"
    f"{BUS}{{method}} string:{{file}} 'string:EXPORT(Export_Id={{number}})' >/dev/null"
)
RESTART = f"""pid=$(cat /run/ganesha/ganesha.pid)
kill -9 $pid
while [ -e /proc/$pid ]; do sleep 0.01; done
LD_PRELOAD={{clamp}} ganesha.nfsd -f /etc/ganesha/ganesha.conf -L /dev/null -p /run/ganesha/ganesha.pid
until {BUS}ShowExports >/dev/null 2>&1; do sleep 0.1; done"""
PAGE = 1000


def lists(stage: Stage, api: Api) -> list[Row]:
    """One page in detail out of 10,000 shares, and one share; CPU of the server. And its memory."""
    api.until_share(api.create("template"))
    _fill(stage, api, MANY)
    api.call("GET", f"/shares/detail?limit={PAGE}")
    page = _cpu_ms(stage, lambda: api.call("GET", f"/shares/detail?limit={PAGE}"), 20)
    share_id = api.call("GET", "/shares?limit=1")["shares"][0]["id"]
    one = _cpu_ms(stage, lambda: api.call("GET", f"/shares/{share_id}"), 300)
    return [
        Row(f"list {PAGE} of {MANY} shares in detail, server CPU", page, "ms", 30),
        Row("show one share, server CPU", one, "ms", 2),
        Row(f"resident memory with {MANY} shares", stage.resident_mib(), "MiB", 200),
    ]


def volume_lists(stage: Stage, api: Api) -> list[Row]:
    """One page in detail out of 10,000 volumes, and one volume; CPU of the server."""
    project_id = _fill_volumes(stage, MANY)
    path = f"/volumes/detail?limit={PAGE}&all_tenants=1&project_id={project_id}"
    last = api.volumes(path)["volumes"][-1]["id"]
    page = _cpu_ms(stage, lambda: api.volumes(path), 20)
    behind = _cpu_ms(stage, lambda: api.volumes(f"{path}&marker={last}"), 20)
    one = _cpu_ms(stage, lambda: api.volumes(f"/volumes/{last}"), 300)
    return [
        Row(f"list {PAGE} of {MANY} volumes in detail, server CPU", page, "ms", 30),
        Row("  the page behind it, by marker", behind, "ms", 30),
        Row("show one volume, server CPU", one, "ms", 2),
    ]


def restart(stage: Stage, api: Api, count: int) -> list[Row]:
    """Kill and start with `count` shares on the pool: the first answer, and ZFS commands until all are ensured."""
    made = [api.create("restart") for _ in range(count)]
    for share_id in made:
        api.until_share(share_id)
    stage.daemon.kill()
    at = stage.daemon.log.stat().st_size
    started = time.monotonic()
    stage.daemon.start()
    while not stage.daemon.answers():
        time.sleep(0.02)
    answered = time.monotonic() - started
    while not (lines := _of_shares(_since(stage, at, "backend.ready"))):
        time.sleep(0.05)
    ensured = time.monotonic() - started
    commands = [e for e in _since(stage, at, "host.command") if "zfs" in e["argv"][0] and "version" not in e["argv"]]
    before = [e for e in _of_shares(commands) if e["timestamp"] <= lines[0]["timestamp"]]
    return [
        Row(f"restart with {count} shares: first answer", answered, "s", 2),
        Row(f"restart with {count} shares: ZFS commands", float(len(before)), "", 3),
        Row(f"restart with {count} shares: all ensured", ensured, "s", 30),
    ]


def exports(stage: Stage, api: Api, count: int) -> list[Row]:
    """Access rule to active with `count` exports to different clients in the server, beside the daemon's own.

    Those others are plain directories that the bench makes: zfs-fuse mounts at most 1,000 filesystems.
    """
    share_id = api.create("exports")
    api.until_share(share_id)
    stage.script(f"zfs create tank/many\nmkdir $(seq -f /tank/many/%g {count})")
    clients = [f"10.{100 + n // 65536}.{n // 256 % 256}.{n % 256}" for n in range(count)]
    rules = [(ClientRule(client, writable=True, squash=Squash.ROOT_SQUASH),) for client in clients]
    others = [Export(f"/tank/many/{n + 1}", f"many-{n}", rule) for n, rule in enumerate(rules)]
    stage.daemon.down()
    started = time.monotonic()
    GaneshaNfs(stage.host).put(others)
    filled = time.monotonic() - started
    stage.daemon.up()
    api = api.another()
    seconds = []
    for n in range(5):
        started = time.time()
        api.until_rule(api.allow(share_id, f"10.89.0.{110 + n}"))
        seconds.append(stage.ended(share_id) - started)
    file = Shards(stage.host, DIRECTORY, ".conf").file_of(others[0].path)
    number = parse(stage.host.read_file(file) or "")[others[0].path].export_id
    by_hand = repeat(5, lambda _: stage.script(BY_HAND.format(method="UpdateExport", file=file, number=number)))
    restarted = stage.script(RESTART.format(clamp=stage.lab.directory / "clamp.so"))
    return [
        Row(f"access rule to active, {count} exports present", median(seconds), "s", 0.5),
        Row("  the same, by hand: file and dbus-send", by_hand, "s", None),
        Row(f"put {count} exports in force in one batch", filled, "s", None),
        Row(f"NFS-Ganesha killed and started with {count} exports, until all are served", restarted, "s", None),
    ]


def _fill(stage: Stage, api: Api, count: int) -> None:
    template = api.call("GET", "/shares/detail?limit=1")["shares"][0]
    database = Database(f"sqlite:///{stage.work}/state/penstock.sqlite")
    with database.begin() as tx:
        share_type = types.get_by_name(tx, "default")
        for n in range(count):
            share = a_share(name=f"fill-{n}", host=None, status=ShareStatus.ERROR, metadata={"n": str(n)})
            share = replace(
                share,
                project_id=template["project_id"],
                user_id=template["user_id"],
                share_type_id=share_type.id if share_type else None,
            )
            shares.insert_share(tx, share)
    database.close()


def _fill_volumes(stage: Stage, count: int) -> str:
    """Volumes of a project that the bench makes up; its id."""
    database = Database(f"sqlite:///{stage.work}/state/penstock.sqlite")
    project_id, now = "f" * 32, datetime.now(UTC).replace(tzinfo=None)
    pool = PoolRef("bench", "block", "tank")
    with database.begin() as tx:
        (volume_type,) = volume_types.list_types(tx)[:1]
        for n in range(count):
            volume = new_volume(
                size_gib=1,
                project_id=project_id,
                user_id="b" * 32,
                volume_type=volume_type,
                pool=pool,
                zone="nova",
                status=VolumeStatus.AVAILABLE,
                now=now,
                name=f"fill-{n}",
                metadata={"n": str(n)},
            )
            volumes.insert_volume(tx, volume)
    database.close()
    return project_id


def _cpu_ms(stage: Stage, act: object, times: int) -> float:
    """Median over five rounds of the server's CPU milliseconds for one request."""
    rounds = []
    for _ in range(5):
        before = stage.cpu_s()
        for _ in range(times):
            act()  # type: ignore[operator]
        rounds.append(1000 * (stage.cpu_s() - before) / times)
    return median(rounds)


def _of_shares(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those of the backend of shares: beside it starts one of volumes, with a dataset of its own to look at."""
    return [line for line in lines if str(line.get("backend", "")).endswith("@zfs")]


def _since(stage: Stage, offset: int, event: str) -> list[dict[str, Any]]:
    with stage.daemon.log.open() as log:
        log.seek(offset)
        return [json.loads(line) for line in log if f'"{event}"' in line]

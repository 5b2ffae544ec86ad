"""Speed of single operations, against the same commands typed by hand on the same host."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Mapping
from datetime import datetime

from bench.http import Api
from bench.rows import Row, median, repeat
from bench.stage import Measured, Stage

TIMES = 25
CLIENT = "10.89.0.101"

Look = Callable[[], None]  # waits until a client sees the end


def latency(stage: Stage, api: Api) -> list[Row]:
    """POST accepted → driver started, from the daemon's own log: acceptance is in the row, the start is a command's."""
    ids = []
    for n in range(15):
        share_id = api.create(f"latency-{n}")
        api.until_share(share_id)
        ids.append(share_id)
    accepted = {s: unix_time(api.call("GET", f"/shares/{s}")["share"]["created_at"]) for s in ids}
    started = first_commands(stage, {f"share:{share_id}": share_id for share_id in ids})
    waits = [1000 * (started[s] - accepted[s]) for s in ids if s in started]
    for share_id in ids:
        api.call("DELETE", f"/shares/{share_id}")
        api.until_gone(f"/shares/{share_id}")
    return [Row("POST accepted to driver started, median", median(waits), "ms", 15)]


def idle(stage: Stage) -> list[Row]:
    """CPU of a daemon with nothing to do."""
    time.sleep(3)
    before, seconds = stage.cpu_s(), 20
    time.sleep(seconds)
    return [Row("idle daemon, CPU of a core", 100 * (stage.cpu_s() - before) / seconds, "%", 2)]


def single(stage: Stage, api: Api) -> list[Row]:
    """Create, snapshot, extend and access rule, each to its final state."""
    ids: list[str] = []

    def act(what: str, n: int) -> float:
        started = time.time()
        look = asked[what](n)
        ended = stage.settled(ids[n])
        look()
        stage.measured.append(Measured(what, ids[n], started, ended))
        return ended - started

    def create(n: int) -> Look:
        ids.append(api.create(f"single-{n}"))
        return lambda: api.until_share(ids[n])

    def snapshot(n: int) -> Look:
        snapshot_id = api.snapshot(ids[n])
        return lambda: api.until_snapshot(snapshot_id)

    def extend(n: int) -> Look:
        api.action(ids[n], "extend", new_size=2)
        return lambda: api.until_share(ids[n])

    def allow(n: int) -> Look:
        rule_id = api.allow(ids[n], CLIENT)
        return lambda: api.until_rule(rule_id)

    asked = {
        "create share to available": create,
        "snapshot": snapshot,
        "extend": extend,
        "access rule to active": allow,
    }
    by_hand = (
        (
            "create share to available",
            "zfs create, chmod, AddExport",
            lambda n: f"zfs create -o refquota=1G tank/floor{n}\nchmod 777 /tank/floor{n}\n{_export(n)}",
        ),
        ("snapshot", "zfs snapshot", lambda n: f"zfs snapshot tank/floor{n}@s"),
        ("extend", "zfs set refquota", lambda n: f"zfs set refquota=2G tank/floor{n}"),
        (
            "access rule to active",
            "zfs set, UpdateExport",
            lambda n: f"zfs set lab:rules={CLIENT} tank/floor{n}\n{_update(n)}",
        ),
    )
    rows = []
    for what, bare, hand in by_hand:
        # in turns, so that both see the machine in the same mood
        pairs = [(act(what, n), stage.script(hand(n))) for n in range(TIMES)]
        ours, floor = (median(side) for side in zip(*pairs, strict=True))
        rows.append(Row(what, 1000 * ours, "ms", 2, 1000 * floor, bare))
    return rows


def deletion(stage: Stage, api: Api, count: int = 100) -> list[Row]:
    """A share whose dataset has many snapshots, and the same by hand; then also by deleting each through the API."""
    share_id = api.create("many")
    api.until_share(share_id)
    path = _path(api, share_id)
    snapshots = "\n".join(f"zfs snapshot {path[1:]}@{n}\nzfs snapshot tank/floor-many@{n}" for n in range(count))
    stage.script(f"zfs create tank/floor-many\n{snapshots}")
    # FUSE lets go late
    floor = stage.script("until zfs destroy -r tank/floor-many 2>/dev/null; do sleep 0.05; done")
    by_share = _deleted(stage, api, share_id, [])
    share_id = api.create("many")
    api.until_share(share_id)
    taken = [api.snapshot(share_id) for _ in range(count)]
    for snapshot_id in taken:
        api.until_snapshot(snapshot_id)
    one_by_one = _deleted(stage, api, share_id, taken)
    return [
        Row(f"delete a share with {count} snapshots", by_share, "s", 3, floor, "one zfs destroy -r"),
        Row(
            f"{count} snapshots by {count} requests, then the share", one_by_one, "s", None, floor, "one zfs destroy -r"
        ),
    ]


def _deleted(stage: Stage, api: Api, share_id: str, snapshot_ids: list[str]) -> float:
    """Seconds until the share is gone, after its snapshots."""
    started = time.time()
    for snapshot_id in snapshot_ids:
        api.call("DELETE", f"/snapshots/{snapshot_id}")
    for snapshot_id in snapshot_ids:
        api.until_gone(f"/snapshots/{snapshot_id}")
    api.call("DELETE", f"/shares/{share_id}")
    api.until_gone(f"/shares/{share_id}")
    return stage.ended(share_id) - started


def _path(api: Api, share_id: str) -> str:
    locations = api.call("GET", f"/shares/{share_id}/export_locations")["export_locations"]
    return str(locations[0]["path"].partition(":")[2])


def cloning(stage: Stage, api: Api) -> list[Row]:
    """Create from snapshot: empty, and with data; the floor of the second is the first."""
    seconds = []
    for mib in (0, 400):
        share_id = api.create(f"source-{mib}")
        api.until_share(share_id)
        if mib:
            target = f"of={_path(api, share_id)}/data"
            stage.bare("dd", "if=/dev/urandom", target, "bs=1M", f"count={mib}", "conv=fsync")
        snapshot_id = api.snapshot(share_id)
        api.until_snapshot(snapshot_id)

        def clone(n: int, source: str = snapshot_id) -> float:
            started = time.time()
            share_id = api.create(f"clone-{n}", snapshot_id=source)
            api.until_share(share_id)
            return stage.ended(share_id) - started

        seconds.append(repeat(5, clone))
    return [
        Row("share from a snapshot with 400 MiB", 1000 * seconds[1], "ms", 1.5, 1000 * seconds[0], "from an empty one")
    ]


def together(stage: Stage, api: Api, shares: int = 50, clients: int = 10, rounds: int = 3) -> list[Row]:
    """Shares created by several clients at once, and the same number of ``zfs create`` in a loop: medians of rounds."""
    half = shares // 2  # before and after ours: the more datasets, the longer each takes
    loop = "for n in $(seq {first} {last}); do zfs create -o refquota=1G tank/loop$n; done"
    ours: list[float] = []
    floor: list[float] = []
    for done in range(0, rounds * shares, shares):
        before = stage.script(loop.format(first=done + 1, last=done + half))
        ours.append(_at_once(stage, api, shares, clients))
        floor.append(before + stage.script(loop.format(first=done + half + 1, last=done + shares)))
    what = f"{shares} shares by {clients} clients at once"
    return [Row(what, median(ours), "s", 1.5, median(floor), f"{shares} zfs create in a loop")]


def _at_once(stage: Stage, api: Api, shares: int, clients: int) -> float:
    """The seconds until the last of them is available."""
    made: list[str] = []

    def work() -> None:
        own = api.another()
        made.extend([own.create("together") for _ in range(shares // clients)])

    threads = [threading.Thread(target=work) for _ in range(clients)]
    started = time.time()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    ended = stage.settled(*made, look_again_s=0.005)
    for share_id in made:
        api.until_share(share_id)
    return ended - started


BUS = (
    "dbus-send --system --print-reply --dest=org.ganesha.nfsd /org/ganesha/nfsd/ExportMgr"
    " org.ganesha.nfsd.exportmgr.{call} string:/etc/ganesha/floor{n}.conf 'string:EXPORT(Export_Id={id})' >/dev/null"
)


def _export(n: int) -> str:
    block = (
        f"EXPORT {{ Export_Id = {40000 + n}; Path = /tank/floor{n}; Pseudo = /tank/floor{n}; Access_Type = NONE; "
        f"FSAL {{ Name = VFS; }} CLIENT {{ Clients = 10.89.0.102; Access_Type = RW; }} }}"
    )
    call = BUS.format(call="AddExport", n=n, id=40000 + n)
    return f"echo '{block}' > /etc/ganesha/floor{n}.conf\n{call}"


def _update(n: int) -> str:
    call = BUS.format(call="UpdateExport", n=n, id=40000 + n)
    return f"sed -i 's/10.89.0.102/{CLIENT}/' /etc/ganesha/floor{n}.conf\n{call}"


def unix_time(text: str) -> float:
    """Of a time that the product tells, which is UTC."""
    return datetime.fromisoformat(text + ("" if text.endswith("Z") else "+00:00")).timestamp()


def first_commands(stage: Stage, wanted: Mapping[str, str]) -> dict[str, float]:
    """When the first command for each resource began, by what `wanted` calls the resources."""
    found: dict[str, float] = {}
    for line in stage.daemon.log.read_text().splitlines():
        if '"host.command"' not in line:
            continue
        entry = json.loads(line)
        name = wanted.get(entry.get("resource", ""))
        if name is not None and name not in found:
            found[name] = unix_time(entry["timestamp"]) - entry["seconds"]
    return found

"""``script/bench``: every speed and size target, our figure beside the floor, from one run."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence

from rich.console import Console
from rich.table import Table

from bench import images, lag, operations, promotion, scale, timeline, transfer, volume_requests, volumes
from bench.rows import Row
from bench.stage import Stage, stage
from lab.kernel import machines

QUOTA = ("[quota]", "shares = -1", "gigabytes = -1", "snapshots = -1", "snapshot_gigabytes = -1")
VOLUME_QUOTA = ("quota_volumes = -1", "quota_gigabytes = -1", "quota_snapshots = -1")
PARTS = (
    "latency",
    "single",
    "deletion",
    "cloning",
    "together",
    "restart",
    "exports",
    "lists",
    "volume-lists",
    "volumes",
    "volume-latency",
    "volumes-together",
    "volume-images",
    "idle",
    "copies",
    "copies-openzfs",
    "promotion",
    "lag",
    "images",
)
ALONE = {
    "copies",
    "copies-openzfs",
    "promotion",
    "lag",
    "images",
    "volumes-together",
}  # on hosts of their own, and with no daemon beside


def main() -> int:
    """Run the parts asked for and print the table; 1 when a target is missed."""
    parser = argparse.ArgumentParser(prog="script/bench", description=__doc__)
    parser.add_argument("--only", action="append", choices=PARTS, help="run only this part; may be repeated")
    parser.add_argument(
        "--restart-shares", type=int, default=900, help="shares at the restart; zfs-fuse mounts at most 1,000"
    )
    parser.add_argument("--exports", type=int, default=10_000, help="exports present when access rules are changed")
    parser.add_argument("--volumes", type=int, default=1_000, help="volumes created by four clients at once")
    parser.add_argument("--replicas", type=int, default=100, help="lightly written shares with a replica")
    parser.add_argument("--lag-seconds", type=float, default=90, help="for how long their lag is watched")
    parser.add_argument("--explain", action="store_true", help="where the time of single operations goes")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    rows: list[Row] = []
    parts = arguments.only or PARTS
    if "copies" in parts:
        console.print("  copies ...")
        rows.extend(transfer.copies())
    if "copies-openzfs" in parts:
        console.print(f"  copies between OpenZFS machines ... {machines.missing()}")
        rows.extend(transfer.copies_on_openzfs())
    if "promotion" in parts:
        console.print("  promotion ...")
        rows.extend(promotion.promotions())
    if "lag" in parts:
        console.print("  lag ...")
        rows.extend(lag.lag(arguments.replicas, arguments.lag_seconds))
    if "images" in parts:
        console.print("  images ...")
        rows.extend(images.images())
    if "volumes-together" in parts:
        console.print("  volumes-together ...")
        with stage((*VOLUME_QUOTA, *QUOTA), blocks=volume_requests.NO_STORAGE) as found:
            rows.extend(volume_requests.together(found, found.login(), arguments.volumes))
    together = [part for part in parts if part not in ALONE]
    if together:
        rows.extend(_on_one_stage(together, console, arguments))
    console.print(_table(rows))
    return 0 if all(row.is_met for row in rows) else 1


def _on_one_stage(parts: Sequence[str], console: Console, arguments: argparse.Namespace) -> Iterator[Row]:
    with stage((*VOLUME_QUOTA, *QUOTA)) as found:
        for part in parts:
            console.print(f"  {part} ...")
            yield from _rows(part, found, arguments)
        if arguments.explain:
            for table in timeline.explain(found):
                console.print(table)


def _rows(part: str, found: Stage, arguments: argparse.Namespace) -> Iterator[Row]:
    if part == "idle":
        yield from operations.idle(found)
        return
    api = found.login()
    if part == "lists":
        yield from scale.lists(found, api)
    elif part == "volume-lists":
        yield from scale.volume_lists(found, api)
    elif part == "volumes":
        yield from volumes.single(found, api)
    elif part == "volume-latency":
        yield from volume_requests.latency(found, api)
    elif part == "volume-images":
        yield from volume_requests.from_image(found, api)
    elif part == "exports":
        yield from scale.exports(found, api, arguments.exports)
    elif part == "restart":
        yield from scale.restart(found, api, arguments.restart_shares)
    else:
        yield from getattr(operations, part)(found, api)


def _table(rows: list[Row]) -> Table:
    table = Table(title="One run, this machine; ratios matter, not milliseconds")
    for column in ("what", "ours", "floor", "ratio", "target", "held against", "met"):
        table.add_column(column, justify="right" if column in ("ours", "floor", "ratio", "target") else "left")
    for row in rows:
        table.add_row(
            row.what,
            f"{row.ours:.3g} {row.unit}",
            "" if row.floor is None else f"{row.floor:.3g} {row.unit}",
            "" if row.ratio is None else f"{row.ratio:.2f}",
            "" if row.most is None else f"≤ {row.most:g}" + ("" if row.ratio is not None else f" {row.unit}"),
            row.against,
            "" if row.most is None else "yes" if row.is_met else "NO",
        )
    return table


if __name__ == "__main__":
    sys.exit(main())

"""``script/demo``: self-service NFS shares and iSCSI volumes on real ZFS, asked for by a stock client."""

from __future__ import annotations

import argparse
import shutil
import sys
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.clients import NfsClient
from demo.place import DemoError, choose, clients
from demo.steps import Step, Story
from demo.volumes import TYPE, VolumeStory
from lab.daemon import LabDaemon
from lab.initiator import Initiator
from lab.network import LabError, await_true

ROOT = Path(__file__).resolve().parents[1]
WORK = ROOT / ".work" / "demo"
OPTIONS = ("enabled_share_protocols = NFS", "periodic_interval = 10", f"default_volume_type = {TYPE}")


def main() -> int:
    """Parse the command line and run the demo or take it down; the exit code."""
    parser = argparse.ArgumentParser(prog="script/demo", description=__doc__)
    parser.add_argument("--pool", help="use this existing zpool or dataset of this machine, e.g. tank or tank/shares")
    parser.add_argument("--down", action="store_true", help="stop the daemon and remove everything the demo made")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    try:
        if arguments.down:
            _down(arguments.pool)
            console.print("The demo is gone: daemon, pool, namespaces and files.")
        else:
            _up(arguments.pool, console)
    except (DemoError, LabError) as err:
        console.print(f"[red]script/demo: {err}[/red]", soft_wrap=True)
        return 1
    return 0


def _up(pool: str | None, console: Console) -> None:
    WORK.mkdir(parents=True, exist_ok=True, mode=0o700)
    (WORK / "place").write_text(pool or "")
    place = choose(WORK, pool)
    console.print("Making the storage host ...")
    backend = place.up()
    console.print(f"  {backend.description}", soft_wrap=True)
    backends = {"zfs": backend.lines, **({"blocks": backend.volume_lines} if backend.volume_lines else {})}
    daemon = LabDaemon(WORK, backends, options=OPTIONS)
    console.print("Starting penstock serve ...")
    daemon.up()
    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        console.print(f"  [green]done[/green] {step.what} ({step.seconds:.2f} s)")

    lab = clients(WORK)
    machines = [NfsClient(lab.client(name), lab.address(name)) for name in ("c1", "c2")]
    cloud = daemon.cloud()
    console.print("Asking for shares with openstacksdk ...")
    shares = Story(cloud, machines[0], machines[1], WORK, tell).run()
    if backend.volume_lines:
        console.print("Asking for volumes with openstacksdk ...")
        initiators = [
            Initiator(lab.client(name), lab.address(name), f"iqn.2026-11.org.penstock.demo:{name}")
            for name in ("c1", "c2")
        ]
        VolumeStory(cloud, initiators[0], initiators[1], tell).run()
    else:
        console.print("No iSCSI target server runs on this machine (tgt or LIO): no volumes in this demo.")
    console.print(_table(steps))
    _next(console, daemon, [share.name for share in shares])


def _down(pool: str | None) -> None:
    if not WORK.exists():
        return
    known = (WORK / "place").read_text() if (WORK / "place").exists() else ""
    pool = pool or known or None
    daemon = LabDaemon(WORK, {})
    if pool is not None and daemon.pid() is not None:
        _delete_shares(daemon)  # the pool stays, so what we made in it must go
        _delete_volumes(daemon)
    daemon.down()
    choose(WORK, pool).down()
    shutil.rmtree(WORK)


def _delete_shares(daemon: LabDaemon) -> None:
    api = daemon.cloud().shared_file_system
    for snapshot in api.share_snapshots():
        api.delete_share_snapshot(snapshot.id)
    await_true("the snapshots are deleted", lambda: not list(api.share_snapshots()), timeout_s=120)
    for share in api.shares():
        api.delete_share(share.id)
    await_true("the shares are deleted", lambda: not list(api.shares()), timeout_s=120)


def _delete_volumes(daemon: LabDaemon) -> None:
    api = daemon.cloud().block_storage
    for volume in api.volumes():
        api.delete_volume(volume, force=True)
    await_true("the volumes are deleted", lambda: not list(api.volumes()), timeout_s=120)


def _table(steps: list[Step]) -> Table:
    table = Table(title="What happened")
    table.add_column("step")
    table.add_column("seconds", justify="right")
    table.add_column("seen", overflow="fold")
    for step in steps:
        table.add_row(step.what, f"{step.seconds:.2f}", step.seen)
    return table


def _next(console: Console, daemon: LabDaemon, names: list[str]) -> None:
    env = ROOT / ".venv" / "bin"
    console.print(
        f"\nPenstock is serving at {daemon.url} (log: {daemon.log}). Try next:\n\n"
        f"  export OS_CLIENT_CONFIG_FILE={daemon.clouds} OS_CLOUD=penstock\n"
        f"  {env}/openstack share list\n"
        f"  {env}/openstack share show {names[0]}\n"
        f"  {env}/openstack share create NFS 1 --name mine\n"
        f"  {env}/openstack volume list\n"
        f"  {env}/openstack volume create --size 1 mine\n"
        f"  {env}/penstock --config {daemon.config} share list\n"
        f"  {env}/penstock --config {daemon.config} doctor\n\n"
        "Stop it and leave nothing behind: script/demo --down",
        soft_wrap=True,
    )


if __name__ == "__main__":
    sys.exit(main())

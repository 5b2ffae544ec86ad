"""``script/conformance``: run the field's own suite against a server of ours; pass, fail and skip by resource."""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

from rich.console import Console
from rich.table import Table

from demo.place import DRIVER
from lab.daemon import LabDaemon
from lab.hosts import Lab
from tests.conformance import suite
from tests.places import take_place

ROOT = Path(__file__).resolve().parents[2]
WORK = ROOT / ".work" / "conformance"
PORT = 8796
POOLS = ("tank", "pond")  # of each backend: the suite also copies between pools of one
BACKENDS = {"alpha": "h1", "beta": "h2", "gamma": "h3"}  # backend → host of the lab


VOLUME_BACKENDS = dict.fromkeys(("one", "two"), ("volume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver",))


def main() -> int:
    """Parse the command line, run, print; 0 only when nothing failed and something passed."""
    parser = argparse.ArgumentParser(prog="script/conformance", description=__doc__)
    parser.add_argument(
        "--volumes", action="store_true", help="tempest's own volume tests, on dummy backends, instead of shares on ZFS"
    )
    parser.add_argument("--only", help="regular expression of tests to run")
    parser.add_argument("--workers", type=int, default=2, help="tests at a time")
    parser.add_argument("--tempest", type=Path, help="an environment that has tempest and manila-tempest-plugin")
    arguments = parser.parse_args()
    console = Console(highlight=False)
    tempest = _environment(arguments.tempest, console)
    shutil.rmtree(WORK / "run", ignore_errors=True)
    run = _run_volumes if arguments.volumes else _run_shares
    results = run(tempest / "bin" / "tempest", arguments, console)
    _print(results, console)
    return 0 if results.total("ok") and not results.failed else 1


def _run_volumes(tempest: Path, arguments: argparse.Namespace, console: Console) -> suite.Results:
    daemon = LabDaemon(WORK / "run", VOLUME_BACKENDS, port=PORT, options=("periodic_interval = 5",))
    try:
        daemon.up()
        workspace = _workspace(tempest)
        text = suite.volume_conf(workspace, daemon.url, _password(), tuple(VOLUME_BACKENDS))
        only = arguments.only or suite.VOLUME_PLUGIN.replace(".", r"\.")
        _configure(workspace, text)
        ended = suite.run(
            tempest,
            workspace,
            only,
            workers=arguments.workers,
            without=suite.VOLUMES_OUT_OF_REACH,
        )
        return _counted(ended, suite.Results(suite.VOLUME_PLUGIN), console)
    finally:
        daemon.down()


def _run_shares(tempest: Path, arguments: argparse.Namespace, console: Console) -> suite.Results:
    place = take_place()
    lab = Lab(
        f"{place.tag}c", place.directory / "conformance", place.network_prefix, ("zfs", "nfs", "ssh"), pool_mib=20480
    )
    daemon = LabDaemon(
        WORK / "run",
        {name: _backend(lab, host) for name, host in BACKENDS.items()},
        port=PORT,
        options=(
            "periodic_interval = 5",
            "replica_state_update_interval = 10",
            "migration_driver_continue_update_interval = 5",
            "use_scheduler_to_create_share_from_snapshot = True",
        ),
    )
    try:
        lab.down()  # what a crashed run left here
        lab.up(len(BACKENDS), 0)
        for host in BACKENDS.values():
            disk = f"{lab.directory}/{host}/pond"
            for command in (("truncate", "-s", "20G", disk), ("zpool", "create", "pond", disk)):
                lab.host(host).run(command, timeout_s=60)
        daemon.up()
        workspace = _workspace(tempest)
        text = suite.tempest_conf(workspace, daemon.url, _password(), tuple(BACKENDS))
        _configure(workspace, text)
        ended = suite.run(
            tempest,
            workspace,
            arguments.only or suite.PLUGIN,
            workers=arguments.workers,
            without=suite.later_shares(),
        )
        return _counted(ended, suite.Results(), console)
    finally:
        daemon.down()
        lab.down()
        place.release()


def _environment(given: Path | None, console: Console) -> Path:
    if given is not None:
        return given
    place = ROOT / ".work" / "tempest-venv"
    if not (place / "bin" / "tempest").exists():
        console.print(f"Installing {', '.join(suite.REQUIREMENTS)} ...")
        subprocess.run((sys.executable, "-m", "venv", "--clear", place), check=True)
        subprocess.run((place / "bin" / "pip", "install", "-q", *suite.REQUIREMENTS), check=True)
    return place


def _backend(lab: Lab, host: str) -> tuple[str, ...]:
    return (
        *DRIVER,
        f"zfs_share_export_ip = {lab.address(host)}",
        f"zfs_service_ip = {lab.address(host)}",
        f"zfs_zpool_list = {','.join(POOLS)}",
        "zfs_use_ssh = True",
        "zfs_ssh_username = root",
        f"zfs_ssh_private_key_path = {lab.key_path}",
        f"zfs_ssh_known_hosts_file = {lab.known_hosts_path}",
        "replication_domain = ring",
        f"backend_availability_zone = {'nova' if host == 'h1' else host}",
    )


def _workspace(tempest: Path) -> Path:
    workspace = WORK / "run" / "tempest"
    registry = WORK / "run" / "workspaces.yaml"  # not the user's own
    subprocess.run((tempest, "init", "--workspace-path", registry, workspace), check=True, capture_output=True)
    return workspace


def _password() -> str:
    return (WORK / "run" / "state" / "admin-password").read_text().strip()


def _configure(workspace: Path, text: str) -> None:
    (workspace / "etc" / "tempest.conf").write_text(text)


def _counted(ended: Iterable[suite.Ended], results: suite.Results, console: Console) -> suite.Results:
    for one in ended:
        results.add(one)
        if one.outcome == "FAILED":
            console.print(f"[red]failed[/red] {one.test}", soft_wrap=True)
    return results


def _print(results: suite.Results, console: Console) -> None:
    table = Table(title=f"{results.plugin}: the field's own tests")
    for column in ("resource", "pass", "fail", "skip"):
        table.add_column(column, justify="left" if column == "resource" else "right")
    for resource, counts in sorted(results.by_resource.items()):
        table.add_row(resource, *(str(counts[outcome]) for outcome in ("ok", "FAILED", "SKIPPED")))
    table.add_section()
    table.add_row("all", *(str(results.total(outcome)) for outcome in ("ok", "FAILED", "SKIPPED")))
    console.print(table)
    for reason, count in results.skips.most_common():
        console.print(f"skipped {count}: {reason}", soft_wrap=True)
    console.print(f"{results.total('ok')} passed, {results.total('FAILED')} failed, {results.total('SKIPPED')} skipped")
    if results.failed:
        console.print(f"Details: {WORK / 'run' / 'tempest' / 'output.log'}", soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main())

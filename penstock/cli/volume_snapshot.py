"""``penstock volume snapshot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_fields, print_json, print_table
from penstock.cli.waiting import ProgressLine, wait_options

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.group()
def snapshot() -> None:
    """Snapshots of volumes."""


@snapshot.command()
@click.argument("volume")
@click.option("--name", help="A name to find it by.")
@wait_options
@json_option
@with_session
def create(
    session: Session, *, volume: str, name: str | None, is_waiting: bool, timeout_s: float, as_json: bool
) -> None:
    """Keep what is on VOLUME (name or id) now, also while it is attached.

    \b
    Example:
      penstock volume snapshot create data --name monday
    """
    from penstock.client import volumes

    session = session.of_volumes()
    volume_id = volumes.find(session, "volumes", volume)["id"]
    wanted = {"volume_id": volume_id, "force": True} | ({"name": name} if name else {})
    made = session.post("snapshots", {"snapshot": wanted})["snapshot"]
    if is_waiting:
        with ProgressLine() as progress:
            made = volumes.settled(session, "snapshots", made["id"], timeout_s=timeout_s, progress=progress) or made
    if as_json:
        print_json(made)
        return
    print_fields({key: made[key] for key in ("id", "name", "status", "volume_id", "size", "created_at")})


@snapshot.command("list")
@click.argument("volume", required=False)
@json_option
@with_session
def list_snapshots(session: Session, *, volume: str | None, as_json: bool) -> None:
    """List snapshots, all or those of VOLUME (name or id).

    \b
    Example:
      penstock volume snapshot list data
    """
    from penstock.client import volumes

    session = session.of_volumes()
    volume_id = volumes.find(session, "volumes", volume)["id"] if volume else None
    found = list(volumes.pages(session, "snapshots", volume_id=volume_id))
    if as_json:
        print_json(found)
        return
    rows = [(s["id"], s["name"], s["volume_id"], s["size"], s["status"], s["created_at"]) for s in found]
    print_table(("id", "name", "volume", "GiB", "status", "created"), rows, empty="There are no snapshots.")


@snapshot.command()
@click.argument("snapshot_name", metavar="SNAPSHOT", nargs=-1, required=True)
@wait_options
@with_session
def delete(session: Session, *, snapshot_name: tuple[str, ...], is_waiting: bool, timeout_s: float) -> None:
    """Delete SNAPSHOT (name or id; several are fine). Volumes made from it stay.

    \b
    Example:
      penstock volume snapshot delete monday
    """
    from penstock.client import volumes

    session = session.of_volumes()
    ids = [volumes.find(session, "snapshots", name)["id"] for name in snapshot_name]
    for snapshot_id in ids:
        session.delete(f"snapshots/{snapshot_id}")
    for snapshot_id in ids if is_waiting else ():
        with ProgressLine() as progress:
            volumes.settled(session, "snapshots", snapshot_id, timeout_s=timeout_s, progress=progress)

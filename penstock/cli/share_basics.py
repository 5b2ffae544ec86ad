"""``penstock share list|create|show|delete|types``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_fields, print_json, print_table
from penstock.cli.waiting import ProgressLine, wait_options

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command("list")
@click.option("--all-projects", is_flag=True, help="Shares of every project, for administrators.")
@click.option("--status", help="Only shares in this state.")
@json_option
@with_session
def list_shares(session: Session, *, all_projects: bool, status: str | None, as_json: bool) -> None:
    """List the project's shares.

    \b
    Example:
      penstock share list --status error
    """
    from penstock.client import shares

    query = {"all_tenants": 1 if all_projects else None, "status": status}
    found = list(shares.pages(session, "shares", **query))
    if as_json:
        print_json(found)
        return
    rows = [
        (s["id"], s["name"], s["size"], s["status"], s["share_proto"], s.get("share_type_name"), s["created_at"])
        for s in found
    ]
    print_table(("id", "name", "GiB", "status", "protocol", "type", "created"), rows, empty="There are no shares.")


@click.command()
@click.argument("size", type=click.IntRange(min=1))
@click.option("--name", help="A name to find it by.")
@click.option("--description")
@click.option("--type", "share_type", help="Share type; without it the default one.")
@click.option("--protocol", default="NFS", show_default=True)
@click.option("--snapshot", help="Begin with what is in this snapshot (name or id).")
@click.option("--zone", help="Availability zone.")
@click.option("--public", is_flag=True, help="Let other projects see it.")
@wait_options
@json_option
@with_session
def create(session: Session, *, size: int, is_waiting: bool, timeout_s: float, as_json: bool, **wanted: Any) -> None:
    """Make a share of SIZE GiB, and wait until it is there.

    \b
    Examples:
      penstock share create 10 --name docs
      penstock share create 10 --name copy --snapshot monday
    """
    from penstock.client import resources, shares

    snapshot = wanted["snapshot"]
    body = {
        "size": size,
        "share_proto": wanted["protocol"],
        "name": wanted["name"],
        "description": wanted["description"],
        "share_type": wanted["share_type"],
        "snapshot_id": resources.find(session, "snapshots", snapshot)["id"] if snapshot else None,
        "availability_zone": wanted["zone"],
        "is_public": wanted["public"],
    }
    answer = session.post("shares", {"share": {name: value for name, value in body.items() if value is not None}})
    share = answer["share"]
    if is_waiting:
        with ProgressLine() as progress:
            share = shares.settled(session, "shares", share["id"], timeout_s=timeout_s, progress=progress) or share
    _print_share(session, share, as_json=as_json)


@click.command()
@click.argument("share")
@json_option
@with_session
def show(session: Session, *, share: str, as_json: bool) -> None:
    """Show SHARE (name or id) with its paths, its access rules, and why it is in error if it is.

    \b
    Example:
      penstock share show docs
    """
    from penstock.client import resources

    _print_share(session, resources.find(session, "shares", share), as_json=as_json)


@click.command()
@click.argument("share", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Whatever state it is in, for administrators.")
@wait_options
@with_session
def delete(session: Session, *, share: tuple[str, ...], force: bool, is_waiting: bool, timeout_s: float) -> None:
    """Delete SHARE (name or id; several are fine) with everything in it.

    \b
    Example:
      penstock share delete docs
    """
    from penstock.client import resources, shares

    ids = [resources.find(session, "shares", name)["id"] for name in share]
    for share_id in ids:
        if force:
            session.post(f"shares/{share_id}/action", {"force_delete": None})
        else:
            session.delete(f"shares/{share_id}")
    for share_id in ids if is_waiting else ():
        with ProgressLine() as progress:
            shares.settled(session, "shares", share_id, timeout_s=timeout_s, progress=progress)


@click.command()
@json_option
@with_session
def types(session: Session, *, as_json: bool) -> None:
    """List the share types on offer.

    \b
    Example:
      penstock share types
    """
    found = session.get("types")["share_types"]
    if as_json:
        print_json(found)
        return
    rows = [(t["id"], t["name"], t.get("is_default", False), t.get("extra_specs")) for t in found]
    print_table(("id", "name", "default", "extra specs"), rows, empty="There are no share types.")


def _print_share(session: Session, share: dict[str, Any], *, as_json: bool) -> None:
    from penstock.client import shares

    locations = session.get(f"shares/{share['id']}/export_locations")["export_locations"]
    rules = session.get("share-access-rules", share_id=share["id"])["access_list"]
    if as_json:
        print_json({**share, "export_locations": locations, "access_rules": rules})
        return
    fields = {
        "id": share["id"],
        "name": share["name"],
        "description": share["description"],
        "status": share["status"],
        "size": f"{share['size']} GiB",
        "protocol": share["share_proto"],
        "type": share.get("share_type_name"),
        "zone": share.get("availability_zone"),
        "project": share["project_id"],
        "created": share["created_at"],
        "paths": [location["path"] for location in locations],
        "access": [f"{r['access_to']} {r['access_level']} ({r['state']})" for r in rules] or "nobody",
    }
    if share.get("snapshot_id"):
        fields["from snapshot"] = share["snapshot_id"]
    if "error" in share["status"]:
        fields["reason"] = shares.reason(session, share["id"])
    print_fields(fields)

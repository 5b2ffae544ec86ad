"""``penstock volume list|create|show|delete|types``."""

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
@click.option("--all-projects", is_flag=True, help="Volumes of every project, for administrators.")
@click.option("--status", help="Only volumes in this state.")
@json_option
@with_session
def list_volumes(session: Session, *, all_projects: bool, status: str | None, as_json: bool) -> None:
    """List the project's volumes.

    \b
    Example:
      penstock volume list --status error
    """
    from penstock.client import volumes

    query = {"all_tenants": 1 if all_projects else None, "status": status}
    found = list(volumes.pages(session.of_volumes(), "volumes", **query))
    if as_json:
        print_json(found)
        return
    rows = [(v["id"], v["name"], v["size"], v["status"], v["volume_type"], v["created_at"]) for v in found]
    print_table(("id", "name", "GiB", "status", "type", "created"), rows, empty="There are no volumes.")


@click.command()
@click.argument("size", type=click.IntRange(min=1))
@click.option("--name", help="A name to find it by.")
@click.option("--description")
@click.option("--type", "volume_type", help="Volume type; without it the default one.")
@click.option("--snapshot", help="Begin with what is in this snapshot (name or id).")
@click.option("--source", help="Begin with what is on this volume (name or id) now.")
@click.option("--image", help="Begin with this image (id).")
@click.option("--zone", help="Availability zone.")
@wait_options
@json_option
@with_session
def create(session: Session, *, size: int, is_waiting: bool, timeout_s: float, as_json: bool, **wanted: Any) -> None:
    """Make a volume of SIZE GiB, and wait until it is there.

    \b
    Examples:
      penstock volume create 10 --name data
      penstock volume create 10 --name copy --snapshot monday
    """
    from penstock.client import resources, volumes

    session = session.of_volumes()
    snapshot, source = wanted["snapshot"], wanted["source"]
    body = {
        "size": size,
        "name": wanted["name"],
        "description": wanted["description"],
        "volume_type": wanted["volume_type"],
        "snapshot_id": resources.find(session, "snapshots", snapshot)["id"] if snapshot else None,
        "source_volid": resources.find(session, "volumes", source)["id"] if source else None,
        "imageRef": wanted["image"],
        "availability_zone": wanted["zone"],
    }
    answer = session.post("volumes", {"volume": {name: value for name, value in body.items() if value is not None}})
    volume = answer["volume"]
    if is_waiting:
        with ProgressLine() as progress:
            volume = volumes.settled(session, "volumes", volume["id"], timeout_s=timeout_s, progress=progress) or volume
    _print_volume(session, volume, as_json=as_json)


@click.command()
@click.argument("volume")
@json_option
@with_session
def show(session: Session, *, volume: str, as_json: bool) -> None:
    """Show VOLUME (name or id) with who uses it, and why it is in error if it is.

    \b
    Example:
      penstock volume show data
    """
    from penstock.client import resources

    session = session.of_volumes()
    _print_volume(session, resources.find(session, "volumes", volume), as_json=as_json)


@click.command()
@click.argument("volume", nargs=-1, required=True)
@click.option("--cascade", is_flag=True, help="With its snapshots.")
@click.option("--force", is_flag=True, help="Whatever state it is in, for administrators.")
@wait_options
@with_session
def delete(
    session: Session, *, volume: tuple[str, ...], cascade: bool, force: bool, is_waiting: bool, timeout_s: float
) -> None:
    """Delete VOLUME (name or id; several are fine) with everything on it.

    \b
    Example:
      penstock volume delete data --cascade
    """
    from penstock.client import resources, volumes

    session = session.of_volumes()
    ids = [resources.find(session, "volumes", name)["id"] for name in volume]
    for volume_id in ids:
        if force:
            session.post(f"volumes/{volume_id}/action", {"os-force_delete": {}})
        else:
            session.request("DELETE", f"volumes/{volume_id}", query={"cascade": "true" if cascade else None})
    for volume_id in ids if is_waiting else ():
        with ProgressLine() as progress:
            volumes.settled(session, "volumes", volume_id, timeout_s=timeout_s, progress=progress)


@click.command()
@json_option
@with_session
def types(session: Session, *, as_json: bool) -> None:
    """List the volume types on offer.

    \b
    Example:
      penstock volume types
    """
    found = session.of_volumes().get("types")["volume_types"]
    if as_json:
        print_json(found)
        return
    rows = [(t["id"], t["name"], t.get("description"), t.get("extra_specs")) for t in found]
    print_table(("id", "name", "description", "extra specs"), rows, empty="There are no volume types.")


def _print_volume(session: Session, volume: dict[str, Any], *, as_json: bool) -> None:
    from penstock.client import volumes

    if as_json:
        print_json(volume)
        return
    used = [f"{one['host_name'] or one['server_id']} ({one['attachment_id']})" for one in volume["attachments"]]
    fields = {
        "id": volume["id"],
        "name": volume["name"],
        "description": volume["description"],
        "status": volume["status"],
        "size": f"{volume['size']} GiB",
        "type": volume.get("volume_type"),
        "zone": volume.get("availability_zone"),
        "bootable": volume.get("bootable"),
        "created": volume["created_at"],
        "used by": used or "nobody",
    }
    rest = {"from snapshot": "snapshot_id", "from volume": "source_volid", "pool": "os-vol-host-attr:host"}
    fields |= {label: volume[key] for label, key in rest.items() if volume.get(key)}
    if "error" in volume["status"]:
        fields["reason"] = volumes.reason(session, volume["id"])
    print_fields(fields)

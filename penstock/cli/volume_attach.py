"""``penstock volume attach|detach``: for machines without a compute service."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_fields, print_json
from penstock.errors import NotFound

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("volume")
@click.argument("initiator")
@click.option("--host", help="What the machine is called; its initiator's name when not given.")
@click.option("--address", help="The machine's IP address, which volumes on NFS are opened to.")
@click.option("--read-only", is_flag=True)
@json_option
@with_session
def attach(
    session: Session,
    *,
    volume: str,
    initiator: str,
    host: str | None,
    address: str | None,
    read_only: bool,
    as_json: bool,
) -> None:
    """Let the machine with the iSCSI name INITIATOR use VOLUME (name or id), and say how to log in.

    On the machine its name is in /etc/iscsi/initiatorname.iscsi. A CHAP secret is printed: it is that machine's alone.

    \b
    Example:
      penstock volume attach data iqn.1994-05.com.redhat:host1
    """
    from penstock.client import resources

    session = session.of_volumes()
    volume_id = resources.find(session, "volumes", volume)["id"]
    connector: dict[str, Any] = {"initiator": initiator, "host": host or initiator, "multipath": False}
    if address:
        connector["ip"] = address
    wanted = {"volume_uuid": volume_id, "connector": connector, "mode": "ro" if read_only else "rw"}
    made = session.post("attachments", {"attachment": wanted})["attachment"]
    session.post(f"attachments/{made['id']}/action", {"os-complete": {}})
    if as_json:
        print_json(made)
        return
    print_fields({"attachment": made["id"], **_told(made["connection_info"])})


@click.command()
@click.argument("volume")
@click.argument("machine", required=False)
@with_session
def detach(session: Session, *, volume: str, machine: str | None) -> None:
    """Shut MACHINE (its --host, else its iSCSI name) out of VOLUME (name or id); without one, every machine.

    Log out on the machine first: what it has not written yet is lost.

    \b
    Example:
      penstock volume detach data
    """
    from penstock.client import resources

    session = session.of_volumes()
    used = resources.find(session, "volumes", volume)["attachments"]
    ids = [one["attachment_id"] for one in used if machine in (None, one.get("host_name"))]
    if machine is not None and not ids:
        raise NotFound(f"Volume '{volume}' is not attached by {machine}.")
    for attachment_id in ids:
        session.delete(f"attachments/{attachment_id}")
    click.echo(f"{len(ids)} detached.")


def _told(info: dict[str, Any]) -> dict[str, Any]:
    """What a person types on the machine."""
    names = {
        "driver_volume_type": "protocol",
        "target_portal": "portal",
        "target_iqn": "target",
        "target_lun": "LUN",
        "auth_username": "CHAP user",
        "auth_password": "CHAP secret",
        "export": "export",
        "name": "file",
        "access_mode": "mode",
    }
    return {label: info[key] for key, label in names.items() if info.get(key) is not None}

"""``penstock share allow|deny|rules``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_json, print_table
from penstock.cli.waiting import ProgressLine, wait_options
from penstock.errors import NotFound

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("share")
@click.argument("client")
@click.option("--read-only", is_flag=True, help="Without writing.")
@click.option("--type", "access_type", default="ip", show_default=True, help="What CLIENT is.")
@click.option("--squash", type=click.Choice(["root_squash", "no_root_squash", "all_squash"]), help="For NFS.")
@wait_options
@with_session
def allow(
    session: Session,
    *,
    share: str,
    client: str,
    read_only: bool,
    access_type: str,
    squash: str | None,
    is_waiting: bool,
    timeout_s: float,
) -> None:
    """Let CLIENT, an IP address or network, mount SHARE (name or id).

    \b
    Examples:
      penstock share allow docs 10.0.0.0/24
      penstock share allow docs fd00::7 --read-only
    """
    from penstock.client import resources, shares

    found = resources.find(session, "shares", share)
    wanted: dict[str, Any] = {
        "access_type": access_type,
        "access_to": client,
        "access_level": "ro" if read_only else "rw",
    }
    if squash:
        wanted["metadata"] = {"squash": squash}
    rule = session.post(f"shares/{found['id']}/action", {"allow_access": wanted})["access"]
    if is_waiting:
        with ProgressLine() as progress:
            shares.settled_rule(session, rule["id"], timeout_s=timeout_s, progress=progress)
    click.echo(rule["id"])


@click.command()
@click.argument("share")
@click.argument("client")
@wait_options
@with_session
def deny(session: Session, *, share: str, client: str, is_waiting: bool, timeout_s: float) -> None:
    """Take the rule for CLIENT (its address, or the rule's id) off SHARE: the client is refused at once.

    \b
    Example:
      penstock share deny docs 10.0.0.0/24
    """
    from penstock.client import resources, shares

    found = resources.find(session, "shares", share)
    rules_of = session.get("share-access-rules", share_id=found["id"])["access_list"]
    mine = [rule for rule in rules_of if client in (rule["id"], rule["access_to"])]
    if not mine:
        raise NotFound(f"Share '{share}' has no access rule for {client}.")
    for rule in mine:
        session.post(f"shares/{found['id']}/action", {"deny_access": {"access_id": rule["id"]}})
    for rule in mine if is_waiting else ():
        with ProgressLine() as progress:
            shares.settled_rule(session, rule["id"], timeout_s=timeout_s, progress=progress)


@click.command()
@click.argument("share")
@json_option
@with_session
def rules(session: Session, *, share: str, as_json: bool) -> None:
    """List who may mount SHARE (name or id).

    \b
    Example:
      penstock share rules docs
    """
    from penstock.client import resources

    found = resources.find(session, "shares", share)
    listed = session.get("share-access-rules", share_id=found["id"])["access_list"]
    if as_json:
        print_json(listed)
        return
    rows = [(r["id"], r["access_type"], r["access_to"], r["access_level"], r["state"]) for r in listed]
    print_table(("id", "type", "client", "level", "state"), rows, empty="Nobody may mount it.")

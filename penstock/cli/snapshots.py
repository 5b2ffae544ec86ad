"""``snapshot create|list|delete``, the same for whatever has snapshots."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_fields, print_json, print_table
from penstock.cli.waiting import ProgressLine, wait_options

if TYPE_CHECKING:
    from penstock.client.resources import Document, Progress
    from penstock.client.session import Session


class Client(Protocol):
    """How one of the two APIs is asked: `client.shares`, `client.volumes`."""

    def settled(
        self, session: Session, plural: str, thing_id: str, *, timeout_s: float, progress: Progress
    ) -> Document | None: ...

    def pages(self, session: Session, plural: str, **query: Any) -> Iterator[Document]: ...


@dataclass(frozen=True, slots=True)
class Owner:
    """What snapshots are of: its name in the API, and in the help what one keeps and what an owner may be called.

    `client` is imported late, so that help is instant; `reach` leads to its API; `asked` goes with a creation.
    """

    noun: str
    keeps: str
    example: str
    client: Callable[[], Client]
    reach: Callable[[Session], Session]
    asked: Mapping[str, Any] = field(default_factory=dict)


def snapshots_of(owner: Owner) -> click.Group:
    """The group of commands."""
    group = click.Group("snapshot", help=f"Snapshots of {owner.noun}s.")
    for make in (_create, _list, _delete):
        group.add_command(make(owner))
    return group


def _help(owner: Owner, text: str, example: str) -> str:
    return f"{text}\n\n\b\nExample:\n  penstock {owner.noun} snapshot {example}"


def _create(owner: Owner) -> click.Command:
    @click.command("create", help=_help(owner, f"Keep {owner.keeps}.", f"create {owner.example} --name monday"))
    @click.argument("name_or_id", metavar=owner.noun.upper())
    @click.option("--name", help="A name to find it by.")
    @wait_options
    @json_option
    @with_session
    def create(
        session: Session, *, name_or_id: str, name: str | None, is_waiting: bool, timeout_s: float, as_json: bool
    ) -> None:
        from penstock.client import resources

        client, session = owner.client(), owner.reach(session)
        owner_id = resources.find(session, f"{owner.noun}s", name_or_id)["id"]
        wanted = {f"{owner.noun}_id": owner_id, **owner.asked, **({"name": name} if name else {})}
        made = session.post("snapshots", {"snapshot": wanted})["snapshot"]
        if is_waiting:
            with ProgressLine() as progress:
                made = client.settled(session, "snapshots", made["id"], timeout_s=timeout_s, progress=progress) or made
        if as_json:
            print_json(made)
            return
        shown = ("id", "name", "status", f"{owner.noun}_id", "size", "created_at")
        print_fields({key: made[key] for key in shown})

    return create


def _list(owner: Owner) -> click.Command:
    which = owner.noun.upper()
    text = f"List snapshots, all or those of {which} (name or id)."

    @click.command("list", help=_help(owner, text, f"list {owner.example}"))
    @click.argument("name_or_id", metavar=f"[{which}]", required=False)
    @json_option
    @with_session
    def list_snapshots(session: Session, *, name_or_id: str | None, as_json: bool) -> None:
        from penstock.client import resources

        client, session, key = owner.client(), owner.reach(session), f"{owner.noun}_id"
        owner_id = resources.find(session, f"{owner.noun}s", name_or_id)["id"] if name_or_id else None
        found = list(client.pages(session, "snapshots", **{key: owner_id}))
        if as_json:
            print_json(found)
            return
        rows = [(s["id"], s["name"], s[key], s["size"], s["status"], s["created_at"]) for s in found]
        print_table(("id", "name", owner.noun, "GiB", "status", "created"), rows, empty="There are no snapshots.")

    return list_snapshots


def _delete(owner: Owner) -> click.Command:
    made = f"{owner.noun.capitalize()}s made from it stay."
    text = f"Delete SNAPSHOT (name or id; several are fine). {made}"

    @click.command("delete", help=_help(owner, text, "delete monday"))
    @click.argument("snapshot_name", metavar="SNAPSHOT", nargs=-1, required=True)
    @wait_options
    @with_session
    def delete(session: Session, *, snapshot_name: tuple[str, ...], is_waiting: bool, timeout_s: float) -> None:
        from penstock.client import resources

        client, session = owner.client(), owner.reach(session)
        ids = [resources.find(session, "snapshots", name)["id"] for name in snapshot_name]
        for snapshot_id in ids:
            session.delete(f"snapshots/{snapshot_id}")
        for snapshot_id in ids if is_waiting else ():
            with ProgressLine() as progress:
                client.settled(session, "snapshots", snapshot_id, timeout_s=timeout_s, progress=progress)

    return delete

"""``penstock share extend|shrink|revert``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.waiting import ProgressLine, wait_options
from penstock.errors import BackendFault

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("share")
@click.argument("size", type=click.IntRange(min=1))
@wait_options
@with_session
def extend(session: Session, *, share: str, size: int, is_waiting: bool, timeout_s: float) -> None:
    """Let SHARE (name or id) hold SIZE GiB, which is more than it does.

    \b
    Example:
      penstock share extend docs 20
    """
    _resize(session, share, "extend", size, is_waiting=is_waiting, timeout_s=timeout_s)


@click.command()
@click.argument("share")
@click.argument("size", type=click.IntRange(min=1))
@wait_options
@with_session
def shrink(session: Session, *, share: str, size: int, is_waiting: bool, timeout_s: float) -> None:
    """Let SHARE (name or id) hold only SIZE GiB. It fails, and nothing is lost, when more is in it.

    \b
    Example:
      penstock share shrink docs 5
    """
    _resize(session, share, "shrink", size, is_waiting=is_waiting, timeout_s=timeout_s)


@click.command()
@click.argument("share")
@click.argument("snapshot")
@wait_options
@with_session
def revert(session: Session, *, share: str, snapshot: str, is_waiting: bool, timeout_s: float) -> None:
    """Put SHARE back to SNAPSHOT, its latest one: what was written since is lost.

    \b
    Example:
      penstock share revert docs monday
    """
    from penstock.client import resources

    snapshot_id = resources.find(session, "snapshots", snapshot)["id"]
    _act(session, share, {"revert": {"snapshot_id": snapshot_id}}, is_waiting=is_waiting, timeout_s=timeout_s)


def _resize(session: Session, name: str, action: str, size: int, *, is_waiting: bool, timeout_s: float) -> None:
    """A share that would lose data stays available as it was, and only a message says so."""
    from penstock.client import shares

    found = _act(session, name, {action: {"new_size": size}}, is_waiting=is_waiting, timeout_s=timeout_s)
    if found is not None and found["size"] != size:
        why = shares.reason(session, found["id"])
        raise BackendFault(f"The share still has {found['size']} GiB. {why}".rstrip())


def _act(
    session: Session, name: str, action: dict[str, Any], *, is_waiting: bool, timeout_s: float
) -> dict[str, Any] | None:
    """The share as it ended; None when it was not waited for."""
    from penstock.client import resources, shares

    share = resources.find(session, "shares", name)
    session.post(f"shares/{share['id']}/action", action)
    if not is_waiting:
        return None
    with ProgressLine() as progress:
        return shares.settled(session, "shares", share["id"], timeout_s=timeout_s, progress=progress)

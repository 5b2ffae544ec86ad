"""``penstock volume extend|revert|retype|migrate``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.waiting import ProgressLine, wait_options
from penstock.errors import BackendFault

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("volume")
@click.argument("size", type=click.IntRange(min=1))
@wait_options
@with_session
def extend(session: Session, *, volume: str, size: int, is_waiting: bool, timeout_s: float) -> None:
    """Let VOLUME (name or id) hold SIZE GiB, which is more than it does, also while it is attached.

    \b
    Example:
      penstock volume extend data 20
    """
    found = _act(session, volume, {"os-extend": {"new_size": size}}, is_waiting=is_waiting, timeout_s=timeout_s)
    if found is not None and found["size"] != size:
        raise BackendFault(f"The volume still has {found['size']} GiB. {_why(session, found)}".rstrip())


@click.command()
@click.argument("volume")
@click.argument("snapshot")
@wait_options
@with_session
def revert(session: Session, *, volume: str, snapshot: str, is_waiting: bool, timeout_s: float) -> None:
    """Put VOLUME back to SNAPSHOT, its latest one: what was written since is lost.

    \b
    Example:
      penstock volume revert data monday
    """
    from penstock.client import resources

    snapshot_id = resources.find(session.of_volumes(), "snapshots", snapshot)["id"]
    _act(session, volume, {"revert": {"snapshot_id": snapshot_id}}, is_waiting=is_waiting, timeout_s=timeout_s)


@click.command()
@click.argument("volume")
@click.argument("volume_type", metavar="TYPE")
@click.option("--may-move", is_flag=True, help="Copy it to another pool where it cannot have the type as it lies.")
@wait_options
@with_session
def retype(
    session: Session, *, volume: str, volume_type: str, may_move: bool, is_waiting: bool, timeout_s: float
) -> None:
    """Give VOLUME (name or id) another TYPE.

    \b
    Example:
      penstock volume retype data fast --may-move
    """
    wanted = {"new_type": volume_type, "migration_policy": "on-demand" if may_move else "never"}
    found = _act(session, volume, {"os-retype": wanted}, is_waiting=is_waiting, timeout_s=timeout_s)
    if found is not None and volume_type not in (found["volume_type"], found.get("volume_type_id")):
        raise BackendFault(f"The volume is still of type '{found['volume_type']}'. {_why(session, found)}".rstrip())


@click.command()
@click.argument("volume")
@click.argument("pool")
@click.option("--force-copy", is_flag=True, help="Copy it through the control plane, whatever its driver can do.")
@wait_options
@with_session
def migrate(session: Session, *, volume: str, pool: str, force_copy: bool, is_waiting: bool, timeout_s: float) -> None:
    """Move VOLUME (name or id) to POOL (host@backend#pool). It must not be attached, nor have snapshots.

    \b
    Example:
      penstock volume migrate data store@cellar#tank
    """
    from penstock.client import resources, volume_drain, volumes

    wanted = {"host": pool, "force_host_copy": force_copy, "lock_volume": False}
    found = _act(session, volume, {"os-migrate_volume": wanted}, is_waiting=False, timeout_s=timeout_s)
    if not is_waiting or found is None:
        return
    api = session.of_volumes()

    def look() -> dict[str, Any]:
        return dict(api.get(f"volumes/{found['id']}")["volume"])

    passing = frozenset(volume_drain.MOVING)
    with ProgressLine() as progress:
        ended = resources.awaited(look, volume_drain.STATUS, passing, timeout_s=timeout_s, progress=progress)
    if ended is not None and ended[volume_drain.STATUS] != "success":
        why = volumes.reason(api, ended["id"]) or volume_drain.UNTOLD
        raise BackendFault(f"The volume is where it was: {why}")


def _act(
    session: Session, name: str, action: dict[str, Any], *, is_waiting: bool, timeout_s: float
) -> dict[str, Any] | None:
    """The volume when the action has ended; as it was before when nobody waits."""
    from penstock.client import resources, volumes

    api = session.of_volumes()
    found = resources.find(api, "volumes", name)
    api.post(f"volumes/{found['id']}/action", action)
    if not is_waiting:
        return found if "os-migrate_volume" in action else None
    with ProgressLine() as progress:
        return volumes.settled(api, "volumes", found["id"], timeout_s=timeout_s, progress=progress)


def _why(session: Session, found: dict[str, Any]) -> str:
    from penstock.client import volumes

    return volumes.reason(session.of_volumes(), found["id"])

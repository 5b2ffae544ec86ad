"""``penstock replica``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.connection import with_session
from penstock.cli.options import json_option
from penstock.cli.output import print_fields, print_json, print_table
from penstock.cli.replica_rehearse import rehearse
from penstock.cli.waiting import ProgressLine, wait_options
from penstock.errors import BackendFault

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.group()
def replica() -> None:
    """Replicas: copies of a share on other backends, read-only until one of them is promoted.

    A replica's lag is how old what it holds is; its objective is how old that may become.

    \b
    Examples:
      penstock replica list docs
      penstock replica promote 6f0c...
    """


replica.add_command(rehearse)


@replica.command("list")
@click.argument("share", required=False)
@json_option
@with_session
def list_replicas(session: Session, *, share: str | None, as_json: bool) -> None:
    """List replicas with their lag, all or those of SHARE (name or id).

    \b
    Example:
      penstock replica list docs
    """
    from penstock.client import replicas

    found = replicas.of(session, share)
    if as_json:
        print_json(found)
        return
    rows = [
        (
            one["id"],
            one["share_id"],
            one.get("host") or one["availability_zone"],
            one["status"],
            one["replica_state"],
            lag(one),
            f"{one['recovery_point_objective_seconds']} s",
        )
        for one in found
    ]
    columns = ("id", "share", "where", "status", "state", "lag", "objective")
    print_table(columns, rows, empty="There are no replicas.")


@replica.command()
@click.argument("replica_id", metavar="REPLICA")
@json_option
@with_session
def show(session: Session, *, replica_id: str, as_json: bool) -> None:
    """Show REPLICA (its id) with its lag and where it can be mounted.

    \b
    Example:
      penstock replica show 6f0c...
    """
    from penstock.client import replicas

    found = replicas.get(session, replica_id)
    locations = session.get(f"share-replicas/{replica_id}/export-locations")["export_locations"]
    if as_json:
        print_json({**found, "export_locations": locations})
        return
    objective_s = found.pop("recovery_point_objective_seconds")
    late = found["lag_seconds"] is not None and found["lag_seconds"] > objective_s
    fields = {key: value for key, value in found.items() if key != "lag_seconds"}
    fields["lag"] = lag({**found, "recovery_point_objective_seconds": objective_s})
    fields["objective"] = f"{objective_s} s{', broken' if late else ''}"
    print_fields({**fields, "paths": [location["path"] for location in locations]})


@replica.command()
@click.argument("share")
@click.option("--zone", help="Availability zone it is to be in.")
@click.option("--pool", help="The one pool it is to be on, host@backend#pool; for administrators.")
@click.option("--synced", "until_synced", is_flag=True, help="Wait until it has the data, however much there is.")
@wait_options
@json_option
@with_session
def create(
    session: Session,
    *,
    share: str,
    zone: str | None,
    pool: str | None,
    until_synced: bool,
    is_waiting: bool,
    timeout_s: float,
    as_json: bool,
) -> None:
    """Make a replica of SHARE (name or id) on another backend. The data follow in the background.

    \b
    Examples:
      penstock replica create docs
      penstock replica create docs --zone east --synced
    """
    from penstock.client import replicas, resources

    wanted: dict[str, Any] = {"share_id": resources.find(session, "shares", share)["id"]}
    wanted |= {"availability_zone": zone} if zone else {}
    wanted |= {"scheduler_hints": {"only_host": pool}} if pool else {}
    made = session.post("share-replicas", {"share_replica": wanted})["share_replica"]
    if is_waiting:
        with ProgressLine() as progress:
            made = replicas.settled(session, made["id"], timeout_s=timeout_s, progress=progress) or made
            if until_synced:
                made = replicas.synced(session, made["id"], timeout_s=timeout_s, progress=progress) or made
    if as_json:
        print_json(made)
        return
    print_fields({key: made[key] for key in ("id", "share_id", "status", "replica_state", "availability_zone")})


@replica.command()
@click.argument("replica_id", metavar="REPLICA")
@click.option("--quiesce", "quiesce_s", type=click.IntRange(min=0), help="Seconds to wait for running syncs to end.")
@wait_options
@with_session
def promote(session: Session, *, replica_id: str, quiesce_s: int | None, is_waiting: bool, timeout_s: float) -> None:
    """Let REPLICA (its id) become the one that is written to. The old one becomes a replica of it.

    When the old one does not answer, what was written since the last sync is not in it: 'penstock replica show' tells
    the lag before, and what is said here the recovery point after.

    \b
    Example:
      penstock replica promote 6f0c...
    """
    from penstock.client import replicas

    before = replicas.told_of_promotions(session, replica_id)
    wanted = None if quiesce_s is None else {"quiesce_wait_time": quiesce_s}
    session.post(f"share-replicas/{replica_id}/action", {"promote": wanted})
    if not is_waiting:
        return
    with ProgressLine() as progress:
        found = replicas.settled(session, replica_id, timeout_s=timeout_s, progress=progress)
    told = " ".join(text for key, text in replicas.told_of_promotions(session, replica_id).items() if key not in before)
    if found is None or found["replica_state"] != "active":
        raise BackendFault(f"Replica {replica_id} was not promoted. {told}".rstrip())
    click.echo(told or f"Replica {replica_id} is active.")


@replica.command()
@click.argument("replica_id", metavar="REPLICA")
@wait_options
@with_session
def resync(session: Session, *, replica_id: str, is_waiting: bool, timeout_s: float) -> None:
    """Bring REPLICA (its id) up to date now; for administrators.

    \b
    Example:
      penstock replica resync 6f0c...
    """
    from penstock.client import replicas

    session.post(f"share-replicas/{replica_id}/action", {"resync": None})
    if is_waiting:
        with ProgressLine() as progress:
            replicas.synced(session, replica_id, timeout_s=timeout_s, progress=progress)


@replica.command()
@click.argument("replica_ids", metavar="REPLICA", nargs=-1, required=True)
@click.option("--force", is_flag=True, help="Forget it even when its backend cannot do its part; for administrators.")
@wait_options
@with_session
def delete(session: Session, *, replica_ids: tuple[str, ...], force: bool, is_waiting: bool, timeout_s: float) -> None:
    """Delete REPLICA (its id; several are fine), never the active one.

    \b
    Example:
      penstock replica delete 6f0c...
    """
    from penstock.client import replicas

    for replica_id in replica_ids:
        if force:
            session.post(f"share-replicas/{replica_id}/action", {"force_delete": None})
        else:
            session.delete(f"share-replicas/{replica_id}")
    for replica_id in replica_ids if is_waiting else ():
        with ProgressLine() as progress:
            replicas.settled(session, replica_id, timeout_s=timeout_s, progress=progress)


def lag(one: dict[str, Any]) -> str:
    """The lag as a cell: ``12 s``, with a mark when the objective is broken."""
    if one["replica_state"] == "active":
        return "-"
    if one["lag_seconds"] is None:
        return "never synced"
    broken = one["lag_seconds"] > one["recovery_point_objective_seconds"]
    return f"{one['lag_seconds']} s{' (!)' if broken else ''}"

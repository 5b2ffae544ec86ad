"""``penstock replica rehearse``: try a promotion without promoting. Works on the backend itself, as doctor does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_json
from penstock.errors import Conflict, Invalid, NotFound, Unsupported

if TYPE_CHECKING:
    from penstock.share.models import ShareModel
    from penstock.share.replication import HasReplicaReports
    from penstock.share_site import ShareSite
    from penstock.store.database import Database


@click.command()
@click.argument("replica_id", metavar="REPLICA")
@click.argument("client", required=False)
@click.option("--end", is_flag=True, help="Destroy the clone, with what was written to it.")
@config_option
@debug_option
@json_option
@click.pass_context
def rehearse(ctx: click.Context, *, replica_id: str, client: str | None, end: bool, as_json: bool) -> None:
    """Let CLIENT (an address or network) mount a writable clone of what REPLICA (its id) holds now.

    Neither the replica nor the share is touched: applications can be started on the clone as after a promotion. Needs
    this machine's configuration; end it with --end.

    \b
    Examples:
      penstock replica rehearse 6f0c... 10.0.0.7
      penstock replica rehearse 6f0c... --end
    """
    from penstock.share_site import open_share_site

    if (client is None) is not end:
        raise click.UsageError("Name the CLIENT that is to mount the clone, or say --end.")
    quiet_logs(ctx)
    conf = load_config(ctx)
    database = open_database(conf)
    site = open_share_site(conf, section_of(database, conf.host, replica_id), database)
    if client is None:
        end_rehearsal(site, replica_id)
        return
    paths = begin_rehearsal(site, replica_id, client)
    if as_json:
        print_json(paths)
        return
    for path in paths:
        click.echo(path)


def section_of(database: Database, host: str, replica_id: str) -> str:
    """The configuration section of the replica's backend, where this machine's configuration serves it.

    Raises NotFound, Invalid (it is on no pool, or another machine serves it).
    """
    from penstock.domain.pools import PoolRef
    from penstock.store import instances

    with database.read() as tx:
        found = instances.get(tx, replica_id)
    if found is None or not found.is_replica:
        raise NotFound(f"There is no share replica {replica_id}.")
    if found.host is None:
        raise Invalid(f"Replica {replica_id} is on no pool.")
    pool = PoolRef.parse(found.host)
    if pool.host != host:
        raise Invalid(f"Replica {replica_id} is served by {pool.host}, not by {host}: rehearse it there.")
    return pool.backend


def begin_rehearsal(site: ShareSite, replica_id: str, client: str) -> list[str]:
    """Serve a clone of the replica's newest state to `client`; returns where. Safe to repeat.

    Raises Unsupported (the driver), NotFound, Conflict (the active one, or nothing was synced yet), Invalid (client).
    """
    from penstock.domain.access import AccessType, parse_access_to

    client = parse_access_to(AccessType.IP, client)
    driver, model = _driver_and_replica(site, replica_id)
    if model.replica_state == "active":
        raise Conflict(f"Replica {replica_id} is the active one: there is nothing to rehearse.")
    locations: list[dict[str, Any]] = driver.rehearse_replica(model, client)
    return [str(location["path"]) for location in locations if not location.get("is_admin_only")]


def end_rehearsal(site: ShareSite, replica_id: str) -> None:
    """Destroy the clone. Safe to repeat. Raises Unsupported, NotFound."""
    driver, model = _driver_and_replica(site, replica_id)
    driver.end_rehearsal(model)


def _driver_and_replica(site: ShareSite, replica_id: str) -> tuple[HasReplicaReports, ShareModel]:
    from penstock.share.manager.models import share_model
    from penstock.share.replication import HasReplicaReports
    from penstock.store import shares

    if not isinstance(site.driver, HasReplicaReports):
        raise Unsupported(f"The driver of {site.backend.host} cannot rehearse promotions.")
    with site.backend.database.read() as tx:
        share = shares.get_by_instance(tx, replica_id)
        if share is None or not share.instance.is_replica:
            raise NotFound(f"There is no share replica {replica_id}.")
        return site.driver, share_model(tx, site.backend, share)

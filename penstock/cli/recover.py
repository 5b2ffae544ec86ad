"""``penstock recover``."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from penstock.cli.options import config_option, debug_option, json_option, load_config, open_database, quiet_logs
from penstock.cli.output import print_json, print_table
from penstock.cli.recover_volumes import recover_section

if TYPE_CHECKING:
    from penstock.recovery.rebuilding import Rebuilt


@click.command()
@click.option("--backend", "sections", multiple=True, help="Only this backend; may be repeated. [default: all]")
@click.option("--dry-run", is_flag=True, help="Say what would be done, and do nothing.")
@click.option("--merge", is_flag=True, help="Add what is missing to a database that has shares of the backend.")
@config_option
@debug_option
@json_option
@click.pass_context
def recover(ctx: click.Context, *, sections: tuple[str, ...], dry_run: bool, merge: bool, as_json: bool) -> None:
    """Rebuild the database from what is written on the pools: shares, volumes, snapshots, access rules, types, owners.

    For when the database is lost: run 'penstock db upgrade' to make an empty one, then this, then 'penstock serve'.
    Nothing on the pools is changed. Descriptions, metadata and passwords were never there and stay lost; projects and
    users come back as recovered-<id>, see 'penstock project set' and 'penstock user set'. A volume whose target lets
    machines in comes back attached by them. Safe to repeat.

    \b
    Examples:
      penstock recover --dry-run
      penstock recover
    """
    from penstock.recovery.recover import recover as rebuild_rows
    from penstock.recovery.recover import reigns_of
    from penstock.share_site import open_share_site

    quiet_logs(ctx)
    conf = load_config(ctx)
    database = open_database(conf)
    with_identity = conf.auth_strategy == "builtin"
    wanted = sections or (*conf.enabled_share_backends, *conf.enabled_backends)
    of_volumes = [section for section in wanted if section in conf.enabled_backends]
    sites = {section: open_share_site(conf, section, database) for section in wanted if section not in of_volumes}
    recover_one = partial(rebuild_rows, dry_run=dry_run, with_identity=with_identity, reigns=reigns_of(sites.values()))
    found: dict[str, Rebuilt] = {}
    for section, site in sites.items():
        found[section] = recover_one(site, merge=merge)
        if not as_json:
            _print(section, found[section], dry_run=dry_run)
    for section, site in sites.items() if not dry_run else ():  # replicas, now that all active copies are known
        again = recover_one(site, merge=True)
        if again.replicas:
            found[section] = replace(found[section], replicas=again.replicas, left_out=again.left_out)
            if not as_json:
                click.echo(f"{section}  {len(again.replicas)} replicas recovered")
    summaries = {section: _summary(rebuilt) for section, rebuilt in found.items()}
    for section in of_volumes:
        summaries[section] = recover_section(
            conf,
            section,
            database,
            is_named=bool(sections),
            merge=merge,
            dry_run=dry_run,
            with_identity=with_identity,
            is_silent=as_json,
        )
    if as_json:
        print_json(summaries)


def _summary(rebuilt: Rebuilt) -> dict[str, Any]:
    return {
        "shares": [item.share.id for item in rebuilt.shares],
        "snapshots": [snapshot.id for snapshot in rebuilt.snapshots],
        "access_rules": [rule.id for item in rebuilt.shares for rule in item.rules],
        "types": [share_type.name for share_type in rebuilt.types],
        "projects": rebuilt.project_ids,
        "users": rebuilt.user_ids,
        "replicas": [replica.id for replica in rebuilt.replicas],
        "left_out": rebuilt.left_out,
    }


def _print(section: str, rebuilt: Rebuilt, *, dry_run: bool) -> None:
    rows = [
        (item.share.id, item.share.name, item.share.size_gib, item.share.project_id, len(item.rules))
        for item in rebuilt.shares
    ]
    print_table(("share", "name", "GiB", "project", "rules"), rows)
    for sentence in rebuilt.left_out:
        click.echo(f"{section}  left out: {sentence}")
    if rebuilt.is_empty:
        click.echo(f"{section}  nothing is missing from the database")
        return
    rules = sum(len(item.rules) for item in rebuilt.shares)
    verb = "would be recovered" if dry_run else "recovered"
    click.echo(
        f"{section}  {len(rebuilt.shares)} shares, {rules} access rules, {len(rebuilt.snapshots)} snapshots, "
        f"{len(rebuilt.types)} types, {len(rebuilt.project_ids)} projects, {len(rebuilt.user_ids)} users {verb}"
    )

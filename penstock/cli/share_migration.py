"""``penstock share migrate`` and ``penstock share migration show|complete|cancel``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from penstock.cli.connection import with_session
from penstock.cli.output import print_fields
from penstock.cli.waiting import ProgressLine, wait_options

if TYPE_CHECKING:
    from penstock.client.session import Session


@click.command()
@click.argument("share")
@click.argument("pool")
@click.option("--type", "share_type", help="The share type it shall have there.")
@click.option("--complete", "is_completing", is_flag=True, help="Switch as soon as the first phase is done.")
@click.option("--writable/--no-writable", default=True, show_default=True, help="Only if clients can go on writing.")
@click.option("--preserve-metadata/--no-preserve-metadata", default=True, show_default=True)
@click.option("--preserve-snapshots/--no-preserve-snapshots", default=True, show_default=True)
@click.option("--nondisruptive", is_flag=True, help="Only if no client has to mount it again.")
@click.option("--force-host-assisted", is_flag=True, help="Copy the files through mounts, whatever drivers can do.")
@wait_options
@with_session
def migrate(
    session: Session,
    *,
    share: str,
    pool: str,
    share_type: str | None,
    is_completing: bool,
    writable: bool,
    preserve_metadata: bool,
    preserve_snapshots: bool,
    nondisruptive: bool,
    force_host_assisted: bool,
    is_waiting: bool,
    timeout_s: float,
) -> None:
    """Move SHARE (name or id) to POOL (host@backend#pool).

    The share stays in use while it is copied. Then it waits for the switch, which is short: 'penstock share migration
    complete', or --complete here. Copying by the host (--force-host-assisted) needs --no-writable,
    --no-preserve-metadata and --no-preserve-snapshots.

    \b
    Example:
      penstock share migrate docs store@cellar#tank --complete
    """
    from penstock.client import migrations, resources

    found = resources.find(session, "shares", share)
    wanted = migrations.Wanted(
        writable=writable,
        preserve_metadata=preserve_metadata,
        preserve_snapshots=preserve_snapshots,
        nondisruptive=nondisruptive,
        force_host_assisted=force_host_assisted,
        share_type=share_type,
    )
    migrations.act(session, found["id"], wanted.body(pool))
    if is_waiting or is_completing:
        _follow(session, found["id"], is_completing=is_completing, timeout_s=timeout_s)


@click.group()
def migration() -> None:
    """The migration of a share that 'penstock share migrate' began."""


@migration.command()
@click.argument("share")
@with_session
def show(session: Session, *, share: str) -> None:
    """Say how far the migration of SHARE is.

    \b
    Example:
      penstock share migration show docs
    """
    from penstock.client import migrations, resources

    found = migrations.progress(session, resources.find(session, "shares", share)["id"])
    fields = {"state": found["task_state"], "progress": f"{found['total_progress']} %"}
    print_fields({**fields, **(found.get("details") or {})})


@migration.command()
@click.argument("share")
@wait_options
@with_session
def complete(session: Session, *, share: str, is_waiting: bool, timeout_s: float) -> None:
    """Switch SHARE over to where it was copied: its clients mount it there from then on.

    \b
    Example:
      penstock share migration complete docs
    """
    from penstock.client import migrations, resources

    share_id = resources.find(session, "shares", share)["id"]
    migrations.act(session, share_id, {"migration_complete": None})
    if is_waiting:
        _await_end(session, share_id, timeout_s)


@migration.command()
@click.argument("share")
@wait_options
@with_session
def cancel(session: Session, *, share: str, is_waiting: bool, timeout_s: float) -> None:
    """End the migration of SHARE, which stays where it is.

    \b
    Example:
      penstock share migration cancel docs
    """
    from penstock.client import migrations, resources

    share_id = resources.find(session, "shares", share)["id"]
    migrations.act(session, share_id, {"migration_cancel": None})
    if is_waiting:
        _await_end(session, share_id, timeout_s)


def _follow(session: Session, share_id: str, *, is_completing: bool, timeout_s: float) -> None:
    from penstock.client import migrations

    with ProgressLine() as tell:
        found = migrations.await_state(session, share_id, migrations.PHASE1_DONE, timeout_s=timeout_s, tell=tell)
    if is_completing and found["task_state"] in migrations.PHASE1_DONE:
        migrations.act(session, share_id, {"migration_complete": None})
        _await_end(session, share_id, timeout_s)
    else:
        click.echo(migrations.told(found))


def _await_end(session: Session, share_id: str, timeout_s: float) -> None:
    from penstock.client import migrations

    with ProgressLine() as tell:
        found = migrations.await_state(session, share_id, migrations.ENDED, timeout_s=timeout_s, tell=tell)
    click.echo(str(found["task_state"]))

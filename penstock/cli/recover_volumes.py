"""``penstock recover`` of one backend of volumes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from penstock.cli.output import print_table
from penstock.errors import Unsupported

if TYPE_CHECKING:
    from oslo_config import cfg

    from penstock.recovery.volumes.rebuilding import RebuiltVolumes
    from penstock.store.database import Database


def recover_section(
    conf: cfg.ConfigOpts,
    section: str,
    database: Database,
    *,
    is_named: bool,
    merge: bool,
    dry_run: bool,
    with_identity: bool,
    is_silent: bool,
) -> dict[str, Any]:
    """Recover the backend and print what that was, unless `is_silent`. Returns the same for JSON.

    Of a driver that keeps no identity nothing can be recovered: said so where nobody named it, else raised.
    """
    from penstock.recovery.volumes.recover import recover_volumes
    from penstock.volume_site import open_volume_site

    site = open_volume_site(conf, section, database)
    try:
        rebuilt = recover_volumes(site, merge=merge, dry_run=dry_run, with_identity=with_identity)
    except Unsupported as fault:
        if is_named:
            raise
        if not is_silent:
            click.echo(f"{section}  not recovered: {fault.message}")
        return {"not_recovered": fault.message}
    if not is_silent:
        _print(section, rebuilt, dry_run=dry_run)
    return {
        "volumes": [volume.id for volume in rebuilt.volumes],
        "snapshots": [snapshot.id for snapshot in rebuilt.snapshots],
        "attachments": [attachment.id for volume in rebuilt.volumes for attachment in volume.attachments],
        "types": [volume_type.name for volume_type in rebuilt.types],
        "projects": rebuilt.project_ids,
        "users": rebuilt.user_ids,
        "left_out": rebuilt.left_out,
    }


def _print(section: str, rebuilt: RebuiltVolumes, *, dry_run: bool) -> None:
    rows = [
        (volume.id, volume.name, volume.size_gib, volume.project_id, len(volume.attachments))
        for volume in rebuilt.volumes
    ]
    print_table(("volume", "name", "GiB", "project", "attached"), rows)
    for sentence in rebuilt.left_out:
        click.echo(f"{section}  left out: {sentence}")
    if rebuilt.attached:
        click.echo(
            f"{section}  {len(rebuilt.attached)} volumes are attached, as far as their targets say by whom: "
            "end the attachments that are none any more"
        )
    if rebuilt.is_empty:
        click.echo(f"{section}  nothing is missing from the database")
        return
    verb = "would be recovered" if dry_run else "recovered"
    click.echo(
        f"{section}  {len(rebuilt.volumes)} volumes, {len(rebuilt.snapshots)} snapshots, {len(rebuilt.types)} types, "
        f"{len(rebuilt.project_ids)} projects, {len(rebuilt.user_ids)} users {verb}"
    )

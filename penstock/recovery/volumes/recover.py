"""Rebuild the rows of one backend of volumes from its storage."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import replace

import structlog

from penstock.errors import Conflict
from penstock.recovery.owners import insert_owners, known_owners
from penstock.recovery.rows import Place
from penstock.recovery.volumes.rebuilding import KnownVolumes, RebuiltVolumes, rebuild_volumes
from penstock.store import attachments, volume_placement, volume_snapshots, volume_types, volumes
from penstock.store.database import Transaction
from penstock.volume_site import VolumeSite

log = structlog.get_logger(__name__)


def recover_volumes(site: VolumeSite, *, merge: bool, dry_run: bool, with_identity: bool) -> RebuiltVolumes:
    """Insert what the storage holds and the database does not; with `dry_run` only say what that is.

    All or nothing, and safe to repeat. `with_identity`: also make the projects and users that are referenced, for the
    built-in identity. Raises Unsupported (the driver keeps no identity), Conflict when the database has volumes of this
    backend and would get more, unless `merge`, and when a daemon serves the backend; NotFound and Unavailable when a
    pool is missing.
    """
    backend = site.backend
    holder = site.holder
    place = Place(backend.host, backend.zone, backend.now())
    with nullcontext() if dry_run else site.work.alone():
        inventory = holder.inventory()
        with backend.database.read() as tx:
            known = _known(tx, site, with_identity=with_identity)
        rebuilt = rebuild_volumes(inventory, known, place)
        if known.volumes and not merge and not rebuilt.is_empty:
            raise Conflict(
                f"The database has {len(known.volumes)} volumes of {backend.host} already; "
                "with --merge the missing ones are added to them."
            )
        if not dry_run and not rebuilt.is_empty:
            with backend.database.begin() as tx:
                _insert(tx, site, rebuilt, with_identity=with_identity)
            log.info(
                "database.recovered",
                backend=backend.host,
                volumes=len(rebuilt.volumes),
                snapshots=len(rebuilt.snapshots),
                left_out=len(rebuilt.left_out),
            )
    return rebuilt


def _known(tx: Transaction, site: VolumeSite, *, with_identity: bool) -> KnownVolumes:
    """What there is. Ids of other backends' volumes count as well."""
    homes = volume_placement.homes(tx)
    ids: set[str] = {home.id for home in homes} | {home.name_id for home in homes}
    projects, users = known_owners(tx, with_identity=with_identity)
    return KnownVolumes(
        ids=frozenset(ids | set(volume_placement.snapshot_ids(tx))),
        volumes={volume.name_id or volume.id: volume for volume in volumes.of_backend(tx, site.backend.host)},
        types=tuple(volume_types.list_types(tx)),
        project_ids=projects,
        user_ids=users,
    )


def _insert(tx: Transaction, site: VolumeSite, rebuilt: RebuiltVolumes, *, with_identity: bool) -> None:
    now = site.backend.now()
    for volume_type in rebuilt.types:
        volume_types.insert_type(tx, replace(volume_type, created_at=now))
    if with_identity:
        insert_owners(tx, rebuilt.project_ids, rebuilt.user_ids, now=now)
    for volume in rebuilt.volumes:
        volumes.insert_volume(tx, volume)
        for attachment in volume.attachments:
            attachments.insert_attachment(tx, attachment)
    for snapshot in rebuilt.snapshots:
        volume_snapshots.insert_snapshot(tx, snapshot)

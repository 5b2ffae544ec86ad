"""How much of whom is on a host."""

from __future__ import annotations

from sqlalchemy import func, or_, select

from penstock.store.schema import volume_snapshots, volumes
from penstock.store.transaction import Transaction


def usage(tx: Transaction, host: str) -> list[tuple[str, int, int, int, int]]:
    """Project, volumes, their GiB, snapshots, their GiB on ``host``, ``host@backend`` or all its pools; by project."""
    here = volumes.c.host
    within = or_(here == host, *(func.substr(here, 1, len(host) + 1) == f"{host}{mark}" for mark in "@#"))
    of_volumes = select(volumes.c.project_id, func.count(), func.sum(volumes.c.size_gib))
    of_volumes = of_volumes.where(within).group_by(volumes.c.project_id)
    taken = volume_snapshots.c
    of_snapshots = select(taken.project_id, func.count(), func.sum(taken.volume_size_gib))
    of_snapshots = of_snapshots.join(volumes, volumes.c.id == taken.volume_id).where(within).group_by(taken.project_id)
    found: dict[str, list[int]] = {}
    for project_id, count, gib in tx.execute(of_volumes):
        found.setdefault(project_id, [0, 0, 0, 0])[:2] = [int(count), int(gib)]
    for project_id, count, gib in tx.execute(of_snapshots):
        found.setdefault(project_id, [0, 0, 0, 0])[2:] = [int(count), int(gib)]
    return [(project_id, *numbers) for project_id, numbers in sorted(found.items())]  # type: ignore[misc]

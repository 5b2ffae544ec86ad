"""`penstock doctor` at the end of a life: what rows, storage and exports say of each other is the same."""

from __future__ import annotations

from pathlib import Path

from penstock.doctor.examination import examine
from penstock.domain.shares import AccessRulesStatus, ShareInstance, ShareStatus
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share_site import share_site_of
from penstock.store import replicas
from tests.simulation.replicas.world import SECTIONS, World

NOWHERE = Path("/nowhere")  # an examination writes nothing


def check_findings(world: World) -> None:
    """Raises AssertionError. Of replicas that could not be made, or be deleted, and of rules that could not be put in
    force, their owner was told."""
    for section in SECTIONS:
        daemon = world.daemons[section]
        if not isinstance(daemon.driver, ZFSonLinuxShareDriver) or not daemon.manager.is_service_ready():
            continue
        unwell = _unwell(world, section)
        found = examine(share_site_of(daemon.manager, NOWHERE)).findings
        wrong = [one for one in found if one.is_drift and one.subject not in unwell]
        assert not wrong, f"{section}: the doctor finds {wrong}"


def _is_unwell(row: ShareInstance) -> bool:
    return row.status is not ShareStatus.AVAILABLE or row.access_rules_status is AccessRulesStatus.ERROR


def _unwell(world: World, section: str) -> set[str]:
    with world.database.read() as tx:
        rows = [row.id for row in replicas.on(tx, f"sim@{section}") if _is_unwell(row)]
        return {*rows, *(one.id for row in rows for one in replicas.snapshot_instances_on(tx, row))}

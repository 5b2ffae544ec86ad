"""The six published steps of a migration by replication, as taskflow runs and reverts them.

Inherit off, action, update and wait, sever, move, clean up (protocol page, section 5). Each may run again after a
crash: what it finds done it does not do twice.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import structlog
from taskflow import task

from penstock.errors import Conflict, Fault
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.faults import Absent, Taken
from penstock.volume.errors import VolumeIsBusy, VolumeMigrationFailed

ONLINE, SENDING, SUCCESS, UNKNOWN = "online", "sending", "success", "<unknown>"

log = structlog.get_logger(__name__)


class MigrateVolumeInit(task.Task):  # type: ignore[misc]
    """The LUN replicates by itself, not as its project does."""

    def execute(self, src_zfssa: Appliance, volume: Any, src_pool: str, src_project: str) -> None:
        """Switch inheriting off. Safe to repeat."""
        src_zfssa.inherit_replication(src_pool, src_project, volume["name"], inherited=False)

    def revert(self, src_zfssa: Appliance, volume: Any, src_pool: str, src_project: str, **kwargs: Any) -> None:
        """Switch it on again."""
        with _logged("inherit"):
            src_zfssa.inherit_replication(src_pool, src_project, volume["name"], inherited=True)


class MigrateVolumeCreateAction(task.Task):  # type: ignore[misc]
    """There is an action that replicates the LUN to the target."""

    def execute(
        self, src_zfssa: Appliance, volume: Any, src_pool: str, src_project: str, target: str, tgt_pool: str
    ) -> str:
        """Its id; one that an earlier try made is taken."""
        name = volume["name"]
        try:
            return src_zfssa.create_replication_action(src_pool, src_project, name, target, tgt_pool)
        except Taken as taken:
            found = src_zfssa.replication_actions_of(src_pool, src_project, name)
            if len(found) != 1:
                raise Conflict(f"{name} has {len(found)} replication actions; which is ours nobody knows") from taken
            return found[0]

    def revert(self, src_zfssa: Appliance, **kwargs: Any) -> None:
        """Remove the action, if it was made."""
        action = kwargs.get("result")
        if isinstance(action, str):
            with _logged("action"):
                src_zfssa.delete_replication_action(action)


class MigrateVolumeSendReplUpdate(task.Task):  # type: ignore[misc]
    """Everything is on the target, and nothing more goes there."""

    POLL_S = 5.0

    def execute(self, src_zfssa: Appliance, action_id: str) -> None:
        """Send, wait for the end, remove the action. Raises VolumeMigrationFailed when sending fails."""
        with suppress(Taken):  # asked before, whose answer was lost: it is sending already
            src_zfssa.send_update(action_id)
        while True:
            found = src_zfssa.replication_action(action_id)
            if found.last_result == SUCCESS and found.state != SENDING:
                break
            if found.state != SENDING or found.last_result not in (UNKNOWN, SUCCESS):
                raise VolumeMigrationFailed(
                    f"the replication {action_id} ended in {found.last_result} (state {found.state})"
                )
            src_zfssa.clock.sleep(self.POLL_S)  # the appliance tells nobody; it may take hours
        src_zfssa.delete_replication_action(action_id)


class MigrateVolumeSeverRepl(task.Task):  # type: ignore[misc]
    """What was received is a project of the target's own, with the action's id as its name."""

    def execute(self, tgt_zfssa: Appliance, src_asn: str, action_id: str, driver: Any) -> None:
        """Sever the package. Raises VolumeMigrationFailed when the target knows nothing of the source."""
        source = tgt_zfssa.source_name(src_asn)
        if source is None:
            raise VolumeMigrationFailed(f"the target has received nothing of the appliance {src_asn}")
        tgt_zfssa.sever_package(source, action_id)


class MigrateVolumeMoveVol(task.Task):  # type: ignore[misc]
    """The LUN is in the target's project."""

    def execute(self, tgt_zfssa: Appliance, tgt_pool: str, tgt_project: str, action_id: str, volume: Any) -> None:
        """Move it there, and remove the project it came in."""
        name = volume["name"]
        try:
            tgt_zfssa.move_lun(tgt_pool, action_id, name, tgt_project)
        except Taken:
            self._remove_leftover(tgt_zfssa, tgt_pool, tgt_project, name)
            tgt_zfssa.move_lun(tgt_pool, action_id, name, tgt_project)
        tgt_zfssa.delete_project(tgt_pool, action_id)

    def revert(
        self, tgt_zfssa: Appliance, tgt_pool: str, tgt_project: str, action_id: str, volume: Any, **kwargs: Any
    ) -> None:
        """Remove the project it came in, with the copy if that is still there.

        A copy that was moved already goes only where the source refused to be deleted, so that it is certainly there.
        After any other failure it may be the only one: the next try looks.
        """
        with _logged("package"):
            tgt_zfssa.delete_project(tgt_pool, action_id)
        failures = (kwargs.get("flow_failures") or {}).values()
        if any(failure.check(VolumeIsBusy) for failure in failures):
            with _logged("copy"):
                tgt_zfssa.delete_lun(tgt_pool, tgt_project, volume["name"])

    @staticmethod
    def _remove_leftover(tgt_zfssa: Appliance, pool: str, project: str, name: str) -> None:
        """What a try that died after moving left there.

        The volume lives at the source, or we would not be asked to migrate it, so a copy of this name that is shown to
        nobody is no one's data. Anything else is left alone: raises Conflict.
        """
        found = tgt_zfssa.lun(pool, project, name)
        if not found.is_managed or found.groups or found.is_protected:
            raise Conflict(f"the target has a LUN {project}/{name} that is not the rest of a migration")
        log.warning("zfssa.leftover_removed", project=project, lun=name)
        tgt_zfssa.delete_lun(pool, project, name)


class MigrateVolumeCleanUp(task.Task):  # type: ignore[misc]
    """Only the target has the volume."""

    def execute(self, driver: Any, volume: Any, tgt_zfssa: Appliance) -> None:
        """Delete it at the source, log out of the target."""
        driver.delete_volume(volume)
        tgt_zfssa.log_out()


class _logged:  # noqa: N801 - a context manager, used as a word
    """An undo that fails is told, and does not keep the next one from being tried; absent is undone already."""

    def __init__(self, what: str) -> None:
        self._what = what

    def __enter__(self) -> None:
        return None

    def __exit__(self, _kind: object, fault: BaseException | None, _trace: object) -> bool:
        if isinstance(fault, Fault) and not isinstance(fault, Absent):
            log.warning("zfssa.not_undone", what=self._what, fault=fault.message)
        return isinstance(fault, Fault)

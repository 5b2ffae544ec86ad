"""A volume moved to another appliance by the appliances themselves: whether that can be, and the flow that does it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog
import taskflow.engines
from taskflow import task
from taskflow.patterns import linear_flow

from penstock.volume.drivers.zfssa import migration_tasks as tasks
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.faults import Absent
from penstock.volume.drivers.zfssa.journal import Attempt, Journal
from penstock.volume.drivers.zfssa.location import Location
from penstock.volume.drivers.zfssa.options import Settings
from penstock.volume.drivers.zfssa.reporting import PROTOCOL, VENDOR
from penstock.volume.drivers.zfssa.volumes import Volumes
from penstock.volume.errors import VolumeNotFound

Connect = Callable[[str, Location], Appliance]
"""Log in to the appliance of the backend with this name (``host@backend#pool``), at this place."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Way:
    """From this appliance to the other."""

    target: Appliance
    place: Location
    label: str
    source_asn: str


class Migration:
    """Moves volumes of one backend to others of its kind."""

    def __init__(
        self, appliance: Appliance, settings: Settings, volumes: Volumes, journal: Journal, connect: Connect
    ) -> None:
        self._appliance = appliance
        self._settings = settings
        self._volumes = volumes
        self._journal = journal
        self._connect = connect

    def migrate(self, driver: Any, volume: Any, host: Mapping[str, Any]) -> bool:
        """Move it. False: it cannot be moved so, nothing was changed, and the generic way is open.

        When it fails underway everything is undone, the volume stays where it was, and the fault goes on. The same
        call after a crash first removes what the interrupted one left on either appliance.
        """
        capabilities = host.get("capabilities") or {}
        place = Location.parsed(capabilities.get("location_info"))
        reason = self._reason_against(volume, capabilities, place)
        if reason or place is None:
            log.info("zfssa.generic_migration", volume=volume["id"], reason=reason)
            return False
        target = self._connect(str(host["host"]), place)
        try:
            return self._migrate(driver, volume, target, place)
        finally:
            target.log_out()

    def _reason_against(self, volume: Any, capabilities: Mapping[str, Any], place: Location | None) -> str:
        """What needs no appliance to be asked; empty when nothing speaks against it."""
        if volume["status"] not in ("available", "maintenance", "migrating") or volume["attach_status"] == "attached":
            return "the volume is not available"
        if (capabilities.get("vendor_name"), capabilities.get("storage_protocol")) != (VENDOR, PROTOCOL):
            return "the destination is no ZFS appliance with iSCSI"
        if place is None:
            return "the destination does not say where it is"
        if not place.replication_ip:
            return "the destination has no replication address (zfssa_replication_ip)"
        if place.target_group != self._settings.target_group:
            return "the destination has another target group"
        return ""

    def _migrate(self, driver: Any, volume: Any, target: Appliance, place: Location) -> bool:
        for name, appliance in (("source", self._appliance), ("destination", target)):
            if appliance.replication_service() != tasks.ONLINE:
                log.info("zfssa.generic_migration", volume=volume["id"], reason=f"no replication service at the {name}")
                return False
        try:
            self._volumes.find(volume["name"])
        except VolumeNotFound:
            return self._is_there_already(volume, target, place)
        way = self._way(target, place)
        if way is None:
            log.info("zfssa.generic_migration", volume=volume["id"], reason="no replication target for the destination")
            return False
        self._forget_earlier(volume["id"], way)
        self._run(driver, volume, way)
        return True

    def _is_there_already(self, volume: Any, target: Appliance, place: Location) -> bool:
        """An earlier call came to its end, and died before it was told. Raises VolumeNotFound when it did not."""
        try:
            target.lun(place.pool, place.project, volume["name"])
        except Absent as absent:
            raise VolumeNotFound(f"neither appliance has the LUN {volume['name']}") from absent
        self._journal.end(volume["id"])
        return True

    def _way(self, target: Appliance, place: Location) -> _Way | None:
        source_asn, target_asn = self._appliance.version().asn, target.version().asn
        found = [
            each
            for each in self._appliance.replication_targets()
            if each.asn == target_asn
            and each.address.rpartition(":")[0].strip("[]") == place.replication_ip.strip("[]")
        ]
        return _Way(target, place, found[0].label, source_asn) if found else None

    def _forget_earlier(self, volume_id: str, way: _Way) -> None:
        """Remove what an attempt that died left: its action, its package, the project that was to be temporary."""
        attempt = self._journal.attempt(volume_id)
        if attempt is None:
            return
        log.warning("zfssa.migration_begun_anew", volume=volume_id, action=attempt.action)
        _absent_is_fine(lambda: self._appliance.delete_replication_action(attempt.action))
        if attempt.target_host == way.place.host:
            source = way.target.source_name(attempt.source_asn)
            if source is not None:
                _absent_is_fine(lambda: way.target.delete_package(source, attempt.action))
            _absent_is_fine(lambda: way.target.delete_project(attempt.target_pool, attempt.action))
        self._journal.end(volume_id)

    def _run(self, driver: Any, volume: Any, way: _Way) -> None:
        place = way.place
        flow = linear_flow.Flow("migrate volume").add(
            tasks.MigrateVolumeInit(),
            tasks.MigrateVolumeCreateAction(provides="action_id"),
            _Remember(self._journal, volume["id"], way),
            tasks.MigrateVolumeSendReplUpdate(),
            tasks.MigrateVolumeSeverRepl(),
            tasks.MigrateVolumeMoveVol(),
            tasks.MigrateVolumeCleanUp(),
        )
        store = {
            "driver": driver,
            "src_zfssa": self._appliance,
            "src_pool": self._settings.pool,
            "src_project": self._settings.project,
            "src_asn": way.source_asn,
            "tgt_zfssa": way.target,
            "tgt_pool": place.pool,
            "tgt_project": place.project,
            "target": way.label,
            "volume": volume,
        }
        taskflow.engines.run(flow, store=store)
        self._journal.end(volume["id"])


class _Remember(task.Task):  # type: ignore[misc]
    """The journal knows of the action before anything is sent."""

    def __init__(self, journal: Journal, volume_id: str, way: _Way) -> None:
        super().__init__()
        self._journal = journal
        self._volume_id = volume_id
        self._way = way

    def execute(self, action_id: str) -> None:
        """Write it down."""
        place = self._way.place
        attempt = Attempt(self._volume_id, action_id, self._way.source_asn, place.host, place.pool)
        self._journal.begin(attempt)

    def revert(self, **kwargs: Any) -> None:
        """Keep it: the next call looks whether everything was undone, and then forgets it."""


def _absent_is_fine(remove: Callable[[], None]) -> None:
    try:
        remove()
    except Absent:
        return

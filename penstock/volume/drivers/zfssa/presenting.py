"""Volumes shown to hosts and hidden again: masking by initiator groups, and what a host needs to log in."""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from typing import Any

import structlog

from penstock.errors import NotFound
from penstock.volume.drivers.zfssa.calls import Appliance
from penstock.volume.drivers.zfssa.faults import Absent, Garbled
from penstock.volume.drivers.zfssa.options import Settings
from penstock.volume.drivers.zfssa.values import DEFAULT_GROUP, Group
from penstock.volume.drivers.zfssa.volumes import Volumes
from penstock.volume.errors import InvalidConnectorException, VolumeNotFound

log = structlog.get_logger(__name__)


class Presenting:
    """Shows the LUNs of one pool. `portal` is the address hosts log in at."""

    def __init__(self, appliance: Appliance, settings: Settings, volumes: Volumes, portal: str) -> None:
        self._appliance = appliance
        self._settings = settings
        self._volumes = volumes
        self._portal = portal
        self._iqn: str | None = None
        self._one_at_a_time = threading.Lock()  # a LUN's groups are read, changed and written as one list

    def show(self, volume: Any, project: str, connector: Mapping[str, Any]) -> dict[str, Any]:
        """Show it to the connector's initiator, beside whoever sees it already; what os-brick needs. Safe to repeat.

        Raises InvalidConnectorException (also for an initiator in no group), VolumeNotFound.
        """
        initiator = connector.get("initiator")
        if not initiator:
            raise InvalidConnectorException(missing="initiator")
        with self._one_at_a_time:
            groups = self._groups_of(initiator, self._appliance.initiator_groups())
            if not groups:
                raise InvalidConnectorException(
                    f"The initiator {initiator} is in no initiator group of the appliance: its administrator has to "
                    "put it into zfssa_initiator_config."
                )
            seen = self._volumes.find(volume["name"], project)
            # also when it says that they see it: an earlier try may have got no further than to be written down
            self._write(project, volume["name"], {*seen.groups, *groups})
            seen = self._volumes.find(volume["name"], project)
        number = seen.number_for(groups)
        if number is None:
            raise Garbled(f"the appliance did not show {volume['name']} to {', '.join(groups)}")
        return self._connection(volume, number)

    def hide(self, volume: Any, project: str, connector: Mapping[str, Any] | None) -> None:
        """Hide it from the connector's initiator, if it names one; from everybody for None. Absent is fine; repeatable.

        A group stays as long as another attachment of the volume needs it.
        """
        name = volume["name"]
        initiator = None if connector is None else connector.get("initiator")
        if connector is not None and not initiator:
            return  # it was never shown to such a one
        with self._one_at_a_time:
            try:
                if initiator is None:
                    self._write(project, name, ())
                    return
                known = self._appliance.initiator_groups()
                seen = self._volumes.find(name, project)
                kept = {group.name for group in known if _is_needed(group, initiator, volume)}
                gone = set(self._groups_of(initiator, known)) - kept
                self._write(project, name, set(seen.groups) - gone)
            except (Absent, VolumeNotFound) as absent:
                log.warning("zfssa.volume_absent", volume=name, fault=absent.message)

    def _groups_of(self, initiator: str, known: Iterable[Group]) -> list[str]:
        found = [group.name for group in known if initiator in group.initiators]
        return found or ([DEFAULT_GROUP] if self._settings.has_default_group else [])

    def _write(self, project: str, name: str, groups: Iterable[str]) -> None:
        self._appliance.present_lun(self._settings.pool, project, name, sorted(groups))

    def _connection(self, volume: Any, number: int) -> dict[str, Any]:
        iqn = self._target_iqn()
        data: dict[str, Any] = {
            "target_discovered": False,
            "target_portal": self._portal,
            "target_iqn": iqn,
            "target_lun": number,
            # lists of one: a host that discovers by itself would find both heads of a cluster that has failed over
            "target_portals": [self._portal],
            "target_iqns": [iqn],
            "target_luns": [number],
            "volume_id": volume["id"],
        }
        if self._settings.has_target_chap:
            data |= {
                "auth_method": "CHAP",
                "auth_username": self._settings.target_user,
                "auth_password": self._settings.target_password,
            }
        return {"driver_volume_type": "iscsi", "data": data}

    def _target_iqn(self) -> str:
        """Asked for once."""
        if self._iqn is None:
            self._iqn = self._appliance.target_iqn(self._settings.target_group)
        if self._iqn is None:
            raise NotFound(f"the appliance has no iSCSI target {self._settings.target_group!r}; run the set-up again")
        return self._iqn


def _is_needed(group: Group, initiator: str, volume: Any) -> bool:
    """Whether other attachments of the volume are by initiators of this group, the leaving one's second included."""
    attachments = volume.get("volume_attachment") or () if hasattr(volume, "get") else ()
    attached = [each["connector"] or {} for each in attachments if each["attach_status"] != "detached"]
    names = [connector.get("initiator") for connector in attached]
    others = [name for name in names if name in group.initiators and name != initiator]
    return bool(others) or (initiator in group.initiators and names.count(initiator) > 1)

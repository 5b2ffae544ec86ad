"""The places that one backend's volumes may be served from: its own host, and its replication targets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from threading import Lock

from penstock.clock import Clock
from penstock.domain.volumes import HOME
from penstock.errors import Unavailable, Unsupported
from penstock.exports.iscsi import IscsiExports
from penstock.host.runner import Host
from penstock.volume.drivers.zfs import spec
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.drivers.zfs.replication_devices import Device
from penstock.volume.drivers.zfs.storage import Storage, open_storage
from penstock.volume.models import VolumeModel
from penstock.zfs.marks import KIND
from penstock.zfs.names import Dataset


@dataclass(frozen=True, slots=True)
class Side:
    """One of the places, reached. `id` is ``default`` for the backend's own host, else the target's ``backend_id``."""

    id: str
    settings: Settings
    storage: Storage

    def missing_roots(self) -> list[str]:
        """What is not there of the datasets that hold its volumes: a pool that is not imported. Raises Unavailable."""
        roots = list(self.settings.roots.values())
        found = self.storage.zfs.get_many(roots, (KIND,))
        return [str(root) for root in dict.fromkeys(roots) if str(root) not in found]

    def place(self, volume: VolumeModel, places: Mapping[str, str], *, is_served: bool) -> Dataset:
        """The volume's dataset here; `places` are those that are not where a new volume would be made, by side.

        `is_served`: this is the side that the volume is served from, which its row names the place of.
        """
        if is_served:
            return spec.told_dataset(volume, self.settings)
        told = places.get(self.id)
        return Dataset(told) if told else spec.new_dataset(volume, self.settings)


@dataclass(frozen=True, slots=True)
class GivenHosts:
    """Machines and target servers that tests put in the place of those that the settings name, by side."""

    hosts: Mapping[str, Host]
    exports: Mapping[str, IscsiExports]


class Sides:
    """All of them; each is reached when it is asked for, and remembered from then on. Threads may share it."""

    def __init__(
        self,
        own: Settings,
        devices: Sequence[Device],
        *,
        connect_timeout_s: int,
        clock: Clock,
        given: GivenHosts | None = None,
        before_command: Callable[[], None] | None = None,
    ) -> None:
        self._settings = {HOME: own, **{device.backend_id: device.settings for device in devices}}
        self._connect_timeout_s = connect_timeout_s
        self._clock = clock
        self._before_command = before_command
        self._given = given or GivenHosts({}, {})
        self._known: dict[str, Side] = {}
        self._opening = {side: Lock() for side in self._settings}

    @property
    def ids(self) -> tuple[str, ...]:
        """All, the backend's own host first."""
        return tuple(self._settings)

    @property
    def targets(self) -> tuple[str, ...]:
        """The replication targets, as configured."""
        return tuple(side for side in self._settings if side != HOME)

    def settings_of(self, side: str) -> Settings:
        """The settings of the side. KeyError when there is none."""
        return self._settings[side]

    def reach(self, side: str) -> Side:
        """The side, whose machine answered once. Raises Unavailable, Unsupported (volumes are another thing there)."""
        known = self._known.get(side)
        if known is not None:
            return known
        with self._opening[side]:  # one attempt at a time to reach what may be away; others are not held up
            return self._known.get(side) or self._open(side)

    def reach_partly(self, side: str) -> Side:
        """The same, also when one of its pools is not there: the others are to be looked at, and fenced, all the same.

        Such a side is not remembered: when the pool is back it is reached anew.
        """
        known = self._known.get(side)
        if known is not None:
            return known
        with self._opening[side]:
            return self._known.get(side) or self._open(side, may_lack=True)

    def _open(self, side: str, *, may_lack: bool = False) -> Side:
        settings = self._settings[side]
        kind = self._kind()
        try:
            storage = open_storage(
                settings if kind is None else replace(settings, kind=kind),
                connect_timeout_s=self._connect_timeout_s,
                host=self._given.hosts.get(side),
                exports=self._given.exports.get(side),
                clock=self._clock,
                may_lack=may_lack,
                before_command=self._before_command,
            )
        except Unavailable as err:
            raise Unavailable(f"{side}: {err.message}") from err
        others = {one.storage.medium.type for one in self._known.values()}
        if others - {storage.medium.type}:
            raise Unsupported(
                f"Volumes are of the kind {storage.medium.type} on {side}, and {others.pop()} elsewhere: set "
                "zfs_volume_kind to what both have."
            )
        reached = Side(side, settings, storage)
        if not (may_lack and reached.missing_roots()):
            self._known[side] = reached
        return reached

    def _kind(self) -> str | None:
        """Volumes that are files on one side are files on the others, too, also where those have zvols."""
        types = {one.storage.medium.type for one in self._known.values()}
        return "file" if types == {"filesystem"} else None

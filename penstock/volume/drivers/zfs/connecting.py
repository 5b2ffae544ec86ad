"""Who may reach a volume: one iSCSI target for each, with one LUN; its configuration on the host is what counts."""

from __future__ import annotations

import secrets
import string
from abc import abstractmethod
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.errors import Unavailable
from penstock.exports.iscsi import Chap, Initiator, IscsiTarget, Lun, check_initiator
from penstock.host.boots import boot_of
from penstock.volume.driver import ISCSIDriver
from penstock.volume.drivers.zfs.finding import Finder
from penstock.volume.drivers.zfs.links import make_link
from penstock.volume.drivers.zfs.options import Settings
from penstock.volume.drivers.zfs.sides import Sides
from penstock.volume.drivers.zfs.storage import Storage
from penstock.volume.interface.values import ConnectionInfo, Connector, Context, Updates
from penstock.volume.iscsi import iscsi_properties
from penstock.volume.models import VolumeModel
from penstock.zfs.beside import until_looked
from penstock.zfs.names import Dataset

LUN = 1
"""tgt's LUN 0 is its controller."""
PORTAL_GROUP = 1
SECRET_LENGTH, USER_LENGTH = 20, 12
LETTERS = string.ascii_letters + string.digits

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Looked:
    """Whether what is in the place is the volume."""

    place: Dataset
    is_volume: bool


def iqn_of(volume_name: str, settings: Settings) -> str:
    """The name of the volume's target."""
    return f"{settings.target_prefix}{volume_name}".lower()


class ConnectionMethods(ISCSIDriver):
    """Exports, connections, and their end. Safe to repeat, each of them."""

    settings: Settings
    storage: Storage
    finder: Finder
    sides: Sides

    @abstractmethod
    def refuse_unreachable(self, volume: VolumeModel) -> None:
        """Raises Unavailable for a volume that the side which serves cannot have: it is not to be taken for gone."""

    def validate_connector(self, connector: Connector) -> None:
        """Raises Invalid also for what is not the name of one initiator: ``*`` would let everybody in."""
        super().validate_connector(connector)
        check_initiator(connector["initiator"])

    def create_export(self, context: Context, volume: VolumeModel, connector: Connector) -> Updates | None:
        """Only says where the target will be: `initialize_connection` makes it, in one command with who may log in."""
        return {"provider_location": self._location(volume), "provider_auth": self._auth(volume)}

    def boot_id(self) -> str:
        """See `TellsBoots`: links are gone after a boot, and a target server that knows of no link serves nothing."""
        return boot_of(self.storage.host)

    def ensure_export(self, context: Context, volume: VolumeModel) -> Updates | None:
        """Put the target back in force as it is configured; made from the attachments where that was lost, too."""
        dataset, _ = self.finder.existing(volume)
        direct = Lun(LUN, self.storage.medium.path(dataset), volume.id)
        lun = self._lun(volume, direct.path)

        def whole(found: IscsiTarget | None) -> IscsiTarget:
            if found is not None:
                # who is connected by the device itself would lose it for a moment: that was before there were links
                luns = (direct,) if found.initiators and direct in found.luns else (lun,)
                return IscsiTarget(
                    found.iqn, luns, found.initiators, mutual=found.mutual, portals=self.settings.portals
                )
            names = {
                str(one.connector["initiator"]) for one in volume.volume_attachment if one.connector.get("initiator")
            }
            return self._target(volume, lun, [self._initiator(volume, name) for name in sorted(names)])

        self.storage.exports.edit(self._iqn(volume), whole)
        return {"provider_location": self._location(volume)} if volume.provider_location is None else None

    def remove_export(self, context: Context, volume: VolumeModel) -> None:
        self.refuse_unreachable(volume)
        self._unexport(volume)

    def _unexport(self, volume: VolumeModel) -> None:
        """Mostly there is none any more: looking costs less than taking away."""
        if self.storage.exports.get(self._iqn(volume)) is not None:
            self.storage.exports.apply([], remove=[self._iqn(volume)])

    def look_ahead(self, volume: VolumeModel) -> Looked | None:
        """See `LooksAhead`."""
        if self.sides.targets:
            return None
        place = self.finder.place(volume)
        return Looked(place, Finder(self.storage.looks, self.settings).is_at(place, volume))

    def initialize_connection(
        self, volume: VolumeModel, connector: Connector, looked: Future[Looked | None] | None = None, **kwargs: Any
    ) -> ConnectionInfo:
        self.validate_connector(connector)
        name = str(connector["initiator"])
        if not self._allow_at_once(volume, name, looked):
            dataset, _ = self.finder.existing(volume)
            self._allow(volume, dataset, name)
        located = volume.updated({"provider_location": self._location(volume)})
        multipath = bool(connector.get("multipath"))
        data = iscsi_properties(located, multipath=multipath, discard=self.settings.tells_discard)
        return {"driver_volume_type": "iscsi", "data": data}

    def _allow_at_once(self, volume: VolumeModel, name: str, looked: Future[Looked | None] | None) -> bool:
        """Let it in while looking whether the dataset is the volume's, not after that look, which takes longer.

        `looked` is that look, where it began before.

        False when it has to be done with care: the volume is not where it should be, and nobody was let in; or it has
        copies, and what is there may be one whose place another has taken.
        """
        if self.sides.targets:
            return False
        place = self.finder.place(volume)
        found: list[Sequence[str]] = []  # who was let in before, also when nobody learns what became of the change

        def let_in() -> None:
            if not any(one.connection_info for one in volume.volume_attachment):
                found.append(())  # nobody was told of a connection yet, so nobody is to keep one
                if self.storage.exports.add(self._target_for(volume, place, [name])):
                    return
                found.clear()
            self._allow(volume, place, name, is_seen=False, tell=found.append)

        is_ours = False
        try:
            if looked is None:
                is_ours = self.storage.zfs.beside(let_in, lambda: self.finder.is_at(place, volume), look_is_longer=True)
            else:
                is_ours = until_looked(let_in, looked) == Looked(place, is_volume=True)
        except Unavailable as fault:  # its device or file is not there, say
            log.info("volume.look_first", volume=volume.id, reason=fault.message)
        finally:
            # the first look counts: the second is after somebody's change, which may have been our own
            if not is_ours and found and name not in found[0]:
                self._refuse(volume, name)
        return is_ours

    def _allow(
        self,
        volume: VolumeModel,
        dataset: Dataset,
        name: str,
        *,
        is_seen: bool = True,
        tell: Callable[[Sequence[str]], None] = lambda _names: None,
    ) -> None:
        """Let it in. Unless `is_seen` to be the volume's, it takes no other's place.

        `tell` gets the names that are in, before each attempt to change it.
        """
        lun = self._lun(volume, self.storage.medium.path(dataset))
        initiator = self._initiator(volume, name)

        def allowing(found: IscsiTarget | None) -> IscsiTarget:
            if found is not None and found.luns != (lun,) and not is_seen:
                raise Unavailable(f"{found.iqn} is not served from {lun.path}")
            others = [one for one in found.initiators if one.name != initiator.name] if found else []
            tell(found.names if found else ())
            # whoever came before with another secret (the volume's was made anew) is let in by the present one
            same = [Initiator(one.name, initiator.chap) for one in others]
            return self._target(volume, lun, [*same, initiator])

        self.storage.exports.edit(self._iqn(volume), allowing)

    def _refuse(self, volume: VolumeModel, name: str) -> IscsiTarget | None:
        """The target without that initiator, gone with the last one."""

        def refusing(found: IscsiTarget | None) -> IscsiTarget | None:
            left = None if found is None else found.refusing(name)
            return left if left is not None and left.initiators else None

        return self.storage.exports.edit(self._iqn(volume), refusing)

    def terminate_connection(self, volume: VolumeModel, connector: Connector | None, **kwargs: Any) -> bool | None:
        """Logs the initiator out, too. True while others are let in; the target goes with the last.

        A connector without ``initiator`` is nobody's whom a target can know: nobody is shut out for it.
        """
        self.refuse_unreachable(volume)
        if connector is not None and not connector.get("initiator"):
            left = self.storage.exports.get(self._iqn(volume))
            return left is not None and bool(left.initiators)

        if connector is None:
            self.storage.exports.edit(self._iqn(volume), lambda _: None)
            return False
        if self._end_likely(volume, str(connector["initiator"])):
            return False
        left = self._refuse(volume, str(connector["initiator"]))
        return left is not None and bool(left.initiators)

    def _end_likely(self, volume: VolumeModel, name: str) -> bool:
        """Take the target away when it is for that initiator alone, as it mostly is; False when that is not so."""
        if self.sides.targets or any(
            one.connector.get("initiator") not in (None, name) for one in volume.volume_attachment
        ):
            return False
        return self.storage.exports.discard(self._target_for(volume, self.finder.place(volume), [name]))

    def resize_export(self, volume: VolumeModel) -> None:
        """Have who is connected see the volume's new size; also when its machine was restarted since."""
        target = self.storage.exports.get(self._iqn(volume))
        if target is not None:
            dataset, _ = self.finder.existing(volume)
            self._lun(volume, self.storage.medium.path(dataset))
            self.storage.exports.apply([target])

    # --- how ----------------------------------------------------------------------------------------------------------

    def _iqn(self, volume: VolumeModel) -> str:
        return iqn_of(volume.name, self.settings)

    def _location(self, volume: VolumeModel) -> str:
        return self._location_of(self._iqn(volume))

    def _location_of(self, iqn: str) -> str:
        portals = ";".join(str(portal) for portal in self.settings.portals)
        return f"{portals},{PORTAL_GROUP} {iqn} {LUN}"

    def _auth(self, volume: VolumeModel) -> str | None:
        if not self.settings.use_chap:
            return None
        if volume.provider_auth:
            return volume.provider_auth
        user = self.settings.chap_username or "".join(secrets.choice(LETTERS) for _ in range(USER_LENGTH))
        secret = self.settings.chap_password or "".join(secrets.choice(LETTERS) for _ in range(SECRET_LENGTH))
        return f"CHAP {user} {secret}"

    def _initiator(self, volume: VolumeModel, name: str) -> Initiator:
        if not volume.provider_auth:
            return Initiator(name)
        _, user, secret = volume.provider_auth.split()
        return Initiator(name, Chap(user, secret))

    def _lun(self, volume: VolumeModel, path: str) -> Lun:
        """Where another machine may take over, what is served is a link that a restart takes away: see `links`."""
        if self.sides.targets:
            path = make_link(self.storage.host, volume.name, path)
        return Lun(LUN, path, volume.id)

    def _target_for(self, volume: VolumeModel, dataset: Dataset, names: Sequence[str]) -> IscsiTarget:
        """The volume served from that dataset to these initiators alone."""
        lun = self._lun(volume, self.storage.medium.path(dataset))
        return self._target(volume, lun, [self._initiator(volume, name) for name in names])

    def _target(self, volume: VolumeModel, lun: Lun, initiators: list[Initiator]) -> IscsiTarget:
        return IscsiTarget(self._iqn(volume), (lun,), tuple(initiators), portals=self.settings.portals)

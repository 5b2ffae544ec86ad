"""The storage an appliance serves: its ZFS, its pools, what it keeps of itself, and the iSCSI server beside it."""

from __future__ import annotations

import threading
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.appliance.faults import Missing
from penstock.appliance.media import Medium, medium_of
from penstock.appliance.names import KIND, PREFIX, SETTINGS, object_name
from penstock.appliance.records import Records
from penstock.clock import Clock
from penstock.errors import Conflict
from penstock.exports.iscsi import IscsiExports, Portal
from penstock.secret_box import SecretBox
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from penstock.zfs.properties import local_value

POOL, PROJECT, LUN, PACKAGE = "pool", "project", "lun", "package"
OWNER, OWNER_ASN = PREFIX + "owner", PREFIX + "asn"
UNMOUNTED: Mapping[str, str] = {"canmount": "off"}


@dataclass(frozen=True, slots=True)
class Peer:
    """The other head of a cluster."""

    asn: str = ""
    name: str = ""
    state: str = "AKCS_UNCONFIGURED"


@dataclass(slots=True)
class Site:
    """One appliance. `pools` is the dataset that stands for each pool, by the pool's name.

    `exports` is None where LUNs are kept but not reachable. `changing` is held by whoever changes the tree, so that
    what was looked at is still so when it is changed.
    """

    name: str
    zfs: Zfs
    pools: Mapping[str, Dataset]
    secrets: SecretBox
    clock: Clock
    exports: IscsiExports | None = None
    portals: tuple[Portal, ...] = ()
    shows_some: bool = False  # can the iSCSI server show a LUN to some initiators of a target only?
    allows_unmasked: bool = False  # where it cannot, may a target have LUNs for different groups all the same?
    peer: Peer = field(default_factory=Peer)
    scalar_presentation: bool = False  # as firmware 2013.1.2.x
    asn: str = ""
    changing: threading.RLock = field(default_factory=threading.RLock)
    medium: Medium = field(init=False)
    records: Records = field(init=False)

    def __post_init__(self) -> None:
        self.medium = medium_of(self.zfs)
        self.records = Records(self.zfs, self.settings)

    @property
    def may_mix(self) -> bool:
        """May LUNs of one target be for different groups of initiators?"""
        return self.exports is None or self.shows_some or self.allows_unmasked

    @property
    def settings(self) -> Dataset:
        """Where what is not of one pool is kept: below the first one."""
        return next(iter(self.pools.values())).child(SETTINGS)

    def open(self) -> None:
        """Have the datasets that everything is below, and an identity. Safe to repeat.

        Raises Conflict when a dataset is somebody else's, NotFound for a zpool that is not there.
        """
        for root in self.pools.values():
            self._ensure(root, POOL)
        self._ensure(self.settings, "settings")
        known = self.records.get("node", "asn")
        if known is None:
            known = {"asn": self.asn or str(uuid.uuid4())}
            self.records.put("node", "asn", known)
        self.asn = self.asn or known["asn"]
        for root in self.pools.values():
            if local_value(self.zfs.get(root, [OWNER]), OWNER) is None:
                self.zfs.set(root, {OWNER: self.name, OWNER_ASN: self.asn})

    def _ensure(self, dataset: Dataset, kind: str) -> None:
        found = self.zfs.get_many([dataset], [KIND]).get(str(dataset))
        if found is None:
            plain = kind == POOL
            self.zfs.create(dataset, {KIND: kind, **({} if plain else UNMOUNTED)}, parents=plain)
        elif local_value(found, KIND) is None and kind == POOL and dataset.parent is None:
            self.zfs.set(dataset, {KIND: kind})  # a whole zpool was given to us
        elif local_value(found, KIND) != kind:
            raise Conflict(f"{dataset} exists and is not an appliance's; name another, or set {KIND}={kind} on it")

    def root(self, pool: str) -> Dataset:
        """The dataset of a pool. Raises Missing."""
        found = self.pools.get(pool)
        if found is None:
            raise Missing(f"there is no pool {pool!r:.80}")
        return found

    def project(self, pool: str, project: str) -> Dataset:
        """Where a project is, or would be. Raises Missing (the pool), InvalidArgument."""
        return self.root(pool).child(object_name(project, "project"))

    def lun(self, pool: str, project: str, lun: str) -> Dataset:
        """Where a LUN is, or would be. Raises Missing (the pool), InvalidArgument."""
        return self.project(pool, project).child(object_name(lun, "LUN"))

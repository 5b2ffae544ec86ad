"""Replication of LUNs to other appliances: actions here, packages there; the data goes as ZFS streams.

An action is a record here. What was received is a dataset below ``.packages/<action id>`` of the other's pool, which
tells in its properties whose it is: the other appliance needs to be told nothing.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import structlog

from penstock.appliance import finding, lun_values, luns
from penstock.appliance.faults import Exists, InvalidArgument, Missing, StateChanged
from penstock.appliance.lun_values import (
    ALONE,
    BLOCK,
    DEFAULT_GROUP,
    GUID,
    PROTECTED,
    TARGET_GROUP,
    Lun,
)
from penstock.appliance.names import CUSTOM, KIND, PACKAGES, PREFIX, WIRE_CUSTOM
from penstock.appliance.projects import custom_kinds
from penstock.appliance.requests import Arguments
from penstock.appliance.site import LUN, PACKAGE, PROJECT, Site
from penstock.errors import Fault
from penstock.host.streaming import Route
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from penstock.zfs.properties import Properties
from penstock.zfs.receiving import abort
from penstock.zfs.transfer import Transfer

ACTION = "replication-action"
SOURCE_ASN, SOURCE_NAME = PREFIX + "source-asn", PREFIX + "source-name"
IDLE, SENDING = "idle", "sending"
UNKNOWN, SUCCESS, FAILED = "<unknown>", "success", "failed"
SNAPSHOT = ".rr-"

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Destination:
    """Another appliance that this one may send to: how clients name it, and its ZFS as reached from here.

    `address` is its replication address, ``ip:216``. `pools` are its pools' datasets. `reach` connects.
    """

    label: str
    asn: str
    address: str
    pools: Mapping[str, Dataset]
    reach: Callable[[], tuple[Zfs, Route]]


class Replication:
    """The sending side of one appliance. One thread for each update under way."""

    def __init__(self, site: Site, destinations: Mapping[str, Destination]) -> None:
        self._site = site
        self._destinations = destinations
        self._running: dict[str, threading.Thread] = {}
        self._cancelled: set[str] = set()
        self._lock = threading.Lock()

    def targets(self) -> list[dict[str, Any]]:
        """``targets``."""
        return [
            {"label": each.label, "asn": each.asn, "address": each.address, "hostname": each.label}
            for each in self._destinations.values()
        ]

    def inherit(self, pool: str, project: str, lun: str, arguments: Arguments) -> dict[str, Any]:
        """Whether the LUN replicates as its project does. Raises Missing, MissingArgument."""
        inherited = arguments.flag("inherited")
        arguments.end()
        if inherited is None:
            raise InvalidArgument("inherited: neither true nor false")
        found = finding.find(self._site, self._site.lun(pool, project, lun))
        if inherited:
            self._site.zfs.inherit(found.dataset, ALONE)
        else:
            self._site.zfs.set(found.dataset, {ALONE: "true"})
        return {"inherited": inherited}

    def view(self, action: str) -> dict[str, Any]:
        """``action``. Raises Missing."""
        row = self._row(action)
        state, result = row["state"], row["last_result"]
        if state == SENDING and not self._is_running(action):
            state, result = IDLE, FAILED  # whoever sent it is gone: a restart in the middle
        kept = {name: row[name] for name in ("pool", "project", "share", "target", "target_pool")}
        return {"id": action, **kept, "state": state, "last_result": result, "enabled": True, "continuous": False}

    def actions(self) -> list[dict[str, Any]]:
        """``actions``."""
        return [self.view(action) for action in self._site.records.all(ACTION)]

    def create(self, arguments: Arguments) -> dict[str, Any]:
        """Raises Missing (LUN), InvalidArgument (target, its pool), Exists for a second one of a LUN to a target."""
        names = ("pool", "project", "share", "target", "target_pool")
        row = {name: arguments.text(name) for name in names}
        arguments.end()
        site = self._site
        finding.find(site, site.lun(row["pool"], row["project"], row["share"]))
        destination = self._destinations.get(row["target"])
        if destination is None:
            raise InvalidArgument(f"target: there is no replication target {row['target']!r:.80}")
        if row["target_pool"] not in destination.pools:
            raise InvalidArgument(f"target_pool: {destination.label} has no pool {row['target_pool']!r:.80}")
        with site.changing:
            for known in site.records.all(ACTION).values():
                if all(known[name] == row[name] for name in ("pool", "project", "share", "target")):
                    raise Exists(f"{row['share']} is replicated to {row['target']} already")
            action = str(uuid.uuid4())
            site.records.put(ACTION, action, {**row, "state": IDLE, "last_result": UNKNOWN})
        return self.view(action)

    def send_update(self, action: str) -> None:
        """Begin to send what is new. Raises Missing, StateChanged while it is sending."""
        with self._lock:
            row = self._row(action)
            if self._is_running(action):
                raise StateChanged(f"the action {action} is sending already")
            self._site.records.put(ACTION, action, {**row, "state": SENDING, "last_result": UNKNOWN})
            self._cancelled.discard(action)
            thread = threading.Thread(target=self._send, args=(action, row), name=f"replicate {action}", daemon=True)
            self._running[action] = thread
            thread.start()

    def delete(self, action: str) -> None:
        """Forget it, what it sends stopped first; packages stay where they are. Raises Missing."""
        row = self._row(action)
        self._cancelled.add(action)
        thread = self._running.pop(action, None)
        if thread is not None:
            thread.join()
        with self._site.changing:
            self._forget_snapshot(action, row)
            self._site.records.remove(ACTION, action)

    def stop(self) -> None:
        """End what is being sent: the server stops."""
        for action, thread in list(self._running.items()):
            self._cancelled.add(action)
            thread.join()

    # --- sending -----------------------------------------------------------------------------------------------------

    def _row(self, action: str) -> dict[str, Any]:
        found = self._site.records.get(ACTION, action)
        if found is None:
            raise Missing(f"there is no replication action {action!r:.80}")
        return found

    def _is_running(self, action: str) -> bool:
        thread = self._running.get(action)
        return thread is not None and thread.is_alive()

    def _send(self, action: str, row: dict[str, Any]) -> None:
        """The thread: whatever happens is told by the action's last result."""
        try:
            self._transfer(action, row)
            result = SUCCESS
        except Fault as fault:
            log.warning("appliance.replication_failed", action=action, fault=fault.message)
            result = FAILED
        if action not in self._cancelled:
            self._site.records.put(ACTION, action, {**row, "state": IDLE, "last_result": result})

    def _transfer(self, action: str, row: Mapping[str, Any]) -> None:
        site = self._site
        destination = self._destinations[row["target"]]
        lun = finding.find(site, site.lun(row["pool"], row["project"], row["share"]))
        remote, route = destination.reach()
        package = destination.pools[row["target_pool"]].child(PACKAGES).child(action)
        self._ensure_package(remote, package)
        before = self._snapshots_of(lun.dataset, action)
        snapshot = lun.dataset.snapshot(f"{SNAPSHOT}{action}.{len(before) + 1}")
        while snapshot.name in before:
            snapshot = lun.dataset.snapshot(snapshot.name + "x")
        site.zfs.snapshot([snapshot], {KIND: "replication"})
        into = package.child(lun.dataset.name)
        Transfer(site.zfs, snapshot, remote, into, route=route, properties=self._carried(lun), keeps_between=False).run(
            should_stop=lambda: action in self._cancelled
        )
        kept = {} if lun.is_sparse else {"refreservation": str(lun.size_bytes)}
        remote.set(into, {KIND: LUN, site.medium.size_property: str(lun.size_bytes), **kept})
        for each, dataset in ((site.zfs, lun.dataset), (remote, into)):
            each.destroy_snapshots(dataset, before, deferred=False)

    def _snapshots_of(self, dataset: Dataset, action: str) -> list[str]:
        """Those of earlier updates of this action: bases of the next."""
        found = self._site.zfs.tree(dataset, ["type"], kinds=("snapshot",), depth=1)
        names = [path.partition("@")[2] for path in found]
        return [name for name in names if name.startswith(f"{SNAPSHOT}{action}.")]

    def _ensure_package(self, remote: Zfs, package: Dataset) -> None:
        above = package.parent
        for dataset, own in (
            (above, {KIND: "packages"}),
            (package, {KIND: PACKAGE, SOURCE_ASN: self._site.asn, SOURCE_NAME: self._site.name}),
        ):
            if dataset is not None and not remote.exists(dataset):
                remote.create(dataset, {**own, "canmount": "off"}, parents=False)

    def _carried(self, lun: Lun) -> dict[str, str]:
        """What the copy is to be: as the LUN, but shown to nobody, with a number of its own."""
        kinds = custom_kinds(self._site)
        values = lun.custom.items()
        custom = dict(lun_values.custom_property(WIRE_CUSTOM + name, value, kinds) for name, value in values)
        return {
            KIND: PACKAGE,
            GUID: luns.new_guid(),
            BLOCK: str(lun.block_bytes),
            TARGET_GROUP: lun.target_group or DEFAULT_GROUP,
            PROTECTED: "false",
            **{name: value for name, value in custom.items() if name.startswith(CUSTOM)},
        }

    def _forget_snapshot(self, action: str, row: Mapping[str, Any]) -> None:
        dataset = self._site.lun(row["pool"], row["project"], row["share"])
        if self._site.zfs.exists(dataset):
            names = self._snapshots_of(dataset, action)
            self._site.zfs.destroy_snapshots(dataset, names, deferred=False)


# --- receiving ------------------------------------------------------------------------------------------------------


def sources(site: Site) -> list[dict[str, Any]]:
    """``sources``: who has sent what lies here, by the sender's asn."""
    found: dict[str, dict[str, Any]] = {}
    for package, properties in _packages(site).items():
        asn = properties[SOURCE_ASN].value
        row = found.setdefault(asn, {"asn": asn, "name": properties[SOURCE_NAME].value, "packages": []})
        row["packages"].append(package.name)
    return list(found.values())


def _packages(site: Site) -> dict[Dataset, Properties]:
    found: dict[Dataset, Properties] = {}
    for root in site.pools.values():
        above = root.child(PACKAGES)
        if not site.zfs.exists(above):
            continue
        tree = site.zfs.tree(above, [SOURCE_ASN, SOURCE_NAME], depth=1)
        found |= {Dataset(name): each for name, each in tree.items() if each[SOURCE_ASN].is_local}
    return found


def _package(site: Site, source: str, package: str) -> Dataset:
    """Raises Missing."""
    for dataset, properties in _packages(site).items():
        if dataset.name == package and source in (properties[SOURCE_NAME].value, properties[SOURCE_ASN].value):
            return dataset
    raise Missing(f"there is no package {package!r:.80} of {source!r:.80}")


def sever(site: Site, source: str, package: str, arguments: Arguments) -> None:
    """Make it a project of ours. Raises Missing, Exists (the project)."""
    name = arguments.text("projname")
    arguments.end()
    with site.changing:
        dataset = _package(site, source, package)
        pool = next(pool for pool, root in site.pools.items() if root.contains(dataset))
        target = site.project(pool, name)
        if site.zfs.exists(target):
            raise Exists(f"there is a project {name} already")
        site.zfs.set(dataset, {KIND: PROJECT})  # first: after a crash it is still a package, and severed again
        site.zfs.rename(dataset, target)
        for lun in finding.below(site, target, depth=1):
            _make_ours(site, lun.dataset)


def _make_ours(site: Site, dataset: Dataset) -> None:
    """Without the snapshots it came by; and a file needs its filesystem mounted."""
    found = site.zfs.tree(dataset, ["type"], kinds=("snapshot",), depth=1)
    names = [path.partition("@")[2] for path in found]
    site.zfs.destroy_snapshots(dataset, [name for name in names if name.startswith(SNAPSHOT)], deferred=False)
    if not site.zfs.flavour.has_zvols:
        site.zfs.mount(dataset)


def delete_package(site: Site, source: str, package: str) -> None:
    """Give up what was received, half or whole. Raises Missing."""
    with site.changing:
        dataset = _package(site, source, package)
        for name in site.zfs.tree(dataset, ["type"], kinds=("filesystem", "volume"), depth=1):
            if site.zfs.flavour.can_resume and name != str(dataset):
                abort(site.zfs, Dataset(name))
        if site.zfs.exists(dataset):
            site.zfs.destroy(dataset, recursive=True)

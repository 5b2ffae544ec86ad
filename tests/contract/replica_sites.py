"""Drivers of several backends that replicate to each other, each on a host of its own: simulated or real."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from penstock.clock import Clock
from penstock.errors import Unavailable
from penstock.exports.nfs import NfsServer
from penstock.host.runner import Host
from penstock.host.streaming import Routes
from penstock.ids import new_id
from penstock.share.drivers.zfsonlinux.driver import ZFSonLinuxShareDriver
from penstock.share.drivers.zfsonlinux.identity import Kind, kind_of
from penstock.share.drivers.zfsonlinux.observe import SeenShare, observe_share
from penstock.share.drivers.zfsonlinux.peers import Peer
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.share.replication import PROMOTION, Promotion, ReplicaReport
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from tests.contract.share_backends import CONTEXT
from tests.driver_values import a_configuration, a_rule, a_share, a_snapshot

TYPE = {"replication_type": "readable"}


@dataclass
class Site:
    """One backend: `name` is its section, on `host`."""

    name: str
    host: Host
    nfs: NfsServer | None
    root: Dataset
    clock: Clock | None = None
    driver: ZFSonLinuxShareDriver = field(init=False)

    @property
    def zfs(self) -> Zfs:
        return self.driver.storage.zfs


@dataclass
class Sites:
    """Backends that know each other. `away` are those that cannot be reached from the control plane."""

    all: dict[str, Site]
    routes: Routes
    away: set[str] = field(default_factory=set)

    def storage_of(self, host: str) -> Peer:
        """Implements `Peers`."""
        name = host.partition("@")[2].partition("#")[0]
        if name in self.away:
            raise Unavailable(f"backend {name} is away")
        return self.all[name].driver.own

    def restart(self) -> None:
        """Every backend's process anew."""
        for site in self.all.values():
            configuration = a_configuration(
                zfs_zpool_list=[str(site.root)], replication_domain="here", zfs_command_timeout=30.0
            )
            configuration.config_group = site.name if site.name == "zfs" else configuration.config_group
            site.driver = ZFSonLinuxShareDriver(
                configuration=configuration,
                host=site.host,
                nfs=site.nfs,
                clock=site.clock,
                peers=self,
                routes=self.routes,
            )
            site.driver.do_setup(CONTEXT)
            site.driver.own = replace(site.driver.own, section=site.name)


@dataclass
class Replicated:
    """A share with replicas, as the manager's rows have it. The calls are those of the manager, and may be repeated."""

    sites: Sites
    models: dict[str, ShareModel] = field(default_factory=dict)
    rules: list[AccessModel] = field(default_factory=lambda: [a_rule("10.0.0.1")])
    snapshots: list[dict[str, SnapshotModel]] = field(default_factory=list)

    @property
    def active(self) -> str:
        return next(name for name, model in self.models.items() if model.replica_state == "active")

    @property
    def list(self) -> list[ShareModel]:
        return list(self.models.values())

    def driver(self, name: str) -> ZFSonLinuxShareDriver:
        return self.sites.all[name].driver

    def create(self, name: str, **changes: Any) -> None:
        """The share, on its first backend."""
        root = self.sites.all[name].root
        share = a_share(root.pool, extra_specs=TYPE, replica_state="active", status="available", **changes)
        share = replace(share, host=f"host@{name}#{root.pool}")
        self.models[name] = share
        self.driver(name).create_share(CONTEXT, share)
        self.driver(name).update_access(CONTEXT, share, self.rules, [], [])

    def add(self, name: str) -> dict[str, Any]:
        """One more replica: its row, then its place."""
        if name not in self.models:
            root = self.sites.all[name].root
            first = self.models[self.active]
            host = f"host@{name}#{root.pool}"
            self.models[name] = replace(first, id=new_id(), host=host, replica_state="out_of_sync", epoch=1)
            for item in self.snapshots:
                item[name] = replace(
                    item[self.active], id=new_id(), share_instance_id=self.models[name].id, share=self.models[name]
                )
        return self.driver(name).create_replica(CONTEXT, self.list, self.models[name], self.rules, self.pairs(name))

    def pairs(self, name: str) -> list[dict[str, SnapshotModel]]:
        return [
            {"active_replica_snapshot": item[self.active], "share_replica_snapshot": item[name]}
            for item in self.snapshots
        ]

    def sync(self, name: str, **more: Any) -> str | None:
        state = self.driver(name).update_replica_state(
            CONTEXT, self.list, self.models[name], self.rules, self.pairs(name), **more
        )
        if state is not None:
            self.models[name] = replace(self.models[name], replica_state=state)
        return state

    def take_snapshot(self, instance: bool = True) -> dict[str, SnapshotModel]:
        first = a_snapshot(self.models[self.active])
        item = {
            name: replace(first, id=new_id(), share_instance_id=model.id, share=model)
            for name, model in self.models.items()
        }
        self.snapshots.append(item)
        self.driver(self.active).create_replicated_snapshot(CONTEXT, self.list, list(item.values()))
        return item

    def promote(self, name: str, epoch: int | None = None, quiesce: float | None = None) -> Promotion:
        """The driver's promotion, then the rows."""
        kept = epoch if epoch is not None else max(model.epoch for model in self.list) + 1
        self.models[name] = replace(self.models[name], epoch=kept)
        answer = self.driver(name).promote_replica(
            CONTEXT, self.list, self.models[name], self.rules, quiesce_wait_time=quiesce
        )
        told: Promotion = answer[0][PROMOTION]
        self.publish(name, told.epoch)
        return told

    def publish(self, name: str, epoch: int) -> None:
        for other, model in self.models.items():
            state = "active" if other == name else "out_of_sync"
            self.models[other] = replace(model, replica_state=state, epoch=epoch if other == name else model.epoch)

    def delete(self, name: str) -> list[str]:
        """What was set aside of it."""
        model = self.models[name]
        mine = [item[name] for item in self.snapshots if name in item]
        return self.driver(name).delete_replica(CONTEXT, self.list, mine, model)

    def settle(self) -> None:
        """What the pump and a restart do afterwards: each replica is synced, the active one ensured."""
        for name in [name for name in self.models if name != self.active and name not in self.sites.away]:
            self.sync(name)
        if self.active not in self.sites.away:
            self.driver(self.active).ensure_shares(CONTEXT, [self.models[self.active]])

    def gone(self, name: str) -> None:
        """The row of a deleted replica goes."""
        del self.models[name]

    def reports(self, name: str) -> ReplicaReport | None:
        lists = {self.models[name].share_id: self.list}
        return self.driver(name).replica_reports([self.models[name]], lists).get(self.models[name].id)

    # --- looking --------------------------------------------------------------------------------------------------

    def dataset(self, name: str) -> Dataset:
        return self.sites.all[name].root.child("manila_share_" + self.models[name].id.replace("-", "_"))

    def seen(self, name: str) -> SeenShare | None:
        return observe_share(self.sites.all[name].zfs, self.dataset(name))

    def syncs(self, name: str) -> list[str]:
        """Sync snapshots on the copy."""
        found = self.sites.all[name].zfs.tree(self.dataset(name), ("penstock:kind",), kinds=("snapshot",), depth=1)
        return [key.partition("@")[2] for key, properties in found.items() if kind_of(properties) is Kind.SYNC]

    def others(self, name: str) -> Sequence[str]:
        """Datasets of the site beside its root and the share's."""
        site = self.sites.all[name]
        known = {str(site.root), str(self.dataset(name))}
        return sorted(set(site.zfs.tree(site.root, ("type",))) - known)

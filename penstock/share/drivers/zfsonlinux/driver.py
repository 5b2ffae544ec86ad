"""NFS shares on ZFS: one dataset per share, one ZFS snapshot per snapshot.

A method reads: spec, observe, plan, carry out, answer. Each may be called again after a crash at any point.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Concatenate, ParamSpec, TypeVar

import structlog

from penstock.clock import Clock
from penstock.config.backend import BackendConfiguration
from penstock.config.loading import DEFAULT_PATHS, load
from penstock.domain.pools import service_host
from penstock.errors import (
    Conflict,
    Invalid,
    InvalidShare,
    ShareResourceNotFound,
    ShareShrinkingPossibleDataLoss,
    SnapshotResourceNotFound,
    Unavailable,
)
from penstock.exports.nfs import NfsServer
from penstock.host.runner import Host
from penstock.host.streaming import Routes
from penstock.share.driver import ShareDriver
from penstock.share.drivers.zfsonlinux import adopt, lineage, loading, plan, reporting, spec, unmarked
from penstock.share.drivers.zfsonlinux.access import understand
from penstock.share.drivers.zfsonlinux.copying import Copies
from penstock.share.drivers.zfsonlinux.ensuring import FOLLOWING, Ensuring
from penstock.share.drivers.zfsonlinux.exporting import export_of, rules_for, wanted_export
from penstock.share.drivers.zfsonlinux.finding import Finder
from penstock.share.drivers.zfsonlinux.identity import Kind
from penstock.share.drivers.zfsonlinux.migration import MigrationMethods
from penstock.share.drivers.zfsonlinux.observe import (
    SeenShare,
    observe_share,
    observe_tree,
)
from penstock.share.drivers.zfsonlinux.options import read_settings, zfsonlinux_opts
from penstock.share.drivers.zfsonlinux.peers import ConfiguredPeers, Peer, Peers, ways
from penstock.share.drivers.zfsonlinux.replication import ReplicationMethods
from penstock.share.drivers.zfsonlinux.snapshots import Snapshots
from penstock.share.drivers.zfsonlinux.steps import Rename, carry_out, settle
from penstock.share.drivers.zfsonlinux.storage import open_storage
from penstock.share.drivers.zfsonlinux.upkeep import UpkeepMethods
from penstock.share.drivers.zfsonlinux.utils import ExecuteMixin, host_executor
from penstock.share.models import AccessModel, ShareModel, SnapshotModel
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy, NewerSnapshots, TooSmall
from penstock.zfs.lines import release_all
from penstock.zfs.names import Dataset

Locations = list[dict[str, Any]]
P = ParamSpec("P")
R = TypeVar("R")
D = TypeVar("D")

log = structlog.get_logger(__name__)


def ensure_share_server_not_provided(f: Callable[Concatenate[D, P], R]) -> Callable[Concatenate[D, P], R]:
    """Refuse calls that bring a share server: this driver makes none. Raises InvalidShare."""

    def without_server(self: D, /, *args: P.args, **kwargs: P.kwargs) -> R:
        if kwargs.get("share_server"):
            raise InvalidShare(f"{type(self).__name__} works without share servers, and was given one.")
        return f(self, *args, **kwargs)

    functools.update_wrapper(without_server, f)
    del without_server.__wrapped__  # type: ignore[attr-defined]  # the published signature is (*args, **kwargs)
    return without_server


def get_backend_configuration(backend_name: str, paths: Sequence[Path] = DEFAULT_PATHS) -> BackendConfiguration:
    """The section `backend_name` of the configuration, with this driver's options. Raises Invalid: no such section."""
    conf = load([path for path in paths if path.exists()])
    if backend_name not in conf.list_all_sections():
        raise Invalid(f"the configuration has no section [{backend_name}]")
    configuration = BackendConfiguration(conf, backend_name)
    configuration.append_config_values(zfsonlinux_opts)
    return configuration


class ZFSonLinuxShareDriver(ReplicationMethods, MigrationMethods, UpkeepMethods, ExecuteMixin, ShareDriver):
    """See the module. `host`, `nfs`, `clock`, `peers` and `routes` replace the machine, its NFS server, the time, the
    other backends and the ways to them, for tests."""

    OPTIONS = zfsonlinux_opts

    snapshots: Snapshots

    def __init__(
        self,
        *args: Any,
        host: Host | None = None,
        nfs: NfsServer | None = None,
        clock: Clock | None = None,
        peers: Peers | None = None,
        routes: Routes | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(False, *args, clock=clock, **kwargs)
        self.configuration.append_config_values(zfsonlinux_opts)
        self.ipv6_implemented = True
        self._host = host
        self._nfs = nfs
        self._peers = peers
        self._routes = routes
        self._progress = {}

    # --- setting up, reporting ---------------------------------------------------------------------------------------

    def do_setup(self, context: object) -> None:
        self.settings = read_settings(self.configuration)
        if self.settings.ignored_options:
            log.warning("zfs.creation_options_ignored", options=self.settings.ignored_options)
        timeout_s = self.configuration.safe_get("ssh_conn_timeout") or 60
        self.storage = open_storage(
            self.settings,
            connect_timeout_s=timeout_s,
            host=self._host,
            nfs=self._nfs,
            clock=self.clock,
            before_command=self.configuration.before_command,
        )
        self.set_execute(host_executor(self.storage.host, self.settings.timeout_s))
        self.helper = loading.helper_class(self.settings)(self.configuration, storage=self.storage)
        self.finder = Finder(self.storage.zfs, self.settings)
        self.snapshots = Snapshots(self.storage.zfs, self.finder, self.settings)
        self.own = Peer(self.configuration.config_group, self.storage, self.settings)
        self.peers = self._peers or ConfiguredPeers(
            self.own, self.configuration.conf, clock=self.clock, before_command=self.configuration.before_command
        )
        self.routes = self._routes or ways(self.settings)
        self.copies = Copies(self.own, self.peers, self.routes, self.clock)
        self.ensuring = Ensuring(self.own, self.peers, self.finder, self.helper)

    def check_for_setup_error(self) -> None:
        roots = list(self.settings.roots.values())
        found = self.storage.zfs.get_many(roots, ("type",))
        missing = [str(root) for root in roots if str(root) not in found]
        if missing:
            raise Unavailable(f"{self.storage.host.name} has no {', '.join(missing)}: import the pool, or create it.")
        self.helper.verify_setup()

    def get_network_allocations_number(self) -> int:
        """This driver makes no share servers, so it needs no addresses."""
        return 0

    def get_configured_ip_versions(self) -> list[int]:
        return self.settings.ip_versions

    def get_backend_info(self, context: object) -> dict[str, Any]:
        return reporting.backend_info(self.settings, self.storage)

    def get_pool(self, share: ShareModel) -> str:
        name = spec.pool_name(share["host"])
        if name:
            return name
        for root in self.settings.roots.values():
            try:
                return adopt.find_by_path(self.storage.zfs, root, adopt.location_of(share)).dataset.pool
            except Invalid:
                continue
        raise ShareResourceNotFound(f"share {share['id']} is in none of {', '.join(sorted(self.settings.roots))}")

    def _update_share_stats(self, data: Mapping[str, Any] | None = None) -> None:
        common = self._common_stats()
        pools = reporting.pool_stats(self.settings, self.storage, common)
        replication = reporting.replication(self.replication_domain)
        super()._update_share_stats({**reporting.BACKEND, **replication, "pools": pools, **(data or {})})

    def update_share_usage_size(self, context: object, shares: Sequence[ShareModel]) -> list[dict[str, Any]]:
        used = reporting.used_gib(self.settings, self.storage.zfs)
        now = self.clock.utc()
        return [
            {"id": share["id"], "used_size": used[share["id"]], "gathered_at": now}
            for share in shares
            if share["id"] in used
        ]

    # --- shares ------------------------------------------------------------------------------------------------------

    @ensure_share_server_not_provided
    def create_share(self, context: object, share: ShareModel, share_server: Any = None) -> Locations:
        dataset = spec.new_dataset(share, self.settings)
        want = spec.share_spec(share, dataset, self.settings, self.storage.flavour)
        mountpoint = self._make(share, want)
        if self.settings.share_mode is not None:
            self.storage.open_up(mountpoint, self.settings.share_mode)
        return self.helper.locations(mountpoint)

    @ensure_share_server_not_provided
    def create_share_from_snapshot(
        self,
        context: object,
        share: ShareModel,
        snapshot: SnapshotModel,
        share_server: Any = None,
        parent_share: ShareModel | None = None,
    ) -> dict[str, Any]:
        parent = snapshot["share"]
        if service_host(parent["host"]) != service_host(share["host"]):
            return self.copies.begin(share, snapshot)
        dataset = spec.new_dataset(share, self.settings)
        taken = self.snapshots.name(snapshot)
        is_copy = taken.pool != dataset.pool or spec.is_copy_wanted(share)
        source = spec.Source(taken, spec.How.COPY if is_copy else spec.How.CLONE)
        want = spec.share_spec(share, dataset, self.settings, self.storage.flavour, source)
        return {"status": "available", "export_locations": self.helper.locations(self._make(share, want))}

    def _make(self, share: ShareModel, want: spec.ShareSpec) -> str:
        """Make the dataset, or complete it; where it is mounted."""
        zfs = self.storage.zfs
        last: list[SeenShare | None] = []
        glimpsed: list[str] = []

        def plan_now() -> plan.Steps:
            seen, is_half_copied = self.finder.new(want)
            last.append(seen)
            if seen is not None and seen.kind is None and not is_half_copied:
                origin = want.source.snapshot if want.source is not None else None
                making = dict(plan.properties_of(want))
                steps = unmarked.completion(zfs, self.settings, share, seen, making, origin=origin)
                if steps:
                    return steps
                seen, is_half_copied = self.finder.new(want)
                last.append(seen)
            return plan.plan_share(want, seen, is_half_copied=is_half_copied)

        def is_mounted() -> bool:
            """All else about it came with the command that made it, or that would have failed."""
            mountpoint = zfs.seen_mounted_at(want.dataset)
            glimpsed.extend([mountpoint] if mountpoint else [])
            return mountpoint is not None

        settle(plan_now, zfs, at_once=plan.plan_new(want), glance=is_mounted)
        if not last and glimpsed:
            self.finder.made(want)
            return glimpsed[-1]
        seen = last[-1]
        if seen is None or seen.mountpoint is None:
            raise Invalid(f"{want.dataset} has no mountpoint; do not set one in zfs_dataset_creation_options")
        return seen.mountpoint

    @ensure_share_server_not_provided
    def delete_share(self, context: object, share: ShareModel, share_server: Any = None) -> None:
        zfs = self.storage.zfs
        seen = self.finder.share(share) or self.finder.half_copy(share)  # by its mark, wherever it is below our root
        if share.get("is_only_begun") and seen is not None and seen.dataset != spec.new_dataset(share, self.settings):
            self.finder.forget(share)
            seen = None  # another backend's, whose root is below ours: there it is the share
        destroy = lineage.destroy_share if seen is not None else unmarked.destroy
        seen = seen or unmarked.left_of(zfs, self.settings, share)
        if seen is None or seen.dataset.name == "data":  # a copy that has not arrived, or is not in its place yet
            self.copies.end(share)
            self.helper.remove_of(share["id"], is_only_begun=bool(share.get("is_only_begun")))
            return
        below = set(observe_tree(zfs, seen.dataset, ("filesystem", "volume"))) - {seen.dataset}
        if below:
            names = ", ".join(sorted(map(str, below)))
            raise Conflict(f"{seen.dataset} holds datasets that are not ours: move or destroy {names}")
        if seen.marks.is_replicated:
            release_all(zfs, seen.dataset)
        self._destroy(seen, destroy)
        self.finder.forget(share)
        if seen.origin is not None:
            lineage.sweep(zfs, self.finder.tombstones(seen.origin.dataset))

    def _destroy(self, seen: SeenShare, destroy: Callable[[Zfs, SeenShare], None]) -> None:
        """Destroy the dataset, which clients may still have mounted and in use."""
        paths = [seen.mountpoint] if seen.mountpoint else []
        self.helper.remove(paths)
        try:
            destroy(self.storage.zfs, seen)
        except Busy:  # only then: clients made to let go feel it on their other shares, too
            self.helper.let_go(paths)
            destroy(self.storage.zfs, seen)

    @ensure_share_server_not_provided
    def extend_share(self, share: ShareModel, new_size: int, share_server: Any = None) -> None:
        is_thick = spec.is_thick(share)
        self._settle(
            share,
            lambda seen: plan.plan_size(seen.dataset, new_size, seen, is_thick=is_thick),
            at_once=lambda dataset: plan.plan_growth(dataset, new_size, is_thick=is_thick),
        )

    @ensure_share_server_not_provided
    def shrink_share(self, share: ShareModel, new_size: int, share_server: Any = None) -> None:
        is_thick = spec.is_thick(share)
        try:
            self._settle(share, lambda seen: plan.plan_shrink(new_size, seen, is_thick=is_thick))
        except TooSmall as err:  # written since it was looked at
            raise ShareShrinkingPossibleDataLoss(share_id=share["share_id"]) from err

    def _settle(
        self,
        share: ShareModel,
        planned: Callable[[SeenShare], plan.Steps],
        at_once: Callable[[Dataset], plan.Steps] = lambda _: (),
    ) -> SeenShare:
        """Bring an existing share's dataset to what `planned` asks for; how it was at the last look.

        See `settle` for `at_once`, beside which that look may have been: then it does not show what they changed.
        """
        seen: list[SeenShare] = []

        def plan_now() -> plan.Steps:
            seen.append(self.finder.existing(share))
            return planned(seen[-1])

        place = self.finder.known_place(share)
        settle(plan_now, self.storage.zfs, at_once=at_once(place) if place else (), beside=True)
        return seen[-1]

    # --- access ------------------------------------------------------------------------------------------------------

    @ensure_share_server_not_provided
    def update_access(
        self,
        context: object,
        share: ShareModel,
        access_rules: Sequence[AccessModel],
        add_rules: Sequence[AccessModel],
        delete_rules: Sequence[AccessModel],
        share_server: Any = None,
        update_rules: Sequence[AccessModel] = (),
    ) -> dict[str, dict[str, str]] | None:
        """As published: the whole set in `access_rules` is applied, whatever the others say.

        Written on the dataset first, then put in force: what a restart serves is never older than what was asked last.
        """
        understood = understand(access_rules, spec.squash_of(share, self.settings.squash))
        for rule_id, reason in understood.refused.items():
            log.warning("access.rule_refused", share=share["id"], rule=rule_id, reason=reason)
        if share["replica_state"] in FOLLOWING and self.finder.share(share) is None:
            return understood.updates  # its first copy is on its way; each sync brings the rules along
        seen = self._settle(
            share,
            lambda seen: plan.plan_rules(understood.rules, seen),
            at_once=lambda dataset: plan.plan_short_rules(dataset, understood.rules),
        )
        export = export_of(seen, [rule.client_rule for rule in rules_for(seen, understood)])
        if export is None:
            self.helper.remove([seen.mountpoint] if seen.mountpoint else [])
        else:
            self.helper.serve(export)
        return understood.updates

    @ensure_share_server_not_provided
    def ensure_share(self, context: object, share: ShareModel, share_server: Any = None) -> Locations:
        return self.ensuring.ensure_one(share, self.finder.existing(share))

    def ensure_shares(self, context: object, shares: Sequence[ShareModel]) -> dict[str, dict[str, Any]]:
        """See `ensuring`. A dataset that is not there answers ``status`` error. Shares of a pool that is not imported
        are left out: the pool may yet come, and `check_for_setup_error` says that it is missing."""
        updates = self.ensuring.ensure(list(self.finder.shares(shares)))
        lineage.sweep(self.storage.zfs, self.finder.take_tombstones())
        return updates

    def get_share_status(self, share: ShareModel, share_server: Any = None) -> dict[str, Any]:
        return self.copies.status(share)

    # --- snapshots ---------------------------------------------------------------------------------------------------

    @ensure_share_server_not_provided
    def create_snapshot(self, context: object, snapshot: SnapshotModel, share_server: Any = None) -> dict[str, Any]:
        return {"provider_location": str(self.snapshots.take(snapshot))}

    @ensure_share_server_not_provided
    def delete_snapshot(self, context: object, snapshot: SnapshotModel, share_server: Any = None) -> None:
        self.snapshots.destroy(snapshot)

    @ensure_share_server_not_provided
    def revert_to_snapshot(
        self,
        context: object,
        snapshot: SnapshotModel,
        share_access_rules: Sequence[AccessModel],
        snapshot_access_rules: Sequence[AccessModel],
        share_server: Any = None,
    ) -> None:
        share = snapshot["share"]
        seen = self.snapshots.find(snapshot)
        if seen is None:
            raise SnapshotResourceNotFound(f"snapshot {snapshot['snapshot_id']} is not on the backend")
        export = wanted_export(self.finder.existing(share))
        if export is not None and not self.storage.flavour.rename_while_mounted:
            self.helper.remove([export.path])  # this ZFS unmounts to roll back, and NFS servers keep the directory open
        try:
            self.storage.zfs.rollback(seen.snapshot, destroy_newer=False)
        except NewerSnapshots as err:
            raise Conflict("newer snapshots exist, or shares made from them: reverting would destroy them") from err
        finally:
            self._settle(share, plan.plan_mount)
            if export is not None:
                self.helper.serve(export)

    # --- taking over and letting go ----------------------------------------------------------------------------------

    def manage_existing(self, share: ShareModel, driver_options: Mapping[str, Any]) -> dict[str, Any]:
        """Take over a dataset where it is: mounted, under its own name and path.

        Options: ``size`` in GiB (else its quota, else what it holds, rounded up); ``rename: true`` gives it the name a
        new share would have, and so another path unless its mountpoint was set by hand.
        """
        zfs = self.storage.zfs
        found = self.finder.adoptable(share)
        size_gib = adopt.adopted_size_gib(found, driver_options)
        want = spec.share_spec(share, found.dataset, self.settings, self.storage.flavour).resized(size_gib)

        def planned() -> plan.Steps:
            seen = observe_share(zfs, found.dataset)
            if seen is None:
                raise ShareResourceNotFound(f"{found.dataset} went away")
            return plan.plan_adoption(want, seen)

        settle(planned, zfs)
        if adopt.is_rename_wanted(driver_options):
            target = spec.new_dataset(share, self.settings)
            carry_out([Rename(found.dataset, target)] if found.dataset != target else [], zfs)
        self.finder.forget(share)
        seen = self.finder.existing(share)
        return {
            "size": size_gib,
            "export_locations": self._locations(seen),
            "provider_location": str(seen.dataset),
        }

    def unmanage(self, share: ShareModel) -> None:
        """Take our marks off; data, mount and exports stay as they are."""
        seen = self.finder.marked(share)
        if seen is not None and seen.kind is not Kind.TOMBSTONE:
            carry_out(plan.plan_release(seen.dataset, seen), self.storage.zfs)
            self.finder.forget(share)

    def manage_existing_snapshot(
        self, snapshot_instance: SnapshotModel, driver_options: Mapping[str, Any]
    ) -> dict[str, Any]:
        """Take over a snapshot of the share under its own name. Option: ``size`` in GiB."""
        return self.snapshots.take_over(snapshot_instance, driver_options)

    def unmanage_snapshot(self, snapshot_instance: SnapshotModel) -> None:
        """Take our marks off the snapshot."""
        self.snapshots.let_go(snapshot_instance)

    # --- what several need -------------------------------------------------------------------------------------------

    def _locations(self, seen: SeenShare) -> Locations:
        if seen.mountpoint is None:
            raise InvalidShare(f"{seen.dataset} has no mountpoint of its own, so there is no path to export")
        return self.helper.locations(seen.mountpoint)

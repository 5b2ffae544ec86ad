"""The published interface of share drivers, whole: `ShareDriver` and the mix-ins that go with it.

The methods are declared by theme in `penstock.share.interface`, each with its contract; here are the constructor, the
attributes and what a backend reports of itself. What a driver can do is the set of methods it overrides. A method
that is not overridden raises NotImplementedError, which the manager answers for the user.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any, cast

from penstock.config.backend import BackendConfiguration
from penstock.config.backend_options import BACKEND_OPTIONS, GANESHA
from penstock.errors import Invalid, Unsupported
from penstock.share.interface.access import AccessInterface
from penstock.share.interface.groups import GroupInterface
from penstock.share.interface.migration import MigrationInterface
from penstock.share.interface.replicas import ReplicaInterface
from penstock.share.interface.server_migration import ServerMigrationInterface
from penstock.share.interface.servers import ServerInterface
from penstock.share.interface.shares import ShareInterface
from penstock.share.interface.snapshots import SnapshotInterface
from penstock.share.interface.values import Context, ShareServer
from penstock.share.models import ShareModel

Execute = Callable[..., tuple[str, str]]

share_opts = BACKEND_OPTIONS
ganesha_opts = GANESHA


class ExecuteMixin:
    """Gives a driver ``self._execute(*argv, ...)``, which runs a command and returns its stdout and stderr."""

    _execute: Execute

    def init_execute_mixin(self, *args: Any, **kwargs: Any) -> None:
        """Called at the end of the driver's constructor with its arguments; ``execute`` is how commands are run."""
        self.set_execute(kwargs.get("execute") or _no_executor)

    def set_execute(self, execute: Execute) -> None:
        """Run commands with `execute` from now on."""
        self._execute = execute


class GaneshaMixin:
    """Gives a driver the published options of NFS-Ganesha."""

    configuration: BackendConfiguration

    def init_ganesha_mixin(self, *args: Any, **kwargs: Any) -> None:
        """Called at the end of the driver's constructor with its arguments."""
        self.configuration.append_config_values(ganesha_opts)


class ShareDriver(
    ShareInterface,
    AccessInterface,
    SnapshotInterface,
    ReplicaInterface,
    MigrationInterface,
    ServerInterface,
    ServerMigrationInterface,
    GroupInterface,
):
    """Base of every share driver.

    `driver_handles_share_servers` is the mode the driver has, or a sequence of the modes it can be configured for.
    The keyword ``configuration`` is the backend's section. Raises Invalid when that asks for a mode the driver does
    not have. Nothing is contacted here; that is `do_setup`.
    """

    def __init__(self, driver_handles_share_servers: bool | Sequence[bool], *args: Any, **kwargs: Any) -> None:
        super().__init__()
        # Drivers read it without asking whether it is there; those that need it are always given one.
        self.configuration = cast("BackendConfiguration", kwargs.get("configuration"))
        self.pools: list[Mapping[str, Any]] = []
        self.ipv6_implemented = False
        self._stats: dict[str, Any] = {}
        self._handles_share_servers = self._mode(driver_handles_share_servers)
        if isinstance(self, ExecuteMixin):
            self.init_execute_mixin(*args, **kwargs)
        if isinstance(self, GaneshaMixin):
            self.init_ganesha_mixin(*args, **kwargs)

    def _mode(self, offered: bool | Sequence[bool]) -> bool:
        modes = (offered,) if isinstance(offered, bool) else tuple(offered)
        wanted = self._option("driver_handles_share_servers")
        if wanted is None:
            return modes[0]
        if wanted not in modes:
            raise Invalid(
                f"{type(self).__name__} cannot run with driver_handles_share_servers = {wanted}; "
                f"set it to {' or '.join(map(str, modes))}."
            )
        return bool(wanted)

    def _option(self, name: str) -> Any:
        return self.configuration.safe_get(name) if self.configuration is not None else None

    # --- attributes ---------------------------------------------------------------------------------------------

    @property
    def driver_handles_share_servers(self) -> bool:
        """Does this backend make a share server for each share network?"""
        return self._handles_share_servers

    @property
    def replication_domain(self) -> str | None:
        """Backends with the same text can hold replicas of each other's shares; None for none."""
        return self._option("replication_domain") or None

    @property
    def admin_network_api(self) -> Any:
        """The source of addresses of the administrator's network; None where no servers are made."""
        return None

    @property
    def snapshots_are_supported(self) -> bool:
        """Does the driver make and destroy snapshots? The default of the capability ``snapshot_support``."""
        return capabilities_of(self) >= {"create_snapshot", "delete_snapshot"}

    @property
    def creating_shares_from_snapshots_is_supported(self) -> bool:
        """The default of the capability ``create_share_from_snapshot_support``."""
        return self.snapshots_are_supported and "create_share_from_snapshot" in capabilities_of(self)

    # --- the backend --------------------------------------------------------------------------------------------

    def do_setup(self, context: Context) -> None:
        """Connect and prepare; called at start, and again until it succeeds. Raises Unavailable, Invalid."""

    def check_for_setup_error(self) -> None:
        """Called after `do_setup`: raise the fault, in words, that keeps this backend from serving shares."""

    def get_backend_info(self, context: Context) -> Mapping[str, Any]:
        """What the exports depend on: addresses, options, versions, the host's boot id.

        While it stays the same, a start does not ask a driver without `ensure_shares` about every single share.
        """
        raise NotImplementedError

    def get_configured_ip_versions(self) -> Sequence[int]:
        """IP versions the exports can be reached with: ``[4]``, ``[6]`` or ``[4, 6]``."""
        if self.ipv6_implemented:
            raise NotImplementedError
        return [4]

    def add_ip_version_capability(self, data: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
        """Put ``ipv4_support`` and ``ipv6_support`` into `data` and return it."""
        versions = self.get_configured_ip_versions()
        data["ipv4_support"] = 4 in versions
        data["ipv6_support"] = 6 in versions
        return data

    def connection_get_info(
        self, context: Context, share: ShareModel, share_server: ShareServer = None
    ) -> Mapping[str, Any]:
        """How a data mover reaches the share's files. Changes nothing.

        Returns ``mount`` and ``unmount``, commands in which ``%(path)s`` is the folder, and ``access_mapping`` (kind of
        access rule to protocols), by the options of those names. Raises Invalid for a share without a path.
        """
        locations = sorted(share.export_locations, key=lambda item: (not item.is_admin_only, not item.preferred))
        if not locations:
            raise Invalid(f"Share {share.share_id} has no export location that could be mounted.")
        export = {
            "proto": shlex.quote(share.share_proto.lower()),
            "options": self._option("share_mount_options") or "",
            "export": shlex.quote(locations[0].path),
            "path": "%(path)s",
        }
        return {
            "mount": self._option("share_mount_template") % export,
            "unmount": self._option("share_unmount_template") % export,
            "access_mapping": self._option("protocol_access_mapping"),
        }

    def get_filter_function(self) -> str | None:
        """The configured ``filter_function``, else the driver's own; None lets the scheduler always consider it."""
        return self._option("filter_function") or self.get_default_filter_function()

    def get_goodness_function(self) -> str | None:
        """The configured ``goodness_function``, else the driver's own; None is the lowest score."""
        return self._option("goodness_function") or self.get_default_goodness_function()

    def get_default_filter_function(self) -> str | None:
        """A filter expression that suits the backend, None for none."""
        return None

    def get_default_goodness_function(self) -> str | None:
        """A goodness expression that suits the backend, None for none."""
        return None

    def get_periodic_hook_data(self, context: Context, share_instances: Sequence[ShareModel]) -> Sequence[Any]:
        """What periodic hooks are given for these instances; a driver may add to them."""
        return share_instances

    def get_share_stats(self, refresh: bool = False) -> Mapping[str, Any]:
        """The backend's capabilities under their published names, ``pools`` among them; `refresh` asks the storage."""
        if refresh or not self._stats:
            self._update_share_stats()
        return self._stats

    def _update_share_stats(self, data: Mapping[str, Any] | None = None) -> None:
        """Gather the capabilities. Drivers override it, and call it with what they know better (capacities in GiB)."""
        self._stats = {**self._common_stats(), **(data or {})}
        self.add_ip_version_capability(self._stats)

    def _common_stats(self) -> dict[str, Any]:
        section = self.configuration.config_group if self.configuration is not None else None
        reserved = self._option("reserved_share_percentage") or 0
        return {
            "share_backend_name": self._option("share_backend_name") or section or type(self).__name__,
            "driver_handles_share_servers": self.driver_handles_share_servers,
            "vendor_name": "Open Source",
            "driver_version": "1.0",
            "storage_protocol": None,
            "total_capacity_gb": "unknown",
            "free_capacity_gb": "unknown",
            "reserved_percentage": reserved,
            "reserved_snapshot_percentage": self._option("reserved_share_from_snapshot_percentage") or reserved,
            "reserved_share_extend_percentage": self._option("reserved_share_extend_percentage") or reserved,
            "max_over_subscription_ratio": self._option("max_over_subscription_ratio"),
            "qos": False,
            "pools": self.pools or None,
            "snapshot_support": self.snapshots_are_supported,
            "create_share_from_snapshot_support": self.creating_shares_from_snapshots_is_supported,
            "revert_to_snapshot_support": "revert_to_snapshot" in capabilities_of(self),
            "mount_snapshot_support": "snapshot_update_access" in capabilities_of(self),
            "mount_point_name_support": False,
            "replication_domain": self.replication_domain,
            "filter_function": self.get_filter_function(),
            "goodness_function": self.get_goodness_function(),
            "security_service_update_support": False,
            "network_allocation_update_support": False,
            "share_server_multiple_subnet_support": False,
            "share_replicas_migration_support": False,
            "max_shares_per_share_server": self._option("max_shares_per_share_server"),
            "max_share_server_size": self._option("max_share_server_size"),
            "share_group_stats": {"consistent_snapshot_support": None},
        }


PUBLISHED = frozenset(
    name for name in dir(ShareDriver) if not name.startswith("_") and callable(getattr(ShareDriver, name))
)


def capabilities_of(driver: ShareDriver) -> frozenset[str]:
    """The published methods that `driver` implements itself: what it can do."""
    kind = type(driver)
    return frozenset(name for name in PUBLISHED if getattr(kind, name) is not getattr(ShareDriver, name))


def _no_executor(*argv: object, **_options: object) -> tuple[str, str]:
    raise Unsupported(f"This driver was made without a way to run commands, and wants to run {argv[:1]}.")

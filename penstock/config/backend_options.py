"""Options any share backend's section may have, under their published names and defaults.

Where a backend's section does not set one, [DEFAULT] speaks for all backends.
"""

from __future__ import annotations

from oslo_config import cfg, types

IDENTITY = (
    cfg.StrOpt("share_driver", help="Dotted name of the driver's class."),
    cfg.StrOpt("share_backend_name", help="Name this backend reports to the scheduler; the section's name when unset."),
    cfg.BoolOpt("driver_handles_share_servers", help="Must say which mode the driver runs in; there is no default."),
    cfg.StrOpt(
        "backend_availability_zone", help="Availability zone of this backend instead of storage_availability_zone."
    ),
    cfg.StrOpt(
        "replication_domain", help="Backends with the same value can be replicas of each other. Unset: no replication."
    ),
)
CAPACITY = (
    cfg.FloatOpt(
        "max_over_subscription_ratio",
        default=20.0,
        min=1.0,
        help="How many times a thin pool's capacity may be promised.",
    ),
    cfg.IntOpt(
        "reserved_share_percentage", default=0, min=0, max=100, help="Percentage of a pool kept free of new shares."
    ),
    cfg.IntOpt(
        "reserved_share_from_snapshot_percentage",
        default=0,
        min=0,
        max=100,
        help="The same for shares made from a snapshot; 0 means as reserved_share_percentage.",
    ),
    cfg.IntOpt(
        "reserved_share_extend_percentage",
        default=0,
        min=0,
        max=100,
        help="The same for extending; 0 means as reserved_share_percentage.",
    ),
    cfg.IntOpt(
        "max_shares_per_share_server", default=-1, min=-1, help="Most shares on one share server; -1 is no limit."
    ),
    cfg.IntOpt("max_share_server_size", default=-1, min=-1, help="Most GiB on one share server; -1 is no limit."),
    cfg.StrOpt("filter_function", help="Expression that must hold for the scheduler to place a share here."),
    cfg.StrOpt("goodness_function", help="Expression, 0 to 100, by which the scheduler prefers this backend."),
)
EXECUTION = (
    cfg.IntOpt("num_shell_tries", default=3, min=1, help="How often a command is tried whose host could not answer."),
    cfg.IntOpt("ssh_conn_timeout", default=60, min=1, help="Seconds an SSH connection may take to open."),
)
MOUNTING = (
    cfg.StrOpt(
        "share_mount_template",
        default="mount -vt %(proto)s %(options)s %(export)s %(path)s",
        help="Command by which the data mover mounts a share.",
    ),
    cfg.StrOpt("share_mount_options", help="What %(options)s stands for there, such as '-o nfsvers=4.1'."),
    cfg.StrOpt(
        "share_unmount_template", default="umount -v %(path)s", help="Command by which the data mover unmounts it."
    ),
    cfg.Opt(
        "protocol_access_mapping",
        type=types.Dict(types.List(bounds=True)),
        default={"ip": ["nfs"], "user": ["cifs"]},
        help="By which kind of access rule the data mover is let in, for each protocol.",
    ),
)
UPKEEP = (
    cfg.IntOpt(
        "exports_check_interval",
        default=60,
        min=0,
        help="Seconds between looks whether the storage hosts still serve every share; what they lost is put back. "
        "0: never.",
    ),
)
HOOKS = (
    cfg.ListOpt(
        "hook_drivers", default=[], help="Dotted names of hook classes called around driver calls, in this order."
    ),
    cfg.BoolOpt("enable_pre_hooks", default=False, help="Call hooks before driver calls."),
    cfg.BoolOpt("enable_post_hooks", default=False, help="Call hooks after driver calls."),
    cfg.BoolOpt("enable_periodic_hooks", default=False, help="Call hooks every periodic_hooks_interval seconds."),
    cfg.BoolOpt("suppress_pre_hooks_errors", default=False, help="Log what a hook raises before a call, and go on."),
    cfg.BoolOpt("suppress_post_hooks_errors", default=False, help="Log what a hook raises after a call, and go on."),
)
GANESHA = (
    cfg.StrOpt("ganesha_config_dir", default="/etc/ganesha", help="Folder of NFS-Ganesha's configuration."),
    cfg.StrOpt(
        "ganesha_config_path", default="$ganesha_config_dir/ganesha.conf", help="NFS-Ganesha's main configuration file."
    ),
    cfg.StrOpt("ganesha_service_name", default="ganesha.nfsd", help="Name of the NFS-Ganesha service."),
    cfg.StrOpt(
        "ganesha_db_path", default="$state_path/manila-ganesha.db", help="File in which export numbers are kept."
    ),
    cfg.StrOpt("ganesha_export_dir", default="$ganesha_config_dir/export.d", help="Folder of one file per export."),
    cfg.Opt(
        "ganesha_nfs_export_options",
        type=types.String(),
        default="maxread = 65536, prefread = 65536",
        help="Options given to each export.",
    ),
)

BACKEND_OPTIONS: tuple[cfg.Opt, ...] = IDENTITY + CAPACITY + EXECUTION + MOUNTING + UPKEEP + HOOKS
# In [DEFAULT] they speak for every backend; what identifies one backend cannot.
SHARED_BY_BACKENDS: tuple[cfg.Opt, ...] = CAPACITY + EXECUTION + MOUNTING + UPKEEP + HOOKS

"""The product's own options by section; every name, default and help text is here, and nothing is read here.

Names and defaults are the field's (manila.conf) wherever the option exists there, so that an operator's file keeps its
meaning. Options of one backend are in `backend_options`; those of a driver are in the driver.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping, Sequence

from oslo_config import cfg, types

from penstock.config.appliance_options import APPLIANCE

SERVICE = (
    cfg.StrOpt(
        "host",
        default=socket.gethostname(),
        sample_default="<this machine's name>",
        help="Name of this storage service; the first part of host@backend#pool. Changing it orphans existing shares.",
    ),
    cfg.StrOpt(
        "state_path",
        default="/var/lib/penstock",
        help="Folder for the database, lock files, and the first password of the administrator.",
    ),
    cfg.ListOpt(
        "enabled_share_backends",
        default=[],
        help="Sections of this file that each describe one share backend served by this process.",
    ),
    cfg.ListOpt(
        "enabled_share_protocols",
        default=["NFS", "CIFS"],
        help="Protocols that shares may be asked for. A backend must also serve the protocol.",
    ),
    cfg.StrOpt(
        "my_ip",
        default="127.0.0.1",
        help="Address of this machine as others reach it; volumes are exported here. Loopback until told otherwise.",
    ),
    cfg.ListOpt(
        "enabled_backends",
        default=[],
        help="Sections of this file that each describe one volume backend served by this process.",
    ),
    cfg.StrOpt("volume_name_template", default="volume-%s", help="Backend name of a volume; %s is its id."),
    cfg.StrOpt("snapshot_name_template", default="snapshot-%s", help="Backend name of a volume snapshot."),
    cfg.StrOpt("default_share_type", default="default", help="Share type used when a request names none."),
    cfg.StrOpt(
        "default_volume_type",
        default="__DEFAULT__",
        help="Volume type used when a request names none and its project has no default of its own.",
    ),
    cfg.StrOpt("default_group_type", help="Volume group type used when a request names none."),
    cfg.StrOpt("default_share_group_type", help="Share group type used when a request names none."),
    cfg.StrOpt(
        "storage_availability_zone",
        default="nova",
        help="Availability zone of this process's backends, where the backend names none of its own.",
    ),
    cfg.StrOpt("share_name_template", default="share-%s", help="Backend name of a share; %s is the instance's id."),
    cfg.StrOpt(
        "share_snapshot_name_template",
        default="share-snapshot-%s",
        help="Backend name of a snapshot; %s is the snapshot instance's id.",
    ),
    cfg.ListOpt(
        "admin_only_metadata",
        default=["__affinity_same_host", "__affinity_different_host"],
        help="Metadata keys of shares that only administrators may set and remove.",
    ),
    cfg.IntOpt(
        "soft_deleted_share_retention_time",
        default=604800,
        min=0,
        help="Seconds a soft-deleted share can be restored, before it is deleted for good.",
    ),
    cfg.BoolOpt(
        "unmanage_remove_access_rules",
        default=False,
        help="Take a share's access rules off the backend when it is unmanaged.",
    ),
)
API = (
    cfg.HostAddressOpt(
        "osapi_share_listen", default="127.0.0.1", help="Address the API listens on. Loopback until told otherwise."
    ),
    cfg.PortOpt("osapi_share_listen_port", default=8786, help="Port the API listens on."),
    cfg.StrOpt("osapi_share_base_URL", help="Public URL of the API, where a proxy stands in front of it."),
    cfg.IntOpt("osapi_max_limit", default=1000, min=1, help="Most items returned by one list request."),
    cfg.StrOpt(
        "auth_strategy",
        default="builtin",
        choices=["builtin", "keystone"],
        help="builtin: the Identity v3 subset of this process. keystone: a Keystone given in [keystone_authtoken].",
    ),
)
LOGGING = (
    cfg.BoolOpt("debug", default=False, help="Log decisions in detail."),
    cfg.StrOpt("log_format", default="console", choices=["console", "json"], help="Form of the log lines."),
)
PERIODIC = (
    cfg.IntOpt(
        "periodic_interval", default=60, min=1, help="Seconds between runs of ordinary periodic work of a backend."
    ),
    cfg.IntOpt("report_interval", default=10, min=1, help="Seconds between the heartbeats of a backend's service."),
    cfg.IntOpt(
        "service_down_time", default=60, min=1, help="Seconds without a heartbeat after which a service counts as down."
    ),
    cfg.IntOpt("replica_state_update_interval", default=300, min=1, help="Seconds between updates of share replicas."),
    cfg.IntOpt(
        "migration_driver_continue_update_interval",
        default=60,
        min=1,
        help="Seconds between polls of migrations that a driver carries out.",
    ),
    cfg.BoolOpt(
        "enable_gathering_share_usage_size",
        default=False,
        help="Ask backends how much of each share is in use, and publish it.",
    ),
    cfg.IntOpt(
        "share_usage_size_update_interval", default=300, min=1, help="Seconds between gatherings of usage sizes."
    ),
    cfg.IntOpt(
        "check_for_expired_shares_in_recycle_bin_interval",
        default=3600,
        min=1,
        help="Seconds between looks for soft-deleted shares whose time is over.",
    ),
    cfg.FloatOpt("periodic_hooks_interval", default=300.0, min=1.0, help="Seconds between periodic hooks."),
    cfg.IntOpt("message_ttl", default=2592000, min=1, help="Seconds a user message is kept."),
)
QUOTA = tuple(
    cfg.IntOpt(
        name,
        default=default,
        min=-1,
        help=f"{what} a project may have; -1 is no limit.",
        deprecated_name=f"quota_{name}",
        deprecated_group="DEFAULT",
    )
    for name, default, what in (
        ("shares", 50, "Shares"),
        ("snapshots", 50, "Snapshots"),
        ("gigabytes", 1000, "GiB of shares"),
        ("snapshot_gigabytes", 1000, "GiB of snapshots"),
        ("share_networks", 10, "Share networks"),
        ("share_groups", 50, "Share groups"),
        ("share_group_snapshots", 50, "Share group snapshots"),
        ("share_replicas", 100, "Share replicas"),
        ("replica_gigabytes", 1000, "GiB of share replicas"),
        ("per_share_gigabytes", -1, "GiB of any one share"),
    )
)
MIGRATION = (
    cfg.BoolOpt(
        "use_scheduler_to_create_share_from_snapshot",
        default=False,
        help="Let the scheduler choose where a share made from a snapshot goes, other backends included. Off: it goes "
        "where the snapshot is.",
    ),
    cfg.ListOpt(
        "data_node_access_ips",
        default=[],
        help="Addresses of this machine as the storage hosts see them: what the data mover of host-assisted migrations "
        "is let in by.",
    ),
    cfg.StrOpt("data_node_access_admin_user", help="User whom the data mover is, for protocols that let in users."),
    cfg.StrOpt("mount_tmp_location", default="/tmp/", help="Folder in which the data mover mounts shares."),  # noqa: S108
    cfg.BoolOpt("check_hash", default=False, help="Let the data mover compare the contents of all files it copied."),
    cfg.ListOpt("migration_ignore_files", default=["lost+found"], help="Names at the top that are not copied."),
    cfg.BoolOpt(
        "migration_readonly_rules_support",
        default=True,
        help="Make a share read-only to its clients while the data mover copies it; off: shut them out, for backends "
        "without read-only rules.",
    ),
)
VOLUMES = (
    cfg.IntOpt(
        "scheduler_max_attempts",
        default=3,
        min=1,
        help="At how many pools the creation of a share or volume is tried when one refuses it: for lack of space, "
        "because it fails, or because its storage does not answer.",
    ),
    cfg.IntOpt(
        "rpc_response_timeout",
        default=60,
        min=1,
        help="Seconds a request waits for an answer that only the backend can give (connection information). It goes "
        "on afterwards, and can be asked for.",
    ),
    cfg.StrOpt(
        "backup_posix_path",
        default="$state_path/backup",
        help="Folder of the backups of volumes; it may be an NFS mount. All processes with volume backends need it.",
    ),
    cfg.StrOpt(
        "backup_compression_algorithm",
        default="zlib",
        choices=["none", "off", "no", "zlib"],
        help="How the blocks of a backup are packed.",
    ),
    cfg.StrOpt(
        "default_availability_zone", help="Availability zone of volumes for which none is asked; any when unset."
    ),
    cfg.BoolOpt(
        "allow_availability_zone_fallback",
        default=False,
        help="Place a volume in any availability zone when the one asked for does not exist, instead of refusing it.",
    ),
    cfg.BoolOpt("cloned_volume_same_az", default=True, help="Refuse copies of volumes in another availability zone."),
    cfg.BoolOpt("no_snapshot_gb_quota", default=False, help="Do not count snapshots against the quota of gigabytes."),
    *(
        cfg.IntOpt(name, default=default, min=-1, help=f"{what} a project may have; -1 is no limit.")
        for name, default, what in (
            ("quota_volumes", 10, "Volumes"),
            ("quota_snapshots", 10, "Volume snapshots"),
            ("quota_groups", 10, "Volume groups"),
            ("quota_gigabytes", 1000, "GiB of volumes and their snapshots"),
            ("quota_backups", 10, "Backups of volumes"),
            ("quota_backup_gigabytes", 1000, "GiB of backups"),
            ("per_volume_size_limit", -1, "GiB of any one volume"),
        )
    ),
)
IMAGES = (
    cfg.StrOpt(
        "image_conversion_dir",
        default="$state_path/conversion",
        help="Folder for images while they are fetched, checked and packed. It needs room for the largest of them.",
    ),
    cfg.IntOpt("image_conversion_cpu_limit", default=60, min=1, help="CPU seconds that a look at an image may cost."),
    cfg.IntOpt(
        "image_conversion_address_space_limit", default=1, min=1, help="GiB of memory that a look at an image may cost."
    ),
    cfg.BoolOpt("image_conversion_disable", default=False, help="Take only raw images, and convert none."),
    cfg.BoolOpt("image_compress_on_upload", default=True, help="Compress images made of volumes, in formats that can."),
    cfg.ListOpt(
        "vmdk_allowed_types",
        default=["streamOptimized", "monolithicSparse"],
        help="Kinds of VMDK images that are taken.",
    ),
)
IMAGE_SERVICE = (
    cfg.StrOpt(
        "service",
        default="directory",
        choices=["none", "directory", "list", "openstack"],
        help="Where images for volumes are: files of a folder, URLs in a list, or an OpenStack image service.",
    ),
    cfg.StrOpt("directory", default="$state_path/images", help="Folder of the images, for service = directory."),
    cfg.StrOpt("url_list", help="YAML file that lists the images, for service = list."),
    cfg.StrOpt("cloud", help="Cloud of clouds.yaml that has the image service, for service = openstack."),
)
DATABASE = (
    cfg.StrOpt(
        "connection",
        default="sqlite:///$state_path/penstock.sqlite",
        secret=True,
        help="SQLAlchemy URL: sqlite:///path or postgresql+psycopg://user:password@host/name.",
    ),
    cfg.StrOpt(
        "secret_key_file",
        default="$state_path/secret.key",
        help="File of the key that CHAP secrets in the database are sealed with, made at first use. Keep a copy, apart"
        " from those of the database. Where several hosts share a database all need the same file.",
    ),
)
OPERATIONS = (
    cfg.IntOpt(
        "workers_per_backend",
        default=8,
        min=1,
        help="Operations on different shares that one backend carries out at a time; of them, a quarter may be copies"
        " of data.",
    ),
    cfg.IntOpt(
        "syncs_per_backend",
        default=4,
        min=1,
        help="Replicas that one backend brings up to date at a time.",
    ),
    cfg.FloatOpt(
        "give_up_after",
        default=600.0,
        min=0.0,
        help="Seconds after which an operation whose backend cannot answer is not tried again, but ends in error.",
    ),
    cfg.FloatOpt(
        "max_retry_delay",
        default=60.0,
        min=0.0,
        help="Most seconds between two tries; the first are 1, 2, 4 and so on seconds apart.",
    ),
    cfg.IntOpt("keep_finished", default=86400, min=0, help="Seconds a finished operation is kept in the database."),
)
TOKEN = (cfg.IntOpt("expiration", default=3600, min=1, help="Seconds a token of the built-in identity is valid."),)
IDENTITY = (
    cfg.StrOpt("admin_username", default="admin", help="User that exists from the first start."),
    cfg.StrOpt(
        "admin_password",
        secret=True,
        help="Password of that user. When unset, one is made at the first start and left in state_path.",
    ),
    cfg.StrOpt("admin_project_name", default="admin", help="Project that exists from the first start."),
    cfg.StrOpt("region_name", default="RegionOne", help="Region of the catalogue's endpoints."),
    cfg.StrOpt(
        "public_endpoint",
        help="URL under which clients reach this process; made from the listening address when unset.",
    ),
    cfg.StrOpt("accounts_file", help="YAML file of projects, users and roles to keep in the database."),
)
MIDDLEWARE = (
    cfg.Opt(
        "max_request_body_size", type=types.Integer(min=1), default=114688, help="Largest request body read, in bytes."
    ),
)

SECTIONS: Mapping[str, Sequence[cfg.Opt]] = {
    "DEFAULT": SERVICE + API + LOGGING + PERIODIC + MIGRATION + VOLUMES + IMAGES,
    "database": DATABASE,
    "quota": QUOTA,
    "operations": OPERATIONS,
    "token": TOKEN,
    "identity": IDENTITY,
    "images": IMAGE_SERVICE,
    "oslo_middleware": MIDDLEWARE,
    "appliance": APPLIANCE,
}
# Sections that a library registers and reads on its own.
FOREIGN_SECTIONS = ("keystone_authtoken", "oslo_policy")

"""Options any volume backend's section may have, under the names and defaults published with the driver interface.

Where a backend's section does not set one, [backend_defaults] speaks for all volume backends, then [DEFAULT].
"""

from __future__ import annotations

from oslo_config import cfg, types

SHARED_SECTION = "backend_defaults"

IDENTITY = (
    cfg.StrOpt("volume_driver", help="Dotted name of the driver's class."),
    cfg.StrOpt(
        "volume_backend_name", help="Name this backend reports to the scheduler; the section's name when unset."
    ),
    cfg.StrOpt("driver_data_namespace", help="Namespace of the driver's private data; volume_backend_name when unset."),
    cfg.StrOpt(
        "backend_availability_zone", help="Availability zone of this backend instead of storage_availability_zone."
    ),
    cfg.BoolOpt(
        "enable_unsupported_driver", default=False, help="Start a driver although it says that it is not supported."
    ),
)
CAPACITY = (
    cfg.IntOpt(
        "reserved_percentage", default=0, min=0, max=100, help="Percentage of the backend kept free of new volumes."
    ),
    cfg.StrOpt(
        "max_over_subscription_ratio",
        default="20.0",
        regex=r"^(auto|\d*\.\d+|\d+)$",
        help="How many times a thin pool's capacity may be promised, at least 1.0; auto: by what is promised and used.",
    ),
    cfg.StrOpt("filter_function", help="Expression that must hold for the scheduler to place a volume here."),
    cfg.StrOpt("goodness_function", help="Expression, 0 to 100, by which the scheduler prefers this backend."),
    cfg.BoolOpt("report_discard_supported", default=False, help="Tell clients that they may discard (trim, unmap)."),
)
TARGET = (
    cfg.StrOpt("target_prefix", default="iqn.2010-10.org.openstack:", help="Prefix of iSCSI target names."),
    cfg.StrOpt("target_ip_address", default="$my_ip", help="Address the iSCSI daemon listens on."),
    cfg.ListOpt("iscsi_secondary_ip_addresses", default=[], help="Further addresses of the iSCSI daemon."),
    cfg.PortOpt("target_port", default=3260, help="Port the iSCSI daemon listens on."),
    cfg.StrOpt(
        "target_helper",
        default="tgtadm",
        choices=["tgtadm", "lioadm", "scstadmin", "iscsictl", "ietadm", "nvmet", "spdk-nvmeof", "fake"],
        help="What exports volumes: tgtadm is tgt, lioadm the kernel's LIO. Our drivers know these two.",
    ),
    cfg.StrOpt(
        "target_protocol",
        default="iscsi",
        choices=["iscsi", "iser", "nvmet_rdma"],
        help="Protocol of new targets. Our drivers know iscsi.",
    ),
    cfg.StrOpt("volumes_dir", default="$state_path/volumes", help="Folder of the targets' configuration files."),
    cfg.StrOpt(
        "iscsi_iotype",
        default="fileio",
        choices=["blockio", "fileio", "auto"],
        help="How the target reads and writes what backs it; auto: by its kind.",
    ),
    cfg.StrOpt(
        "iscsi_write_cache",
        default="on",
        choices=["on", "off"],
        help="on: write-back, off: write-through. For target_helper tgtadm.",
    ),
    cfg.StrOpt(
        "iscsi_target_flags", default="", help="Flags for the backing store (bsoflags). For target_helper tgtadm."
    ),
    cfg.StrOpt(
        "storage_protocol",
        ignore_case=True,
        default="iscsi",
        choices=["iscsi", "fc"],
        help="Protocol between clients and backend, for drivers that have both.",
    ),
    cfg.StrOpt(
        "iet_conf",
        default="/etc/iet/ietd.conf",
        deprecated_for_removal=True,
        deprecated_reason="The IET target is no longer supported.",
        help="File of the IET target. No effect.",
    ),
    cfg.StrOpt("chiscsi_conf", default="/etc/chelsio-iscsi/chiscsi.conf", help="File of the Chelsio target."),
    cfg.BoolOpt("use_chap_auth", default=False, help="Ask initiators for a CHAP user and password."),
    cfg.StrOpt("chap_username", default="", help="CHAP user; one is made for each volume when empty."),
    cfg.StrOpt("chap_password", default="", secret=True, help="Password of that user."),
    cfg.IntOpt("num_volume_device_scan_tries", default=3, help="How often to look for an attached volume's device."),
)
ISER = (
    cfg.IntOpt("num_iser_scan_tries", default=3, help="How often to look for an iSER target's device."),
    cfg.StrOpt("iser_target_prefix", default="iqn.2010-10.org.openstack:", help="Prefix of iSER target names."),
    cfg.StrOpt("iser_ip_address", default="$my_ip", help="Address the iSER daemon listens on."),
    cfg.PortOpt("iser_port", default=3260, help="Port the iSER daemon listens on."),
    cfg.StrOpt("iser_helper", default="tgtadm", help="What exports volumes by iSER."),
)
NVMET = (
    cfg.PortOpt("nvmet_port_id", default=1, help="Port of the NVMe target."),
    cfg.IntOpt("nvmet_ns_id", default=10, help="Namespace id of a volume within its NVMe subsystem."),
)
SCST = (
    cfg.StrOpt("scst_target_iqn_name", help="Name of the SCST target, where that is fixed."),
    cfg.StrOpt("scst_target_driver", default="iscsi", help="Which of SCST's target drivers to use."),
)
DATA = (
    cfg.IntOpt("num_shell_tries", default=3, help="How often a command is tried that fails now and then."),
    cfg.StrOpt("volume_clear", default="zero", choices=["none", "zero"], help="How deleted volumes are wiped."),
    cfg.IntOpt("volume_clear_size", default=0, max=1024, help="MiB to wipe at the start of a volume; 0 is all."),
    cfg.StrOpt("volume_clear_ionice", help="Option for ionice while wiping, such as -c3."),
    cfg.StrOpt("volume_dd_blocksize", default="1M", help="Block size of copying and wiping."),
    cfg.StrOpt(
        "volume_copy_blkio_cgroup_name",
        default="cinder-volume-copy",
        help="Name of the group volume copies are limited as. The copier itself keeps to the limit; no cgroup is made.",
    ),
    cfg.StrOpt(
        "volume_data_path",
        default="auto",
        choices=["auto", "kernel", "userspace"],
        help="How this process reaches a volume's data to copy it: attached by the kernel through os-brick, or past it "
        "by qemu's own iSCSI and NFS clients; auto: by the kernel where it has what that takes.",
    ),
    cfg.IntOpt("volume_copy_bps_limit", default=0, help="Most bytes a second of a volume copy; 0 is no limit."),
)
CONNECTION = (
    cfg.BoolOpt("driver_use_ssl", default=False, help="Speak TLS with the backend, for drivers that can."),
    cfg.BoolOpt("driver_ssl_cert_verify", default=False, help="Verify the backend's certificate."),
    cfg.StrOpt("driver_ssl_cert_path", help="File or folder of the authorities that the certificate may be from."),
    cfg.StrOpt("driver_client_cert_key", help="File of the key of our own certificate."),
    cfg.StrOpt("driver_client_cert", help="File of our own certificate."),
    cfg.BoolOpt(
        "unique_fqdn_network",
        default=True,
        help="Initiators have different full host names; off: tell them apart by their IQN or WWN.",
    ),
    cfg.ListOpt("trace_flags", help="What of the driver to log in detail: method, api."),
    cfg.MultiOpt(
        "replication_device",
        item_type=types.Dict(),
        secret=True,
        help="A replication target: target_device_id:<required>,key:value,... May be given several times.",
    ),
)
BACKUP = (
    cfg.BoolOpt(
        "backup_use_temp_snapshot",
        default=False,
        help="Back up volumes in use from a temporary snapshot; off: from a temporary clone.",
    ),
)
IMAGE = (
    cfg.BoolOpt(
        "image_upload_use_cinder_backend",
        default=False,
        help="Make a raw image of a volume as a clone that the image service is told the place of.",
    ),
    cfg.BoolOpt(
        "image_upload_use_internal_tenant",
        default=False,
        help="Let that clone belong to the internal project instead of the caller's.",
    ),
    cfg.BoolOpt(
        "image_volume_cache_enabled", default=False, help="Keep a volume of each image; later volumes are its clones."
    ),
    cfg.IntOpt("image_volume_cache_max_size_gb", default=0, help="Most GiB of such volumes; 0 is no limit."),
    cfg.IntOpt("image_volume_cache_max_count", default=0, help="Most such volumes; 0 is no limit."),
    cfg.BoolOpt("use_multipath_for_image_xfer", default=False, help="Attach by several paths to copy images."),
    cfg.BoolOpt(
        "enforce_multipath_for_image_xfer", default=False, help="Fail rather than go on by one path without multipathd."
    ),
)

VOLUME_OPTIONS: tuple[cfg.Opt, ...] = CAPACITY + TARGET + DATA + CONNECTION
VOLUME_BACKEND_OPTIONS: tuple[cfg.Opt, ...] = IDENTITY + VOLUME_OPTIONS + ISER + NVMET + SCST + BACKUP + IMAGE
# What identifies one backend cannot speak for all.
SHARED_BY_VOLUME_BACKENDS: tuple[cfg.Opt, ...] = VOLUME_BACKEND_OPTIONS[len(IDENTITY) :]

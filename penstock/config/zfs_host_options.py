"""Options of any backend on a ZFS host, for shares and for volumes: where it is, and where on it the data lie."""

from __future__ import annotations

from oslo_config import cfg

PUBLISHED_ZFS_HOST = (
    cfg.ListOpt(
        "zfs_zpool_list",
        help="Where shares or volumes are kept: 'pool' or 'pool/dataset/below', at most one per zpool. Required.",
    ),
    cfg.BoolOpt("zfs_use_ssh", default=False, help="The ZFS host is another machine: run its commands over ssh."),
    cfg.StrOpt("zfs_ssh_username", help="User on the ZFS host, for ssh and for replication."),
    cfg.StrOpt(
        "zfs_ssh_user_password",
        secret=True,
        help="Password of that user, where there is no key.",
    ),
    cfg.StrOpt("zfs_ssh_private_key_path", help="Private key for ssh to the ZFS host."),
)
"""Names and defaults as published for shares."""
OUR_ZFS_HOST = (
    cfg.BoolOpt(
        "zfs_use_sudo", help="Put 'sudo -n' before commands on the ZFS host. Unset: when we are not root there."
    ),
    cfg.StrOpt(
        "zfs_ssh_known_hosts_file", help="Host keys to believe for ssh to the ZFS host. Unset: those of ssh itself."
    ),
    cfg.FloatOpt(
        "zfs_command_timeout",
        default=60.0,
        min=1.0,
        help="Seconds one command on the ZFS host may take before its result counts as unknown. Copies of data are "
        "exempt.",
    ),
)
ZFS_HOST_OPTIONS: tuple[cfg.Opt, ...] = PUBLISHED_ZFS_HOST + OUR_ZFS_HOST

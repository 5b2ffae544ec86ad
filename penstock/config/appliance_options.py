"""Options of ``penstock appliance serve``: section [appliance], and one section for each appliance it may send to."""

from __future__ import annotations

import socket

from oslo_config import cfg

APPLIANCE = (
    cfg.HostAddressOpt(
        "listen", default="127.0.0.1", help="Address the appliance's REST service listens on; loopback until told."
    ),
    cfg.PortOpt("port", default=215, help="Its port."),
    cfg.StrOpt(
        "name",
        default=socket.gethostname(),
        sample_default="<this machine's name>",
        help="Name of this appliance (its node name). A pool remembers the name of its owner.",
    ),
    cfg.StrOpt("asn", help="Its serial number. Unset: one is made at the first start and kept in the first pool."),
    cfg.ListOpt(
        "pools",
        default=[],
        help="Where LUNs are kept: 'pool' or 'pool/dataset/below', at most one per zpool; clients name the zpool.",
    ),
    cfg.StrOpt(
        "users_file",
        help="File of 'user:hash' lines that only its owner may read; 'penstock appliance password' makes such lines. "
        "Required.",
    ),
    cfg.StrOpt(
        "certificate_file",
        help="PEM file of the certificate. Unset: one signed by itself is made in state_path at the first start.",
    ),
    cfg.StrOpt("private_key_file", help="PEM file of its key, when it is not in the certificate's file."),
    cfg.IntOpt("session_timeout", default=900, min=1, help="Seconds after which a session that nobody uses ends."),
    cfg.StrOpt(
        "iscsi_server",
        default="auto",
        choices=["auto", "lio", "tgt", "none"],
        help="What serves LUNs by iSCSI: the kernel (lio), tgtd (tgt), whichever is there (the kernel first), or none. "
        "tgt shows every LUN of a target to all its initiators; lio shows each what it may see.",
    ),
    cfg.BoolOpt(
        "tgt_unmasked",
        default=False,
        help="With tgt, let LUNs of one target be shown to different groups of initiators, though every initiator of "
        "any of these groups then reaches all LUNs of the target. Unset, that is refused (ERR_DENIED).",
    ),
    cfg.ListOpt(
        "iscsi_portals",
        default=[],
        help="Addresses (address or address:port) LUNs are served at. Unset: every address, port 3260. tgtd decides "
        "itself.",
    ),
    cfg.IntOpt(
        "exports_check_interval", default=60, min=0, help="Seconds between looks whether LUNs are still served."
    ),
    cfg.ListOpt(
        "replication_targets",
        default=[],
        help="Sections of this file that each describe an appliance this one may replicate to; a section's name is "
        "the target's label.",
    ),
    cfg.StrOpt("cluster_peer_asn", default="", help="Serial number of the other head, in a cluster of two."),
    cfg.StrOpt("cluster_peer_name", default="", help="Its name."),
    cfg.StrOpt(
        "cluster_peer_state",
        default="AKCS_UNCONFIGURED",
        help="Its state; AKCS_STRIPPED says that this head has taken over its pools.",
    ),
)
REPLICATION_TARGET = (
    cfg.StrOpt("asn", help="The other appliance's serial number. Required."),
    cfg.StrOpt("address", help="Its replication address as clients write it: 'ip:216'. Required."),
    cfg.ListOpt("pools", default=[], help="Its option 'pools', the same text. Required."),
    cfg.StrOpt("ssh_host", help="Its address for ssh. Unset: the address without the port."),
    cfg.StrOpt("ssh_user", default="root", help="User there."),
    cfg.StrOpt("ssh_private_key_path", help="Private key for ssh."),
    cfg.StrOpt("ssh_known_hosts_file", help="Host keys to believe. Unset: those of ssh itself."),
    cfg.BoolOpt("use_sudo", help="Put 'sudo -n' before commands there. Unset: when the user is not root."),
)

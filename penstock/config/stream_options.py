"""Options of any backend that sends data to other ZFS hosts: by which way, and how fast at most."""

from __future__ import annotations

import re

from oslo_config import cfg

from penstock.errors import Invalid

RATE = re.compile(r"([0-9]{1,12})([KMG]?)I?B?(?:/S)?")
LIMIT, ROUTE = "replication_bandwidth_limit", "replication_route"
RELAY = "relay"

STREAM_OPTIONS: tuple[cfg.Opt, ...] = (
    cfg.StrOpt(
        LIMIT,
        help="The most that this backend sends to other hosts, to replicas and in migrations, in bytes per second "
        "and per stream: a number, or one with K, M or G (1024 based). Unset: no limit.",
    ),
    cfg.StrOpt(
        ROUTE,
        default="auto",
        choices=["auto", "direct", RELAY],
        help="How data goes from this host to other backends': directly by ssh between the hosts, relayed through the "
        "machine of the control plane, or (auto) directly where the hosts reach each other.",
    ),
)


def parse_rate(option: str, text: str | None) -> int | None:
    """Bytes per second of ``500``, ``64K``, ``10M`` or ``1G``; None for no limit. Raises Invalid."""
    if not text:
        return None
    found = RATE.fullmatch(text.strip().upper())
    if found is None or int(found[1]) == 0:
        raise Invalid(f"{option}: '{text}' is not a number of bytes per second, such as 64K, 10M or 1G.")
    return int(found[1]) * {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}[found[2]]

"""Which iSCSI target server of the host makes LUNs reachable."""

from __future__ import annotations

from typing import NamedTuple

import structlog

from penstock.errors import Unavailable, Unsupported
from penstock.exports.iscsi import IscsiExports
from penstock.exports.iscsi_lio import LioIscsi
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.runner import Host

AUTO, LIO, TGT, NONE = "auto", "lio", "tgt", "none"

log = structlog.get_logger(__name__)


class Chosen(NamedTuple):
    """A server, and whether it can show a LUN to some initiators of a target only."""

    exports: IscsiExports
    shows_some: bool


def choose(host: Host, preference: str) -> Chosen | None:
    """The server by the option's word; None for ``none``. Raises Unsupported, Unavailable as `IscsiExports.verify`."""
    if preference == NONE:
        return None
    if preference == AUTO:
        return choose(host, LIO if _has_lio(host) else TGT)
    chosen = Chosen(LioIscsi(host), shows_some=True) if preference == LIO else Chosen(TgtIscsi(host), shows_some=False)
    chosen.exports.verify()
    if not chosen.shows_some:
        log.warning("appliance.no_masking", why="with tgtd all LUNs of a target are for the same initiator groups")
    return chosen


def _has_lio(host: Host) -> bool:
    try:
        LioIscsi(host).verify()
    except (Unsupported, Unavailable) as fault:
        log.info("appliance.no_lio", why=fault.message)
        return False
    return True

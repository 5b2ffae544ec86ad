"""Which iSCSI target server of the host makes LUNs reachable."""

from __future__ import annotations

from typing import NamedTuple

from penstock.errors import Unsupported
from penstock.exports.iscsi import IscsiExports
from penstock.exports.iscsi_tgt import TgtIscsi
from penstock.host.runner import Host

LOOK_TIMEOUT_S = 20.0
TGT = "tgt"


class Chosen(NamedTuple):
    """A server, and whether it can show a LUN to some initiators of a target only."""

    exports: IscsiExports
    shows_some: bool


def choose(host: Host, preference: str) -> Chosen | None:
    """The server by the option's word; None for ``none``. Raises Unsupported, Unavailable as `IscsiExports.verify`."""
    if preference == "none":
        return None
    chosen = Chosen(TgtIscsi(host), shows_some=False)
    if preference not in ("auto", TGT):
        raise Unsupported(f"no iSCSI target server is called {preference}")
    chosen.exports.verify()
    return chosen

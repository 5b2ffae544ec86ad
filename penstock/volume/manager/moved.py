"""Operations about a volume are done where it is, also when it moved while they were queued."""

from __future__ import annotations

from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.store import volumes
from penstock.store.database import Transaction

# Begun where the volume was, they end there.
STAYING = frozenset({"migrate_volume", "retype"})


def place_of(tx: Transaction, call: Call) -> str:
    """The backend `call` has to be done at: where it is queued, unless its volume is elsewhere."""
    kind, _, volume_id = call.resource_key.partition(":")
    if kind != "volume" or call.method in STAYING:
        return call.backend
    host = volumes.host_of(tx, volume_id)
    return call.backend if host is None else service_host(host)

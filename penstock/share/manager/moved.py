"""Operations about a share are done where its active instance is, also when that moved while they were queued."""

from __future__ import annotations

from penstock.domain.operations import Call
from penstock.domain.pools import service_host
from penstock.store import shares
from penstock.store.database import Transaction

# These are about the share, not about one instance of it.
FOLLOWING = frozenset(
    {
        "extend_share",
        "shrink_share",
        "create_snapshot",
        "delete_snapshot",
        "revert_to_snapshot",
        "create_replicated_snapshot",
        "delete_replicated_snapshot",
    }
)


def place_of(tx: Transaction, call: Call) -> str:
    """The backend `call` has to be done at: where it is queued, unless its share's active instance is elsewhere."""
    kind, _, share_id = call.resource_key.partition(":")
    if kind != "share" or call.method not in FOLLOWING:
        return call.backend
    host = shares.host_of(tx, share_id)
    return call.backend if host is None else service_host(host)

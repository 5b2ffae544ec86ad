"""The resource ``limits``."""

from __future__ import annotations

from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.shares.quota_bodies import SINCE
from penstock.domain.quotas import QuotaResource as R
from penstock.services import limits

routes = Routes()

NAMES = {
    R.SHARES: ("maxTotalShares", "totalSharesUsed"),
    R.GIGABYTES: ("maxTotalShareGigabytes", "totalShareGigabytesUsed"),
    R.SNAPSHOTS: ("maxTotalShareSnapshots", "totalShareSnapshotsUsed"),
    R.SNAPSHOT_GIGABYTES: ("maxTotalSnapshotGigabytes", "totalSnapshotGigabytesUsed"),
    R.SHARE_NETWORKS: ("maxTotalShareNetworks", "totalShareNetworksUsed"),
    R.SHARE_REPLICAS: ("maxTotalShareReplicas", "totalShareReplicasUsed"),
    R.REPLICA_GIGABYTES: ("maxTotalReplicaGigabytes", "totalReplicaGigabytesUsed"),
}


@routes.get("limits")
def index(request: ApiRequest) -> Answer:
    """What the caller's project may have and has. There are no rate limits."""
    request.enforce("limits:index")
    lines = limits.show(request.plane, request.context)
    absolute: dict[str, int] = {}
    for resource, (most, used) in NAMES.items():
        if request.version.at_least(SINCE[resource]):
            line = lines[resource]
            absolute[most] = line.limit
            absolute[used] = line.usage.in_use + line.usage.reserved
    return Answer({"limits": {"rate": [], "absolute": absolute}})

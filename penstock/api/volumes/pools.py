"""The resources ``scheduler-stats/get_pools`` and ``capabilities``: what backends reported."""

from __future__ import annotations

from typing import Any

from penstock.api.bodies import parse_flag
from penstock.api.http import Answer
from penstock.api.request import ApiRequest
from penstock.api.routing import Routes
from penstock.api.views import stamp
from penstock.domain.pools import PoolReport
from penstock.services.volumes import backends
from penstock.services.volumes.backends import VolumePoolFilter

routes = Routes()

NOT_CAPABILITIES = ("name", "detail", "volume_type", "limit", "marker", "offset", "sort")
_PROPERTIES = {  # capability → its published title and sentence
    "thin_provisioning_support": ("Thin Provisioning", "Volumes take room as they are written to."),
    "compression": ("Compression", "What is written is compressed."),
    "QoS_support": ("QoS", "Limits of speed are kept."),
    "replication_enabled": ("Replication", "Volumes can be replicated."),
}


@routes.get("scheduler-stats/get_pools")
def pools(request: ApiRequest) -> Answer:
    """The pools by name, with ``detail`` also what they reported."""
    request.enforce("scheduler_extension:scheduler_stats:get_pools")
    query = request.query
    capabilities: dict[str, str] = {}
    if request.version.at_least("3.28"):
        capabilities = {name: text for name, text in query.items() if name not in NOT_CAPABILITIES}
    volume_type = query.get("volume_type") if request.version.at_least("3.35") else None
    wanted = VolumePoolFilter(query.get("name"), capabilities, volume_type)
    with_detail = parse_flag("detail", query.get("detail", "false"))
    found = backends.list_pools(request.plane, wanted)
    return Answer({"pools": [_pool(report, with_detail=with_detail) for report in found]})


@routes.get("capabilities/{host}")
def capabilities(request: ApiRequest) -> Answer:
    """What a backend can do, for extra specs of volume types."""
    request.enforce("volume_extension:capabilities")
    report = backends.pool_of_host(request.plane, request.params["host"])
    has = report.capabilities
    return Answer(
        {
            "namespace": f"OS::Storage::Capabilities::{request.params['host']}",
            "vendor_name": has.get("vendor_name", ""),
            "volume_backend_name": has.get("volume_backend_name", report.ref.backend),
            "pool_name": report.ref.pool if "#" in request.params["host"] else None,
            "driver_version": has.get("driver_version", ""),
            "storage_protocol": has.get("storage_protocol", ""),
            "display_name": has.get("display_name"),
            "description": has.get("description"),
            "visibility": has.get("visibility"),
            "replication_targets": has.get("replication_targets", []),
            "properties": {
                name: {"title": title, "description": text, "type": "boolean"}
                for name, (title, text) in _PROPERTIES.items()
                if name in has
            },
        }
    )


def _pool(report: PoolReport, *, with_detail: bool) -> dict[str, Any]:
    if not with_detail:
        return {"name": str(report.ref)}
    return {
        "name": str(report.ref),
        "capabilities": {**report.capabilities, "timestamp": stamp(report.reported_at)},
    }

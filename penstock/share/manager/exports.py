"""Again and again: what a storage host lost of its exports while nobody changed them is put back."""

from __future__ import annotations

import structlog

from penstock import metrics
from penstock.domain.shares import AccessRulesStatus, ReplicaState, ShareStatus
from penstock.share.inventory import KeepsExports
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call
from penstock.share.manager.ensure import SERVED
from penstock.share.manager.models import share_models
from penstock.share.models import ShareModel
from penstock.store import shares

log = structlog.get_logger(__name__)

SETTLED = tuple(status for status in SERVED if status is not ShareStatus.REVERTING)  # which unmounts, on some hosts
MOST_NAMED = 20


def restore(backend: Backend) -> int:
    """Put back the exports that the backend's hosts lost; returns how many. Safe beside the worker, and to repeat.

    Raises what keeps the driver from looking.
    """
    driver = backend.driver
    if not isinstance(driver, KeepsExports):
        return 0
    with driver_call("look after its exports"):
        restored = driver.restore_exports(lambda: _current(backend))
    if restored:
        metrics.EXPORTS_RESTORED.labels(backend.host).inc(len(restored))
        log.warning("exports.restored", backend=backend.host, count=len(restored), instances=restored[:MOST_NAMED])
    return len(restored)


def _current(backend: Backend) -> list[ShareModel]:
    """Shares that clients may be using and whose rules are as they are to be; of replicas only the active ones."""
    with backend.database.read() as tx:
        found = [
            share
            for share in shares.of_backend(tx, backend.host, statuses=SETTLED)
            if share.instance.access_rules_status is not AccessRulesStatus.SYNCING
            and share.instance.replica_state in (None, ReplicaState.ACTIVE)
        ]
        return share_models(tx, backend, found)

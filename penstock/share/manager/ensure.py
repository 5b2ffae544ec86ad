"""At start, and when an administrator asks: see that everything the database says is served, is served.

The API answers meanwhile; a share found missing on the backend is put in error, truthfully, and its owner told.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.lifecycle import Event
from penstock.domain.message_codes import MessageAction
from penstock.domain.shares import ReplicaState, Share, ShareStatus
from penstock.errors import Conflict, Fault, NotFound, ShareResourceNotFound
from penstock.share.driver import capabilities_of
from penstock.share.inventory import HasInventory
from penstock.share.manager import access
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, locations_in
from penstock.share.manager.models import share_models
from penstock.share.manager.notices import tell_owner
from penstock.share.models import ShareModel
from penstock.store import backends, instances, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

BINARY = "manila-share"
# States in which clients may be using the share.
SERVED = (
    ShareStatus.AVAILABLE,
    ShareStatus.EXTENDING,
    ShareStatus.EXTENDING_ERROR,
    ShareStatus.SHRINKING,
    ShareStatus.SHRINKING_ERROR,
    ShareStatus.SHRINKING_POSSIBLE_DATA_LOSS_ERROR,
    ShareStatus.REVERTING,
    ShareStatus.REVERTING_ERROR,
    ShareStatus.UNMANAGE_ERROR,
    ShareStatus.MIGRATING,
)


def ensure_all(backend: Backend, context: RequestContext, *, even_if_unchanged: bool) -> None:
    """Ensure every served share of the backend.

    Skipped when `get_backend_info` answers what it did at the last complete run, unless `even_if_unchanged`. Raises
    what the driver's `ensure_shares` raises; a fault about a single share is logged and the others are ensured.
    """
    digest = _info_digest(backend, context)
    is_batched = "ensure_shares" in capabilities_of(backend.driver)
    unchanged = digest is not None and digest == _stored_digest(backend)
    if unchanged and not (is_batched or even_if_unchanged):
        log.info("backend.unchanged", backend=backend.host)
        return
    with backend.database.read() as tx:
        found = shares.of_backend(tx, backend.host, statuses=SERVED)
        models = share_models(tx, backend, found)
    answers = _ask(backend, context, models)
    for share, model in zip(found, models, strict=True):
        _write(backend, context, share, model, answers.get(model.id) or {})
    if not found and isinstance(backend.driver, HasInventory):
        with driver_call("sweep"):
            backend.driver.sweep()  # else the driver did, as it looked at its shares: what other people's clones kept
    _store_digest(backend, digest)
    log.info("backend.ensured", backend=backend.host, shares=len(found))


def ensure_if_changed(backend: Backend, context: RequestContext) -> bool:
    """Ensure every served share when `get_backend_info` answers otherwise than at the last complete run.

    So that what a host forgot at a restart is served again without one of ours; says whether it was done.
    """
    digest = _info_digest(backend, context)
    if digest is None or digest == _stored_digest(backend):
        return False
    log.warning("backend.changed", backend=backend.host)
    ensure_all(backend, context, even_if_unchanged=True)
    return True


def ask_again(tx: Transaction, host: str) -> None:
    """Let the backend `host` ensure its shares at its next look, though nothing about it has changed.

    For a share that is to be served again after a time in which `ensure_all` passed it over.
    """
    for service in backends.list_services(tx, binary=BINARY, host=host):
        backends.update_service(tx, service.id, backend_info_hash=None)


def _ask(backend: Backend, context: RequestContext, models: Sequence[ShareModel]) -> Mapping[str, Mapping[str, Any]]:
    if not models:
        return {}
    if "ensure_shares" in capabilities_of(backend.driver):
        with driver_call("ensure its shares"):
            return backend.driver.ensure_shares(context, models) or {}
    return {model.id: _ask_one(backend, context, model) for model in models}


def _ask_one(backend: Backend, context: RequestContext, model: ShareModel) -> Mapping[str, Any]:
    try:
        with driver_call("ensure its shares"):
            answer = backend.driver.ensure_share(context, model, share_server=None)
    except ShareResourceNotFound:
        return {"status": ShareStatus.ERROR}
    except Fault as fault:
        log.warning("share.not_ensured", instance=model.id, fault=str(fault))
        return {}
    return {} if answer is None else {"export_locations": answer}


def _write(
    backend: Backend, context: RequestContext, share: Share, model: ShareModel, answer: Mapping[str, Any]
) -> None:
    """Store what the driver said of one share, unless an operation is changing it."""
    try:
        if answer.get("status") == ShareStatus.ERROR:
            _lose(backend, context, share)
            return
        locations = locations_in(answer.get("export_locations"))
        if locations and not _same_locations(model, locations):
            with backend.database.begin() as tx:
                instances.put_export_locations(tx, share.instance.id, locations, now=backend.now())
        if answer.get("reapply_access_rules"):
            access.update(backend, context, share.instance.id, reapply=True)
    except (Conflict, NotFound) as fault:
        log.info("share.changed_meanwhile", share=share.id, fault=str(fault))
    except Fault as fault:
        log.warning("share.not_ensured", share=share.id, fault=str(fault))


def _same_locations(model: ShareModel, locations: Sequence[Mapping[str, Any]]) -> bool:
    """Are the stored locations the reported ones? Most are, and a thousand writes at each start are not needed."""
    stored = [(known.path, known.is_admin_only, known.preferred) for known in model.export_locations]
    reported = [(item["path"], item.get("is_admin_only", False), item.get("preferred", False)) for item in locations]
    return stored == reported and not any(item.get("metadata") for item in locations)


def _lose(backend: Backend, context: RequestContext, share: Share) -> None:
    if share.instance.replica_state not in (None, ReplicaState.ACTIVE):
        log.warning("replica.missing", replica=share.instance.id)  # a sync brings it, or says what keeps it from that
        return
    if share.status is not ShareStatus.AVAILABLE:
        log.warning("share.missing", share=share.id, status=share.status.value)
        return
    fault = ShareResourceNotFound("The share was not found on the storage backend.")
    with backend.database.begin() as tx:
        shares.move(tx, share.instance, Event.LOST, now=backend.now())
        tell_owner(tx, backend, context, share, MessageAction.UPDATE, fault)
    log.error("share.lost", share=share.id)


def _info_digest(backend: Backend, context: RequestContext) -> str | None:
    """A digest of the driver's backend information; None when the driver has none to give."""
    if "get_backend_info" not in capabilities_of(backend.driver):
        return None
    with driver_call("tell about itself"):
        info = backend.driver.get_backend_info(context)
    text = json.dumps(info, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def _stored_digest(backend: Backend) -> str | None:
    with backend.database.read() as tx:
        services = backends.list_services(tx, binary=BINARY, host=backend.host)
    return services[0].backend_info_hash if services else None


def _store_digest(backend: Backend, digest: str | None) -> None:
    with backend.database.begin() as tx:
        for service in backends.list_services(tx, binary=BINARY, host=backend.host):
            backends.update_service(tx, service.id, backend_info_hash=digest)

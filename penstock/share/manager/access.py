"""Access rules: bring the backend to the wanted set of one instance, all queued changes at once.

A rule goes queued_to_apply, applying, active; or queued_to_deny, denying, gone. What a crash left in ``applying`` or
``denying`` is offered to the driver again. Rules in error are kept from the driver until they are deleted.
"""

from __future__ import annotations

import inspect
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog

from penstock.context import RequestContext
from penstock.domain.access import AccessRule, AccessState
from penstock.domain.message_codes import MessageAction, MessageDetail
from penstock.domain.shares import AccessRulesStatus, Share, ShareStatus
from penstock.errors import BackendFault, Fault, NotFound
from penstock.operations.attempt import done_with
from penstock.share.driver import capabilities_of
from penstock.share.manager.backend import Backend
from penstock.share.manager.calls import driver_call, is_final
from penstock.share.manager.models import access_models, share_model
from penstock.share.manager.notices import tell_owner
from penstock.share.models import AccessModel, ShareModel
from penstock.store import access, instances, shares
from penstock.store.database import Transaction

log = structlog.get_logger(__name__)

# In these the instance is being made or taken away: its rules are set, or go, with it.
NOT_SERVED = (ShareStatus.CREATING, ShareStatus.DELETING, ShareStatus.DELETED, ShareStatus.UNMANAGED)


TO_APPLY = (AccessState.QUEUED_TO_APPLY, AccessState.APPLYING)
TO_DENY = (AccessState.QUEUED_TO_DENY, AccessState.DENYING)


@dataclass(frozen=True, slots=True)
class _Change:
    """What one call of the driver is to achieve. `whole` includes `add` and not `delete`."""

    share: Share
    model: ShareModel
    whole: Sequence[AccessRule]
    add: Sequence[AccessRule]
    delete: Sequence[AccessRule]


def update(backend: Backend, context: RequestContext, instance_id: str, *, reapply: bool = False) -> None:
    """Apply all changes queued for the instance; with `reapply` check the whole set even when nothing is queued."""
    change = _take(backend, instance_id, reapply=reapply)
    if change is None:
        return
    try:
        verdicts = _apply(backend, context, change)
    except Fault as fault:
        if is_final(fault):
            _fail(backend, context, change, fault)
        raise
    _finish(backend, context, change, verdicts)


def remove_all(backend: Backend, context: RequestContext, share: Share, model: ShareModel) -> None:
    """Take all rules of the instance off the backend, and leave the rows: for an instance that is about to go."""
    with backend.database.read() as tx:
        rules = access.of_instance(tx, share.instance.id)
    if not rules:
        return
    try:
        _apply(backend, context, _Change(share, model, whole=(), add=(), delete=rules))
    except NotFound as fault:
        log.info("rules.share_is_gone", share=share.id, fault=str(fault))  # and its rules with it


def _take(backend: Backend, instance_id: str, *, reapply: bool) -> _Change | None:
    """Move what is queued to applying and denying. None when there is nothing to do."""
    with backend.database.begin(durable=False) as tx:
        share = shares.get_by_instance(tx, instance_id)
        if share is None or share.status in NOT_SERVED:
            return None
        rules = access.of_instance(tx, instance_id)
        add = [replace(rule, state=AccessState.APPLYING) for rule in rules if rule.state in TO_APPLY]
        delete = [replace(rule, state=AccessState.DENYING) for rule in rules if rule.state in TO_DENY]
        if not (add or delete or reapply):
            settle_status(tx, backend, share, rules)
            return None
        _move(tx, backend, share, add, TO_APPLY, AccessState.APPLYING)
        _move(tx, backend, share, delete, TO_DENY, AccessState.DENYING)
        whole = [rule for rule in rules if rule.state is AccessState.ACTIVE] + add
        return _Change(share, share_model(tx, backend, share), whole, add, delete)


def _apply(backend: Backend, context: RequestContext, change: _Change) -> Mapping[str, Mapping[str, Any]]:
    """Call the driver; returns what it says of single rules."""
    whole = access_models(change.share, change.whole)
    added = {rule.id for rule in change.add}
    add = [model for model in whole if model.id in added]
    delete = access_models(change.share, change.delete)
    if "update_access" not in capabilities_of(backend.driver):
        return _one_by_one(backend, context, change.model, add, delete)
    with driver_call("change access rules"):
        answer = backend.driver.update_access(
            context, change.model, whole, add, delete, **newer_arguments(backend), share_server=None
        )
    if answer is not None and not isinstance(answer, Mapping):
        raise BackendFault(f"The driver answered to access rules with a {type(answer).__name__}.")
    return answer or {}


def newer_arguments(backend: Backend) -> dict[str, Any]:
    """Drivers of later releases have one more list: rules whose level changes in place, which we never ask for."""
    return {"update_rules": []} if "update_rules" in inspect.signature(backend.driver.update_access).parameters else {}


def _one_by_one(
    backend: Backend, context: RequestContext, model: ShareModel, add: list[AccessModel], delete: list[AccessModel]
) -> dict[str, Mapping[str, Any]]:
    """For drivers without `update_access`: first shut out, then let in."""
    verdicts: dict[str, Mapping[str, Any]] = {}
    with driver_call("change access rules"):
        for rule in delete:
            backend.driver.deny_access(context, model, rule, share_server=None)
        for rule in add:
            key = backend.driver.allow_access(context, model, rule, share_server=None)
            if key:
                verdicts[rule.id] = {"access_key": key}
    return verdicts


def _finish(
    backend: Backend, context: RequestContext, change: _Change, verdicts: Mapping[str, Mapping[str, Any]]
) -> None:
    share = change.share
    refused = [rule for rule in change.whole if verdicts.get(rule.id, {}).get("state") == AccessState.ERROR]
    granted = [rule for rule in change.add if rule not in refused]
    with backend.database.begin(durable=False) as tx:
        done_with(tx, "update_access")
        _move(tx, backend, share, granted, [AccessState.APPLYING], AccessState.ACTIVE)
        _move(tx, backend, share, refused, [AccessState.APPLYING, AccessState.ACTIVE], AccessState.ERROR)
        if change.delete:
            access.forget_on_instance(tx, share.instance.id, [rule.id for rule in change.delete])
        for rule in change.whole:
            key = verdicts.get(rule.id, {}).get("access_key")
            if key and key != rule.access_key:
                access.update_rule(tx, rule.id, now=backend.now(), access_key=key)
        settle_status(tx, backend, share, access.of_instance(tx, share.instance.id))
        if refused:
            fault = Fault(f"{len(refused)} of the share's access rules could not be applied.")
            action, detail = MessageAction.UPDATE_ACCESS_RULES, MessageDetail.FORBIDDEN_CLIENT_ACCESS
            tell_owner(tx, backend, context, share, action, fault, detail=detail)


def _fail(backend: Backend, context: RequestContext, change: _Change, fault: Fault) -> None:
    share = change.share
    with backend.database.begin() as tx:
        moving = [AccessState.APPLYING, AccessState.DENYING]
        _move(tx, backend, share, [*change.add, *change.delete], moving, AccessState.ERROR)
        status = AccessRulesStatus.ERROR
        instances.update_instance(tx, share.instance.id, now=backend.now(), access_rules_status=status)
        tell_owner(tx, backend, context, share, MessageAction.UPDATE_ACCESS_RULES, fault)


def _move(
    tx: Transaction,
    backend: Backend,
    share: Share,
    rules: Sequence[AccessRule],
    source: Collection[AccessState],
    target: AccessState,
) -> None:
    """Move those of `rules` that are in one of `source`: one that a user has queued to deny meanwhile stays so."""
    if rules:
        ids = [rule.id for rule in rules]
        access.set_states(tx, share.instance.id, now=backend.now(), source=source, target=target, rule_ids=ids)


def settle_status(tx: Transaction, backend: Backend, share: Share, rules: Sequence[AccessRule]) -> None:
    """Write the ``access_rules_status`` that follows from the rules' states."""
    states = {rule.state for rule in rules}
    if AccessState.ERROR in states:
        status = AccessRulesStatus.ERROR
    elif states <= {AccessState.ACTIVE}:
        status = AccessRulesStatus.ACTIVE
    else:
        status = AccessRulesStatus.SYNCING
    if status is not share.instance.access_rules_status:
        instances.update_instance(tx, share.instance.id, now=backend.now(), access_rules_status=status)

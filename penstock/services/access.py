"""Access rules: allow, deny, list, and their metadata."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from penstock.context import RequestContext
from penstock.domain.access import AccessLevel, AccessRule, AccessState, AccessType, same_client
from penstock.domain.lifecycle import SHARE_TRANSITIONAL
from penstock.domain.shares import AccessRulesStatus, Share, ShareInstance, ShareStatus
from penstock.errors import Invalid, InvalidShare, InvalidShareAccess, NotFound
from penstock.ids import AccessRuleId, new_id
from penstock.services import share_calls
from penstock.services.control_plane import ControlPlane
from penstock.services.visibility import changeable_share, own_share, owns
from penstock.store import access, instances, shares
from penstock.store.database import Transaction

DENIABLE = (AccessState.QUEUED_TO_APPLY, AccessState.APPLYING, AccessState.ACTIVE, AccessState.ERROR)


@dataclass(frozen=True, slots=True)
class NewRule:
    """A wanted rule; `access_to` is canonical (`domain.access.parse_access_to`).

    `even_after_error` is false for microversions before 2.28, which refuse new rules while others are in error, and
    `even_with_failed_replicas` before 2.74, which refuse them while a replica is in error.
    """

    access_type: AccessType
    access_to: str
    access_level: AccessLevel
    metadata: Mapping[str, str] = field(default_factory=dict)
    even_after_error: bool = True
    even_with_failed_replicas: bool = True


@dataclass(frozen=True, slots=True)
class Rules:
    """Rules of a share with what old clients are shown in place of each rule's own state."""

    items: tuple[AccessRule, ...]
    overall: AccessRulesStatus


def allow(plane: ControlPlane, context: RequestContext, share_id: str, wanted: NewRule) -> Rules:
    """Accept a rule. Raises NotFound, Forbidden, Invalid (state, duplicate)."""
    now = plane.clock.utc()
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)  # two requests for one client must not both find none
        _check_state(share)
        if not wanted.even_with_failed_replicas:
            _check_replicas(tx, share)
        if share.access_rules_status is AccessRulesStatus.ERROR and not wanted.even_after_error:
            raise Invalid(f"Rules of share {share.id} are in error; deny those before you add others.")
        _check_new(access.of_share(tx, share.id), wanted)
        rule = AccessRule(
            id=AccessRuleId(new_id()),
            share_id=share.id,
            access_type=wanted.access_type,
            access_to=wanted.access_to,
            access_level=wanted.access_level,
            access_key=None,
            state=AccessState.QUEUED_TO_APPLY,
            metadata=dict(wanted.metadata),
            created_at=now,
            updated_at=None,
        )
        serving = _serving(tx, share)
        access.insert_rule(tx, rule, [instance.id for instance in serving])
        _apply(tx, plane, context, serving)
        return Rules((rule,), AccessRulesStatus.SYNCING)


def deny(
    plane: ControlPlane,
    context: RequestContext,
    share_id: str,
    rule_id: str,
    *,
    even_with_failed_replicas: bool = True,
) -> None:
    """Accept the end of a rule; nothing more happens when it is being denied already.

    Raises NotFound (share, or rule of that share), Forbidden, Invalid (state).
    """
    with plane.database.begin() as tx:
        share = changeable_share(tx, context, share_id)
        rule = access.get(tx, rule_id)
        if rule is None or rule.share_id != share.id:
            raise NotFound(f"Share {share.id} has no access rule {rule_id}.")
        _check_state(share)
        if not even_with_failed_replicas:
            _check_replicas(tx, share)
        moved = False
        for instance in instances.of_share(tx, share.id):
            moved |= bool(
                access.set_states(
                    tx,
                    instance.id,
                    now=plane.clock.utc(),
                    source=DENIABLE,
                    target=AccessState.QUEUED_TO_DENY,
                    rule_ids=[rule.id],
                )
            )
        if moved:
            _apply(tx, plane, context, _serving(tx, share))


def list_rules(
    plane: ControlPlane, context: RequestContext, share_id: str, *, metadata: Mapping[str, str] | None = None
) -> Rules:
    """The share's rules, oldest first, with `metadata` only those that have these pairs. Raises NotFound, Forbidden."""
    with plane.database.read() as tx:
        share = own_share(tx, context, share_id)
        found = access.of_share(tx, share.id, metadata=metadata)
        return Rules(tuple(found), share.access_rules_status)


def get(plane: ControlPlane, context: RequestContext, rule_id: str) -> Rules:
    """One rule. Raises NotFound, also for rules of other projects' shares."""
    with plane.database.read() as tx:
        rule, share = _own_rule(tx, context, rule_id)
        return Rules((rule,), share.access_rules_status)


def set_metadata(
    plane: ControlPlane, context: RequestContext, rule_id: str, items: Mapping[str, str]
) -> dict[str, str]:
    """Set these pairs and keep the others; returns all. Raises NotFound. Safe to repeat."""
    with plane.database.begin() as tx:
        rule, _ = _own_rule(tx, context, rule_id)
        access.set_metadata(tx, rule.id, items)
        return access.metadata_of(tx, [rule.id]).get(rule.id, {})


def delete_metadata(plane: ControlPlane, context: RequestContext, rule_id: str, key: str) -> None:
    """Remove one pair. Raises NotFound (rule or key)."""
    with plane.database.begin() as tx:
        rule, _ = _own_rule(tx, context, rule_id)
        if not access.delete_metadata(tx, rule.id, key):
            raise NotFound(f"Access rule {rule.id} has no metadata key '{key}'.")


def _own_rule(tx: Transaction, context: RequestContext, rule_id: str) -> tuple[AccessRule, Share]:
    rule = access.get(tx, rule_id)
    share = None if rule is None else shares.get(tx, rule.share_id)
    if rule is None or share is None or not owns(context, share.project_id):
        raise NotFound(f"There is no access rule {rule_id}.")
    return rule, share


def _check_state(share: Share) -> None:
    if share.instance.host is None or share.status in (*SHARE_TRANSITIONAL, ShareStatus.ERROR):
        raise InvalidShare(f"Share {share.id} is '{share.status}'; its rules can be changed when it is available.")


def _check_replicas(tx: Transaction, share: Share) -> None:
    failed = [one for one in instances.of_share(tx, share.id) if one.status is ShareStatus.ERROR]
    if failed:
        raise InvalidShare(
            f"Replica {failed[0].id} of share {share.id} is in error; its rules can be changed from 2.74."
        )


def _serving(tx: Transaction, share: Share) -> list[ShareInstance]:
    """The instances that rules are applied on: all that are somewhere and not on their way out."""
    found = instances.of_share(tx, share.id)
    return [one for one in found if one.host is not None and one.status is not ShareStatus.DELETING]


def _check_new(known: list[AccessRule], wanted: NewRule) -> None:
    for rule in known:
        if rule.access_type is wanted.access_type and same_client(rule.access_type, rule.access_to, wanted.access_to):
            raise InvalidShareAccess(f"There is a rule for {wanted.access_type} {wanted.access_to} already: {rule.id}.")


def _apply(tx: Transaction, plane: ControlPlane, context: RequestContext, serving: list[ShareInstance]) -> None:
    for instance in serving:
        instances.update_instance(tx, instance.id, now=plane.clock.utc(), access_rules_status=AccessRulesStatus.SYNCING)
        share_calls.enqueue(tx, plane, context, instance, "update_access", {"share_instance_id": instance.id})

"""Rows of access rules, and of their state on each instance."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import bindparam, delete, exists, insert, select, update

from penstock.domain.access import AccessLevel, AccessRule, AccessState, AccessType
from penstock.ids import AccessRuleId, InstanceId, ShareId
from penstock.store.aggregates import rule_state
from penstock.store.json_pairs import pairs_of, parse_pairs
from penstock.store.schema import access_rule_metadata, access_rules, instance_access_rules, shares
from penstock.store.statements import insert_into
from penstock.store.transaction import Transaction

_NOTES = pairs_of(access_rule_metadata, access_rule_metadata.c.access_rule_id == access_rules.c.id).label("metadata")
_METADATA = select(access_rule_metadata).where(
    access_rule_metadata.c.access_rule_id.in_(bindparam("ids", expanding=True))
)


# Statements that run for every rule are built once: building one costs more than running it.
_OLDEST_FIRST = (access_rules.c.created_at, access_rules.c.id)
_SPEAKING = (
    select(*access_rules.c, rule_state.label("state"), _NOTES)
    .join(shares, shares.c.id == access_rules.c.share_id)
    .outerjoin(
        instance_access_rules,
        (instance_access_rules.c.access_rule_id == access_rules.c.id)
        & (instance_access_rules.c.share_instance_id == shares.c.instance_id),
    )
    .where(rule_state.is_not(None))
    .order_by(*_OLDEST_FIRST)
)
_BY_ID = _SPEAKING.where(access_rules.c.id == bindparam("id"))
_OF_SHARE = _SPEAKING.where(access_rules.c.share_id == bindparam("share_id"))
_ON_INSTANCES = (
    select(
        *access_rules.c,
        instance_access_rules.c.state,
        instance_access_rules.c.share_instance_id.label("share_instance_id"),
        _NOTES,
    )
    .join(instance_access_rules, instance_access_rules.c.access_rule_id == access_rules.c.id)
    .where(instance_access_rules.c.share_instance_id.in_(bindparam("instance_ids", expanding=True)))
    .order_by(*_OLDEST_FIRST)
)
_MOVING = (instance_access_rules.c.share_instance_id == bindparam("of_instance")) & instance_access_rules.c.state.in_(
    bindparam("source", expanding=True)
)
_FORGET_ON_INSTANCE = delete(instance_access_rules).where(
    instance_access_rules.c.share_instance_id == bindparam("of_instance"),
    instance_access_rules.c.access_rule_id.in_(bindparam("rule_ids", expanding=True)),
)
_FORGET_ON_NONE = delete(access_rules).where(
    access_rules.c.id.in_(bindparam("rule_ids", expanding=True)),
    ~exists().where(instance_access_rules.c.access_rule_id == access_rules.c.id),
)
_MOVING_THESE = _MOVING & instance_access_rules.c.access_rule_id.in_(bindparam("rule_ids", expanding=True))
_MOVE, _MOVE_THESE = (
    update(instance_access_rules)
    .where(which)
    .values(state=bindparam("target"), updated_at=bindparam("at"))
    .returning(instance_access_rules.c.access_rule_id)
    for which in (_MOVING, _MOVING_THESE)
)


def insert_rule(tx: Transaction, rule: AccessRule, instance_ids: Collection[str]) -> None:
    """Store a rule, in `rule.state` on each of the instances."""
    row = {
        "id": rule.id,
        "share_id": rule.share_id,
        "access_type": rule.access_type,
        "access_to": rule.access_to,
        "access_level": rule.access_level,
        "access_key": rule.access_key,
        "created_at": rule.created_at,
        "updated_at": rule.updated_at,
    }
    tx.execute(insert_into(access_rules), row)
    states = [{"access_rule_id": rule.id, "share_instance_id": i, "state": rule.state} for i in instance_ids]
    tx.execute(insert_into(instance_access_rules), states)
    set_metadata(tx, rule.id, rule.metadata)


def get(tx: Transaction, rule_id: AccessRuleId | str) -> AccessRule | None:
    """The rule, in the worst of its states on all replicas of its share, or None."""
    row = tx.execute(_BY_ID, {"id": rule_id}).first()
    return None if row is None else _rule(row)


def of_share(
    tx: Transaction, share_id: ShareId | str, *, metadata: Mapping[str, str] | None = None
) -> list[AccessRule]:
    """The share's rules, each in the worst of its states on all replicas, oldest first."""
    query = _OF_SHARE
    for key, value in (metadata or {}).items():
        table = access_rule_metadata.c
        query = query.where(
            exists().where(table.access_rule_id == access_rules.c.id, table.key == key, table.value == value)
        )
    return [_rule(row) for row in tx.execute(query, {"share_id": share_id})]


def of_instance(tx: Transaction, instance_id: InstanceId | str) -> list[AccessRule]:
    """The rules with their states on that instance, oldest first."""
    return [_rule(row) for row in tx.execute(_ON_INSTANCES, {"instance_ids": [instance_id]})]


def of_instances(tx: Transaction, instance_ids: Collection[str]) -> dict[str, list[AccessRule]]:
    """Rules of several instances, by instance, in one query."""
    found: dict[str, list[AccessRule]] = {}
    for row in tx.execute(_ON_INSTANCES, {"instance_ids": list(instance_ids)}):
        found.setdefault(row.share_instance_id, []).append(_rule(row))
    return found


def find(tx: Transaction, share_id: ShareId | str, access_type: AccessType, access_to: str) -> AccessRule | None:
    """The share's rule for exactly that client, or None."""
    same = (access_rules.c.access_type == access_type) & (access_rules.c.access_to == access_to)
    row = tx.execute(_OF_SHARE.where(same), {"share_id": share_id}).first()
    return None if row is None else _rule(row)


def set_states(
    tx: Transaction,
    instance_id: InstanceId | str,
    *,
    now: datetime,
    source: Collection[AccessState],
    target: AccessState,
    rule_ids: Collection[str] | None = None,
) -> list[AccessRuleId]:
    """Move the instance's rules (those of `rule_ids`, or all) from one of `source` to `target`; returns which moved."""
    of: dict[str, Any] = {"of_instance": instance_id, "source": list(source), "target": target, "at": now}
    statement, these = (_MOVE, {}) if rule_ids is None else (_MOVE_THESE, {"rule_ids": list(rule_ids)})
    return [AccessRuleId(rule_id) for rule_id in tx.execute(statement, {**of, **these}).scalars()]


def add_instance(
    tx: Transaction, share_id: ShareId | str, instance_id: InstanceId | str, *, now: datetime
) -> list[AccessRuleId]:
    """Queue the share's rules to be applied on another instance, but for those on their way out; returns which."""
    leaving = (AccessState.QUEUED_TO_DENY, AccessState.DENYING)
    wanted = [rule.id for rule in of_share(tx, share_id) if rule.state not in leaving]
    rows = [
        {"access_rule_id": rule_id, "share_instance_id": instance_id, "state": AccessState.QUEUED_TO_APPLY}
        for rule_id in wanted
    ]
    if rows:
        tx.execute(insert_into(instance_access_rules), [{**row, "updated_at": now} for row in rows])
    return wanted


def forget_on_instance(tx: Transaction, instance_id: InstanceId | str, rule_ids: Collection[str]) -> None:
    """The rules are gone from that instance; a rule that is on no instance any more is gone altogether."""
    tx.execute(_FORGET_ON_INSTANCE, {"of_instance": instance_id, "rule_ids": list(rule_ids)})
    tx.execute(_FORGET_ON_NONE, {"rule_ids": list(rule_ids)})


def update_rule(tx: Transaction, rule_id: AccessRuleId | str, *, now: datetime, **values: Any) -> None:
    """Change columns of the rule (``access_key``, ``access_level``)."""
    tx.execute(update(access_rules).where(access_rules.c.id == rule_id).values(updated_at=now, **values))


def metadata_of(tx: Transaction, rule_ids: Collection[str]) -> dict[str, dict[str, str]]:
    """Metadata of several rules."""
    found: dict[str, dict[str, str]] = {}
    ids = list(rule_ids)
    for start in range(0, len(ids), 10_000):
        for row in tx.execute(_METADATA, {"ids": ids[start : start + 10_000]}):
            found.setdefault(row.access_rule_id, {})[row.key] = row.value
    return found


def set_metadata(tx: Transaction, rule_id: AccessRuleId | str, items: Mapping[str, str]) -> None:
    """Set these keys, keep the others."""
    if not items:
        return
    table = access_rule_metadata
    tx.execute(delete(table).where(table.c.access_rule_id == rule_id, table.c.key.in_(list(items))))
    tx.execute(insert(table), [{"access_rule_id": rule_id, "key": k, "value": v} for k, v in items.items()])


def delete_metadata(tx: Transaction, rule_id: AccessRuleId | str, key: str) -> bool:
    """Remove one key; False when it was not there."""
    table = access_rule_metadata
    return tx.execute(delete(table).where(table.c.access_rule_id == rule_id, table.c.key == key)).rowcount > 0


def _rule(row: Any) -> AccessRule:
    return AccessRule(
        id=AccessRuleId(row.id),
        share_id=ShareId(row.share_id),
        access_type=AccessType(row.access_type),
        access_to=row.access_to,
        access_level=AccessLevel(row.access_level),
        access_key=row.access_key,
        state=AccessState(row.state),
        metadata=parse_pairs(row.metadata),
        created_at=row.created_at,
        updated_at=row.updated_at,
    )

"""What a share and its parts show of all replicas together, as columns of the queries that find them.

Shares without replication, nearly all, cost a comparison: `CASE` looks further only where ``replication_type`` is set.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Boolean, ColumnElement, case, exists, false, func, null, select

from penstock.domain.access import AccessState
from penstock.domain.shares import WORST_RULES_FIRST, ReplicaState, ShareStatus
from penstock.domain.snapshots import WORST_FIRST
from penstock.store.schema import (
    access_rules,
    instance_access_rules,
    share_instances,
    shares,
    snapshot_instances,
    snapshots,
)

_OTHER = share_instances.alias("other")
_IS_REPLICA = (_OTHER.c.share_id == shares.c.id) & _OTHER.c.replica_state.is_not(None)
_IS_OTHER = _IS_REPLICA & (_OTHER.c.id != shares.c.instance_id)
_WORST_RULE_FIRST = (
    AccessState.ERROR,
    AccessState.DENYING,
    AccessState.QUEUED_TO_DENY,
    AccessState.QUEUED_TO_APPLY,
    AccessState.APPLYING,
    AccessState.ACTIVE,
)
# In these an instance is being made or taken away, and its rules with it.
_PASSING = (ShareStatus.CREATING, ShareStatus.DELETING)


def _rank(column: ColumnElement[Any], worst_first: Sequence[str]) -> ColumnElement[int]:
    return case({str(value): place for place, value in enumerate(worst_first)}, value=column, else_=len(worst_first))


has_replicas: ColumnElement[bool] = case(
    (shares.c.replication_type.is_(None), false()), else_=exists().where(_IS_OTHER).correlate(shares)
).cast(Boolean)

_others_rules = (
    select(_OTHER.c.access_rules_status)
    .where(_IS_OTHER, _OTHER.c.status == ShareStatus.AVAILABLE)
    .order_by(_rank(_OTHER.c.access_rules_status, WORST_RULES_FIRST))
    .limit(1)
    .correlate(shares)
    .scalar_subquery()
)
replicas_rules_status: ColumnElement[Any] = case((shares.c.replication_type.is_(None), null()), else_=_others_rules)

# The worst of the instance that speaks and the others: `Share.access_rules_status` in SQL.
access_rules_status: ColumnElement[Any] = case(
    *(
        ((share_instances.c.access_rules_status == status) | (replicas_rules_status == status), str(status))
        for status in WORST_RULES_FIRST[:-1]
    ),
    else_=share_instances.c.access_rules_status,
)

_COPY = snapshot_instances.alias("copy")
replicas_snapshot_status: ColumnElement[Any] = (
    select(_COPY.c.status)
    .join(_OTHER, _OTHER.c.id == _COPY.c.share_instance_id)
    .where(
        _COPY.c.snapshot_id == snapshots.c.id,
        _COPY.c.id != snapshots.c.instance_id,
        _OTHER.c.replica_state.in_([ReplicaState.ACTIVE, ReplicaState.IN_SYNC]),
    )
    .order_by(_rank(_COPY.c.status, WORST_FIRST))
    .limit(1)
    .correlate(snapshots)
    .scalar_subquery()
)
# `Snapshot.aggregate_status` in SQL.
snapshot_status: ColumnElement[Any] = case(
    *(
        ((snapshot_instances.c.status == status) | (replicas_snapshot_status == status), str(status))
        for status in WORST_FIRST
    ),
    else_=snapshot_instances.c.status,
)

_HELD = instance_access_rules.alias("held")
_worst_rule = (
    select(_HELD.c.state)
    .join(_OTHER, _OTHER.c.id == _HELD.c.share_instance_id)
    .where(_HELD.c.access_rule_id == access_rules.c.id, _OTHER.c.status.not_in(_PASSING))
    .order_by(_rank(_HELD.c.state, _WORST_RULE_FIRST))
    .limit(1)
    .correlate(access_rules)
    .scalar_subquery()
)

# A rule as its share shows it: the worst of all replicas, as published; also one that the speaking instance has let go
# of while another has not.
rule_state: ColumnElement[Any] = case(
    (shares.c.replication_type.is_(None), instance_access_rules.c.state),
    else_=func.coalesce(_worst_rule, instance_access_rules.c.state),
)

"""Scheduler hints of new shares: on the same pool as, or on another pool than, some other share (2.65),
or on a pool that an administrator names (2.67).

The relations between shares are kept, as published, in the metadata of both: ``__affinity_same_host`` and
``__affinity_different_host`` hold the other shares' ids, separated by commas.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from penstock.context import RequestContext
from penstock.domain.shares import ShareStatus
from penstock.errors import NotFound
from penstock.ids import ShareId
from penstock.services.visibility import own_share
from penstock.store import share_metadata
from penstock.store.database import Transaction

SAME = "__affinity_same_host"
DIFFERENT = "__affinity_different_host"


@dataclass(frozen=True, slots=True)
class Hints:
    """Ids of shares to be near to, and to be away from, and the name of the one pool to be on."""

    same_host: tuple[str, ...] = ()
    different_host: tuple[str, ...] = ()
    only_host: str | None = None


@dataclass(frozen=True, slots=True)
class Pools:
    """The pools those shares are on."""

    same: frozenset[str]
    different: frozenset[str]


def resolve(tx: Transaction, context: RequestContext, hints: Hints) -> Pools:
    """Where the named shares are. Raises NotFound for one the caller cannot see, or that is going away.

    They are held already, so that they stay until the new share is related to them.
    """
    return Pools(_hosts(tx, context, hints.same_host), _hosts(tx, context, hints.different_host))


def remember(tx: Transaction, share_id: ShareId, hints: Hints) -> None:
    """Write the relation into the metadata of both sides."""
    for key, others in ((SAME, hints.same_host), (DIFFERENT, hints.different_host)):
        if others:
            share_metadata.put(tx, share_id, {key: ",".join(others)})
        for other in sorted(set(others)):
            share_metadata.change_key(tx, other, key, lambda known: _joined([*_ids(known), share_id]))


def forget(tx: Transaction, share_id: ShareId, metadata: Mapping[str, str]) -> None:
    """Take a share that goes away, and is held, out of the metadata of the others."""
    for key in (SAME, DIFFERENT):
        for other in sorted(set(_ids(metadata.get(key)))):
            share_metadata.change_key(
                tx, other, key, lambda known: _joined([one for one in _ids(known) if one != share_id])
            )


def _hosts(tx: Transaction, context: RequestContext, share_ids: tuple[str, ...]) -> frozenset[str]:
    found = [own_share(tx, context, share_id) for share_id in share_ids]
    for share in found:
        if share.status is ShareStatus.DELETING:
            raise NotFound(f"Share {share.id} is being deleted.")
    return frozenset(share.instance.host for share in found if share.instance.host is not None)


def _ids(text: str | None) -> list[str]:
    return [part for part in (text or "").split(",") if part]


def _joined(ids: Sequence[str]) -> str | None:
    return ",".join(ids) or None

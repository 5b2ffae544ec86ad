"""Requests about the replicas of one share that come at once: one wins, the others are told why not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.config.loading import load
from penstock.context import RequestContext
from penstock.domain.quotas import QuotaResource
from penstock.domain.shares import ReplicaState, ShareStatus
from penstock.errors import Conflict, Fault, Invalid, NotFound, QuotaExceeded
from penstock.ids import new_id
from penstock.operations.queue import OperationQueue
from penstock.services import replica_creation, replicas, share_lifecycle
from penstock.services.control_plane import ControlPlane
from penstock.services.replica_creation import NewReplica
from penstock.store import instances, operations, quotas, shares
from penstock.store import replicas as rows
from penstock.store.database import Database
from penstock.store.quotas import QuotaScope
from tests.api.arranging import add_type
from tests.api.replicated import add_backends, finish_replica
from tests.factories import a_share

ADMIN = RequestContext("u1", "p1", ("admin",), is_admin=True, request_id="req-1")
ALPHA = "store1@alpha#tank"


@pytest.fixture
def plane(database: Database, tmp_path: Path) -> ControlPlane:
    if database.url == "sqlite://":
        pytest.skip("its one connection serves one thread at a time")
    conf, clock = load(), ManualClock()
    conf.set_override("state_path", str(tmp_path))
    made = ControlPlane(database, OperationQueue(clock), clock, conf)
    add_backends(made)
    return made


@pytest.fixture
def share(plane: ControlPlane) -> str:
    """A share on ``alpha`` that can be replicated."""
    type_id = add_type(plane, replication_type="readable")
    plain = a_share(replication_type="readable", share_type_id=type_id, host=ALPHA)
    with plane.database.begin() as tx:
        shares.insert_share(tx, plain)
        rows.set_state(tx, plain.instance.id, ReplicaState.ACTIVE, now=plane.clock.utc())
    return plain.id


def replica_of(plane: ControlPlane, share: str) -> str:
    made = replica_creation.create(plane, ADMIN, NewReplica(share)).instance.id
    finish_replica(plane, made)
    return made


def at_once(*requests: Callable[[], Any]) -> list[Fault | None]:
    """The fault of each, None for those that were accepted."""
    ready, ends = threading.Barrier(len(requests), timeout=20), dict[int, Fault | None]()

    def ask(place: int, request: Callable[[], Any]) -> None:
        ready.wait()
        try:
            request()
        except Fault as fault:
            ends[place] = fault
        else:
            ends[place] = None

    threads = [threading.Thread(target=ask, args=item) for item in enumerate(requests)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(ends) == len(requests)
    return [ends[place] for place in range(len(requests))]


def queued(plane: ControlPlane) -> list[str]:
    with plane.database.read() as tx:
        return sorted(item.call.method for item in operations.pending(tx))


def statuses(plane: ControlPlane, share: str) -> Sequence[ShareStatus]:
    with plane.database.read() as tx:
        return sorted(one.status for one in instances.of_share(tx, share))


def test_of_two_promotions_one_is_accepted(plane: ControlPlane, share: str) -> None:
    first, second = replica_of(plane, share), replica_of(plane, share)
    ends = at_once(
        lambda: replicas.promote(plane, ADMIN, first),
        lambda: replicas.promote(plane, ADMIN, second),
        lambda: replicas.promote(plane, ADMIN, first),
    )
    assert ends.count(None) == 1
    assert all(isinstance(end, Invalid) for end in ends if end is not None)
    assert queued(plane).count("promote_share_replica") == 1
    assert statuses(plane, share) == ["available", "replication_change", "replication_change"]


def test_a_promotion_and_the_deletion_of_the_same_replica(plane: ControlPlane, share: str) -> None:
    replica = replica_of(plane, share)
    before = queued(plane)
    ends = at_once(lambda: replicas.promote(plane, ADMIN, replica), lambda: replicas.delete(plane, ADMIN, replica))
    assert ends.count(None) == 1
    assert len(queued(plane)) == len(before) + 1
    promoted = ends[0] is None
    wanted = ["replication_change", "replication_change"] if promoted else ["available", "deleting"]
    assert statuses(plane, share) == wanted


def test_replicas_asked_for_at_once_are_on_different_pools(plane: ControlPlane, share: str) -> None:
    ends = at_once(*[lambda: replica_creation.create(plane, ADMIN, NewReplica(share))] * 4)
    assert ends == [None] * 4  # two have a place, and the owner is told of the others
    with plane.database.read() as tx:
        hosts = [one.instance.host for one in rows.of_share(tx, share)]
    assert sorted(host for host in hosts if host) == [ALPHA, "store1@beta#tank", "store1@gamma#tank"]
    assert hosts.count(None) == 2
    assert queued(plane) == ["create_share_replica", "create_share_replica"]


def test_the_last_of_the_quota_is_given_once(plane: ControlPlane, share: str) -> None:
    with plane.database.begin() as tx:
        limits = {QuotaResource.SHARE_REPLICAS: 2}
        quotas.set_limits(tx, QuotaScope.PROJECT, limits, now=plane.clock.utc(), project_id="p1")
    ends = at_once(*[lambda: replica_creation.create(plane, ADMIN, NewReplica(share))] * 3)
    assert ends.count(None) == 1
    assert sum(isinstance(end, QuotaExceeded) for end in ends) == 2


def test_a_replica_and_the_deletion_of_its_share(plane: ControlPlane, share: str) -> None:
    ends = at_once(
        lambda: replica_creation.create(plane, ADMIN, NewReplica(share)),
        lambda: share_lifecycle.delete(plane, ADMIN, share),
    )
    assert ends.count(None) == 1
    refused = next(end for end in ends if end is not None)
    assert isinstance(refused, Invalid if ends[1] is None else Conflict)
    assert len(queued(plane)) == 1


def test_a_resync_asked_for_by_many_is_done_once(plane: ControlPlane, share: str) -> None:
    replica = replica_of(plane, share)
    assert at_once(*[lambda: replicas.resync(plane, ADMIN, replica)] * 4) == [None] * 4
    assert queued(plane).count("update_share_replica") == 1


def test_two_deletions_of_one_replica(plane: ControlPlane, share: str) -> None:
    replica = replica_of(plane, share)
    ends = at_once(*[lambda: replicas.delete(plane, ADMIN, replica)] * 2)
    assert ends.count(None) == 1
    assert queued(plane).count("delete_share_replica") == 1
    with pytest.raises(NotFound):
        replicas.delete(plane, ADMIN, new_id())

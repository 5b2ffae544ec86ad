"""The share manager beyond single shares: start, periodic work, hooks, locks, what is not offered."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.lifecycle import Event
from penstock.domain.operations import Call
from penstock.domain.shares import AccessRulesStatus, ShareStatus
from penstock.domain.snapshots import SnapshotStatus
from penstock.errors import (
    ShareResourceNotFound,
    Unavailable,
    Unsupported,
)
from penstock.share.hook import HookBase
from penstock.share.locks import NamedLocks
from penstock.share.manager import ShareManager, locked_share_replica_operation
from penstock.store import backends, instances, operations
from penstock.store.database import Database
from tests.contract.manager_bench import (
    CONTEXT,
    POOL,
    Bench,
    Moody,
    OneByOne,
    a_share_from_snapshot,
    a_share_with_rule,
)
from tests.databases import in_memory


@pytest.fixture
def database() -> Database:
    """In memory: what differs between databases is the store's contract."""
    return in_memory()


@pytest.fixture
def bench(database: Database, tmp_path: Path) -> Bench:
    return Bench(database, tmp_path)


def test_start_makes_it_ready_and_publishes_pools(bench: Bench) -> None:
    assert not bench.manager.is_service_ready()
    bench.manager.init_host()
    assert bench.manager.is_service_ready()
    with bench.database.read() as tx:
        (service,) = backends.list_services(tx)
        (pool,) = backends.list_pools(tx)
    assert (service.binary, service.host, service.ready) == ("manila-share", "host@dummy", True)
    assert str(pool.ref) == POOL
    assert pool.capabilities["total_capacity_gb"] == 10.0
    assert pool.capabilities["snapshot_support"] is True


def test_a_backend_that_cannot_start_says_so_and_may_try_again(bench: Bench) -> None:
    with bench.failing("do_setup", Unavailable("no such host")), pytest.raises(Unavailable):
        bench.manager.init_host()
    bench.manager.heartbeat()
    with bench.database.read() as tx:
        assert [service.ready for service in backends.list_services(tx)] == [False]
    bench.manager.init_host()
    assert bench.manager.is_service_ready()


def test_a_share_missing_on_the_backend_is_in_error_after_start(bench: Bench) -> None:
    kept, lost = bench.created(), bench.created()
    del bench.driver._records[f"/pool/share-{lost.instance.id}"]
    bench.manager.init_host()
    assert bench.share(kept).status is ShareStatus.AVAILABLE
    assert bench.share(lost).status is ShareStatus.ERROR
    assert [message.resource_id for message in bench.messages()] == [lost.id]


def test_what_no_operation_would_finish_is_in_error_after_start(bench: Bench) -> None:
    queued, stranded = bench.put(), bench.put()
    snapshot = bench.put_snapshot(bench.created())
    with bench.database.begin() as tx:
        call = Call("host@dummy", f"share:{queued.id}", "create_share_instance", {})
        operations.add(tx, call, request_id="req-2", user_id=None, project_id=None, now=bench.clock.utc())
    bench.manager.init_host()
    assert bench.share(queued).status is ShareStatus.CREATING
    assert bench.share(stranded).status is ShareStatus.ERROR
    found = bench.snapshot(snapshot)
    assert found is not None
    assert found.status is SnapshotStatus.ERROR
    assert {message.resource_id for message in bench.messages()} == {stranded.id, snapshot.id}


def test_rules_nobody_would_apply_are_applied_at_start(bench: Bench) -> None:
    share = a_share_with_rule(bench)
    with bench.database.begin() as tx:
        syncing = AccessRulesStatus.SYNCING
        instances.update_instance(tx, share.instance.id, now=bench.clock.utc(), access_rules_status=syncing)
    bench.manager.init_host()
    assert bench.served(share) == [["ip", "10.0.0.1", "rw"]]


class Batched(Moody):
    """Lost all its rules in a restart of its host."""

    def ensure_shares(self, context: Any, shares: Any) -> Any:
        return {share.id: {"reapply_access_rules": True} for share in shares}


def test_rules_the_backend_lost_are_applied_at_start(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, Batched)
    share = a_share_with_rule(bench)
    bench.manager.update_access(CONTEXT, share.instance.id)
    bench.driver._records[f"/pool/share-{share.instance.id}"].rules = []
    bench.manager.init_host()
    assert bench.served(share) == [["ip", "10.0.0.1", "rw"]]


class Informed(OneByOne):
    """Is asked share by share; tells what its exports depend on."""

    info = "one"
    gone: str | None = None
    ensured = 0

    def get_backend_info(self, context: Any) -> dict[str, str]:
        return {"boot": self.info}

    def ensure_share(self, context: Any, share: Any, share_server: Any = None) -> list[str]:
        self.ensured += 1
        if share["id"] == self.gone:
            raise ShareResourceNotFound("gone")
        return [f"other:/{share['name']}"]


def test_shares_are_ensured_one_by_one_when_the_backend_changed(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, Informed)
    share, lost = bench.created(), bench.created()
    bench.driver.gone = lost.instance.id
    for _ in range(2):
        bench.manager.init_host()
    assert bench.driver.ensured == 2
    with database.read() as tx:
        (location,) = instances.export_locations_of(tx, share.instance.id)
    assert location.path == f"other:/share-{share.instance.id}"
    assert bench.share(lost).status is ShareStatus.ERROR
    bench.driver.info = "two"
    bench.manager.init_host()
    bench.manager.ensure_driver_resources(CONTEXT)
    assert bench.driver.ensured == 4


def test_a_restarted_host_is_told_what_to_serve_also_where_nothing_has_replicas(
    database: Database, tmp_path: Path
) -> None:
    bench = Bench(database, tmp_path, Informed)
    bench.created()
    bench.manager.init_host()
    bench.driver.info = "two"
    bench.manager.look_at_replicas(CONTEXT, lambda sync: sync())
    assert bench.driver.ensured == 2


class Slow(Moody):
    """Makes shares from snapshots in the background."""

    answer: dict[str, Any]

    def create_share_from_snapshot(self, *args: Any, **kwargs: Any) -> Any:
        super().create_share_from_snapshot(*args, **kwargs)
        return {"status": "creating_from_snapshot"}

    def get_share_status(self, share: Any, share_server: Any = None) -> Any:
        return self.answer


@pytest.mark.parametrize(
    ("answer", "status", "progress"),
    [
        ({"status": "creating_from_snapshot", "progress": "50%"}, ShareStatus.CREATING_FROM_SNAPSHOT, "50%"),
        ({"status": "available", "export_locations": [{"path": "h:/p"}]}, ShareStatus.AVAILABLE, "100%"),
        ({"status": "error"}, ShareStatus.ERROR, "0%"),
        ({"status": "nonsense"}, ShareStatus.ERROR, "0%"),
    ],
)
def test_background_creation(
    database: Database, tmp_path: Path, answer: Any, status: ShareStatus, progress: str
) -> None:
    bench = Bench(database, tmp_path, Slow)
    share = a_share_from_snapshot(bench)
    bench.manager.create_share_instance(CONTEXT, share.instance.id)
    assert bench.share(share).status is ShareStatus.CREATING_FROM_SNAPSHOT
    bench.driver.answer = answer
    bench.manager.periodic_share_status_update(CONTEXT)
    assert (bench.share(share).status, bench.share(share).instance.progress) == (status, progress)


def test_usage_is_gathered_when_configured(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, text="[DEFAULT]\nenable_gathering_share_usage_size = True")
    share = bench.created()
    bench.driver._records[f"/pool/share-{share.instance.id}"].used_gib = 0.5
    bench.manager.update_share_usage_size(CONTEXT)
    assert bench.share(share).used_bytes == 512 * 1024**2


class Recorder(HookBase):
    """Writes down what it is told."""

    told: list[tuple[Any, ...]] = []  # noqa: RUF012 - the manager makes the hook; the test reads it here

    def _execute_pre_hook(self, context: Any, func_name: Any, *args: Any, **kwargs: Any) -> str:
        self.told.append(("pre", func_name, kwargs))
        if kwargs.get("force"):
            raise RuntimeError("no force here")
        return "from pre"

    def _execute_post_hook(
        self, context: Any, func_name: Any, pre_hook_data: Any, driver_action_results: Any, *args: Any, **kwargs: Any
    ) -> None:
        self.told.append(("post", func_name, pre_hook_data))

    def _execute_periodic_hook(self, context: Any, periodic_hook_data: Any, *args: Any, **kwargs: Any) -> None:
        self.told.append(("periodic", [item["id"] for item in periodic_hook_data]))


HOOKS = f"[DEFAULT]\nhook_drivers = {__name__}.Recorder\n"


def test_hooks_are_called_around_operations(database: Database, tmp_path: Path) -> None:
    Recorder.told.clear()
    flags = "enable_pre_hooks = True\nenable_post_hooks = True\nenable_periodic_hooks = True"
    bench = Bench(database, tmp_path, text=HOOKS + flags)
    share = bench.created()
    instance_id = share.instance.id
    assert Recorder.told == [
        ("pre", "create_share_instance", {"share_instance_id": instance_id}),
        ("post", "create_share_instance", "from pre"),
    ]
    bench.manager.execute_periodic_hooks(CONTEXT)
    assert Recorder.told[-1] == ("periodic", [instance_id])
    with pytest.raises(RuntimeError, match="no force"):
        bench.manager.delete_share_instance(CONTEXT, instance_id, force=True)


def test_hooks_may_fail_where_the_operator_says_so(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, text=HOOKS + "enable_pre_hooks = True\nsuppress_pre_hooks_errors = True")
    share = bench.move(bench.created(), Event.DELETE)
    bench.manager.delete_share_instance(CONTEXT, share.instance.id, force=True)
    assert bench.is_gone(share)


def test_hooks_are_off_by_default(database: Database, tmp_path: Path) -> None:
    Recorder.told.clear()
    Bench(database, tmp_path, text=HOOKS).created()
    assert Recorder.told == []


def test_a_lock_is_held_during_a_replica_operation() -> None:
    class Holder:
        locks = NamedLocks()

        @locked_share_replica_operation
        def promote(self, context: Any, share_replica_id: str, share_id: str | None = None) -> list[str]:
            return list(self.locks._locks)

    holder = Holder()
    assert holder.promote(None, "r1", share_id="s1") == ["replicas of s1"]
    assert holder.locks._locks == {}


@pytest.mark.parametrize(
    "call",
    [
        lambda m: m.create_share_server(CONTEXT, "a", "b"),
        lambda m: m.create_share_group(CONTEXT, "g"),
        lambda m: m.snapshot_update_access(CONTEXT, "s"),
    ],
)
def test_what_is_not_offered_says_so(bench: Bench, call: Callable[[ShareManager], None]) -> None:
    with pytest.raises(Unsupported, match="not offered"):
        call(bench.manager)


class Occupied(Moody):
    """A driver that takes a minute to look at its pools."""

    clock_moves: Callable[[float], None]

    def get_share_stats(self, refresh: bool = False) -> dict[str, Any]:
        found = super().get_share_stats(refresh=refresh)
        self.clock_moves(60)
        return found


def test_a_share_made_while_the_pools_are_looked_at_is_not_in_the_report(database: Database, tmp_path: Path) -> None:
    bench = Bench(database, tmp_path, Occupied)
    bench.driver.clock_moves = bench.clock.advance
    began = bench.clock.utc()
    bench.manager.init_host()
    with bench.database.read() as tx:
        (pool,) = backends.list_pools(tx)
    assert pool.reported_at == began

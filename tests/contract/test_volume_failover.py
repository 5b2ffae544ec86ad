"""A volume backend that is frozen, fails over to a target, and comes back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.volumes import ReplicationStatus, Volume, VolumeStatus
from penstock.errors import BackendFault, Invalid, NotFound, Postponed
from penstock.operations.outcome import RetryPolicy
from penstock.services.volumes import creation, replication, volumes
from penstock.services.volumes.creation import NewVolume
from penstock.store import backends, operations
from penstock.store.backends import Service
from penstock.volume.drivers.dummy import DummyVolumeDriver
from penstock.volume.errors import InvalidReplicationTarget
from penstock.volume_backend import VolumeBackend
from tests.volume_plane import ADMIN, OWNER, VolumePlane

HOST = "host@dummy"


class Replicating(DummyVolumeDriver):
    """Has one target, ``far``."""

    broken = False
    also: Sequence[dict[str, Any]] = ()  # what else it says of volumes
    started_at: str | None = None
    targets: list[str] | None = None

    def do_setup(self, context: Any) -> None:
        super().do_setup(context)
        Replicating.started_at = self.active_backend_id

    def failover_host(
        self, context: Any, volumes: Sequence[Any], secondary_id: str | None = None, groups: Any = None
    ) -> tuple[str, list[dict[str, Any]], list[dict[str, Any]]]:
        if secondary_id not in (None, "far", "default"):
            raise InvalidReplicationTarget(f"There is no target '{secondary_id}'.")
        if self.broken:
            raise BackendFault("half way")
        status = ReplicationStatus.ENABLED if secondary_id == "default" else ReplicationStatus.FAILED_OVER
        updates = [{"volume_id": volume.id, "updates": {"replication_status": status}} for volume in volumes]
        return secondary_id or "far", [*updates, *self.also], []

    def _update_volume_stats(self) -> None:
        super()._update_volume_stats()
        self._stats["replication_enabled"] = True
        if self.targets is not None:
            self._stats["replication_targets"] = self.targets


class ReplicatedPlane(VolumePlane):
    def make_driver(self, section: Any) -> Any:
        return Replicating(configuration=section, storage=self.storage, host=HOST)


@pytest.fixture
def site(tmp_path: Path) -> ReplicatedPlane:
    found = ReplicatedPlane(tmp_path, retry=RetryPolicy(give_up_after_s=60))
    found.add_type("replicated", {"replication_enabled": "<is> True"})
    return found


def made(site: VolumePlane, kind: str) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=1, volume_type=kind))
    site.work()
    return volumes.get(site.plane, OWNER, volume.id)


def service(site: VolumePlane) -> Service:
    with site.database.read() as tx:
        return backends.list_services(tx, host=HOST)[0]


def state(site: VolumePlane, volume: Volume) -> tuple[VolumeStatus, ReplicationStatus | None]:
    seen = volumes.get(site.plane, OWNER, volume.id)
    return seen.status, seen.replication_status


def test_over_to_the_target_and_back(site: ReplicatedPlane) -> None:
    replicated, plain = made(site, "replicated"), made(site, "default")
    replication.failover(site.plane, ADMIN, HOST, "far")
    assert service(site).replication_status == ReplicationStatus.FAILING_OVER
    site.work()
    seen = service(site)
    assert (seen.replication_status, seen.active_backend_id, seen.disabled) == (
        ReplicationStatus.FAILED_OVER,
        "far",
        True,
    )
    assert state(site, replicated) == (VolumeStatus.AVAILABLE, ReplicationStatus.FAILED_OVER)
    assert state(site, plain) == (VolumeStatus.ERROR, ReplicationStatus.NOT_CAPABLE)
    site.restart()
    assert Replicating.started_at == "far"
    with pytest.raises(Invalid, match="fail it back"):
        replication.thaw(site.plane, ADMIN, HOST)
    replication.failover(site.plane, ADMIN, HOST, "default")
    site.work()
    seen = service(site)
    assert (seen.active_backend_id, seen.disabled) == (None, False)
    assert state(site, replicated) == (VolumeStatus.AVAILABLE, ReplicationStatus.ENABLED)
    assert state(site, plain) == (VolumeStatus.AVAILABLE, None)


@pytest.mark.parametrize("reason", [None, "new disks"])
def test_a_target_that_is_none_changes_nothing(site: ReplicatedPlane, reason: str | None) -> None:
    plain = made(site, "default")
    service_id = service(site).id
    with site.database.begin() as tx:
        backends.update_service(tx, service_id, disabled=reason is not None, disabled_reason=reason)
    replication.failover(site.plane, ADMIN, HOST, "nowhere")
    site.work()
    assert service(site).replication_status == ReplicationStatus.ENABLED
    assert service(site).disabled_reason == (reason or "not failed over: There is no target 'nowhere'.")
    assert state(site, plain) == (VolumeStatus.AVAILABLE, None)


def test_a_driver_that_has_nothing_to_say_of_a_volume_has_failed_over(site: ReplicatedPlane) -> None:
    replicated = made(site, "replicated")
    site.driver.also = [{"volume_id": replicated.id}, {"updates": None}, {}]  # type: ignore[attr-defined]
    replication.failover(site.plane, ADMIN, HOST, "far")
    site.work()
    assert service(site).active_backend_id == "far"
    assert state(site, replicated) == (VolumeStatus.AVAILABLE, ReplicationStatus.FAILED_OVER)


def test_a_failover_that_breaks_is_told(site: ReplicatedPlane) -> None:
    site.driver.broken = True  # type: ignore[attr-defined]
    replication.failover(site.plane, ADMIN, HOST, None)
    site.work()
    seen = service(site)
    assert (seen.replication_status, seen.disabled) == (ReplicationStatus.FAILOVER_ERROR, True)


@pytest.mark.parametrize("way", ["thaw", "fail back"])
def test_there_is_a_way_out_of_a_failover_that_broke(site: ReplicatedPlane, way: str) -> None:
    site.driver.broken = True  # type: ignore[attr-defined]
    replication.failover(site.plane, ADMIN, HOST, None)
    site.work()
    site.driver.broken = False  # type: ignore[attr-defined]
    if way == "thaw":
        replication.thaw(site.plane, ADMIN, HOST)
    else:
        replication.failover(site.plane, ADMIN, HOST, "default")
        site.work()
    seen = service(site)
    assert (seen.replication_status, seen.disabled, seen.disabled_reason) == (ReplicationStatus.ENABLED, False, None)
    assert made(site, "replicated").status is VolumeStatus.AVAILABLE


class Boasting(VolumePlane):
    """Its driver reports that it replicates, and cannot fail over."""

    def make_driver(self, section: Any) -> Any:
        driver = super().make_driver(section)
        tell = driver._update_volume_stats

        def told() -> None:
            tell()
            driver._stats["replication_enabled"] = True

        driver._update_volume_stats = told
        return driver


def test_a_driver_that_cannot_fail_over_stays_in_service(tmp_path: Path) -> None:
    site = Boasting(tmp_path, retry=RetryPolicy(give_up_after_s=60))
    volume = made(site, "default")
    replication.failover(site.plane, ADMIN, HOST, None)
    site.work()
    seen = service(site)
    assert (seen.replication_status, seen.disabled) == (ReplicationStatus.ENABLED, False)
    assert state(site, volume) == (VolumeStatus.AVAILABLE, None)
    assert made(site, "default").status is VolumeStatus.AVAILABLE


@pytest.mark.parametrize("target", [None, "far", "default"])
def test_what_replicates_nothing_is_not_failed_over(tmp_path: Path, target: str | None) -> None:
    """Accepted, nothing would happen, and nobody be told."""
    site = VolumePlane(tmp_path, retry=RetryPolicy(give_up_after_s=60))
    with pytest.raises(Invalid, match="replicates nothing"):
        replication.failover(site.plane, ADMIN, HOST, target)
    assert service(site).replication_status is None
    with site.database.read() as tx:
        assert not operations.pending(tx)


def test_a_target_that_the_backend_does_not_report_is_refused_by_name(site: ReplicatedPlane) -> None:
    Replicating.targets = ["far", "near"]
    site.restart()
    Replicating.targets = None
    with pytest.raises(Invalid, match="'nowhere'; it has far, near"):
        replication.failover(site.plane, ADMIN, HOST, "nowhere")
    replication.failover(site.plane, ADMIN, HOST, "far")
    site.work()
    assert service(site).active_backend_id == "far"
    replication.failover(site.plane, ADMIN, HOST, "default")


def test_a_frozen_backend_gets_nothing_new(site: ReplicatedPlane) -> None:
    replication.freeze(site.plane, ADMIN, HOST)
    assert (service(site).frozen, service(site).disabled_reason) == (True, "frozen")
    assert made(site, "default").status is VolumeStatus.ERROR
    replication.thaw(site.plane, ADMIN, HOST)
    assert made(site, "default").status is VolumeStatus.AVAILABLE


def test_a_backend_that_is_none_is_not_found(site: ReplicatedPlane) -> None:
    with pytest.raises(NotFound):
        replication.freeze(site.plane, ADMIN, "host@other")


def test_what_serves_a_backend_lets_nothing_run_beside_a_failover(site: ReplicatedPlane) -> None:
    served = VolumeBackend(site.conf, "dummy", site.database, site.queue, site.clock)
    creation.create(site.plane, OWNER, NewVolume(size_gib=1))
    with site.database.read() as tx:
        (waiting,) = operations.pending(tx)
    with served.manager.turn("failover_host"), pytest.raises(Postponed):
        served.dispatch(OWNER, waiting)


def test_a_thaw_that_fails_back_lets_nothing_run_beside_it_and_another_does(site: ReplicatedPlane) -> None:
    served = VolumeBackend(site.conf, "dummy", site.database, site.queue, site.clock).manager
    with served.turn("thaw_host"), served.turn("create_volume"):
        pass
    site.driver.broken = True  # type: ignore[attr-defined]
    replication.failover(site.plane, ADMIN, HOST, None)
    site.work()
    assert service(site).replication_status == ReplicationStatus.FAILOVER_ERROR
    with served.turn("thaw_host"), pytest.raises(Postponed), served.turn("create_volume"):
        pass
    site.driver.broken = False  # type: ignore[attr-defined]
    replication.thaw(site.plane, ADMIN, HOST)
    with served.turn("thaw_host"), served.turn("create_volume"):
        pass

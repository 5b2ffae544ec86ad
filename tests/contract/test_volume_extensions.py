"""Volumes that are made larger: services, queue, manager and dummy driver together, and statuses written by hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.domain.quotas import Usage
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import BackendFault, Fault, Unsupported
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import creation, lifecycle, quotas, volumes
from penstock.services.volumes.creation import NewVolume
from penstock.store.keyset import KeysetPage
from tests.volume_plane import ADMIN, OWNER, VolumePlane


@pytest.fixture
def site(tmp_path: Path) -> VolumePlane:
    return VolumePlane(tmp_path, retry=RetryPolicy(give_up_after_s=60))


def made(site: VolumePlane) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=2))
    site.work()
    return shown(site, volume.id)


def shown(site: VolumePlane, volume_id: str) -> Volume:
    return volumes.get(site.plane, OWNER, volume_id)


def texts(site: VolumePlane) -> list[str]:
    return [one.text for one in messages.list_about_volumes(site.plane, OWNER, KeysetPage(), {}, {})]


def fair(site: VolumePlane) -> None:
    site.storage.before = lambda _step: None


@pytest.mark.parametrize("fault", [None, BackendFault("the pool said no"), Unsupported("it cannot")])
def test_a_status_written_by_hand_during_an_extension_stays_and_its_promise_is_let_go(
    site: VolumePlane, fault: Fault | None
) -> None:
    volume = made(site)

    def before(at: str) -> None:
        if at == "extend":
            lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="available"))
            if fault is not None:
                raise fault

    site.storage.before = before
    lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
    site.work()
    seen = shown(site, volume.id)
    held = site.storage.volumes[f"volume-{volume.id}"].size_gib
    assert (seen.status, seen.size_gib, seen.size_target_gib) == (VolumeStatus.AVAILABLE, held, None)
    assert held == (5 if fault is None else 2)
    assert len(texts(site)) == (0 if fault is None else 1)


def test_an_extension_is_carried_out_though_a_status_was_written_before_it_began(site: VolumePlane) -> None:
    volume = made(site)
    lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
    lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="error"))
    site.work()
    held = site.storage.volumes[f"volume-{volume.id}"].size_gib
    seen = shown(site, volume.id)
    assert (seen.status, seen.size_gib, seen.size_target_gib, held) == (VolumeStatus.ERROR, 5, None, 5)


@pytest.mark.parametrize(("first", "second"), [(5, 9), (9, 5), (5, 5)])
@pytest.mark.parametrize("step", [None, "extend", "extend done"])
def test_an_extension_that_is_accepted_before_another_has_ended_is_carried_out(
    site: VolumePlane, first: int, second: int, step: str | None
) -> None:
    volume = made(site)
    between: list[Volume] = []

    def accept_another() -> None:
        lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="available"))
        lifecycle.extend(site.plane, OWNER, volume.id, second, attached=False)

    def before(at: str) -> None:
        if between and at == "extend":
            between.append(shown(site, volume.id))
        if not between and at == step:
            accept_another()
            between.append(shown(site, volume.id))

    site.storage.before = before
    lifecycle.extend(site.plane, OWNER, volume.id, first, attached=False)
    if step is None:
        accept_another()
    site.work()
    held = site.storage.volumes[f"volume-{volume.id}"].size_gib
    seen = shown(site, volume.id)
    largest = max(first, second)
    assert (seen.status, seen.size_gib, seen.size_target_gib, held) == (VolumeStatus.AVAILABLE, largest, None, largest)
    assert texts(site) == []
    if first != second:  # else the first does what the second asks for
        assert all((one.status, one.size_target_gib) == (VolumeStatus.EXTENDING, second) for one in between)
    assert quotas.show(site.plane, "p1")["gigabytes"].usage == Usage(largest)


def test_a_refused_extension_takes_nothing_from_one_that_was_accepted_meanwhile(site: VolumePlane) -> None:
    volume = made(site)

    def before(at: str) -> None:
        if at == "extend":
            fair(site)
            lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="available"))
            lifecycle.extend(site.plane, OWNER, volume.id, 9, attached=False)
            raise Unsupported("it cannot")

    site.storage.before = before
    lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
    site.work()
    seen = shown(site, volume.id)
    assert (seen.status, seen.size_gib, seen.size_target_gib) == (VolumeStatus.AVAILABLE, 9, None)
    assert len(texts(site)) == 1


def test_what_grew_before_the_process_died_is_written_whatever_the_status_is_by_then(site: VolumePlane) -> None:
    volume = made(site)

    class Died(BaseException):
        """The process is gone."""

    def before(at: str) -> None:
        if at == "extend done":
            fair(site)
            lifecycle.reset_status(site.plane, ADMIN, volume.id, lifecycle.Reset(status="available"))
            raise Died

    site.storage.before = before
    lifecycle.extend(site.plane, OWNER, volume.id, 5, attached=False)
    with pytest.raises(Died):
        site.work()
    assert shown(site, volume.id).size_gib == 2
    site.restart()
    site.work()
    seen = shown(site, volume.id)
    assert (seen.status, seen.size_gib, seen.size_target_gib) == (VolumeStatus.AVAILABLE, 5, None)


def test_an_extend_without_room_leaves_the_volume_as_it_was(site: VolumePlane) -> None:
    volume = made(site)
    quotas.update(site.plane, "p1", {"gigabytes": -1})
    lifecycle.extend(site.plane, OWNER, volume.id, 5000, attached=False)
    assert (shown(site, volume.id).status, shown(site, volume.id).size_target_gib) == (VolumeStatus.AVAILABLE, None)
    assert any("1000 GiB in all" in text for text in texts(site))

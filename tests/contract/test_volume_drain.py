"""Emptying a backend of volumes over the API: what leaves, what stays and why, and going on after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.client.draining import Drain, Drained, Leaving
from penstock.client.session import MEANING, VOLUMES, Session
from penstock.client.volume_drain import VolumeMover
from penstock.domain.volumes import INTERNAL_PROJECT, MigrationStatus, Volume
from penstock.errors import BackendFault
from penstock.services.volumes import attachments, lifecycle, retyping, snapshots, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.snapshots import NewVolumeSnapshot
from penstock.store import backends
from penstock.store import volumes as volume_rows
from penstock.volume.manager.image_cache import CACHED_IMAGE
from penstock.volume.manager.temporary import temporary
from tests.api.conftest import FixedTokens
from tests.contract.test_volume_moves_between_backends import TwoBackends, file_of, made
from tests.volume_plane import ADMIN, OWNER

HERE, THERE = "host@dummy#pool", "host@other#pool"


class OverTestClient(Session):
    """A session whose requests go to an application in this process."""

    def __init__(self, http: TestClient) -> None:
        self._http = http

    def request(self, method: str, path: str, *, body: Any = None, query: Any = None) -> Any:
        headers = {"X-Auth-Token": "admin", **VOLUMES.headers}
        given = {name: value for name, value in (query or {}).items() if value is not None}
        answer = self._http.request(method, f"/volume/v3/{path}", json=body, headers=headers, params=given or None)
        if answer.status_code >= 400:
            (details,) = answer.json().values()
            raise MEANING.get(answer.status_code, BackendFault)(details["message"])
        return answer.json() if answer.content else None


@pytest.fixture
def site(tmp_path: Path) -> TwoBackends:
    return TwoBackends(tmp_path)


@pytest.fixture
def session(site: TwoBackends) -> Iterator[Session]:
    with TestClient(make_app(site.plane, tokens=FixedTokens()), raise_server_exceptions=False) as http:
        yield OverTestClient(http)


def drain(site: TwoBackends, session: Session, pause: Callable[[], None] | None = None, **more: Any) -> Drain:
    place = more.pop("place", "host@dummy")
    return Drain(VolumeMover(session), place, pause=pause or site.settle, **more)


def shown(site: TwoBackends, volume: Volume) -> Volume:
    return volumes.get(site.plane, ADMIN, volume.id)


def test_what_can_leave_leaves_and_the_rest_is_named_with_the_reason(site: TwoBackends, session: Session) -> None:
    good, used, kept = made(site), made(site), made(site)
    with file_of(site, good, "here").open("r+b") as file:
        file.write(b"the data")
    attachments.create(site.plane, OWNER, NewAttachment(used.id, instance_uuid="vm"))
    snapshots.create(site.plane, OWNER, NewVolumeSnapshot(kept.id))
    site.settle()
    lines: list[str] = []
    work = drain(site, session, tell=lines.append)
    work.disable()
    ended = work.run()
    assert ended.moved == (good.id,)
    assert ended.left.keys() == {used.id, kept.id}
    assert "is 'reserved'" in ended.left[used.id]
    assert "snapshots, which stay where they are" in ended.left[kept.id]
    moved = shown(site, good)
    assert moved.host == THERE
    with file_of(site, moved, "there").open("rb") as file:
        assert file.read(8) == b"the data"
    assert f"{good.id}: moved" in lines
    with site.database.read() as tx:
        (service,) = backends.list_services(tx, binary="cinder-volume", host="host@dummy")
    assert service.disabled


def test_no_more_at_a_time_than_asked(site: TwoBackends, session: Session) -> None:
    mine = [made(site) for _ in range(3)]
    most = 0

    def count() -> None:
        nonlocal most
        most = max(most, sum(shown(site, volume).is_migrating for volume in mine))
        site.settle()

    assert len(drain(site, session, count, at_once=2).run().moved) == 3
    assert most == 2


def test_without_another_pool_it_stays(site: TwoBackends, session: Session) -> None:
    volume = made(site)
    ended = drain(site, session, to=["host@three"]).run()
    assert ended.left == {volume.id: f"{volume.id}: no other pool fits its type"}


def test_a_failed_copy_says_so_and_the_volume_stays_whole(site: TwoBackends, session: Session) -> None:
    volume = made(site)
    type(site.there.driver).broken = True  # type: ignore[attr-defined]
    try:
        ended = drain(site, session).run()
    finally:
        type(site.there.driver).broken = False  # type: ignore[attr-defined]
    assert ended.moved == ()
    assert THERE in ended.left[volume.id]
    assert (shown(site, volume).host, shown(site, volume).migration_status) == (HERE, MigrationStatus.ERROR)


def test_another_drain_goes_on_where_one_was_ended(site: TwoBackends, session: Session) -> None:
    volume = made(site)
    retyping.migrate(site.plane, ADMIN, volume.id, THERE)
    assert [one.is_moving for one in drain(site, session).leaving()] == [True]
    assert drain(site, session).run().moved == (volume.id,)


def test_what_is_deleted_meanwhile_neither_ends_the_drain_nor_stays(site: TwoBackends, session: Session) -> None:
    mine = [made(site) for _ in range(3)]
    lines: list[str] = []

    def delete_two() -> None:
        """One has moved, which nobody has seen yet; another waits its turn."""
        site.settle()
        while doomed:
            lifecycle.delete(site.plane, OWNER, doomed.pop())
        site.settle()

    work = drain(site, session, delete_two, at_once=1, tell=lines.append)
    order = [one.id for one in work.leaving()]
    mine.sort(key=lambda volume: order.index(volume.id))
    doomed = [one.id for one in mine[:2]]
    assert work.run() == Drained((mine[2].id,), {})
    assert [line for line in lines if "deleted" in line] == [f"{one.id}: was deleted meanwhile" for one in mine[:2]]


def test_what_is_deleted_as_its_move_is_asked_for_does_not_stay(site: TwoBackends, session: Session) -> None:
    volume = made(site)

    class Deleting(VolumeMover):
        def start(self, leaving: Leaving, pool: str) -> None:
            lifecycle.delete(site.plane, OWNER, volume.id)
            site.settle()
            super().start(leaving, pool)

    assert Drain(Deleting(session), "host@dummy", pause=site.settle).run() == Drained((), {})


def test_what_the_server_made_for_itself_keeps_no_backend_from_being_empty(site: TwoBackends, session: Session) -> None:
    volume = shown(site, made(site))
    now = site.clock.utc()
    cached = temporary(volume, now=now, notes={CACHED_IMAGE: "an image"}, project_id=INTERNAL_PROJECT)
    copy = temporary(volume, now=now)
    with site.database.begin() as tx:
        for one in (cached, copy):
            volume_rows.insert_volume(tx, one)
    work = drain(site, session)
    assert [one.id for one in work.leaving()] == [volume.id]
    ended = work.run()
    assert (ended.moved, ended.left) == ((volume.id,), {})
    (remark,) = ended.besides
    assert remark == f"{cached.id}: the copy of an image that new volumes are made from (1 GiB)"


def test_one_pool_is_named_alone(site: TwoBackends, session: Session) -> None:
    made(site)
    assert len(drain(site, session, place=HERE).leaving()) == 1
    assert drain(site, session, place="host@dummy#other").leaving() == []
    assert drain(site, session, place="host@dumm").leaving() == []

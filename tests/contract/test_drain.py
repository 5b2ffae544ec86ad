"""Emptying a backend over the API: what leaves, what stays and why, and going on after an interruption."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from penstock.api.app import make_app
from penstock.client.draining import Drain
from penstock.client.session import EXPERIMENTS, MEANING, VERSION, VERSION_HEADER, Session
from penstock.client.share_drain import ShareMover
from penstock.domain.lifecycle import Event
from penstock.errors import BackendFault
from penstock.store import backends, shares
from tests.api.conftest import FixedTokens
from tests.contract.migration_bench import HERE, THERE, Bench


class OverTestClient(Session):
    """A session whose requests go to an application in this process."""

    def __init__(self, http: TestClient) -> None:
        self._http = http

    def request(self, method: str, path: str, *, body: Any = None, query: Any = None) -> Any:
        headers = {"X-Auth-Token": "admin", VERSION_HEADER: VERSION, **EXPERIMENTS}
        given = {name: value for name, value in (query or {}).items() if value is not None}
        answer = self._http.request(method, f"/v2/{path}", json=body, headers=headers, params=given or None)
        if answer.status_code >= 400:
            (details,) = answer.json().values()
            raise MEANING.get(answer.status_code, BackendFault)(details["message"])
        return answer.json() if answer.content else None


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


@pytest.fixture
def session(bench: Bench) -> Iterator[Session]:
    with TestClient(make_app(bench.plane, tokens=FixedTokens()), raise_server_exceptions=False) as http:
        yield OverTestClient(http)


def drain(bench: Bench, session: Session, pause: Callable[[], None] | None = None, **more: Any) -> Drain:
    return Drain(ShareMover(session), more.pop("place", "host@one"), pause=pause or bench.tick, **more)


def test_every_share_leaves_and_none_is_placed_there(bench: Bench, session: Session) -> None:
    mine = [bench.a_share(name=f"share {number}") for number in range(4)]
    bench.allow(mine[0], "10.0.0.1")
    bench.take(mine[1])
    lines: list[str] = []
    work = drain(bench, session, tell=lines.append)
    work.disable()
    ended = work.run()
    assert set(ended.moved) == {share.id for share in mine}
    assert ended.left == {}
    assert all(bench.instances(share) == {THERE: "available"} for share in mine)
    assert lines.count("share 0: moved") == 1
    with bench.database.read() as tx:
        assert backends.list_services(tx, host="host@one")[0].disabled


def test_no_more_at_a_time_than_asked(bench: Bench, session: Session) -> None:
    for _ in range(4):
        bench.a_share()
    most = 0

    def count() -> None:
        nonlocal most
        with bench.database.read() as tx:
            most = max(most, len(shares.of_backend(tx, "host@one", statuses=["migrating"])))  # type: ignore[list-item]
        bench.tick()

    drain(bench, session, count, at_once=2).run()
    assert most == 2


def test_what_cannot_leave_is_named_with_the_reason(bench: Bench, session: Session) -> None:
    good, bad = bench.a_share(name="good"), bench.a_share(name="bad")
    instance = bench.share(bad).instance
    with bench.database.begin() as tx:
        shares.move(tx, instance, Event.EXTEND, now=bench.clock.utc())
    ended = drain(bench, session).run()
    assert ended.moved == (good.id,)
    assert ended.left.keys() == {bad.id}
    assert "bad: host@two#pool: Share" in ended.left[bad.id]
    assert "'extending'" in ended.left[bad.id]


def test_without_another_pool_it_stays(bench: Bench, session: Session) -> None:
    share = bench.a_share()
    ended = drain(bench, session, to=["host@three"]).run()
    assert ended.left == {share.id: "share: no other pool fits its type"}
    assert bench.instances(share) == {HERE: "available"}


def test_one_that_is_too_large_is_told(bench: Bench, session: Session) -> None:
    share = bench.a_share(size_gib=6)
    bench.managers["two"].driver.configuration.conf.set_override("dummy_pool_size", 5, "two")
    bench.managers["two"].publish_service_capabilities(None)  # type: ignore[arg-type]
    ended = drain(bench, session).run()
    assert "it holds 5 GiB in all" in ended.left[share.id]


def test_another_drain_goes_on_where_one_was_ended(bench: Bench, session: Session) -> None:
    mine = [bench.a_share() for _ in range(3)]

    class Ended(Exception):
        pass

    def end() -> None:
        bench.run()
        raise Ended

    with pytest.raises(Ended):
        drain(bench, session, end).run()
    assert sum(bench.instances(share).get(HERE) == "migrating" for share in mine) == 2
    ended = drain(bench, session).run()
    assert set(ended.moved) == {share.id for share in mine}


def test_one_pool_is_named_alone(bench: Bench, session: Session) -> None:
    bench.a_share()
    assert [share.name for share in drain(bench, session, place=HERE).leaving()] == ["share"]
    assert drain(bench, session, place="host@one#other").leaving() == []
    assert drain(bench, session, place="host@on").leaving() == []

"""``penstock share`` against a live server on loopback, with a backend that does the work."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.main import main
from penstock.client import shares as shares_client
from penstock.client.session import Credentials, Session
from penstock.domain.shares import ShareStatus
from penstock.errors import BackendFault, Unauthorized, Unavailable, UnknownResult
from penstock.identity.bootstrap import bootstrap
from penstock.operations.worker import Worker
from penstock.services.control_plane import ControlPlane
from penstock.share_backend import Dispatch
from penstock.store import backends, shares
from penstock.units import GIB
from tests.cli.server import PASSWORD, Commands, served
from tests.simulation.storage_bench import StorageBench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[StorageBench]:
    """A control plane over a simulated storage host."""
    bench = StorageBench(tmp_path, database_url=f"sqlite:///{tmp_path / 'penstock.sqlite'}")
    conf = bench.site.backend.configuration.conf
    conf.set_override("state_path", str(tmp_path))
    conf.set_override("host", "host")
    conf.set_override("enabled_share_protocols", ["NFS"])
    conf.set_override("default_share_type", bench.type.name)
    bootstrap(bench.database, bench.clock, admin_password=PASSWORD)
    with bench.database.begin() as tx:
        backends.heartbeat(tx, binary="manila-share", host="host@zfs", zone="nova", ready=True, now=bench.clock.utc())
    bench.site.manager.publish_service_capabilities(bench.site.context)
    yield bench
    bench.database.close()


@pytest.fixture
def server(bench: StorageBench, tmp_path: Path, elsewhere: None) -> Iterator[Commands]:
    plane = ControlPlane(bench.database, bench.site.queue, bench.clock, bench.site.backend.configuration.conf)
    worker = Worker(bench.database, plane.operations, bench.clock, "host@zfs", Dispatch(bench.site.manager))
    with served(plane, worker, tmp_path, "share") as server:
        yield server


def test_the_life_of_a_share(server: Commands, bench: StorageBench) -> None:
    made = server.ok("create", "1", "--name", "docs", "--description", "papers")
    assert "available" in made
    assert "192.0.2.5:/tank/" in made
    rule_id = server.ok("allow", "docs", "10.0.0.0/24", "--squash", "no_root_squash").strip()
    (export,) = bench.nfs.served().values()
    assert [(rule.client, rule.squash.value) for rule in export.clients] == [("10.0.0.0/24", "no_root_squash")]
    assert rule_id in server.ok("rules", "docs")
    server.ok("extend", "docs", "3")
    server.ok("snapshot", "create", "docs", "--name", "monday")
    assert "monday" in server.ok("snapshot", "list", "docs")
    assert "available" in server.ok("create", "3", "--name", "copy", "--snapshot", "monday")
    server.ok("revert", "docs", "monday")
    server.ok("shrink", "docs", "2")
    assert "2 GiB" in server.ok("show", "docs")
    server.ok("deny", "docs", "10.0.0.0/24")
    assert bench.nfs.served() == {}
    server.ok("snapshot", "delete", "monday")
    server.ok("delete", "docs", "copy")
    assert server.ok("list") == "There are no shares.\n"
    assert bench.findings() == []


def test_json_and_lists(server: Commands) -> None:
    made = json.loads(server.ok("create", "1", "--name", "docs", "--json"))
    assert (made["status"], made["size"]) == ("available", 1)
    (listed,) = json.loads(server.ok("list", "--json"))
    assert listed["id"] == made["id"]
    assert "docs" in server.ok("list", "--status", "available")
    assert server.ok("list", "--status", "error") == "There are no shares.\n"
    assert "gold" in server.ok("types")
    shown = json.loads(server.ok("show", made["id"], "--json"))
    assert [location["preferred"] for location in shown["export_locations"]] == [True]


def test_failures_say_why(server: Commands) -> None:
    assert "There is no share 'docs'" in server.fails("show", "docs")
    assert "exceeds the quota" in server.fails("create", "10000")
    server.ok("create", "2", "--name", "docs")
    assert "10.0.0.300" in server.fails("allow", "docs", "10.0.0.300")
    assert "no access rule for 10.0.0.9" in server.fails("deny", "docs", "10.0.0.9")
    server.ok("create", "1", "--name", "docs")
    assert "name one by its id" in server.fails("show", "docs")


def test_a_refused_shrink_shows_the_message_to_the_owner(server: Commands, bench: StorageBench) -> None:
    made = json.loads(server.ok("create", "2", "--name", "docs", "--json"))
    with bench.database.read() as tx:
        share = shares.get(tx, made["id"])
    assert share is not None
    bench.host.write(bench.dataset(share), 3 * GIB // 2)
    assert "holds more than the new size" in server.fails("shrink", "docs", "1")
    assert bench.row(share).size_gib == 2
    server.ok("delete", "docs")


def test_not_waiting_longer_than_told(server: Commands, bench: StorageBench) -> None:
    made = json.loads(server.ok("create", "1", "--name", "docs", "--json"))
    with bench.database.begin() as tx:
        share = shares.get(tx, made["id"])
        assert share is not None
        shares.reset_status(tx, share.instance.id, ShareStatus.EXTENDING, now=bench.clock.utc())
    session = Session(Credentials(server.url, "admin", PASSWORD, "admin"))
    seen: list[str] = []
    with pytest.raises(UnknownResult, match="still 'extending'"):
        shares_client.settled(session, "shares", made["id"], timeout_s=0, progress=seen.append)
    assert seen == ["extending"]


def test_the_environment_and_this_machines_own_daemon(
    server: Commands, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("OS_AUTH_URL", "OS_USERNAME", "OS_PASSWORD", "OS_PROJECT_NAME", "PENSTOCK_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    port = server.url.rpartition(":")[2]
    config = tmp_path / "penstock.conf"
    config.write_text(f"[DEFAULT]\nstate_path = {tmp_path}\nosapi_share_listen_port = {port}\n")
    (tmp_path / "admin-password").write_text(PASSWORD)
    own = CliRunner().invoke(main, ["--config", str(config), "share", "list"])
    assert own.output == "There are no shares.\n"
    elsewhere = CliRunner().invoke(main, ["--config", str(config), "share", "list", "--url", "http://127.0.0.1:9"])
    assert "To log in" in elsewhere.stderr  # the password of this machine goes nowhere else
    variables = {
        "OS_AUTH_URL": f"{server.url}/v3",
        "OS_USERNAME": "admin",
        "OS_PASSWORD": PASSWORD,
        "OS_PROJECT_NAME": "admin",
    }
    assert CliRunner().invoke(main, ["share", "list"], env=variables).exit_code == 0
    wrong = CliRunner().invoke(main, ["share", "list"], env={**variables, "OS_PASSWORD": "wrong"})
    assert wrong.exit_code == 1


def test_a_session_logs_in_again_and_tells_faults_apart(server: Commands) -> None:
    session = Session(Credentials(server.url, "admin", PASSWORD, "admin"))
    assert session.get("shares")["shares"] == []
    session._token = "expired"
    assert session.get("shares")["shares"] == []
    with pytest.raises(Unauthorized):
        Session(Credentials(server.url, "admin", "wrong", "admin")).get("shares")
    with pytest.raises(Unavailable, match="does not answer"):
        Session(Credentials("http://127.0.0.1:1", "admin", "wrong", "admin")).get("shares")
    with pytest.raises(BackendFault), suppress(Unavailable):
        Session(Credentials(f"{server.url}/metrics?", "a", "b", "c")).get("shares")

"""The appliance's server over simulated ZFS hosts: the protocol's words, and what a crash or a restart leaves."""

from __future__ import annotations

import base64
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from penstock.appliance import presenting
from penstock.appliance.faults import Refusal
from penstock.appliance.records import Records
from penstock.appliance.service import Reply, Service
from penstock.appliance.sessions import Sessions, read_users
from penstock.appliance.sizes import block_size, volume_size
from penstock.clock import ManualClock
from penstock.errors import Conflict, Invalid, Unavailable
from penstock.secret_box import SecretBox
from penstock.units import GIB
from penstock.zfs.client import Zfs
from penstock.zfs.names import Dataset
from tests.contract.appliance_boxes import (
    FLAVOURS,
    PASSWORD,
    QUICK,
    USER,
    Box,
    make_box,
    simulated_box,
)
from tests.simulation.zfs_cli import Answer

LUNS = "/api/storage/v1/pools/tank/projects/p/luns"
ISCSI = "/api/san/v1/iscsi"
IQN = "iqn.2026-11.org.example:one"
BASIC = "Basic " + base64.b64encode(f"{USER}:{PASSWORD}".encode()).decode()


@dataclass
class Client:
    """Requests by Basic authorization, straight to the service; no wire."""

    box: Box
    folder: Path

    @property
    def service(self) -> Service:
        return Service(self.box.site, self.box.sessions, self.box.replication)

    def ask(self, method: str, path: str, body: Any = None) -> Reply:
        content = b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        return self.service.handle(method, path, {"authorization": BASIC}, content)

    def good(self, method: str, path: str, body: Any = None) -> Any:
        reply = self.ask(method, path, body)
        assert reply.status < 300, reply.body
        return reply.body

    def restart(self) -> None:
        """The process anew: all it knows it has from ZFS."""
        old = self.box
        exports, flavour = old.exports, old.site.zfs.flavour
        self.box = make_box(old.name, self.folder, old.host, exports, shows_some=True, flavour=flavour)
        presenting.put_back(self.box.site)


@pytest.fixture(params=list(FLAVOURS))
def client(request: pytest.FixtureRequest, tmp_path: Path) -> Client:
    found = Client(simulated_box("box", tmp_path, request.param), tmp_path)
    found.good("POST", "/api/storage/v1/pools/tank/projects", {"name": "p"})
    return found


def with_lun(client: Client, name: str = "l", **more: Any) -> Any:
    return client.good("POST", LUNS, {"name": name, "volsize": "1g", "sparse": True, **more})["lun"]


def with_target(client: Client) -> None:
    client.good("POST", f"{ISCSI}/initiators", {"initiator": IQN, "alias": "one"})
    client.good("POST", f"{ISCSI}/initiator-groups", {"name": "g", "initiators": [IQN]})
    iqn = client.good("POST", f"{ISCSI}/targets", {"alias": "t"})["target"]["iqn"]
    client.good("POST", f"{ISCSI}/target-groups", {"name": "t", "targets": [iqn]})


# --- words ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("method", "path", "body", "status", "name"), [
    ("GET", "/api/nothing", None, 404, "ERR_NOT_FOUND"),
    ("GET", "/api/storage/v1/pools/none", None, 404, "ERR_NOT_FOUND"),
    ("GET", "/api/storage/v1/pools/tank/projects/none", None, 404, "ERR_NOT_FOUND"),
    ("GET", "/api/storage/v1/pools/tank/projects/.settings", None, 400, "ERR_INVALID_ARG"),
    ("GET", f"{LUNS}/none", None, 404, "ERR_NOT_FOUND"),
    ("GET", f"{LUNS}/..", None, 400, "ERR_INVALID_ARG"),
    ("GET", f"{LUNS}/a%2Fb", None, 400, "ERR_INVALID_ARG"),
    ("GET", f"{LUNS}/l%40s", None, 400, "ERR_INVALID_ARG"),
    ("POST", "/api/storage/v1/pools/tank/projects", {"name": "p"}, 409, "ERR_OBJECT_EXISTS"),
    ("POST", "/api/storage/v1/pools/tank/projects", {"name": "-f"}, 400, "ERR_INVALID_ARG"),
    ("POST", "/api/storage/v1/pools/tank/projects", {}, 400, "ERR_MISSING_ARG"),
    ("POST", "/api/storage/v1/pools/tank/projects", {"name": "q", "colour": 1}, 400, "ERR_UNKNOWN_ARG"),
    ("POST", "/api/storage/v1/pools/tank/projects", b"{", 400, "ERR_INVALID_ARG"),
    ("POST", "/api/storage/v1/pools/tank/projects", b"[1]", 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "many"}, 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": 1000}, 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "1g", "volblocksize": "3k"}, 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "1g", "compression": "best"}, 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "1g", "custom:none": "x"}, 400, "ERR_UNKNOWN_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "1g", "initiatorgroup": "none"}, 400, "ERR_INVALID_ARG"),
    ("POST", LUNS, {"name": "l", "volsize": "900g", "sparse": False}, 413, "ERR_OVER_LIMIT"),
    ("POST", "/api/storage/v1/schema", {"property": "X Y"}, 400, "ERR_INVALID_ARG"),
    ("POST", "/api/storage/v1/schema", {"property": "x", "type": "Colour"}, 400, "ERR_INVALID_ARG"),
    ("POST", f"{ISCSI}/initiators", {"initiator": "me", "alias": "x"}, 400, "ERR_INVALID_ARG"),
    ("POST", f"{ISCSI}/initiators", {"initiator": IQN, "chapuser": "x"}, 400, "ERR_INVALID_ARG"),
    ("POST", f"{ISCSI}/initiator-groups", {"name": "g", "initiators": [IQN]}, 400, "ERR_INVALID_ARG"),
    ("POST", f"{ISCSI}/initiator-groups", {"name": "default", "initiators": []}, 409, "ERR_OBJECT_EXISTS"),
    ("PUT", f"{ISCSI}/initiator-groups/default", {"initiators": []}, 403, "ERR_DENIED"),
    ("POST", f"{ISCSI}/target-groups", {"name": "t", "targets": [IQN]}, 400, "ERR_INVALID_ARG"),
    ("GET", f"{ISCSI}/targets/alias=none", None, 404, "ERR_NOT_FOUND"),
    ("GET", "/api/storage/v1/replication/actions/none", None, 404, "ERR_NOT_FOUND"),
    ("PUT", "/api/storage/v1/replication/sources/a/packages/b/sever", {"projname": "x"}, 404, "ERR_NOT_FOUND"),
])  # fmt: skip
def test_refusals(client: Client, method: str, path: str, body: Any, status: int, name: str) -> None:
    reply = client.ask(method, path, body)
    fault = (reply.body or {})["fault"]
    assert (reply.status, fault["message"], fault["code"]) == (status, name, status)
    assert fault["details"]


def test_a_lun_as_the_protocol_has_it(client: Client) -> None:
    client.good("POST", "/api/storage/v1/schema", {"property": "image_id", "type": "String"})
    found = with_lun(client, **{"custom:image_id": "x"})
    assert found["initiatorgroup"] == ["com.sun.ms.vss.hg.maskAll"]
    assert found["assignednumber"] == [-1]
    assert (found["volsize"], found["nodestroy"], found["custom:image_id"]) == (GIB, False, "x")
    assert len(found["lunguid"]) == 32
    assert "origin" not in found
    assert client.good("GET", LUNS)["luns"] == [found]
    assert client.good("GET", LUNS.replace("luns", "filesystems") + "/l")["lun"] == found


def test_protection_keeps_a_lun_and_what_it_was_cloned_of(client: Client) -> None:
    with_lun(client)
    client.good("POST", f"{LUNS}/l/snapshots", {"name": "s"})
    body = {"project": "p", "share": "c", "nodestroy": True}
    made = client.good("PUT", f"{LUNS}/l/snapshots/s/clone", body)["lun"]
    assert made["origin"] == {"pool": "tank", "project": "p", "share": "l", "snapshot": "s"}
    for path in (f"{LUNS}/c", f"{LUNS}/l/snapshots/s", f"{LUNS}/l"):
        assert client.ask("DELETE", path).status == 403
    assert client.good("GET", f"{LUNS}/l/snapshots/s")["snapshot"]["numclones"] == 1
    client.good("PUT", f"{LUNS}/l", {"name": "renamed"})
    assert client.good("GET", f"{LUNS}/c")["lun"]["origin"]["share"] == "renamed"
    client.good("PUT", f"{LUNS}/c", {"nodestroy": False})
    client.good("DELETE", f"{LUNS}/renamed")
    assert client.good("GET", LUNS)["luns"] == []


def test_a_clone_keeps_the_block_size_and_forgets_custom_values(client: Client) -> None:
    client.good("POST", "/api/storage/v1/schema", {"property": "image_id"})
    with_lun(client, volblocksize="64k", **{"custom:image_id": "x"})
    client.good("POST", f"{LUNS}/l/snapshots", {"name": "s"})
    refused = client.ask("PUT", f"{LUNS}/l/snapshots/s/clone", {"share": "c", "volblocksize": "8k"})
    assert (refused.status, (refused.body or {})["fault"]["message"]) == (400, "ERR_UNKNOWN_ARG")
    made = client.good("PUT", f"{LUNS}/l/snapshots/s/clone", {"share": "c"})["lun"]
    assert made["volblocksize"] == 65536
    assert "custom:image_id" not in made


def test_a_lun_is_not_made_smaller(client: Client) -> None:
    with_lun(client)
    assert client.ask("PUT", f"{LUNS}/l", {"volsize": GIB // 2}).status == 400


def test_numbers_stay_and_are_given_again_only_when_free(client: Client) -> None:
    with_target(client)
    for name in ("a", "b", "c"):
        with_lun(client, name, targetgroup="t")
        client.good("PUT", f"{LUNS}/{name}", {"initiatorgroup": "g"})
    numbers = {lun["name"]: lun["assignednumber"] for lun in client.good("GET", LUNS)["luns"]}
    assert numbers == {"a": [1], "b": [2], "c": [3]}
    client.good("PUT", f"{LUNS}/b", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"})
    client.restart()
    assert sorted(client.box.exports.seen[IQN]) == [1, 3]
    client.good("PUT", f"{LUNS}/b", {"initiatorgroup": ["g", "default"]})
    assert client.good("GET", f"{LUNS}/b")["lun"]["assignednumber"] == [2, 2]


def test_what_is_shown_is_renamed_and_moved_and_grown_in_place(client: Client) -> None:
    with_target(client)
    client.good("POST", "/api/storage/v1/pools/tank/projects", {"name": "q"})
    with_lun(client, targetgroup="t", initiatorgroup="g")
    client.good("PUT", f"{LUNS}/l", {"volsize": "2g", "name": "m"})
    client.good("PUT", f"{LUNS}/m", {"project": "q"})
    (path,) = client.box.exports.seen[IQN].values()
    assert path == "/tank/appliance/q/m/disk"
    client.good("DELETE", "/api/storage/v1/pools/tank/projects/q")
    assert client.box.exports.seen == {}


def test_groups_in_use_and_those_that_always_exist_stay(client: Client) -> None:
    with_target(client)
    with_lun(client, targetgroup="t", initiatorgroup="g")
    assert client.ask("DELETE", f"{ISCSI}/initiator-groups/g").status == 403
    assert client.ask("DELETE", f"{ISCSI}/initiators/{IQN}").status == 403
    client.good("PUT", f"{LUNS}/l", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"})
    client.good("DELETE", f"{ISCSI}/initiator-groups/g")
    client.good("DELETE", f"{ISCSI}/initiators/alias=one")


# --- sessions -------------------------------------------------------------------------------------------------------


def test_sessions_end_when_nobody_uses_them() -> None:
    clock = ManualClock()
    sessions = Sessions({USER: QUICK.hash(PASSWORD)}, clock, idle_timeout_s=900, passwords=QUICK)
    token = sessions.log_in(BASIC)
    for _ in range(3):
        clock.advance(800)
        assert sessions.use(token) == USER
    clock.advance(901)
    with pytest.raises(Refusal):
        sessions.use(token)


@pytest.mark.parametrize(
    "authorization", ["", "Basic", "Basic !", "Bearer x", "Basic " + base64.b64encode(b"a:b").decode()]
)
def test_nobody_else_gets_in(client: Client, authorization: str) -> None:
    for headers in ({"authorization": authorization}, {"x-auth-session": "guess"}, {}):
        assert client.service.handle("GET", LUNS, headers, b"").status == 401
    reply = client.service.handle("POST", "/api/access/v1", {"authorization": authorization}, b"")
    assert reply.status == 401


def test_the_file_of_users_is_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "users"
    path.write_text(f"# people\n{USER}:{QUICK.hash(PASSWORD)}\n")
    path.chmod(0o644)
    with pytest.raises(Invalid, match="chmod 600"):
        read_users(path)
    path.chmod(0o600)
    assert set(read_users(path)) == {USER}
    path.write_text("cinder:plain text\n")
    with pytest.raises(Invalid, match="appliance password"):
        read_users(path)


# --- restarts and crashes -------------------------------------------------------------------------------------------


class Killed(BaseException):
    """The server's process is no more."""


@dataclass
class Kill:
    """Dies before or after the command of that number."""

    place: int
    takes_effect: bool
    seen: int = 0

    def before(self, host: Any, words: tuple[str, ...]) -> Answer | None:
        self.seen += 1
        if self.seen > self.place and not self.takes_effect:
            raise Killed
        return None

    def after(self, host: Any, words: tuple[str, ...], answer: Answer) -> Answer | None:
        if self.seen > self.place:
            raise Killed
        return None


def _snapshot(client: Client) -> None:
    client.good("POST", f"{LUNS}/l/snapshots", {"name": "s"})


def _nothing(client: Client) -> None:
    pass


def _shown(client: Client) -> None:
    with_target(client)
    with_lun(client, targetgroup="t", initiatorgroup="g")


REQUESTS: dict[str, tuple[Callable[[Client], Any], str, str, Any, Callable[[Client], bool]]] = {
    "create": (_nothing, "POST", LUNS, {"name": "l", "volsize": "1g"}, lambda client: _exists(client, "l")),
    "grow": (with_lun, "PUT", f"{LUNS}/l", {"volsize": "2g"}, lambda client: _lun(client)["volsize"] == 2 * GIB),
    "snapshot": (
        with_lun, "POST", f"{LUNS}/l/snapshots", {"name": "s"},
        lambda client: client.ask("GET", f"{LUNS}/l/snapshots/s").status == 200,
    ),
    "clone": (
        lambda client: (with_lun(client), _snapshot(client)), "PUT", f"{LUNS}/l/snapshots/s/clone",
        {"share": "c", "nodestroy": True}, lambda client: _lun(client, "c")["nodestroy"] is True,
    ),
    "delete": (
        lambda client: (with_lun(client), _snapshot(client)), "DELETE", f"{LUNS}/l", None,
        lambda client: not _exists(client, "l"),
    ),
    "show": (
        lambda client: (with_target(client), with_lun(client, targetgroup="t")), "PUT", f"{LUNS}/l",
        {"initiatorgroup": "g"}, lambda client: list(client.box.exports.seen.get(IQN, ())) == [1],
    ),
    "hide": (
        _shown, "PUT", f"{LUNS}/l", {"initiatorgroup": "com.sun.ms.vss.hg.maskAll"},
        lambda client: client.box.exports.seen == {},
    ),
    "initiator": (
        _nothing, "POST", f"{ISCSI}/initiators", {"initiator": IQN, "alias": "one" * 80},
        lambda client: client.ask("GET", f"{ISCSI}/initiators/{IQN}").status == 200,
    ),
    "group": (
        lambda client: client.good("POST", f"{ISCSI}/initiators", {"initiator": IQN, "alias": "one"}), "POST",
        f"{ISCSI}/initiator-groups", {"name": "g", "initiators": [IQN]},
        lambda client: client.good("GET", f"{ISCSI}/initiator-groups/g")["group"]["initiators"] == [IQN],
    ),
    "project": (
        _nothing, "POST", "/api/storage/v1/pools/tank/projects", {"name": "q"},
        lambda client: client.ask("GET", "/api/storage/v1/pools/tank/projects/q").status == 200,
    ),
}  # fmt: skip


def _lun(client: Client, name: str = "l") -> Any:
    return client.good("GET", f"{LUNS}/{name}")["lun"]


def _exists(client: Client, name: str) -> bool:
    return client.ask("GET", f"{LUNS}/{name}").status == 200


@pytest.mark.parametrize("takes_effect", [True, False])
@pytest.mark.parametrize("name", REQUESTS)
def test_a_crash_at_any_command_is_mended_by_the_same_request(tmp_path: Path, name: str, takes_effect: bool) -> None:
    before, method, path, body, is_done = REQUESTS[name]
    for flavour in FLAVOURS:
        for place in range(30):
            client = Client(simulated_box("box", tmp_path, flavour), tmp_path)
            client.good("POST", "/api/storage/v1/pools/tank/projects", {"name": "p"})
            before(client)
            host: Any = client.box.host
            host.hooks = kill = Kill(place, takes_effect)
            try:
                client.ask(method, path, body)
            except Killed:
                was_killed = True
            else:
                was_killed = False
            host.hooks = None
            client.restart()
            again = client.ask(method, path, body)
            assert again.status in (200, 201, 202, 204, 404 if method == "DELETE" else 409), again.body
            assert is_done(client), (flavour, place, again.body)
            if not was_killed:
                assert kill.seen
                break
        else:
            pytest.fail("it never came to its end")


def test_an_appliance_is_itself_after_a_restart(client: Client) -> None:
    with_target(client)
    with_lun(client, targetgroup="t", initiatorgroup="g")
    before = {path: client.good("GET", path) for path in (
        LUNS, f"{ISCSI}/initiators", f"{ISCSI}/initiator-groups", f"{ISCSI}/targets", f"{ISCSI}/target-groups",
        "/api/system/v1/version", "/api/storage/v1/pools/tank",
    )}  # fmt: skip
    client.restart()
    assert {path: client.good("GET", path) for path in before} == before


def test_a_dataset_that_is_somebody_elses_is_not_taken(tmp_path: Path) -> None:
    box = simulated_box("box", tmp_path)
    box.site.zfs.create(Dataset("tank/theirs"), {}, parents=False)
    with pytest.raises(Conflict, match="is not an appliance's"):
        make_box("box", tmp_path, box.host, box.exports, root="tank/theirs", flavour=box.site.zfs.flavour)


# --- records and secrets --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("flavour", FLAVOURS)
def test_records_of_any_size_and_letter(tmp_path: Path, flavour: str) -> None:
    zfs: Zfs = simulated_box("box", tmp_path, flavour).site.zfs
    zfs.create(Dataset("tank/kept"), {}, parents=False)
    records = Records(zfs, Dataset("tank/kept"))
    documents: dict[str, dict[str, Any]] = {
        "small": {"a": 1},
        "large": {"names": [f"iqn.2026-11.org.example:{n}" for n in range(500)]},
        "odd \u00fc\U0001f600\n\t=": {"\u00e9": "\u2028\x7f\"'"},
    }
    for key, document in documents.items():
        records.put("kind", key, {"old": "x" * 5000})
        records.put("kind", key, document)
    assert Records(zfs, Dataset("tank/kept")).all("kind") == documents == records.all("kind")
    for key in documents:
        records.remove("kind", key)
        records.remove("kind", key)
    left = zfs.get(Dataset("tank/kept"), ["all"])
    assert [name for name in left if "record" in name and left[name].is_local] == []


def test_secrets_are_sealed_and_the_key_is_ours_alone(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "secret.key"
    sealed = SecretBox(path).seal("twelve letters")
    assert "twelve" not in sealed
    assert SecretBox(path).open(sealed) == "twelve letters"
    assert path.stat().st_mode & 0o077 == 0
    with pytest.raises(Invalid, match="put the old key back"):
        SecretBox(tmp_path / "other.key").open(sealed)
    assert SecretBox(path).seal("") == ""


@pytest.mark.parametrize(("text", "size"), [("3g", 3 * GIB), ("1G", GIB), (GIB, GIB), ("512", 512), ("1t", 1024 * GIB)])
def test_sizes(text: object, size: int) -> None:
    assert volume_size(text) == size


@pytest.mark.parametrize("text", [None, True, -1, 0, "0", "1.5g", "g", "9" * 30, 513, "1x", [], {}])
def test_no_sizes(text: object) -> None:
    with pytest.raises(Refusal):
        volume_size(text)


@pytest.mark.parametrize(("text", "size"), [("512", 512), ("8k", 8192), (8192, 8192), ("128K", 131072)])
def test_block_sizes(text: object, size: int) -> None:
    assert block_size(text) == size


def test_the_target_server_that_is_down_is_said_as_busy(client: Client) -> None:
    with_target(client)
    with_lun(client, targetgroup="t")
    client.box.exports.fault = Unavailable("tgtd is not running")
    reply = client.ask("PUT", f"{LUNS}/l", {"initiatorgroup": "g"})
    assert (reply.status, (reply.body or {})["fault"]["message"]) == (503, "ERR_BUSY")

"""Bad input by plain HTTP to the running server: the published status, a sentence that helps, and nothing changed.

`tests/api` tries each field; here are the kinds of bad input, with what only a real server and real work can show.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.product.caller import Answer, Caller, call
from tests.product.running import Product
from tests.product.user import User

LONG = "x" * 300
MISSING = "00000000-0000-4000-8000-000000000000"
SHARE: dict[str, Any] = {"share_proto": "NFS", "size": 1}


def assert_refused(answer: Answer, status: int) -> None:
    """In the published form, with a sentence."""
    assert answer.status == status, answer
    ((_, fault),) = answer.json().items()
    assert fault["code"] == status
    assert len(fault["message"]) > 10


def picture(user: User) -> list[Any]:
    rows = [*user.all("shares"), *user.all("snapshots")]
    return [*rows, *(user.rules(row["id"]) for row in user.all("shares"))]


@pytest.mark.parametrize(
    "fields",
    [
        {"unknown": 1},
        {"size": "many"},
        {"size": []},
        {"size": 0},
        {"size": -1},
        {"name": LONG},
        {"name": "a\0b"},
        {"name": "a\nb"},
        {"is_public": "perhaps"},
        {"metadata": {"key": None}},
    ],
    ids=str,
)
def test_new_shares(product: Product, user: User, fields: dict[str, Any]) -> None:
    before = picture(user)
    assert_refused(user.caller.call("POST", "/shares", {"share": SHARE | fields}), 400)
    assert picture(user) == before


def test_a_size_beyond_every_pool_ends_in_an_error_that_says_so(product: Product, user: User) -> None:
    share = user.ask_share(900)
    user.until_share(share, "error")
    (message,) = user.messages(share)
    assert "lab@one#tank: it holds" in message
    assert "lab@two#tank: it holds" in message


def test_names_are_only_names(product: Product, user: User) -> None:
    """Slashes and quotes may be in the name of a share, and nowhere else."""
    name = "../tank/'; zfs destroy -r tank #\""
    share = user.share(name=name, description=name, metadata={"key": name})
    assert user.show(share)["name"] == name
    assert "'" not in user.path(share)


@pytest.mark.parametrize(
    "client",
    [
        "10.0.0.0/33",
        "10.0.0.256",
        "10.0.0.1/24/7",
        "fd00::/129",
        "::ffff:10.0.0.1",
        "*",
        "",
        "10.0.0.1\n10.0.0.2",
        "10.0.0.1 10.0.0.2",
        "localhost",
    ],
    ids=repr,
)
def test_rules(product: Product, user: User, client: str) -> None:
    share = user.share()
    body = {"access_type": "ip", "access_to": client, "access_level": "rw"}
    assert_refused(user.caller.call("POST", f"/shares/{share}/action", {"allow_access": body}), 400)
    assert user.rules(share) == {}


def test_rules_twice_and_on_a_share_in_error(product: Product, user: User) -> None:
    share = user.share()
    user.allow(share, "10.0.0.1")
    again = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.1", "access_level": "ro"}}
    assert user.caller.call("POST", f"/shares/{share}/action", again).status in (400, 409)
    user.act(share, "reset_status", {"status": "error"})
    other = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.2", "access_level": "rw"}}
    assert_refused(user.caller.call("POST", f"/shares/{share}/action", other), 400)
    assert [rule["access_to"] for rule in user.rules(share).values()] == ["10.0.0.1"]


def test_double_deletes_and_changes_during_a_delete(product: Product, user: User) -> None:
    site = product.site
    share = user.share()
    path = user.path(share)
    # somebody works in it, which keeps the deletion from finishing
    pid = site.ran("sh", "-c", 'cd "$1" && { setsid sleep 100 </dev/null >/dev/null 2>&1 & echo $!; }', "sh", path)
    try:
        user.ask_delete(share)
        for action in ({"extend": {"new_size": 2}}, {"shrink": {"new_size": 1}}):
            assert user.caller.call("POST", f"/shares/{share}/action", action).status in (400, 409)
        rule = {"allow_access": {"access_type": "ip", "access_to": "10.0.0.2", "access_level": "rw"}}
        assert user.caller.call("POST", f"/shares/{share}/action", rule).status in (400, 409)
        assert user.caller.call("POST", "/snapshots", {"snapshot": {"share_id": share}}).status in (400, 409)
        assert user.caller.call("DELETE", f"/shares/{share}").status in (202, 403)
        assert user.show(share)["status"] == "deleting"
        assert user.show(share)["size"] == 1
    finally:
        site.ran("kill", pid)
    user.until_gone(f"/shares/{share}")
    assert_refused(user.caller.call("DELETE", f"/shares/{share}"), 404)


def test_other_projects(product: Product, user: User) -> None:
    share = user.share()
    snapshot = user.snapshot(share)
    product.told("project", "create", "elsewhere")
    made = product.penstock(
        "user", "create", "eve", "--project", "elsewhere", "--role", "member", "--password-file", _secret(product)
    )
    assert made.returncode == 0, made
    eve = Caller(product.daemon.url, "eve", "eves-own-secret", "elsewhere")
    before = picture(user)
    for answer in (
        eve.call("GET", f"/shares/{share}"),
        eve.call("DELETE", f"/shares/{share}"),
        eve.call("POST", f"/shares/{share}/action", {"extend": {"new_size": 2}}),
        eve.call("POST", "/snapshots", {"snapshot": {"share_id": share}}),
        eve.call("POST", "/shares", {"share": SHARE | {"snapshot_id": snapshot}}),
        eve.call("DELETE", f"/snapshots/{snapshot}"),
    ):
        assert_refused(answer, 404)
    assert eve.ok("GET", "/shares/detail")["shares"] == []
    assert_refused(eve.call("GET", f"/shares/{MISSING}"), 404)
    assert picture(user) == before


def test_what_is_not_a_request(product: Product, user: User) -> None:
    url, before = product.daemon.url, picture(user)
    ours = {"X-Auth-Token": user.caller.token}
    assert call(url, "POST", "/v2/shares", raw=b"{", headers=ours).status == 400
    assert call(url, "POST", "/v2/shares", raw=b"<share/>", headers=ours | {"Content-Type": "text/xml"}).status in (
        400,
        415,
    )
    big = b'{"share": {"name": "' + b"x" * 200_000 + b'"}}'
    assert call(url, "POST", "/v2/shares", raw=big, headers=ours).status == 413
    assert call(url, "GET", "/v2/shares/%00", headers=ours).status in (400, 404)
    assert call(url, "GET", f"/v2/shares/{LONG}", headers=ours).status == 404
    for token in ("", "not a token", user.caller.token[:-2] + "xx"):
        assert call(url, "GET", "/v2/shares", headers={"X-Auth-Token": token}).status == 401
    assert call(url, "GET", "/v2/shares", headers=ours | {"X-OpenStack-Manila-API-Version": "9.99"}).status == 406
    assert picture(user) == before


def _secret(product: Product) -> str:
    path = product.work / "eve"
    path.touch(mode=0o600)
    path.write_text("eves-own-secret\n")
    return str(path)

"""The ``penstock`` command beside a running daemon, and a database that is lost."""

from __future__ import annotations

import json
from typing import Any

from tests.product.running import Product
from tests.product.user import User

KEPT = ("id", "name", "size", "project_id", "share_proto", "status", "host", "snapshot_id", "share_type_name")


def test_share_commands(product: Product, user: User) -> None:
    made = json.loads(product.told("share", "create", "1", "--name", "by-hand", "--json"))
    product.told("share", "allow", "by-hand", product.site.friend.address)
    assert product.site.friend.may(user.location(made["id"])) == "rw"
    assert "by-hand" in product.told("share", "list")
    product.told("share", "snapshot", "create", "by-hand", "--name", "monday")
    product.told("share", "create", "1", "--name", "copy", "--snapshot", "monday")
    product.told("share", "extend", "by-hand", "2")
    assert user.show(made["id"])["size"] == 2
    product.told("share", "delete", "copy")
    assert [row["name"] for row in user.all("shares")] == ["by-hand"]


def test_backend_check(product: Product) -> None:
    told = product.told("backend", "check")
    assert "problem" not in told
    assert {line.split()[0] for line in told.splitlines()} == {"one", "two"}
    assert {row["name"]: row["is_ready"] for row in json.loads(product.told("backend", "list", "--json"))} == {
        "one": True,
        "two": True,
    }


def test_a_lost_database_is_rebuilt_from_the_pools(product: Product, user: User) -> None:
    friend = product.site.friend
    share = user.share(2, name="docs")
    user.allow(share, friend.address)
    assert friend.write(user.location(share), "file", "kept")
    snapshot = user.snapshot(share, name="monday")
    clone = user.clone(snapshot, 2, name="copy")
    user.allow(clone, product.site.network, "ro")
    user.delete_snapshot(user.snapshot(clone))
    before = _picture(user)

    product.daemon.kill()
    for path in (product.work / "state").glob("penstock.sqlite*"):
        path.unlink()
    product.told("db", "upgrade")
    product.told("recover")
    product.daemon.up()
    product.log_in()
    assert _picture(product.user) == before
    product.told("doctor")
    assert friend.read(product.user.location(share), "file") == "kept"


def _picture(user: User) -> dict[str, Any]:
    """What every user sees of their shares."""
    shares = {row["id"]: {key: row[key] for key in KEPT} for row in user.all("shares")}
    snapshots = {(row["id"], row["share_id"], row["name"], row["status"]) for row in user.all("snapshots")}
    rules = {
        share: sorted(
            (rule["id"], rule["access_to"], rule["access_level"], rule["state"]) for rule in user.rules(share).values()
        )
        for share in shares
    }
    return {
        "shares": shares,
        "snapshots": snapshots,
        "rules": rules,
        "paths": {key: user.locations(key) for key in shares},
    }

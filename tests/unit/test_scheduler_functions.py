"""Filter and goodness functions: the published language, and nothing but calculation."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.errors import InsufficientCapacity, Invalid
from penstock.scheduler.expression import evaluate
from penstock.scheduler.placement import choose
from penstock.scheduler.requirements import ReplicaOf, Requirements
from tests.unit.test_scheduler import Placed, pool

VALUES = {
    "stats": {"free_capacity_gb": 60.0, "total_capacity_gb": 100.0, "pool_name": "tank"},
    "capabilities": {"total_shares": 12, "dedupe": True, "vendor-name": "x"},
    "share": {"size": 5, "project_id": "p1"},
    "extra": {"tier": "3", "scope:key": "v"},
}


@pytest.mark.parametrize(
    ("text", "wanted"),
    [
        ("1 + 2 * 3", 7),
        ("(1 + 2) * 3", 9),
        ("2 ^ 3 ^ 2", 512),
        ("-2 ^ 2", -4),
        ("7 / 2 - 1", 2.5),
        ("10 - 3 - 2", 5),
        ("share.size < 10", True),
        ("share.size < 10 and capabilities.total_shares < 10", False),
        ("share.size > 10 | not capabilities.total_shares > 20", True),
        ("!(share.size <> 5) & True", True),
        ("(share.size > 10) ? 1 : (share.size > 4) ? 2 : 3", 2),
        ("share.project_id == 'p1'", True),
        ('stats.pool_name != "tank"', False),
        ("max(share.size, 7) + min(1, 2, 3) + abs(-4)", 12),
        ("100 * stats.free_capacity_gb / stats.total_capacity_gb", 60),
        ("extra.tier >= 3", True),
        ("extra.tier + 1", 4),
        ("extra.scope:key == 'v'", True),
        ("capabilities.dedupe", True),
        ("1e3 + .5", 1000.5),
    ],
)
def test_what_it_comes_to(text: str, wanted: Any) -> None:
    assert evaluate(text, VALUES) == wanted


@pytest.mark.parametrize(
    "text",
    [
        "",
        "1 +",
        "1 2",
        "(1",
        "1 ? 2",
        "share.colour == 1",
        "os.system",
        "__import__('os')",
        "share.__class__",
        "1 / 0",
        "2 ^ 1000",
        "(0 - 1) ^ 0.5",
        "10 ^ 64 ^ 64",
        "abs(1, 2)",
        "min(1)",
        "'a' + 1",
        "share.size; 1",
        "$x",
        "(" * 5000,
        "(" * 60 + "1" + ")" * 60,
        "1" + "^1" * 900,
        "- " * 3000,
        "and",
    ],
)
def test_what_is_not_of_the_language_is_refused(text: str) -> None:
    with pytest.raises(Invalid):
        evaluate(text, VALUES)


def test_a_filter_function_refuses_with_its_reason() -> None:
    small = pool("a", filter_function="share.size < 5 and stats.free_capacity_gb > 10")
    broken = pool("b", filter_function="share.colour")
    assert choose(Requirements(4, "NFS"), [small, broken], {})[0].pool == "a"
    with pytest.raises(InsufficientCapacity) as refused:
        choose(Requirements(5, "NFS"), [small, broken], {})
    assert "h@b#a: its filter_function refuses it" in str(refused.value)
    assert "h@b#b: its filter_function cannot be worked out: 'share.colour' has no value" in str(refused.value)


def test_goodness_comes_before_room() -> None:
    roomy = pool("a", goodness_function="20")
    good = pool("b", free=10, goodness_function="share.size < 5 ? 90 : 10")
    assert choose(Requirements(1, "NFS"), [roomy, good], {})[0].pool == "b"
    assert choose(Requirements(6, "NFS"), [roomy, good], {})[0].pool == "a"


@pytest.mark.parametrize("text", ["101", "0 - 1", "'text'", "share.colour", "1 / 0"])
def test_goodness_that_is_none_is_the_lowest(text: str) -> None:
    odd = pool("a", goodness_function=text)
    assert choose(Requirements(1, "NFS"), [odd, pool("b", free=1, goodness_function="1")], {})[0].pool == "b"


READABLE = {"replication_type": "readable"}
DOMAIN = {"replication_type": "readable", "replication_domain": "d1"}
FIRST = ReplicaOf("d1", frozenset({"h@b#a"}), frozenset({"h@b"}))


@pytest.mark.parametrize(
    ("more", "specs", "replica_of", "reason"),
    [
        ({}, READABLE, None, "it does not replicate"),
        (DOMAIN, {"replication_type": "dr"}, None, "it replicates as readable, not as dr"),
        ({**DOMAIN, "replication_domain": "d2"}, READABLE, FIRST, "replication domain 'd2', the share in 'd1'"),
        (DOMAIN, READABLE, FIRST, "it has a replica of the share already"),
    ],
)
def test_a_pool_that_cannot_replicate_says_why(
    more: dict[str, str], specs: dict[str, str], replica_of: ReplicaOf | None, reason: str
) -> None:
    with pytest.raises(InsufficientCapacity) as refused:
        choose(Requirements(1, "NFS", specs, replica_of=replica_of), [pool("a", **more)], {})
    assert reason in str(refused.value)


def test_a_replica_goes_to_another_backend_where_it_can() -> None:
    beside, elsewhere = pool("z", **DOMAIN), pool("y", backend="c", free=5, **DOMAIN)
    wanted = Requirements(1, "NFS", READABLE, replica_of=FIRST)
    assert str(choose(wanted, [beside, elsewhere], {})[0]) == "h@c#y"
    assert str(choose(wanted, [beside], {"h@b#z": Placed()})[0]) == "h@b#z"

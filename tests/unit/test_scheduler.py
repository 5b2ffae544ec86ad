"""Placement is arithmetic with reasons."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from penstock.domain.pools import PoolRef, PoolReport
from penstock.errors import InsufficientCapacity
from penstock.scheduler.capabilities import unmet
from penstock.scheduler.placement import Candidate, choose
from penstock.scheduler.requirements import Requirements, SourceOf

NOW = datetime(2026, 11, 21)


@dataclass
class Placed:
    provisioned_gib: int = 0
    unreported_gib: int = 0


def pool(
    name: str,
    *,
    free: float = 100,
    total: float = 100,
    zone: str = "nova",
    up: bool = True,
    backend: str = "b",
    **more: Any,
) -> Candidate:
    said = {
        "total_capacity_gb": total,
        "free_capacity_gb": free,
        "reserved_percentage": 0,
        "thin_provisioning": [True, False],
        "max_over_subscription_ratio": 1.0,
        "storage_protocol": "NFS",
        "driver_handles_share_servers": False,
        "snapshot_support": True,
        **more,
    }
    return Candidate(PoolReport(PoolRef.parse(f"h@{backend}#{name}"), said, NOW), zone, up, True)


def test_the_pool_with_most_room_wins() -> None:
    ref, reasons = choose(Requirements(1, "NFS"), [pool("a", free=10), pool("b", free=90)], {})
    assert ref.pool == "b"
    assert reasons == {}


def test_what_is_promised_but_not_reported_yet_counts() -> None:
    promised = {"h@b#b": Placed(90, 85)}
    ref, _ = choose(Requirements(1, "NFS"), [pool("a", free=10), pool("b", free=90)], promised)
    assert ref.pool == "a"


@pytest.mark.parametrize(
    ("candidate", "wanted", "reason"),
    [
        pytest.param(pool("a", up=False), Requirements(1, "NFS"), "service is down", id="down"),
        pytest.param(pool("a"), Requirements(1, "CIFS"), "does not serve CIFS", id="protocol"),
        pytest.param(pool("a"), Requirements(101, "NFS"), "holds 100 GiB in all", id="larger-than-the-pool"),
        pytest.param(
            pool("a", free=5),
            Requirements(6, "NFS", {"thin_provisioning": "False"}),
            "5 GiB free",
            id="thick-needs-space",
        ),
        pytest.param(pool("a", free=0), Requirements(1, "NFS"), "no free space", id="full"),
        pytest.param(pool("a"), Requirements(1, "NFS", availability_zone="x"), "zone nova", id="zone"),
        pytest.param(
            pool("a"), Requirements(1, "NFS", {"compression": "lz4"}), "report 'compression'", id="unreported"
        ),
        pytest.param(
            pool("a", compression=["gzip"]),
            Requirements(1, "NFS", {"compression": "lz4"}),
            "not 'lz4'",
            id="other-value",
        ),
        pytest.param(
            pool("a"), Requirements(1, "NFS", different_hosts=frozenset({"h@b#a"})), "different_host", id="hint"
        ),
        pytest.param(pool("a"), Requirements(1, "NFS", only_pool="h@b#z"), "must be on h@b#z", id="other-pool"),
    ],
)
def test_a_refusal_says_why(candidate: Candidate, wanted: Requirements, reason: str) -> None:
    with pytest.raises(InsufficientCapacity) as refused:
        choose(wanted, [candidate], {})
    assert "h@b#a" in str(refused.value)
    assert reason in str(refused.value)


def test_thin_promises_do_not_count_as_used_space() -> None:
    candidate = pool("a", free=8, total=8, max_over_subscription_ratio=20.0)
    assert choose(Requirements(1, "NFS"), [candidate], {"h@b#a": Placed(15, 15)})[0].pool == "a"
    with pytest.raises(InsufficientCapacity, match="0 GiB free"):
        choose(Requirements(1, "NFS", {"thin_provisioning": "False"}), [candidate], {"h@b#a": Placed(15, 15)})


def test_over_subscription_is_bounded_by_the_ratio() -> None:
    candidate = pool("a", max_over_subscription_ratio=2.0)
    assert choose(Requirements(50, "NFS"), [candidate], {"h@b#a": Placed(150)})[0].pool == "a"
    with pytest.raises(InsufficientCapacity, match="promised"):
        choose(Requirements(51, "NFS"), [candidate], {"h@b#a": Placed(150)})


def test_without_any_pool_the_sentence_says_what_to_do() -> None:
    with pytest.raises(InsufficientCapacity, match="penstock backend check"):
        choose(Requirements(1, "NFS"), [], {})


@pytest.mark.parametrize(
    ("wanted", "has", "fits"),
    [
        ("<is> True", True, True),
        ("<is> False", True, False),
        ("True", True, True),
        ("true", "True", True),
        (">= 5", 7, True),
        ("= 5", 4, False),
        ("<or> lz4 <or> zstd", "zstd", True),
        ("<in> ab", "xaby", True),
        ("s== abc", "abc", True),
        ("abc", ["x", "abc"], True),
        (">= five", 7, False),
    ],
)
def test_the_extra_spec_language(wanted: str, has: Any, fits: bool) -> None:
    assert (unmet({"cap": wanted}, {"cap": has}) is None) is fits


def test_scoped_specs_belong_to_drivers() -> None:
    assert unmet({"zfsonlinux:compression": "lz4"}, {}) is None
    assert unmet({"capabilities:dedupe": "<is> True"}, {"dedupe": [True, False]}) is None


@pytest.mark.parametrize(
    ("offered", "spec", "fits"),
    [
        ([True, False], {"thin_provisioning": "True"}, True),
        ([True, False], {"thin_provisioning": "<is> False"}, True),
        (False, {"thin_provisioning": "True"}, False),
        (True, {"capabilities:thin_provisioning": "<is> False"}, False),
        (False, {"thin_provisioning": "False"}, True),
    ],
)
def test_thin_or_thick_is_a_capability_like_others(offered: object, spec: dict[str, str], fits: bool) -> None:
    assert (unmet(spec, pool("a", thin_provisioning=offered).report.capabilities) is None) is fits


@pytest.mark.parametrize("name", ["thin_provisioning", "capabilities:thin_provisioning"])
def test_a_thick_share_needs_free_space_however_the_type_says_thick(name: str) -> None:
    candidate = pool("a", free=8, max_over_subscription_ratio=20.0)
    with pytest.raises(InsufficientCapacity, match="8 GiB free"):
        choose(Requirements(9, "NFS", {name: "<is> False"}), [candidate], {})


def test_a_share_from_a_snapshot_stays_where_that_is_while_there_is_room() -> None:
    wanted = Requirements(5, "NFS", source=SourceOf("h@b#home", "h@b", "d"))
    home, beside = pool("home", free=6), pool("beside", free=90)
    far = pool("far", free=90, backend="c", replication_domain="d")
    foreign = pool("foreign", free=99, backend="e", replication_domain="other")
    thick = {"thin_provisioning": [False]}
    assert choose(wanted, [home, beside, far, foreign], {})[0].pool == "home"
    full = [pool("home", free=1, **thick), far, foreign]
    ref, reasons = choose(wanted, full, {})
    assert ref.pool == "far"
    assert reasons["h@e#foreign"] == "it cannot copy the snapshot: it is in another replication domain"
    with pytest.raises(InsufficientCapacity):
        choose(Requirements(5, "NFS", source=SourceOf("h@b#home", "h@b", None)), full, {})

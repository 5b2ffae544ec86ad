"""Quota sets, class sets and limits."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.context import RequestContext
from penstock.domain.quotas import QuotaResource
from penstock.errors import QuotaExceeded
from penstock.services import quotas
from penstock.services.control_plane import ControlPlane
from tests.api.conftest import OTHER_PROJECT, PROJECT, USER, Client
from tests.api.test_types import make

PATH = f"quota-sets/{PROJECT}"
OLD = ("shares", "gigabytes", "snapshots", "snapshot_gigabytes", "share_networks")


def put(admin: Client, path: str = PATH, **fields: Any) -> Any:
    return admin.put(path, {"quota_set": {"tenant_id": PROJECT, **fields}})


@pytest.mark.parametrize(
    ("version", "path", "keys"),
    [
        ("2.6", f"os-{PATH}", OLD),
        ("2.39", PATH, OLD),
        ("2.40", PATH, (*OLD, "share_groups", "share_group_snapshots")),
        ("2.53", PATH, (*OLD, "share_groups", "share_group_snapshots", "share_replicas", "replica_gigabytes")),
    ],
)
def test_resources_by_version(admin: Client, version: str, path: str, keys: tuple[str, ...]) -> None:
    shown = admin.at(version).get(path).json()["quota_set"]
    assert shown.pop("id") == PROJECT
    assert set(shown) == set(keys)


def test_configured_limits_hold_until_others_are_set(admin: Client, plane: ControlPlane) -> None:
    plane.conf.set_override("shares", 7, group="quota")
    assert admin.get(PATH).json()["quota_set"]["shares"] == 7
    assert (
        admin.put("quota-class-sets/default", {"quota_class_set": {"shares": 8}}).json()["quota_class_set"]["shares"]
        == 8
    )
    assert admin.get(PATH).json()["quota_set"]["shares"] == 8
    assert put(admin, shares="9").json()["quota_set"]["shares"] == 9
    assert admin.get(f"{PATH}/defaults").json()["quota_set"]["shares"] == 8
    assert admin.delete(PATH).status_code == 202
    assert admin.get(PATH).json()["quota_set"]["shares"] == 8


def test_user_and_type_fall_back_to_the_project(admin: Client) -> None:
    share_type = make(admin)
    put(admin, shares=10)
    for part in (f"{PATH}?user_id={USER}", f"{PATH}?share_type=gold", f"{PATH}?share_type={share_type['id']}"):
        assert admin.get(part).json()["quota_set"]["shares"] == 10
        assert put(admin, part, shares=4).json()["quota_set"]["shares"] == 4
        assert put(admin, part, shares=11).status_code == 400
        assert put(admin, part, shares=-1).status_code == 400
        assert put(admin, part, shares=11, force="true").json()["quota_set"]["shares"] == 11
        assert admin.delete(part).status_code == 202
        assert admin.get(part).json()["quota_set"]["shares"] == 10


def test_types_have_quotas_of_what_has_a_type(admin: Client) -> None:
    make(admin)
    shown = admin.get(f"{PATH}?share_type=gold").json()["quota_set"]
    assert "share_networks" not in shown
    assert "share_groups" not in shown
    assert put(admin, f"{PATH}?share_type=gold", share_networks=1).status_code == 400


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"shares": -2}, 400),
        ({"shares": "many"}, 400),
        ({"shares": 1.5}, 400),
        ({"shares": True}, 400),
        ({"shares": 2**40}, 400),
        ({"cupboards": 1}, 400),
        ({"shares": -1}, 200),
        ({"force": "perhaps"}, 400),
    ],
)
def test_update_checks(admin: Client, fields: dict[str, Any], status: int) -> None:
    assert put(admin, **fields).status_code == status


@pytest.mark.parametrize(
    ("version", "path", "fields"),
    [
        ("2.39", PATH, {"share_groups": 1}),
        ("2.52", PATH, {"share_replicas": 1}),
        ("2.38", f"{PATH}?share_type=gold", {"shares": 1}),
        ("2.39", f"{PATH}?share_type=gold&user_id=u", {"shares": 1}),
    ],
)
def test_too_old_for_that(admin: Client, version: str, path: str, fields: dict[str, int]) -> None:
    make(admin)
    assert put(admin.at(version), path, **fields).status_code == 400
    assert "shares" not in fields or admin.at(version).get(path).status_code == 400


@pytest.mark.parametrize(
    ("version", "path"),
    [("2.6", PATH), ("2.7", f"os-{PATH}"), ("2.24", f"{PATH}/detail"), ("2.73", "quota-sets/"), ("2.73", "quota-sets")],
)
def test_not_under_that_path(admin: Client, version: str, path: str) -> None:
    assert admin.at(version).get(path).status_code == 404


def test_unknown_type(admin: Client) -> None:
    assert admin.get(f"{PATH}?share_type=nope").status_code == 404
    assert put(admin, f"{PATH}?share_type=nope", shares=1).status_code == 404
    assert admin.delete(f"{PATH}?share_type=nope").status_code == 404


def test_members_see_their_own_and_change_nothing(member: Client, other: Client) -> None:
    assert member.get(PATH).status_code == 200
    assert member.get(f"{PATH}?user_id={USER}").status_code == 200
    assert other.get(PATH).status_code == 403
    assert put(member, shares=9).status_code == 403
    assert member.delete(PATH).status_code == 403
    assert member.get("quota-class-sets/default").status_code == 403


def test_detail(admin: Client) -> None:
    shown = admin.get(f"{PATH}/detail").json()["quota_set"]
    assert shown["id"] == PROJECT
    assert shown["shares"] == {"limit": 50, "in_use": 0, "reserved": 0}


def test_check_names_whose_quota_it_is(admin: Client, plane: ControlPlane) -> None:
    context = RequestContext(USER, PROJECT)
    share_type = make(admin)
    more = {QuotaResource.SHARES: 3}

    def check() -> None:
        with plane.database.begin() as tx:
            quotas.check(tx, plane, context, PROJECT, USER, share_type["id"], more)

    check()
    put(admin, f"{PATH}?share_type=gold", shares=2)
    with pytest.raises(QuotaExceeded, match="share type"):
        check()
    put(admin, f"{PATH}?user_id={USER}", shares=2)
    with pytest.raises(QuotaExceeded, match="user"):
        check()
    put(admin, shares=2)
    with pytest.raises(QuotaExceeded, match="project"):
        check()


def test_size_of_one_share(admin: Client, plane: ControlPlane) -> None:
    put(admin, per_share_gigabytes=5)
    with plane.database.begin() as tx:
        for size_gib in (5, 5):
            more = {QuotaResource.PER_SHARE_GIGABYTES: size_gib}
            quotas.check(tx, plane, RequestContext(USER, PROJECT), PROJECT, USER, None, more)
    with pytest.raises(QuotaExceeded), plane.database.begin() as tx:
        more = {QuotaResource.PER_SHARE_GIGABYTES: 6}
        quotas.check(tx, plane, RequestContext(USER, PROJECT), PROJECT, USER, None, more)


def test_limits(admin: Client, member: Client, other: Client) -> None:
    put(admin, shares=3)
    shown = member.get("limits").json()["limits"]
    assert shown["rate"] == []
    assert shown["absolute"]["maxTotalShares"] == 3
    assert shown["absolute"]["totalSharesUsed"] == 0
    assert other.get("limits").json()["limits"]["absolute"]["maxTotalShares"] == 50
    assert "maxTotalShareReplicas" not in member.at("2.52").get("limits").json()["limits"]["absolute"]
    assert OTHER_PROJECT not in str(shown)

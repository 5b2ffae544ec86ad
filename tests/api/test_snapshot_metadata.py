"""Metadata of snapshots (2.73)."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.domain.pools import PoolRef
from penstock.services.control_plane import ControlPlane
from tests.api.arranging import add_type, make_share, make_snapshot
from tests.api.conftest import Client


@pytest.fixture
def share(plane: ControlPlane, member: Client, backend: PoolRef) -> str:
    add_type(plane)
    share_id: str = make_share(plane, member)["id"]
    return share_id


@pytest.fixture
def path(plane: ControlPlane, member: Client, share: str) -> str:
    return f"snapshots/{make_snapshot(plane, member, share, metadata={'a': '1'})['id']}"


def test_it_is_given_at_creation_and_shown(plane: ControlPlane, member: Client, share: str, path: str) -> None:
    assert member.get(path).json()["snapshot"]["metadata"] == {"a": "1"}
    assert member.get("snapshots/detail").json()["snapshots"][0]["metadata"] == {"a": "1"}
    assert "metadata" not in member.at("2.72").get(path).json()["snapshot"]
    old = make_snapshot(plane, member.at("2.72"), share, metadata={"b": "2"})["id"]
    assert member.get(f"snapshots/{old}").json()["snapshot"]["metadata"] == {}
    body = {"snapshot": {"share_id": share, "metadata": {"": "x"}}}
    assert member.post("snapshots", body).status_code == 400


def test_pairs_are_set_replaced_and_removed(member: Client, path: str) -> None:
    pairs = f"{path}/metadata"
    assert member.get(pairs).json() == {"metadata": {"a": "1"}}
    assert member.post(pairs, {"metadata": {"b.c": "2"}}).json() == {"metadata": {"a": "1", "b.c": "2"}}
    assert member.put(f"{pairs}/a", {"metadata": {"a": "3"}}).status_code == 200
    assert member.put(f"{pairs}/a", {"meta": {"b": "3"}}).status_code == 400
    assert member.get(f"{pairs}/a").json() == {"meta": {"a": "3"}}
    assert member.put(pairs, {"metadata": {"d": "4"}}).json() == {"metadata": {"d": "4"}}
    assert member.delete(f"{pairs}/d").status_code == 200
    assert member.get(pairs).json() == {"metadata": {}}
    assert member.delete(f"{pairs}/d").status_code == member.get(f"{pairs}/d").status_code == 404


def test_snapshots_are_listed_by_metadata(plane: ControlPlane, member: Client, share: str, path: str) -> None:
    other = make_snapshot(plane, member, share, metadata={"a": "2"})["id"]

    def found(client: Client, metadata: str) -> set[str]:
        return {item["id"] for item in client.get("snapshots", metadata=metadata).json()["snapshots"]}

    mine = path.removeprefix("snapshots/")
    assert found(member, "{'a': '2'}") == {other}
    assert found(member, "{'a': '3'}") == set()
    assert found(member.at("2.72"), "{'a': '2'}") == {mine, other}


@pytest.mark.parametrize("pairs", [{"": "x"}, {"x" * 256: "x"}, {"a": "x" * 1024}, {"a": 1}])
def test_pairs_that_are_refused(member: Client, path: str, pairs: dict[str, Any]) -> None:
    for send in (member.post, member.put):
        assert send(f"{path}/metadata", {"metadata": pairs}).status_code == 400


def test_it_is_for_the_owner_and_new_versions(member: Client, other: Client, reader: Client, path: str) -> None:
    pairs, body = f"{path}/metadata", {"metadata": {"b": "2"}}
    assert reader.get(pairs).status_code == 200
    assert reader.post(pairs, body).status_code == reader.delete(f"{pairs}/a").status_code == 403
    assert other.get(pairs).status_code == other.post(pairs, body).status_code == 404
    assert other.put(pairs, body).status_code == other.delete(f"{pairs}/a").status_code == 404
    assert member.get("snapshots/nothing/metadata").status_code == 404
    for answer in (member.at("2.72").get(pairs), member.at("2.72").post(pairs, body)):
        assert answer.status_code == 404

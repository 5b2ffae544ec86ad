"""What may be exported to whom: values that cannot be wrong."""

from __future__ import annotations

import pytest

from penstock.errors import Invalid
from penstock.exports.model import ClientRule, Export, Squash, normal_client


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("10.0.0.5", "10.0.0.5"),
        ("10.0.0.5/32", "10.0.0.5"),
        ("10.0.0.0/24", "10.0.0.0/24"),
        ("0.0.0.0/0", "0.0.0.0/0"),
        ("FD00:0::1", "fd00::1"),
        ("fd00::/64", "fd00::/64"),
    ],
)
def test_normal_client(text: str, normal: str) -> None:
    assert normal_client(text) == normal


@pytest.mark.parametrize(
    "text",
    [
        "",
        "host",
        "10.0.0.1/24",
        "10.0.0.256",
        "10.0.0.0/33",
        "::ffff:10.0.0.1",
        "fe80::1%eth0",
        "*",
        "@group",
        "1.2.3.4\n",
    ],
)
def test_bad_clients_are_refused(text: str) -> None:
    with pytest.raises(Invalid):
        normal_client(text)


def test_a_rule_wants_the_normal_form() -> None:
    with pytest.raises(Invalid, match="normal form"):
        ClientRule("10.0.0.5/32", writable=True)


def test_the_whole_address_space_is_two_blocks() -> None:
    assert ClientRule("0.0.0.0/0", writable=True).blocks == ("0.0.0.0/1", "128.0.0.0/1")
    assert ClientRule("10.0.0.5", writable=True).blocks == ("10.0.0.5/32",)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "tank",
        "/tank/",
        "/tank//a",
        "/tank/../etc",
        "/a\nb",
        '/a"b',
        "/a\\b",
        "/a'b",
        "/a\0b",
        "/" + "a" * 1024,
    ],
)
def test_bad_paths_are_refused(path: str) -> None:
    with pytest.raises(Invalid):
        Export(path, "i1")


def test_most_specific_client_comes_first() -> None:
    rules = [
        ClientRule(client, writable=True)
        for client in ("fd00::1", "0.0.0.0/0", "10.0.0.0/8", "10.0.0.1", "10.1.0.0/16")
    ]
    assert [rule.client for rule in Export("/tank/a", "i1", tuple(rules)).clients] == [
        "10.0.0.1",
        "10.1.0.0/16",
        "10.0.0.0/8",
        "0.0.0.0/0",
        "fd00::1",
    ]


def test_two_rules_for_one_client_are_refused() -> None:
    rules = (ClientRule("10.0.0.1", writable=True), ClientRule("10.0.0.1", writable=False, squash=Squash.ALL_SQUASH))
    with pytest.raises(Invalid, match="two rules"):
        Export("/tank/a", "i1", rules)


@pytest.mark.parametrize("instance_id", ["", "a b", "a\nb", "../x", "x" * 65])
def test_bad_instance_ids_are_refused(instance_id: str) -> None:
    with pytest.raises(Invalid):
        Export("/tank/a", instance_id)


def test_two_halves_that_say_the_same_are_the_whole() -> None:
    halves = tuple(ClientRule(half, writable=True) for half in ("0.0.0.0/1", "128.0.0.0/1"))
    assert Export("/tank/a", "i1", halves) == Export("/tank/a", "i1", (ClientRule("0.0.0.0/0", writable=True),))
    other = (halves[0], ClientRule("128.0.0.0/1", writable=False))
    assert Export("/tank/a", "i1", (*other, ClientRule("0.0.0.0/0", writable=True))).clients == other

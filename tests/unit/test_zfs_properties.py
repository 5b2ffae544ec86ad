"""Parsing `zfs get`: exact, and believing only what was set on the thing itself."""

from __future__ import annotations

import pytest

from penstock.errors import BackendFault
from penstock.zfs.properties import Property, bytes_of, is_user_property, local_value, options, parse_get

# zfs get -Hp -o name,property,value,source …, OpenZFS 2.1.11 and zfs-fuse 0.7.0 alike
TEXT = (
    "tank/a\tused\t24576\t-\n"
    "tank/a\tpenstock:id\t7 f\tlocal\n"
    "tank/a\tquota\t0\tdefault\n"
    "tank/a@s1\tpenstock:id\t7 f\tinherited from tank/a\n"
    "tank/r\tpenstock:id\tc\treceived\n"
    "tank/r\tpenstock:no\t-\t-\n"
    "tank/r\treadonly\toff\ttemporary\n"
    "tank/r\tpenstock:empty\t\tlocal\n"
)


def test_parse():
    found = parse_get(TEXT)
    assert list(found) == ["tank/a", "tank/a@s1", "tank/r"]
    assert found["tank/a"]["penstock:id"] == Property("7 f", "local")
    assert not found["tank/r"]["penstock:no"].is_set
    assert parse_get("") == {}


def test_only_local_values_are_believed():
    found = parse_get(TEXT)
    believed = {target: local_value(each, "penstock:id") for target, each in found.items()}
    assert believed == {"tank/a": "7 f", "tank/a@s1": None, "tank/r": None}
    assert local_value(found["tank/a"], "penstock:absent") is None


@pytest.mark.parametrize(
    "line",
    ["tank/a\tused\t1", "tank/a\tused\t1\t-\tmore", "tank/a used 1 -", "", "tank/a\tused\t1\thearsay"],
)
def test_surprises_are_faults(line):
    with pytest.raises(BackendFault):
        parse_get(line + "\n")


def test_bytes():
    found = parse_get("a\tused\t5\t-\na\tquota\tnone\t-\na\torigin\t-\t-\na\ttype\tfilesystem\t-\n")["a"]
    assert [bytes_of(found, name) for name in ("used", "quota", "origin")] == [5, 0, 0]
    for name in ("type", "absent"):
        with pytest.raises(BackendFault):
            bytes_of(found, name)


def test_words_of_properties():
    assert options({"penstock:id": "1", "quota": "5"}) == ["-o", "penstock:id=1", "-o", "quota=5"]
    assert [is_user_property(name) for name in ("penstock:id", "quota", "userquota@a:b")] == [True, False, False]

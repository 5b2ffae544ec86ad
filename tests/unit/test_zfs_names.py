"""Names that ZFS must never be asked about do not come into being."""

from __future__ import annotations

import pytest

from penstock.errors import Invalid
from penstock.zfs.names import Dataset, InvalidName, SnapshotName, check_property, parse_target


def test_dataset_parts():
    dataset = Dataset("tank/shares/7f3c")
    assert (dataset.pool, dataset.name, dataset.parent) == ("tank", "7f3c", Dataset("tank/shares"))
    assert Dataset("tank").parent is None
    assert str(dataset.child("x").snapshot("s")) == "tank/shares/7f3c/x@s"
    assert Dataset("tank/shares").contains(dataset)
    assert dataset.contains(dataset)
    assert not Dataset("tank/share").contains(dataset)


@pytest.mark.parametrize(
    "path",
    [
        *("", "/", "/tank", "tank/", "tank//a", "-r", "tank/..", "tank/.", "tank/./a", "my pool", "tank/a@b"),
        *("tank/a#b", "tank/a%b", "tank/a,b", "tank/a'b", "tank/a\nb", "tank/a\n", "tank/\x00", "tank/ä", "1tank"),
        "tank/" + "a" * 251,
    ],
)
def test_refused_datasets(path):
    with pytest.raises(InvalidName):
        Dataset(path)


@pytest.mark.parametrize("name", ["", "..", "a/b", "a@b", "a,b", "a%b", "%", "a\n", "a" * 251])
def test_refused_snapshots(name):
    with pytest.raises(InvalidName):
        SnapshotName(Dataset("tank"), name)


@pytest.mark.parametrize("text", ["tank/My Files", "tank/-r", "tank/.hidden", "tank/a...b@auto daily", "tank/a@-d"])
def test_odd_names_that_zfs_takes(text):
    assert str(parse_target(text)) == text


def test_parse_target():
    assert parse_target("tank/a") == Dataset("tank/a")
    assert parse_target("tank/a@s") == SnapshotName(Dataset("tank/a"), "s")
    for text in ("tank/a@", "tank@a@b", "@s"):
        with pytest.raises(Invalid):
            parse_target(text)


def test_properties_are_kept_as_given():
    check_property("penstock:id", "a b=c" + "x" * 1019)
    check_property("userquota@1000", "1G")
    for name, value in [("-o", "1"), ("a b", "1"), ("A:b", "1"), ("a:b", ""), ("a:b", "x\n"), ("a:b", "\u00e9" * 513)]:
        with pytest.raises(InvalidName):
            check_property(name, value)

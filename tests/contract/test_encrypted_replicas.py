"""Replicas of shares in encrypted datasets, on real OpenZFS."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import pytest

from penstock.host.routes import SshRoutes
from penstock.host.runner import Host
from penstock.zfs.faults import KeyNotLoaded
from penstock.zfs.names import Dataset
from tests.contract.replica_sites import Site, Sites
from tests.contract.test_replica_driver import RealShare, clear

NUMBERS = itertools.count()
KEY = "/root/penstock-test.key"


def an_encrypted_root(host: Host, path: str, *, key: str) -> Dataset:
    """A dataset whose key lies on its host, as an operator makes it by hand."""
    host.write_file(KEY, key)
    words = ("-o", "encryption=on", "-o", "keyformat=passphrase", "-o", f"keylocation=file://{KEY}")
    done = host.run(["zfs", "create", *words, path], timeout_s=60)
    assert done.exit_code == 0, done
    return Dataset(path)


@pytest.fixture
def keys() -> tuple[str, str]:
    """The passphrase of the dataset that the replicas are in, on each host."""
    return "correct horse", "correct horse"


@pytest.fixture
def encrypted(keys: tuple[str, str], kernel_hosts: tuple[Host, Host]) -> Iterator[RealShare]:
    sites = Sites({}, SshRoutes())
    for name, host, key in zip("ab", kernel_hosts, keys, strict=True):
        root = an_encrypted_root(host, f"tank/secret{next(NUMBERS)}", key=key)
        sites.all[name] = Site(name, host, None, root)
    sites.restart()
    share = RealShare(sites)
    share.create("a")
    yield share
    for site in sites.all.values():
        clear(site)


@pytest.mark.kernel
def test_an_encrypted_share_travels_raw_and_comes_back(encrypted: RealShare) -> None:
    share = encrypted
    share.write("a")
    share.add("b")
    for _ in range(2):
        assert share.sync("b") == "in_sync"
        assert share.content("b") == share.content("a")
        share.write("a")
    copy = share.sites.all["b"]
    found = copy.zfs.get(share.dataset("b"), ("encryption", "encryptionroot", "keylocation"))
    assert found["encryption"].value == "aes-256-gcm"
    assert found["encryptionroot"].value == str(share.dataset("b"))  # raw: the key it came with is its own
    assert found["keylocation"].value == f"file://{KEY}"  # found at the next boot, too
    share.promote("b")
    share.settle()
    share.write("b")
    assert share.sync("a") == "in_sync"
    assert share.content("a") == share.content("b")
    share.promote("a")
    share.settle()
    share.write("a")
    assert share.sync("b") == "in_sync"
    assert share.content("a") == share.content("b")


@pytest.mark.kernel
@pytest.mark.parametrize("keys", [("correct horse", "battery staple")])
def test_a_copy_whose_key_is_elsewhere_is_kept_and_not_promoted(encrypted: RealShare, keys: tuple[str, str]) -> None:
    share = encrypted
    share.write("a")
    share.add("b")
    with pytest.raises(KeyNotLoaded):
        share.sync("b")
    assert share.sites.all["b"].zfs.exists(share.dataset("b"))
    with pytest.raises(KeyNotLoaded):
        share.promote("b")
    share.write("a")  # it was never fenced
    host, dataset = share.sites.all["b"].host, str(share.dataset("b"))
    loaded = host.run(["zfs", "load-key", dataset], timeout_s=60, stdin="correct horse")
    assert loaded.exit_code == 0, loaded
    assert share.sync("b") == "in_sync"
    assert share.content("b") == share.content("a")

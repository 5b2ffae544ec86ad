"""The words of streams: which form both ends understand, what progress lines say, what the ends of a stream told."""

from __future__ import annotations

import pytest

from penstock.clock import ManualClock
from penstock.errors import BackendFault, Unsupported
from penstock.host import stream_scripts
from penstock.host.runner import Completed
from penstock.zfs import receiving, streams
from penstock.zfs.client import Zfs
from penstock.zfs.faults import Busy, fault_of, fault_of_transfer
from penstock.zfs.flavour import ZFS_FUSE, openzfs
from penstock.zfs.incremental import Full, Increment, SnapshotPoint
from penstock.zfs.names import Dataset
from penstock.zfs.progress import Progress, complaints
from penstock.zfs.properties import Property
from tests.simulation.zfs_cli import Answer
from tests.simulation.zfs_host import SimulatedHost

NEW = openzfs("2.1.11")
ALL = frozenset({"large_blocks", "embedded_data", "lz4_compress", "zstd_compress", "encryption"})
A, B, C = (SnapshotPoint(txg, name, txg) for txg, name in ((1, "a"), (2, "b"), (3, "c")))
DATASET = Dataset("tank/x")


@pytest.mark.parametrize(
    ("source", "target", "encryption", "features", "options"),
    [
        (NEW, NEW, "off", ALL, ("-L", "-e", "-c")),
        (NEW, NEW, "off", ALL - {"zstd_compress"}, ("-L", "-e")),
        (NEW, NEW, "off", frozenset(), ()),
        (NEW, NEW, "aes-256-gcm", ALL, ("-w",)),
        (NEW, ZFS_FUSE, "off", frozenset(), ()),
        (ZFS_FUSE, NEW, "off", ALL, ()),
        (ZFS_FUSE, ZFS_FUSE, "off", frozenset(), ()),
    ],
)
def test_form(source, target, encryption, features, options):
    assert streams.form(source, target, encryption=encryption, target_features=features) == options


@pytest.mark.parametrize("target", [NEW, ZFS_FUSE])
def test_encrypted_data_is_never_sent_in_the_clear(target):
    with pytest.raises(Unsupported, match="encrypted"):
        streams.form(NEW, target, encryption="on", target_features=frozenset({"large_blocks"}))


@pytest.mark.parametrize(
    ("plan", "words"),
    [
        (Full(A, C), ("tank/x@a",)),
        (Increment(A, C, (B,), A), ("-I", "@a", "tank/x@c")),
        (Increment(A, B, (), A), ("-i", "@a", "tank/x@b")),
    ],
)
def test_send(plan, words):
    assert streams.send(DATASET, plan, ("-c",)) == ("zfs", "send", "-c", *words)


def test_progress_adds_up_the_snapshots_of_a_stream():
    progress = Progress()
    lines = [
        "incremental\ts1\ttank/a@s2\t624",
        "size\t8928",
        "12:00:01\t100\ttank/a@s2",
        "12:00:02\t624\ttank/a@s2",
        "12:00:03\t30\ttank/a@s3",
    ]
    assert all(map(progress.heard, lines))
    assert (progress.moved_bytes, progress.expected_bytes) == (654, 8928)
    assert not progress.heard("warning: cannot send 'tank/a@s2': Broken pipe")


def test_complaints_are_what_is_left():
    token = "resume token contents:\nnvlist version: 0\n\tobject = 0x2\n\ttoname = tank/a@s1\n"
    assert complaints(f"{token}full\ttank/a@s1\t5\nsize\t5\ncannot send\n12:00:01\t1\tx\n") == "cannot send\n"


@pytest.mark.parametrize(
    ("text", "codes", "rest"),
    [
        (b"\npenstock-end source 0\n", {"source": 0}, b""),
        (b"oops\n\npenstock-end source 1\n", {"source": 1}, b"oops\n"),
        (b"no newline\npenstock-end target 255\n\npenstock-end sink 0\n", {"target": 255, "sink": 0}, b"no newline"),
        (b"cut off\npenstock-end sour", {}, b"cut off\npenstock-end sour"),
        (b"penstock-end source x\n", {}, b"penstock-end source x\n"),
        (b"", {}, b""),
    ],
)
def test_ends(text, codes, rest):
    assert stream_scripts.ends(text) == (codes, rest)


def test_what_both_ends_mean_together():
    full = Completed(("zfs", "receive"), 1, "", "cannot receive: out of space\n", 1.0)
    for words in ("Broken pipe", "signal received"):
        cut = Completed(("zfs", "send"), 1, "", f"warning: cannot send 'a@s': {words}\n", 1.0)
        fault = fault_of_transfer(cut, full)
        assert fault is not None
        assert "out of space" in fault.message
    words = 'cannot receive resume stream: destination tank/q contains partially-complete state from "zfs receive -s".'
    assert isinstance(fault_of(Completed(("zfs", "receive"), 1, "", words, 1.0)), Busy)


def test_a_token_is_a_token():
    assert receiving.token_of({}) is None
    assert receiving.token_of({receiving.TOKEN: Property("-", "-")}) is None
    assert receiving.token_of({receiving.TOKEN: Property("1-c819ba8ce-b8-789c", "-")}) == "1-c819ba8ce-b8-789c"
    with pytest.raises(BackendFault):
        receiving.token_of({receiving.TOKEN: Property("-t; rm", "-")})


def test_receive_never_overwrites_nor_mounts():
    words = receiving.receive(NEW, DATASET, {"penstock:id": "7"}, is_resumable=True)
    assert words == ("zfs", "receive", "-u", "-s", "-o", "penstock:id=7", "tank/x")
    assert receiving.receive(ZFS_FUSE, DATASET, {"penstock:id": "7"}, is_resumable=False) == (
        "zfs",
        "receive",
        "-u",
        "tank/x",
    )


class FewFeatures:
    """The pool is an older one."""

    is_old = True

    def before(self, host, words):
        is_asked = self.is_old and words[:2] == ("zpool", "get")
        return Answer(0, "feature@lz4_compress\tactive\nfeature@large_blocks\tdisabled\n", "") if is_asked else None

    def after(self, host, words, answer):
        return answer


def test_a_pools_features_are_asked_for_now_and_then():
    clock = ManualClock()
    host = SimulatedHost(clock=clock, pools={"tank": 1 << 30})
    zfs = Zfs(host, host.flavour, clock=clock)
    assert streams.enabled_features(zfs, "tank") == ALL
    assert streams.enabled_features(zfs, "tank") == ALL
    assert host.commands_run == 1
    clock.advance(streams.FEATURES_FOR_S + 1)
    assert streams.enabled_features(zfs, "tank") == ALL
    assert host.commands_run == 2


def test_what_a_pool_lacks_is_asked_for_again_and_may_be_enabled_meanwhile():
    clock, hooks = ManualClock(), FewFeatures()
    host = SimulatedHost(clock=clock, pools={"tank": 1 << 30}, hooks=hooks)
    zfs = Zfs(host, host.flavour, clock=clock)
    assert streams.enabled_features(zfs, "tank") == {"lz4_compress"}
    hooks.is_old = False
    assert streams.enabled_features(zfs, "tank") == ALL

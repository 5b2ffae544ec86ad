"""What an iSCSI server is told by what it says of itself, and how zeros are then copied onto its LUNs."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import pytest
from structlog.testing import capture_logs

from penstock.errors import Unavailable
from penstock.host.runner import Completed
from penstock.images.lun_server import writes_zeros_one_by_one
from penstock.images.nodes import BlockNode, iscsi_node, nfs_node
from penstock.images.qemu_img import QemuImg

LUN = iscsi_node("[2001:db8::1]:3260", "iqn.2026-11.org.x:t", 1, initiator="iqn.2026-11.org.x:me")
WITH_CHAP = iscsi_node(
    "10.0.0.1:3260", "iqn.2026-11.org.x:t", 1, initiator="iqn.2026-11.org.x:me", user="joe", password="hush"
)
# iscsi-inq of libiscsi 1.19, shortened
TGT = "CmdQue:1\nVendor:IET     \nProduct:VIRTUAL-DISK    \nRevision:0001\n"
LIO = "CmdQue:1\nVendor:LIO-ORG \nProduct:volume-1        \nRevision:4.0 \n"
FULL = "Threshold Exponent:0\nlbpu:0\nlbpws:0\nlbpws10:0\nlbprz:0\n"
THIN = "Threshold Exponent:0\nlbpu:1\nlbpws:1\nlbpws10:1\nlbprz:1\n"


class Here:
    """A machine whose programs answer so; qemu-img does as it is told."""

    name = "here"

    def __init__(self, standard: str | Exception = "", page: str = "", exit_code: int = 0, stderr: str = "") -> None:
        self.standard, self.page, self.exit_code, self.stderr = standard, page, exit_code, stderr
        self.ran: list[tuple[Sequence[str], str | None]] = []

    def run(self, argv: Sequence[str], *, timeout_s: float, stdin: str | None = None) -> Completed:
        self.ran.append((argv, stdin))
        if "qemu-img" in argv:
            return Completed(tuple(argv), 0, "", "", timeout_s)
        if isinstance(self.standard, Exception):
            raise self.standard
        stdout = self.page if "178" in argv else self.standard
        return Completed(tuple(argv), self.exit_code, stdout, self.stderr, timeout_s)


def is_as_data(here: Any, target: BlockNode, *, target_is_zero: bool = False) -> bool:
    """Are zeros copied onto it as any other bytes?"""
    source = nfs_node("10.0.0.2", "/share/file")
    QemuImg(here).write(source, "raw", target, size_bytes=2**20, target_is_zero=target_is_zero)
    words = here.ran[-1][0]
    return ("-S", "0") in pairwise(words)


@pytest.mark.parametrize(
    ("here", "is_slow"),
    [
        pytest.param(Here(TGT, FULL), True, id="tgt"),
        pytest.param(Here(TGT, THIN), False, id="tgt-that-may-punch-holes"),
        pytest.param(Here(LIO, FULL), False, id="lio"),
        pytest.param(Here(LIO.replace("LIO-ORG ", "IETX    "), FULL), False, id="somebody"),
        pytest.param(Here("", "", exit_code=10), False, id="not-let-in"),
        pytest.param(Here(Unavailable("here: the program iscsi-inq is missing")), False, id="no-program"),
    ],
)
def test_zeros_are_data_only_where_the_server_would_write_them_one_by_one(here: Here, is_slow: bool) -> None:
    assert is_as_data(here, LUN) is is_slow
    assert writes_zeros_one_by_one(here, LUN) is is_slow  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("here", "why"),
    [
        pytest.param(
            Here(exit_code=127, stderr="sh: 1: exec: iscsi-inq: not found\n"), "iscsi-inq: not found", id="none"
        ),
        pytest.param(
            Here(exit_code=10, stderr="Login Failed. Authentication failure\n"), "Login Failed", id="not-let-in"
        ),
        pytest.param(Here("Peripheral Qualifier:?\n", stderr="what?"), "what?", id="no-vendor"),
        pytest.param(Here(Unavailable("here cannot be reached")), "cannot be reached", id="away"),
    ],
)
def test_the_log_says_why_a_server_is_not_known(here: Here, why: str) -> None:
    with capture_logs() as lines:
        assert not writes_zeros_one_by_one(here, WITH_CHAP)  # type: ignore[arg-type]
    assert [(line["event"], why in line["reason"]) for line in lines] == [("lun.server_unknown", True)]
    assert lines[0].get("exit_code", here.exit_code) == here.exit_code
    assert "hush" not in str(lines)


def test_a_server_that_is_known_needs_no_line() -> None:
    with capture_logs() as lines:
        assert not writes_zeros_one_by_one(Here(LIO), LUN)  # type: ignore[arg-type]
    assert lines == []


def test_nobody_is_asked_for_what_is_zero_already_or_no_lun() -> None:
    here = Here(TGT, FULL)
    assert not is_as_data(here, LUN, target_is_zero=True)
    assert not is_as_data(here, nfs_node("10.0.0.2", "/share/other"))
    assert [words for words, _ in here.ran if "iscsi-inq" in words] == []


def test_the_secret_is_no_word_of_a_command() -> None:
    here = Here(TGT, FULL)
    assert writes_zeros_one_by_one(here, WITH_CHAP)  # type: ignore[arg-type]
    assert {told for _, told in here.ran} == {"joe\nhush\n"}
    assert not any("hush" in word for words, _ in here.ran for word in words)
    assert here.ran[0][0][-1] == "iscsi://10.0.0.1:3260/iqn.2026-11.org.x:t/1"

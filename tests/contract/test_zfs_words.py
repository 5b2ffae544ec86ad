"""The very words of zfs and zpool, recorded from real ones; the simulated hosts say the same, letter by letter.

``PENSTOCK_RECORD=1`` with the tests marked lab or kernel writes the recordings anew from the real hosts.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from penstock.host.runner import Host
from penstock.units import GIB
from penstock.zfs.flavour import ZFS_FUSE, Flavour
from penstock.zfs.properties import GET_COLUMNS
from tests.simulation.zfs_host import OPENZFS, SimulatedHost

FOLDER = Path(__file__).parent / "transcripts"
TIMEOUT_S = 30.0
PATIENCE = 50  # runs of one command while real zfs-fuse still says busy
TOP = "tank/words"
SHOWN = "penstock:id,penstock:no,quota,mounted,mountpoint,origin,type,refquota,compression,canmount"
SHOWN_OF_SNAPSHOT = "penstock:id,type,defer_destroy,userrefs,origin,mounted,quota"

SCRIPT = f"""
zfs create {TOP}
zfs create -o penstock:id=1 -o quota=100M {TOP}/a
zfs create {TOP}/a
zfs create -p {TOP}/a
zfs create {TOP}/x/y
zfs create nopool/y
zfs create -o refreservation=100G {TOP}/big
zfs create -o foo=bar {TOP}/big
zfs create -o quota=abc {TOP}/big
zfs create -o mountpoint=relative {TOP}/big
zfs get -Hp -o {GET_COLUMNS} {SHOWN} {TOP}/a
zfs get -Hp -o {GET_COLUMNS} type {TOP}/no
zfs get -Hp -o {GET_COLUMNS} type {TOP}/no {TOP}/a {TOP}
zfs get -Hp -o {GET_COLUMNS} nonsense {TOP}/a
zfs snapshot -o penstock:id=s {TOP}/a@s1
zfs snapshot {TOP}/a@s1
zfs snapshot {TOP}/no@s1
zfs snapshot {TOP}/a@s3
zfs snapshot {TOP}/a@s5 {TOP}@s5
zfs get -Hp -o {GET_COLUMNS} {SHOWN_OF_SNAPSHOT} {TOP}/a@s1
zfs get -Hp -r -o {GET_COLUMNS} penstock:id,type {TOP}
zfs get -Hp -d 1 -o {GET_COLUMNS} type {TOP}
zfs get -Hp -r -t filesystem -o {GET_COLUMNS} type {TOP}
zfs get -Hp -o {GET_COLUMNS} written {TOP}/a@no
zfs clone -o penstock:id=c {TOP}/a@s1 {TOP}/c
zfs clone {TOP}/a@s1 {TOP}/c
zfs clone {TOP}/a@no {TOP}/d
zfs get -Hp -o {GET_COLUMNS} {SHOWN} {TOP}/c
zfs destroy {TOP}/a@s1
zfs destroy -r {TOP}/a
zfs destroy {TOP}/no
zfs destroy {TOP}/a@no
zfs destroy {TOP}/a@no,s3
zfs destroy {TOP}/no@no,s3
zfs rollback {TOP}/a@no
zfs snapshot {TOP}/a@s4
zfs rollback {TOP}/a@s1
zfs promote {TOP}/a
zfs promote {TOP}/c
zfs get -Hp -o {GET_COLUMNS} origin {TOP}/a {TOP}/c
zfs destroy -d {TOP}/c@s1
zfs get -Hp -o {GET_COLUMNS} defer_destroy {TOP}/c@s1
zfs set foo=bar {TOP}/a
zfs set penstock:a=1 {TOP}/no
zfs set penstock:a=1 {TOP}/a@no
zfs set Penstock:a=1 {TOP}/a
zfs set penstock:a=1 penstock:b=2 {TOP}/a
zfs get -Hp -o {GET_COLUMNS} penstock:a,penstock:b {TOP}/a
zfs set reservation=100G {TOP}/a
zfs set used=3 {TOP}/a
zfs set quota=0 {TOP}/a
zfs inherit penstock:a {TOP}/a
zfs inherit quota {TOP}/a
zfs inherit used {TOP}/a
zfs mount {TOP}/a
zfs unmount {TOP}/a
zfs unmount {TOP}/a
zfs mount {TOP}/a
zfs mount {TOP}/no
zfs unmount {TOP}/no
zfs set mountpoint=none {TOP}/a
zfs mount {TOP}/a
zfs unmount {TOP}/a
zfs set mountpoint=legacy {TOP}/a
zfs inherit mountpoint {TOP}/a
zfs get -Hp -o {GET_COLUMNS} mounted,mountpoint {TOP}/a
zfs rename {TOP}/no {TOP}/b
zfs rename {TOP}/a x/a
zfs rename {TOP}/a {TOP}/q/a
zfs rename {TOP}/a {TOP}/a/inside
zfs rename {TOP}/c@s1 {TOP}/a@s9
zfs rename {TOP}/c@no {TOP}/c@s9
zfs send {TOP}/c@s1 | zfs receive -u {TOP}/r
zfs send {TOP}/c@s1 | zfs receive -u {TOP}/r
zfs send {TOP}/c@no | zfs receive -u {TOP}/r2
zfs send {TOP}/c@s1 | zfs receive -u {TOP}/x/y/r2
zfs send -p {TOP}/c@s1 | zfs receive -u {TOP}/r3
zfs get -Hp -o {GET_COLUMNS} penstock:id,mounted,origin {TOP}/r {TOP}/r@s1 {TOP}/r3
zpool list -H -o name,health
zpool list -H -o name,health nopool
zfs nonsense
"""


def _heard(host: Host, line: str) -> dict[str, Any]:
    """What came back, as it is kept: no usage pages, and of a broken pipe only the target's word."""
    source, bar, target = (part.split() for part in line.partition(" | "))
    for _ in range(PATIENCE):
        done = host.pipe(source, target, timeout_s=TIMEOUT_S)[1] if bar else host.run(source, timeout_s=TIMEOUT_S)
        if "is busy" not in done.stderr:
            break
    err = done.stderr.partition("usage:")[0].replace("(1M)", "(8)")
    complaints = sorted(
        err.splitlines(), key=lambda text: text if text.startswith(TOP) else ""
    )  # names come in any order
    return {"line": line, "exit": done.exit_code, "out": done.stdout.splitlines(), "err": complaints}


def _play(host: Host, lines: Sequence[str]) -> list[dict[str, Any]]:
    return [_heard(host, line) for line in lines]


def _tidy(host: Host) -> None:
    for name in ("r3", "r", "a", "c"):
        _heard(host, f"zfs destroy -r {TOP}/{name}")
    _heard(host, f"zfs destroy -r {TOP}")


def _file(flavour: Flavour) -> Path:
    return FOLDER / f"{flavour.name}-{flavour.version}.json"


LINES = SCRIPT.strip().splitlines()


@pytest.mark.parametrize("flavour", [OPENZFS, ZFS_FUSE], ids=lambda flavour: flavour.name)
def test_simulated_words(flavour):
    recorded = json.loads(_file(flavour).read_text())
    assert [each["line"] for each in recorded] == LINES
    heard = _play(SimulatedHost(flavour=flavour, pools={"tank": GIB}), LINES)
    wrong = [(real, simulated) for real, simulated in zip(recorded, heard, strict=True) if real != simulated]
    assert wrong == []


@pytest.mark.parametrize(
    ("fixture", "flavour"),
    [
        pytest.param("lab_host", ZFS_FUSE, marks=pytest.mark.lab),
        pytest.param("kernel_host", OPENZFS, marks=pytest.mark.kernel),
    ],
)
def test_recorded_words_are_still_true(request, fixture, flavour):
    host = request.getfixturevalue(fixture)
    heard = _play(host, LINES)
    _tidy(host)
    if os.environ.get("PENSTOCK_RECORD"):
        _file(flavour).write_text(json.dumps(heard, indent=1) + "\n")
    assert heard == json.loads(_file(flavour).read_text())

"""The program that changes iSCSI targets on the storage host, run here: how it begins, answers and ends."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from penstock.exports import lio_agent, lio_plan, target_agent, tgt_agent, tgt_plan, tgt_shown
from penstock.exports.iscsi_agent import program
from penstock.exports.target_agent import LOCK

SERVERS: dict[str, tuple[tuple[ModuleType, ...], dict[str, str]]] = {
    "tgt": ((tgt_shown, tgt_plan, tgt_agent), {"socket": "/nonexistent/socket", "record": "/nonexistent/record"}),
    "lio": ((lio_plan, lio_agent), {"configfs": "/nonexistent", "saveconfig": "/nonexistent/saveconfig.json"}),
}


def request(folder: Path, limit_s: int = 20, **wanted: Any) -> str:
    whole = {"directory": str(folder), "write": {}, "remove": [], "put_back": False, "observe": False, "read": None}
    return json.dumps({**whole, "limit_s": limit_s, **wanted})


def answers(server: str, *requests: str) -> tuple[list[dict[str, Any]], int]:
    """What it says to these, and how it ends at the end of its input."""
    found = program(*SERVERS[server])
    text = "".join(f"{line}\n" for line in (found.opening, *requests))
    done = subprocess.run(found.argv, input=text, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == ""
    return [json.loads(line) for line in done.stdout.splitlines()], done.returncode


@pytest.mark.parametrize("server", list(SERVERS))
def test_it_answers_each_request_and_ends_with_its_input(server: str, tmp_path: Path) -> None:
    (tmp_path / "a").write_text("one\ntwo\n")
    reading = [request(tmp_path, read=str(tmp_path / name)) for name in ("a", "b")]
    said, code = answers(server, *reading, request(tmp_path, observe=True), reading[0])
    assert said[:2] + said[3:] == [{"text": "one\ntwo\n"}, {"text": None}, {"text": "one\ntwo\n"}]
    assert said[2]["fault"] == "down"
    assert code == 0


def test_it_bounds_the_time_for_a_request(tmp_path: Path) -> None:
    with (tmp_path / LOCK).open("wb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        said, code = answers("tgt", request(tmp_path, 1, put_back=True))
    assert (said, code) == ([], -signal.SIGALRM)


def test_a_file_that_was_changed_meanwhile_is_not_written(tmp_path: Path) -> None:
    file = tmp_path / "penstock-x.conf"
    file.write_text("changed")
    said, _ = answers("tgt", request(tmp_path, write={str(file): ["absent", "new"]}))
    assert said == [{"overtaken": str(file)}]
    assert file.read_text() == "changed"


def test_new_files_are_there_while_the_server_is_told_and_an_old_one_is_replaced_before(tmp_path: Path) -> None:
    files = target_agent.Files()
    old, new, empty = (str(tmp_path / name) for name in ("old", "new", "empty"))
    Path(old).write_text("before\n")
    Path(empty).touch()
    assert files.read(empty) is None  # as a power cut leaves what was not on the disk
    texts = {old: "after\n", new: "one\n", empty: "two\n"}
    with files.saved(texts, []):
        assert {path: files.read(path) for path in texts} == texts
    assert {path: files.read(path) for path in texts} == texts
    assert sorted(path.name for path in tmp_path.iterdir()) == ["empty", "new", "old"]
    with pytest.raises(KeyError), files.saved({str(tmp_path / "more"): "three\n"}, []):
        raise KeyError
    many = {str(tmp_path / f"many{number}"): "x\n" for number in range(2 * target_agent.MOST_OPEN)}
    with files.saved(many, []):
        assert all(files.read(path) == "x\n" for path in many)
    assert all(path.stat().st_mode & 0o777 == 0o600 for path in tmp_path.glob("many*"))


class Refusing(target_agent.Server):
    """A server that refuses what it is told, once."""

    has_refused = False

    def enforce(self, wanted: Any) -> list[str]:
        if not self.has_refused:
            self.has_refused = True
            raise target_agent.Fault("backend", "no")
        return list(wanted)


def test_what_an_earlier_request_left_unsynced_is_on_the_disk_before_the_next_is_answered(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "penstock-x.conf"
    text = f"{target_agent.MARK}{json.dumps({'iqn': 'iqn.x', 'luns': []})}\n<target iqn.x>\n"
    wanted = json.loads(request(tmp_path, write={str(file): [None, text]}))
    synced: list[int] = []
    real = os.fsync

    def fsync(fd: int) -> None:
        synced.append(os.fstat(fd).st_ino)
        real(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    server = Refusing()
    with pytest.raises(target_agent.Fault):
        target_agent.answer(wanted, server, target_agent.Files())
    assert file.read_text() == text
    synced.clear()
    assert target_agent.answer(wanted, server, target_agent.Files())["changed"] == ["iqn.x"]
    assert synced == [file.stat().st_ino]

"""``penstock replica rehearse``: the backend is found, its driver asked, and nothing else touched."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from penstock.cli.main import main
from penstock.cli.replica_rehearse import begin_rehearsal, end_rehearsal, section_of
from penstock.errors import Conflict, Invalid, InvalidShareAccess, NotFound
from penstock.ids import new_id
from penstock.share_site import share_site_of
from tests.contract.replica_bench import ReplicaBench
from tests.contract.test_share_manager_replicas import bench  # noqa: F401 - the fixture


def test_a_clone_is_served_and_taken_away(bench: ReplicaBench, tmp_path: Path) -> None:  # noqa: F811
    share = bench.share("west")
    bench.look()
    replica = bench.on(share, "west")
    before = bench.record(share, "west")
    assert section_of(bench.database, "host", replica.id) == "west"
    site = share_site_of(bench.managers["west"], tmp_path)
    paths = begin_rehearsal(site, replica.id, "10.0.0.7")
    assert len(paths) == 1
    assert replica.id in paths[0]
    assert begin_rehearsal(site, replica.id, "10.0.0.7") == paths
    end_rehearsal(site, replica.id)
    end_rehearsal(site, replica.id)
    assert bench.record(share, "west") == before
    assert bench.on(share, "west") == replica


def test_what_cannot_be_rehearsed(bench: ReplicaBench, tmp_path: Path) -> None:  # noqa: F811
    share = bench.share("west")
    bench.look()
    replica, active = bench.on(share, "west"), bench.active(share)
    with pytest.raises(NotFound):
        section_of(bench.database, "host", new_id())
    with pytest.raises(Invalid, match="served by host, not by other"):
        section_of(bench.database, "other", replica.id)
    with pytest.raises(Conflict, match="active"):
        begin_rehearsal(share_site_of(bench.managers["east"], tmp_path), active.id, "10.0.0.7")
    with pytest.raises(InvalidShareAccess):
        begin_rehearsal(share_site_of(bench.managers["west"], tmp_path), replica.id, "anybody; reboot")
    with pytest.raises(NotFound):
        end_rehearsal(share_site_of(bench.managers["west"], tmp_path), new_id())


def test_usage() -> None:
    for words in (["x"], ["x", "10.0.0.1", "--end"]):
        assert CliRunner().invoke(main, ["replica", "rehearse", *words]).exit_code == 2

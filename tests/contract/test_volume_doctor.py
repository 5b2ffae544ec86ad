"""What the doctor says of drivers that keep no identity: what can be told by their lists, and by name what cannot."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from penstock.doctor.findings import Kind
from penstock.doctor.treatment import treat
from penstock.doctor.volumes.examination import VolumeExamination, examine_volumes
from penstock.domain.volumes import VolumeStatus
from penstock.services.volumes import creation
from penstock.services.volumes.creation import NewVolume
from penstock.store import volumes
from penstock.volume.inventory import Aspect
from penstock.volume_site import VolumeSite, volume_site_of
from tests.local_files import LocalFiles
from tests.volume_plane import OWNER, VolumePlane


class Silent(VolumePlane):
    """A driver that cannot list anything."""

    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(Path(section.conf.state_path) / "volumes"), group="dummy")
        return LocalFiles(configuration=section, host="host@dummy")


def site_of(plane: VolumePlane, folder: Path) -> VolumeSite:
    return volume_site_of(plane.manager, folder)


def unseen(seen: VolumeExamination) -> set[str]:
    return {finding.subject for finding in seen.findings if finding.kind is Kind.NOT_EXAMINED}


def test_a_driver_that_lists_says_what_is_gone_and_what_nobody_looked_at(tmp_path: Path) -> None:
    plane = VolumePlane(tmp_path)
    made = [creation.create(plane.plane, OWNER, NewVolume(size_gib=2)) for _ in range(2)]
    plane.work()
    site = site_of(plane, tmp_path)
    nothing = examine_volumes(site)
    assert unseen(nothing) == set(Aspect) - {Aspect.VOLUMES}
    assert not any(finding.is_drift for finding in nothing.findings)
    assert all("not examined, because its driver" in finding.sentence for finding in nothing.findings)
    assert nothing.unseen is None

    del plane.storage.volumes[f"volume-{made[0].id}"]
    (finding,) = [one for one in examine_volumes(site).findings if one.is_drift]
    assert (finding.kind, finding.subject) == (Kind.DATASET_MISSING, made[0].id)
    assert [one.fault for one in treat(site, {Kind.DATASET_MISSING}, examine_volumes).treated] == [None]
    with plane.database.read() as tx:
        found = volumes.get(tx, made[0].id)
    assert found is not None
    assert found.status is VolumeStatus.ERROR


def test_where_nobody_can_list_the_rows_are_examined_all_the_same(tmp_path: Path) -> None:
    plane = Silent(tmp_path)
    made = creation.create(plane.plane, OWNER, NewVolume(size_gib=1))
    plane.work()
    with plane.database.begin() as tx:
        volumes.reset(tx, made.id, now=plane.clock.utc(), status="deleting")
    seen = examine_volumes(site_of(plane, tmp_path))
    assert unseen(seen) == set(Aspect)
    assert [finding.kind for finding in seen.findings if finding.is_drift] == [Kind.STUCK]
    assert seen.unseen is not None
    assert "cannot list what it holds" in seen.unseen

"""Volumes of images and images of volumes: services, queue, manager, a third party's driver, a folder of images."""

from __future__ import annotations

import json
import stat
import subprocess
from pathlib import Path
from typing import Any

import pytest

from penstock.domain.volumes import INTERNAL_PROJECT, Volume, VolumeStatus
from penstock.errors import Fault, Invalid, NotFound, Unavailable
from penstock.images.directory import DirectoryImages
from penstock.images.errors import ImageNotFound, ImageTooBig
from penstock.images.sidecar import id_of
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import creation, images, lifecycle, listing, volumes
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.images import NewImage
from penstock.store import volume_types
from penstock.store import volumes as rows
from penstock.store.keyset import KeysetPage
from penstock.store.volumes import VolumeFilter
from penstock.volume.manager.image_cache import CACHED_IMAGE
from tests.local_files import LocalFiles
from tests.volume_plane import OWNER, VolumePlane

MIB = 2**20
CONFIG = """
[DEFAULT]
host = host
state_path = {folder}/state
enabled_backends = dummy
quota_volumes = 20
default_volume_type = default
[dummy]
volume_driver = tests.local_files.LocalFiles
volumes_dir = {folder}/volumes
{more}
"""


class Files(LocalFiles):
    """Tells how often it copied, and fails where a test wants it."""

    copied = 0
    fault: Fault | None = None
    clones = 0

    def copy_image_to_volume(self, context: Any, volume: Any, image_service: Any, image_id: str) -> None:
        if self.fault is not None:
            with Path(self.local_path(volume)).open("r+b") as file:
                file.write(b"half of it")
            fault, self.fault = self.fault, None
            raise fault
        type(self).copied += 1
        super().copy_image_to_volume(context, volume, image_service, image_id)

    def create_cloned_volume(self, volume: Any, src_vref: Any) -> dict[str, str]:
        type(self).clones += 1
        return super().create_cloned_volume(volume, src_vref)


class ImagePlane(VolumePlane):
    """With volumes that are files, and images in a folder."""

    def __init__(self, folder: Path, more: str = "") -> None:
        self.folder = folder
        Files.copied = Files.clones = 0
        super().__init__(folder, config=CONFIG.format(folder=folder, more=more), retry=RetryPolicy(give_up_after_s=60))

    def make_driver(self, section: Any) -> Any:
        return Files(configuration=section, host="host@dummy")

    @property
    def files(self) -> Files:
        found: Any = self.driver
        return found

    @property
    def images(self) -> DirectoryImages:
        found: Any = self.plane.images
        return found

    def content(self, volume_id: str, at: int = 0, length: int = 8) -> bytes:
        model = self.manager.records.volume(volume_id)
        with Path(self.files.local_path(model)).open("rb") as file:
            file.seek(at)
            return file.read(length)

    def show(self, volume_id: str) -> Volume:
        return volumes.get(self.plane, OWNER, volume_id)

    def cached(self) -> list[Volume]:
        with self.database.read() as tx:
            found = rows.list_volumes(tx, VolumeFilter(uses_quota=False))
        return [volume for volume in found if CACHED_IMAGE in volume.admin_metadata]

    def texts(self) -> list[str]:
        return [one.text for one in messages.list_about_volumes(self.plane, OWNER, KeysetPage(), {}, {})]


def an_image(folder: Path, name: str = "debian.qcow2", **record: Any) -> str:
    """An image of 4 MiB that begins with its name."""
    images = folder / "state" / "images"
    images.mkdir(parents=True, exist_ok=True)
    raw = images / f".{name}.source"
    with raw.open("wb") as file:
        file.write(name.encode().ljust(16))
        file.truncate(4 * MIB)
    argv = ["qemu-img", "convert", "-f", "raw", "-O", Path(name).suffix[1:], str(raw), str(images / name)]
    subprocess.run(argv, check=True)
    if record:
        (images / f"{name}.json").write_text(json.dumps(record))
    return id_of(name)


@pytest.fixture
def site(tmp_path: Path) -> ImagePlane:
    return ImagePlane(tmp_path)


def made(site: ImagePlane, image_id: str, size: int = 1, **wanted: Any) -> Volume:
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=size, image_id=image_id, **wanted))
    site.work()
    return site.show(volume.id)


def test_a_volume_of_an_image_is_bootable_and_knows_its_image(site: ImagePlane) -> None:
    image_id = an_image(site.folder, min_disk=1, properties={"os_type": "linux"})
    volume = made(site, image_id, name="root")
    assert (volume.status, volume.is_bootable) == (VolumeStatus.AVAILABLE, True)
    assert site.content(volume.id, length=13) == b"debian.qcow2 "
    known = {"image_id": image_id, "image_name": "debian", "min_disk": "1", "os_type": "linux", "disk_format": "qcow2"}
    assert known.items() <= volume.image_metadata.items()
    assert site.show(volume.id).launched_at is not None
    lifecycle.delete(site.plane, OWNER, volume.id)
    site.work()
    assert list((site.folder / "volumes").iterdir()) == []


def test_what_cannot_be_is_refused_before_anything_is_stored(site: ImagePlane) -> None:
    wants = an_image(site.folder, "wants.raw", min_disk=3)
    bad = site.folder / "state" / "images" / "bad.ploop"
    bad.touch()
    with pytest.raises(ImageTooBig, match="a disk of 3 GiB"):
        made(site, wants)
    with pytest.raises(ImageNotFound):
        made(site, "no-such-image")
    with pytest.raises(Invalid, match="size"):
        creation.create(site.plane, OWNER, NewVolume(image_id=wants))
    with pytest.raises(NotFound):
        images.upload(site.plane, OWNER, "no-such-volume", NewImage("x"))
    assert listing.list_names(site.plane, OWNER, VolumeFilter(), KeysetPage()).items == []


def test_an_image_may_say_the_type_of_its_volumes(site: ImagePlane) -> None:
    site.add_type("fast", {})
    volume = made(site, an_image(site.folder, properties={"cinder_img_volume_type": "fast"}))
    with site.database.read() as tx:
        found = volume_types.get(tx, str(volume.volume_type_id))
    assert found is not None
    assert found.name == "fast"


def test_an_image_that_turns_out_too_large(site: ImagePlane) -> None:
    folder = site.folder / "state" / "images"
    folder.mkdir(parents=True)
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", str(folder / "big.qcow2"), "5G"], check=True)
    volume = made(site, id_of("big.qcow2"))
    assert volume.status is VolumeStatus.ERROR
    assert "unpacks to" in site.texts()[0]


def test_a_copy_that_broke_off_is_made_again(site: ImagePlane) -> None:
    image_id = an_image(site.folder)
    site.files.fault = Unavailable("the target daemon restarts")
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=1, image_id=image_id))
    site.work()
    assert site.show(volume.id).status is VolumeStatus.DOWNLOADING
    assert site.content(volume.id) == b"half of "
    site.restart()
    site.clock.advance(30)  # type: ignore[attr-defined]
    site.work()
    assert site.show(volume.id).status is VolumeStatus.AVAILABLE
    assert site.content(volume.id) == b"debian.q"


def test_later_volumes_of_an_image_are_clones(tmp_path: Path) -> None:
    site = ImagePlane(tmp_path, "image_volume_cache_enabled = True")
    image_id = an_image(tmp_path)
    first, second = made(site, image_id, 1), made(site, image_id, 2)
    assert [volume.status for volume in (first, second)] == [VolumeStatus.AVAILABLE] * 2
    assert (Files.copied, Files.clones) == (1, 2)
    assert (site.content(first.id), site.content(second.id)) == (b"debian.q", b"debian.q")
    (cached,) = site.cached()
    assert (cached.size_gib, cached.status) == (1, VolumeStatus.AVAILABLE)
    assert cached.project_id == INTERNAL_PROJECT
    with pytest.raises(NotFound):
        lifecycle.delete(site.plane, OWNER, cached.id)
    names = {item.line[0] for item in listing.list_shown(site.plane, OWNER, VolumeFilter(), KeysetPage()).items}
    assert cached.id not in names
    assert len(names) == 2
    an_image(tmp_path, checksum="0" * 32)  # a file that is not what its record tells
    assert made(site, image_id).status is VolumeStatus.ERROR
    assert "damaged" in site.texts()[0]


def test_a_cached_volume_that_could_not_be_filled_is_forgotten(tmp_path: Path) -> None:
    site = ImagePlane(tmp_path, "image_volume_cache_enabled = True")
    image_id = an_image(tmp_path)
    site.files.fault = Invalid("not an image")
    volume = made(site, image_id)
    assert volume.status is VolumeStatus.ERROR
    assert site.cached() == []
    assert made(site, image_id).status is VolumeStatus.AVAILABLE
    assert len(site.cached()) == 1


def test_the_cache_keeps_to_its_bounds(tmp_path: Path) -> None:
    site = ImagePlane(tmp_path, "image_volume_cache_enabled = True\nimage_volume_cache_max_count = 1")
    one, two = an_image(tmp_path, "one.raw"), an_image(tmp_path, "two.raw")
    for image_id in (one, two, two):
        assert made(site, image_id).status is VolumeStatus.AVAILABLE
    (cached,) = site.cached()
    assert two in cached.admin_metadata[CACHED_IMAGE]
    assert Files.copied == 2


@pytest.mark.parametrize("disk_format", ["raw", "qcow2"])
def test_a_volume_becomes_an_image_of_which_volumes_are_made(site: ImagePlane, disk_format: str) -> None:
    volume = made(site, an_image(site.folder, properties={"os_type": "linux"}))
    image_id = images.upload(site.plane, OWNER, volume.id, NewImage("mine", disk_format)).image_id
    assert site.show(volume.id).status is VolumeStatus.UPLOADING
    site.work()
    assert site.show(volume.id).status is VolumeStatus.AVAILABLE
    found = site.images.show(OWNER, image_id)
    assert (found.status, found.owner, found.properties) == ("active", "p1", {"os_type": "linux"})
    again = made(site, image_id)
    assert (again.status, site.content(again.id)) == (VolumeStatus.AVAILABLE, b"debian.q")


def test_an_image_of_a_volume_is_protected_when_it_is_whole_and_read_by_nobody_else(site: ImagePlane) -> None:
    volume = made(site, an_image(site.folder))
    image_id = images.upload(site.plane, OWNER, volume.id, NewImage("mine", protected=True)).image_id
    site.work()
    found = site.images.show(OWNER, image_id)
    assert (found.status, found.protected) == ("active", True)
    files = [path for path in (site.folder / "state" / "images").iterdir() if path.name.startswith(image_id)]
    assert [stat.S_IMODE(path.stat().st_mode) for path in files] == [0o600, 0o600]


@pytest.mark.parametrize("protected", [False, True])
def test_an_upload_that_fails_leaves_no_image_and_the_volume_as_it_was(site: ImagePlane, protected: bool) -> None:
    volume = made(site, an_image(site.folder))
    image_id = images.upload(site.plane, OWNER, volume.id, NewImage("mine", protected=protected)).image_id
    Path(site.files.local_path(site.manager.records.volume(volume.id))).unlink()
    site.work()
    assert site.show(volume.id).status is VolumeStatus.AVAILABLE
    with pytest.raises(ImageNotFound):
        site.images.show(OWNER, image_id)
    assert "could not be copied to an image" in site.texts()[0]


def test_the_parts_of_a_first_image_do_not_shine_through_the_second(site: ImagePlane) -> None:
    site.files.fault = Invalid("it broke in the middle")
    volume = made(site, an_image(site.folder))
    assert (volume.status, site.content(volume.id)) == (VolumeStatus.ERROR, b"half of ")
    folder = site.folder / "state" / "images"
    with (folder / "zeros.raw").open("wb") as file:
        file.truncate(MIB)
    images.reimage(site.plane, OWNER, volume.id, id_of("zeros.raw"))
    site.work()
    assert (site.show(volume.id).status, site.content(volume.id)) == (VolumeStatus.AVAILABLE, bytes(8))


def test_another_image_is_written_over_a_volume(site: ImagePlane) -> None:
    volume = made(site, an_image(site.folder))
    path = Path(site.files.local_path(site.manager.records.volume(volume.id)))
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(b"what the old system left")
    other = an_image(site.folder, "other.raw")
    images.reimage(site.plane, OWNER, volume.id, other)
    site.work()
    after = site.show(volume.id)
    assert (after.status, after.image_metadata["image_id"]) == (VolumeStatus.AVAILABLE, other)
    assert site.content(volume.id) == b"other.ra"
    assert site.content(volume.id, 2 * MIB) == bytes(8)
    with pytest.raises(Invalid, match="disk format"):
        images.upload(site.plane, OWNER, volume.id, NewImage("x", "ploop"))

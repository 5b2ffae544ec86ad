"""Images onto volumes and back, through services, manager, a driver of files, and a folder of images."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from penstock.context import RequestContext
from penstock.domain.volumes import Volume, VolumeStatus
from penstock.errors import Invalid
from penstock.images.directory import DirectoryImages
from penstock.images.errors import ImageNotFound, ImageTooBig
from penstock.operations.outcome import RetryPolicy
from penstock.services import messages
from penstock.services.volumes import attachments, connections, creation, images, listing, volumes
from penstock.services.volumes.attachments import NewAttachment
from penstock.services.volumes.creation import NewVolume
from penstock.services.volumes.images import NewImage
from penstock.store import volumes as volume_rows
from penstock.store.keyset import KeysetPage
from penstock.store.volumes import VolumeFilter
from tests.local_files import LocalFiles
from tests.volume_plane import CONFIG, CONNECTOR, OWNER, VolumePlane

MIB = 2**20
DATA = b"an image of something bootable" + bytes(MIB)


class ImagesPlane(VolumePlane):
    """The dummy section served by a driver of files."""

    copies = 0

    def __init__(self, folder: Path, *, cache: bool = False) -> None:
        self.folder = folder / "volumes"
        config = CONFIG.replace("[DEFAULT]", f"[DEFAULT]\nimage_conversion_dir = {folder}/conversion")
        config += f"image_volume_cache_enabled = {cache}\n[images]\nservice = directory\ndirectory = {folder}/images\n"
        (folder / "images").mkdir()
        super().__init__(folder, config=config, retry=RetryPolicy(give_up_after_s=60))
        self.images = DirectoryImages(folder / "images", self.clock)

    def make_driver(self, section: Any) -> Any:
        section.conf.set_override("volumes_dir", str(self.folder), group="dummy")
        plane = self

        class Counting(LocalFiles):
            def copy_image_to_volume(self, *args: Any) -> None:
                plane.copies += 1
                super().copy_image_to_volume(*args)

        return Counting(configuration=section, host="host@dummy")

    def image(self, data: bytes = DATA, **meta: Any) -> str:
        made = self.images.create(OWNER, {"name": "i", "disk_format": "raw", "properties": {"os": "x"}, **meta})
        file = self.folder.parent / "data"
        file.write_bytes(data)
        self.images.update(OWNER, made.id, {}, file)
        return made.id


def made(site: ImagesPlane, image_id: str, context: RequestContext = OWNER, size_gib: int = 1) -> Volume:
    volume = creation.create(site.plane, context, NewVolume(size_gib=size_gib, image_id=image_id))
    site.work()
    return volumes.get(site.plane, context, volume.id)


def content(site: ImagesPlane, volume: Volume, size: int = 30) -> bytes:
    with (site.folder / f"volume-{volume.name_id or volume.id}").open("rb") as file:
        return file.read(size)


def test_a_volume_has_the_image_on_it_and_says_so(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    image_id = site.image()
    volume = made(site, image_id)
    assert (volume.status, volume.is_bootable) == (VolumeStatus.AVAILABLE, True)
    assert content(site, volume) == DATA[:30]
    assert (volume.image_metadata["image_id"], volume.image_metadata["os"]) == (image_id, "x")


def test_a_second_volume_of_an_image_is_a_clone_of_the_cached_one(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path, cache=True)
    image_id = site.image()
    volumes_made = [made(site, image_id) for _ in range(3)]
    assert site.copies == 1
    assert all(content(site, volume) == DATA[:30] for volume in volumes_made)
    with site.database.read() as tx:
        assert volume_rows.count_volumes(tx, VolumeFilter()) == 4
    shown = listing.list_names(site.plane, OWNER, VolumeFilter(), KeysetPage())
    assert len(shown.items) == 3
    site.restart()
    site.work()
    assert made(site, image_id).status is VolumeStatus.AVAILABLE
    assert site.copies == 1


def test_another_project_does_not_get_a_private_image(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path, cache=True)
    image_id = site.image()
    made(site, image_id)
    stranger = RequestContext("u2", "p2", ("member",))
    with pytest.raises(ImageNotFound):
        made(site, image_id, stranger)


def test_an_image_that_does_not_fit_is_refused_at_once(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    with pytest.raises(ImageTooBig, match="5 GiB"):
        made(site, site.image(min_disk=5))


def test_an_image_that_lies_is_refused_with_a_reason(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    volume = made(site, site.image(disk_format="qcow2"))
    assert volume.status is VolumeStatus.ERROR
    assert messages.list_about_volumes(site.plane, OWNER, KeysetPage(), {}, {})


def test_a_volume_becomes_an_image_and_a_volume_again(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    volume = made(site, site.image())
    accepted = images.upload(site.plane, OWNER, volume.id, NewImage("copy", disk_format="qcow2"))
    assert accepted.volume.status is VolumeStatus.UPLOADING
    site.work()
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.AVAILABLE
    image = site.images.show(OWNER, accepted.image_id)
    assert (image.status, image.disk_format, image.properties["os"]) == ("active", "qcow2", "x")
    again = made(site, accepted.image_id)
    assert content(site, again) == DATA[:30]


def test_another_image_replaces_what_was_there(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    volume = made(site, site.image())
    other = site.image(b"another" + bytes(MIB))
    images.reimage(site.plane, OWNER, volume.id, other)
    site.work()
    seen = volumes.get(site.plane, OWNER, volume.id)
    assert (seen.status, seen.image_metadata["image_id"]) == (VolumeStatus.AVAILABLE, other)
    assert content(site, seen, 7) == b"another"


def test_another_image_is_not_put_under_a_machine_that_is_connected(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    volume = made(site, site.image())
    connections.initialize_connection(site.plane, OWNER, volume.id, CONNECTOR)
    with pytest.raises(Invalid, match="connected"):
        images.reimage(site.plane, OWNER, volume.id, site.image(b"another" + bytes(MIB)))
    assert content(site, volume) == DATA[:30]
    connections.terminate_connection(site.plane, OWNER, volume.id, CONNECTOR)
    images.reimage(site.plane, OWNER, volume.id, site.image())


def test_an_image_of_a_volume_in_use_leaves_its_user_connected(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    volume = made(site, site.image())
    used = attachments.create(site.plane, OWNER, NewAttachment(volume.id, "vm", CONNECTOR))
    attachments.complete(site.plane, OWNER, used.id)
    removed: list[str] = []
    site.driver.remove_export = lambda _context, one: removed.append(one.id)  # type: ignore[method-assign]
    accepted = images.upload(site.plane, OWNER, volume.id, NewImage("copy", force=True))
    site.work()
    assert site.images.show(OWNER, accepted.image_id).status == "active"
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.IN_USE
    assert removed == []
    attachments.delete(site.plane, OWNER, used.id)
    assert removed == [volume.id]


def test_a_copy_that_was_interrupted_is_begun_again(tmp_path: Path) -> None:
    site = ImagesPlane(tmp_path)
    image_id = site.image()

    class Death(BaseException):
        pass

    def die(*_args: Any) -> None:
        raise Death

    kept = site.driver.copy_image_to_volume
    site.driver.copy_image_to_volume = die  # type: ignore[method-assign]
    volume = creation.create(site.plane, OWNER, NewVolume(size_gib=1, image_id=image_id))
    with pytest.raises(Death):
        site.work()
    assert volumes.get(site.plane, OWNER, volume.id).status is VolumeStatus.DOWNLOADING
    site.driver.copy_image_to_volume = kept  # type: ignore[method-assign]
    site.restart()
    site.work()
    assert content(site, volumes.get(site.plane, OWNER, volume.id)) == DATA[:30]

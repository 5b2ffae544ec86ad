"""Images: what they claim and are, the services they come from, and their way onto volumes and back."""

from __future__ import annotations

import hashlib
import json
import os
import struct
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from penstock.clock import ManualClock
from penstock.context import RequestContext, admin_context
from penstock.errors import Conflict, Forbidden, InsufficientCapacity, Invalid, Unavailable, Unsupported
from penstock.host.local import LocalHost
from penstock.images.copying import Converter
from penstock.images.directory import DirectoryImages
from penstock.images.errors import ImageCopyFailure, ImageNotFound, ImageTooBig, ImageUnacceptable
from penstock.images.formats import inspect
from penstock.images.nodes import BlockNode, described, file_node, iscsi_node
from penstock.images.qemu_img import Limits, QemuImg
from penstock.images.sidecar import id_of
from penstock.images.url_list import UrlImages

MIB = 2**20
ADMIN = admin_context("req-images")


def user(project: str) -> RequestContext:
    return RequestContext(request_id="req-images", user_id="u", project_id=project, is_admin=False)


def qemu_img(*words: str) -> None:
    subprocess.run(["qemu-img", *words], check=True, capture_output=True)


def an_image(folder: Path, name: str = "disk.raw", size: int = 4 * MIB) -> Path:
    """A raw image with something in it, not at its start."""
    path = folder / name
    with path.open("wb") as file:
        file.truncate(size)
        file.seek(MIB)
        file.write(b"penstock" * 1024)
    return path


def as_format(source: Path, name: str, image_format: str, *options: str) -> Path:
    target = source.with_name(name)
    qemu_img("convert", "-f", "raw", "-O", image_format, *options, str(source), str(target))
    return target


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    return an_image(tmp_path)


@pytest.mark.parametrize(
    ("disk_format", "qemu", "options"),
    [
        ("qcow2", "qcow2", ()),
        ("qcow2", "qcow2", ("-o", "compat=0.10")),
        ("qcow2", "qcow2", ("-c",)),
        ("vmdk", "vmdk", ()),
        ("vmdk", "vmdk", ("-o", "subformat=streamOptimized")),
        ("vdi", "vdi", ()),
        ("vhd", "vpc", ()),
        ("vhdx", "vhdx", ()),
    ],
)
def test_each_format_is_known_by_its_bytes(raw: Path, disk_format: str, qemu: str, options: tuple[str, ...]) -> None:
    path = as_format(raw, f"disk.{disk_format}", qemu, *options)
    found = inspect(path, disk_format, vmdk_types=frozenset({"monolithicSparse", "streamOptimized"}))
    assert found.qemu_format == qemu
    assert found.virtual_bytes >= 4 * MIB
    with pytest.raises(ImageUnacceptable, match="its bytes are"):
        inspect(path, "raw")


def test_a_raw_image_is_its_bytes(raw: Path) -> None:
    assert inspect(raw, "raw").virtual_bytes == 4 * MIB
    assert inspect(raw, "iso").qemu_format == "raw"
    with pytest.raises(ImageUnacceptable, match="its bytes are raw"):
        inspect(raw, "qcow2")
    with pytest.raises(ImageUnacceptable, match="formats are"):
        inspect(raw, "ploop")


def a_backed_image(folder: Path) -> Path:
    secret = folder / "secret"
    secret.write_bytes(b"root:x:0:0" + bytes(MIB))
    qemu_img("create", "-f", "qcow2", "-F", "raw", "-b", str(secret), str(folder / "backed.qcow2"))
    return folder / "backed.qcow2"


def an_image_with_a_data_file(folder: Path) -> Path:
    path = folder / "external.qcow2"
    qemu_img("create", "-f", "qcow2", "-o", f"data_file={folder}/data,data_file_raw=on", str(path), "1M")
    return path


def an_image_with_unknown_features(folder: Path) -> Path:
    path = as_format(an_image(folder), "odd.qcow2", "qcow2")
    with path.open("r+b") as file:
        file.seek(0x48)
        file.write(struct.pack(">Q", 1 << 40))
    return path


def a_flat_vmdk(folder: Path) -> Path:
    path = folder / "flat.vmdk"
    path.write_text(
        '# Disk DescriptorFile\nversion=1\nCID=00000001\nparentCID=ffffffff\ncreateType="monolithicFlat"\n'
        'RW 2048 FLAT "/etc/passwd" 0\n'
    )
    return path


def a_sparse_vmdk_of_another_file(folder: Path) -> Path:
    path = as_format(an_image(folder), "renamed.vmdk", "vmdk")
    data = path.read_bytes()
    old = b'"renamed.vmdk"'
    path.write_bytes(data.replace(old, b'"/etc/passwd"\n'[: len(old)].ljust(len(old))))
    return path


@pytest.mark.parametrize(
    "make",
    [
        a_backed_image,
        an_image_with_a_data_file,
        an_image_with_unknown_features,
        a_flat_vmdk,
        a_sparse_vmdk_of_another_file,
    ],
)
def test_an_image_that_reaches_for_other_files_is_refused(tmp_path: Path, make: Any) -> None:
    path = make(tmp_path)
    with pytest.raises(ImageUnacceptable):
        inspect(path, path.suffix[1:], vmdk_types=frozenset({"monolithicSparse", "streamOptimized"}))


@pytest.mark.parametrize("garbage", [b"", b"\0", b"QFI\xfb", b"QFI\xfb" + b"\xff" * 600, b"KDMV" + b"\xff" * 2000])
@pytest.mark.parametrize("disk_format", ["qcow2", "vmdk", "vdi", "vhd", "vhdx"])
def test_garbage_is_refused(tmp_path: Path, garbage: bytes, disk_format: str) -> None:
    path = tmp_path / "garbage"
    path.write_bytes(garbage)
    with pytest.raises(ImageUnacceptable):
        inspect(path, disk_format, vmdk_types=frozenset())


def test_a_kind_of_vmdk_that_is_not_allowed(raw: Path) -> None:
    path = as_format(raw, "disk.vmdk", "vmdk")
    with pytest.raises(ImageUnacceptable, match="streamOptimized are"):
        inspect(path, "vmdk", vmdk_types=frozenset({"streamOptimized"}))


def test_secrets_are_in_no_command_line(tmp_path: Path) -> None:
    node = iscsi_node("10.0.0.1:3260", "iqn.x:a,b", 1, initiator="iqn.me", user="me", password="s3cr,et")
    assert "s3cr" not in repr(node)
    with described(node) as words:
        told = words.options(node, "raw")
        path = words.objects[1].partition("file=")[2]
        assert Path(path).read_text() == "s3cr,et"
        assert Path(path).stat().st_mode & 0o077 == 0
    assert "s3cr" not in told
    assert "file.target=iqn.x:a,,b" in told
    assert not Path(path).exists()


# --- services -------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "images").mkdir()
    return tmp_path / "images"


@pytest.fixture
def images(folder: Path) -> DirectoryImages:
    return DirectoryImages(folder, ManualClock())


def a_converter(tmp_path: Path, **changes: Any) -> Converter:
    return Converter(QemuImg(LocalHost("here"), Limits(10, 1)), tmp_path / "conversion", **changes)


@pytest.fixture
def converter(tmp_path: Path) -> Converter:
    return a_converter(tmp_path)


@pytest.fixture
def volume(tmp_path: Path) -> BlockNode:
    path = tmp_path / "volume"
    with path.open("wb") as file:
        file.truncate(2**30)
    return file_node(path)


def content(node: BlockNode, length: int = 4 * MIB) -> bytes:
    with Path(node.options["filename"]).open("rb") as file:
        return file.read(length)


def put(converter: Converter, images: Any, image_id: str, volume: BlockNode, **changes: Any) -> None:
    converter.to_volume(ADMIN, images, image_id, volume, **{"size_gib": 1, "target_is_zero": False, **changes})


@pytest.mark.parametrize("name", ["plain.raw", "plain.qcow2", "plain.vmdk"])
def test_a_file_of_the_folder_becomes_a_volume(
    folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode, name: str
) -> None:
    source = an_image(folder, "source.raw")
    if name != "plain.raw":
        as_format(source, name, Path(name).suffix[1:])
    else:
        source.rename(folder / name)
    found = {image.name: image for image in images.images(ADMIN)}["plain"]
    assert found.id == id_of(name)
    put(converter, images, found.id, volume)
    assert content(volume)[MIB:][:8] == b"penstock"
    assert list((converter.folder).glob("*")) == []


def test_zeros_of_an_image_overwrite_what_a_used_volume_held(
    folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode
) -> None:
    an_image(folder)
    Path(volume.options["filename"]).write_bytes(b"x" * 4 * MIB)
    with Path(volume.options["filename"]).open("r+b") as file:
        file.truncate(2**30)
    put(converter, images, id_of("disk.raw"), volume)
    assert content(volume) == (folder / "disk.raw").read_bytes()


def test_what_does_not_fit_changes_nothing(
    folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode
) -> None:
    qemu_img("create", "-f", "qcow2", str(folder / "big.qcow2"), "3G")
    an_image(folder, "wants.raw")
    (folder / "wants.raw.json").write_text(json.dumps({"min_disk": 2}))
    for image, said in (("big.qcow2", "unpacks to"), ("wants.raw", "a disk of 2 GiB")):
        image_id = {found.name: found.id for found in images.images(ADMIN)}[Path(image).stem]
        with pytest.raises(ImageTooBig, match=said):
            put(converter, images, image_id, volume)
    assert content(volume) == bytes(4 * MIB)


def test_a_malicious_image_is_not_copied(
    folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode
) -> None:
    a_backed_image(folder)
    with pytest.raises(ImageUnacceptable, match="backing"):
        put(converter, images, id_of("backed.qcow2"), volume)
    assert content(volume) == bytes(4 * MIB)


def test_only_raw_when_conversion_is_off(
    tmp_path: Path, folder: Path, images: DirectoryImages, volume: BlockNode
) -> None:
    as_format(an_image(folder), "disk.qcow2", "qcow2")
    converter = a_converter(tmp_path, allow_conversion=False)
    with pytest.raises(ImageUnacceptable, match="only raw"):
        put(converter, images, id_of("disk.qcow2"), volume)
    put(converter, images, id_of("disk.raw"), volume)


def test_a_damaged_image_is_found_out_also_after_a_change(
    folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode
) -> None:
    path = an_image(folder)
    record = {"os_hash_algo": "sha256", "os_hash_value": hashlib.sha256(path.read_bytes()).hexdigest()}
    (folder / "disk.raw.json").write_text(json.dumps(record))
    put(converter, images, id_of("disk.raw"), volume)
    with path.open("r+b") as file:
        file.write(b"damaged")
    with pytest.raises(ImageUnacceptable, match="checksum"):
        put(converter, images, id_of("disk.raw"), volume)


@pytest.mark.parametrize("disk_format", ["raw", "qcow2", "vmdk", "vdi", "vhd", "vhdx"])
def test_a_volume_becomes_an_image_and_a_volume_again(
    tmp_path: Path, images: DirectoryImages, converter: Converter, volume: BlockNode, disk_format: str
) -> None:
    with Path(volume.options["filename"]).open("r+b") as file:
        file.seek(MIB)
        file.write(b"penstock" * 1024)
    made = images.create(user("p"), {"name": "mine", "disk_format": disk_format, "properties": {"os": "none"}})
    assert made.status == "queued"
    with pytest.raises(ImageUnacceptable, match="queued"):
        put(converter, images, made.id, volume)
    meta = {"id": made.id, "disk_format": disk_format, "container_format": "bare", "properties": {"from": "v"}}
    done = converter.to_image(user("p"), images, meta, volume, size_gib=1)
    assert (done.status, done.properties) == ("active", {"os": "none", "from": "v"})
    assert done.size is not None
    assert done.size < 2**30 or disk_format == "raw"
    other = tmp_path / "other"
    with other.open("wb") as file:
        file.truncate(2 * 2**30)
    put(converter, images, made.id, file_node(other), size_gib=2, target_is_zero=True)
    assert content(file_node(other))[MIB:][:8] == b"penstock"
    assert other.stat().st_blocks * 512 < 8 * MIB


def test_a_users_bytes_are_never_taken_for_a_format(
    images: DirectoryImages, converter: Converter, tmp_path: Path
) -> None:
    """A guest that wrote a qcow2 header onto its volume gets that back, and nothing else."""
    disk = a_backed_image(tmp_path)
    with disk.open("r+b") as file:
        file.truncate(2**30)
    made = images.create(ADMIN, {"disk_format": "raw"})
    converter.to_image(ADMIN, images, {"id": made.id, "disk_format": "raw"}, file_node(disk), size_gib=1)
    path = images.local_file(ADMIN, made.id)
    assert path is not None
    assert content(file_node(path), MIB) == content(file_node(disk), MIB)
    with pytest.raises(ImageUnacceptable, match="qcow2"):
        put(converter, images, made.id, file_node(tmp_path / "nowhere"))


def test_a_full_target_says_so(folder: Path, images: DirectoryImages, converter: Converter, tmp_path: Path) -> None:
    an_image(folder)
    full = BlockNode("file", {"filename": "/dev/full"})
    with pytest.raises((InsufficientCapacity, ImageCopyFailure)):
        put(converter, images, id_of("disk.raw"), full)


def test_nobody_answers(folder: Path, images: DirectoryImages, converter: Converter) -> None:
    an_image(folder)
    gone = iscsi_node("127.0.0.1:9", "iqn.x:gone", 1, initiator="iqn.me", timeout_s=2)
    with pytest.raises(Unavailable):
        put(converter, images, id_of("disk.raw"), gone)


def test_whose_images_they_are(images: DirectoryImages) -> None:
    mine = images.create(user("mine"), {"name": "mine", "disk_format": "raw"})
    kept = images.create(user("mine"), {"name": "kept", "protected": True, "visibility": "public"})
    assert [image.name for image in images.images(user("yours"))] == ["kept"]
    with pytest.raises(ImageNotFound):
        images.show(user("yours"), mine.id)
    with pytest.raises(Forbidden):
        images.update(user("yours"), kept.id, {"name": "stolen"})
    with pytest.raises(Conflict, match="protected"):
        images.delete(user("mine"), kept.id)
    images.update(user("mine"), kept.id, {"protected": False})
    for _ in range(2):
        images.delete(user("mine"), kept.id)
        images.delete(user("yours"), mine.id)
    assert [image.name for image in images.images(ADMIN)] == ["mine"]


def test_what_is_made_here_is_read_by_nobody_else(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    images = DirectoryImages(folder, ManualClock())
    image = images.create(user("mine"), {"name": "mine", "disk_format": "raw"})
    data = tmp_path / "data"
    data.write_bytes(b"secret of the volume")
    data.chmod(0o644)
    images.update(user("mine"), image.id, {}, data)
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}
    assert len(list(folder.iterdir())) == 2


def test_names_cannot_leave_the_folder(images: DirectoryImages, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(Invalid):
        images.create(ADMIN, {"id": "../../etc/cron.d/x"})
    (tmp_path / "elsewhere.raw").write_bytes(b"secret")
    (folder / "link.raw").symlink_to(tmp_path / "elsewhere.raw")
    assert images.images(ADMIN) == []
    (folder / "broken.raw.json").write_text("no json")
    with pytest.raises(Invalid, match="not JSON"):
        images.images(ADMIN)


class _Site(BaseHTTPRequestHandler):
    files: dict[str, bytes]

    def do_GET(self) -> None:
        if self.path == "/moved":
            self.send_response(302)
            self.send_header("Location", "/disk.raw")
            self.end_headers()
            return
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "file:///etc/passwd")
            self.end_headers()
            return
        data = self.files.get(self.path)
        self.send_response(200 if data is not None else 404)
        body = data or b""
        self.send_header("Content-Length", str(len(body) + (9 if self.path == "/short.raw" else 0)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None: ...  # noqa: A002


@pytest.fixture
def site(raw: Path) -> Iterator[str]:
    data = raw.read_bytes()
    handler = type("Site", (_Site,), {"files": {"/disk.raw": data, "/short.raw": data}})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


def listed(tmp_path: Path, *entries: dict[str, Any]) -> UrlImages:
    path = tmp_path / "images.yaml"
    path.write_text(json.dumps(list(entries)))  # JSON is YAML
    return UrlImages(path)


def test_an_image_of_the_list_becomes_a_volume(
    tmp_path: Path, raw: Path, site: str, converter: Converter, volume: BlockNode
) -> None:
    digest = hashlib.sha256(raw.read_bytes()).hexdigest()
    entries = [
        {"name": "good", "url": f"{site}/disk.raw", "sha256": digest},
        {"name": "moved", "url": f"{site}/moved", "sha256": digest, "disk_format": "raw", "id": "m"},
        {"name": "bad", "url": f"{site}/disk.raw", "sha256": "0" * 64, "id": "bad"},
        {"name": "gone", "url": f"{site}/gone.raw", "sha256": digest},
        {"name": "short", "url": f"{site}/short.raw", "sha256": digest},
        {"name": "away", "url": f"{site}/away", "sha256": digest, "disk_format": "raw", "id": "away"},
        {"name": "long", "url": f"{site}/disk.raw", "sha256": digest, "id": "long", "size": 10},
    ]
    images = listed(tmp_path, *entries)
    ids = {image.name: image.id for image in images.images(user("p"))}
    for name in ("good", "moved"):
        put(converter, images, ids[name], volume)
        assert content(volume) == raw.read_bytes()
    for name, kind in (
        ("bad", ImageUnacceptable),
        ("gone", ImageNotFound),
        ("short", Unavailable),
        ("away", Unavailable),
        ("long", ImageUnacceptable),
    ):
        with pytest.raises(kind):
            put(converter, images, ids[name], volume)
    assert list(converter.folder.iterdir()) == []


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"url": "file:///etc/passwd"}, "not an http"),
        ({"url": "http://example.org/a.raw"}, "needs a sha256"),
        ({}, "not an http"),
    ],
)
def test_an_entry_that_is_not_safe(tmp_path: Path, entry: dict[str, Any], said: str) -> None:
    with pytest.raises(Invalid, match=said):
        listed(tmp_path, entry).images(ADMIN)


def test_a_list_is_only_read(tmp_path: Path) -> None:
    images = listed(tmp_path, {"url": "https://example.org/a.raw", "id": "a"})
    assert images.show(ADMIN, "a").name == "a"
    for call in (lambda: images.create(ADMIN, {}), lambda: images.delete(ADMIN, "a")):
        with pytest.raises(Unsupported):
            call()
    with pytest.raises(Unavailable, match="cannot be read"):
        UrlImages(tmp_path / "nothing.yaml").images(ADMIN)


def test_what_a_killed_process_left_is_removed(
    tmp_path: Path, folder: Path, images: DirectoryImages, converter: Converter, volume: BlockNode
) -> None:
    converter.folder.mkdir()
    gone, alive = 2**22 + 1, os.getpid()  # larger than any process's number
    for pid in (gone, alive):
        (converter.folder / f"image-{pid}-abc").mkdir()
        (converter.folder / f"image-{pid}-abc" / "image").touch()
    (converter.folder / "image-of-somebody").touch()
    made = images.create(ADMIN, {"disk_format": "raw"})
    converter.to_image(ADMIN, images, {"id": made.id}, volume, size_gib=1)
    assert {path.name for path in converter.folder.iterdir()} == {f"image-{alive}-abc", "image-of-somebody"}

"""An image onto a volume: ours, its attaching and looks included, beside ``qemu-img convert`` straight to the LUN."""

from __future__ import annotations

import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from bench.rows import Row, median
from lab.network import await_true
from penstock.clock import SystemClock
from penstock.config.backend import volume_backend
from penstock.config.loading import load
from penstock.context import admin_context
from penstock.images.directory import DirectoryImages
from penstock.images.nodes import BlockNode, described, iscsi_node
from penstock.images.sidecar import id_of
from penstock.volume.driver import ISCSIDriver
from penstock.volume.models import VolumeModel

MIB = 2**20
IMAGE_MIB = 512
VOLUME_GIB = 1
TURNS = 6
MOST = 1 / 0.95  # throughput at least 95% of the bare command's
CONTROL, PORT = 7373, 33773
TARGET, USER, PASSWORD = "iqn.2026-11.bench:volume", "bench", "bench-password"
BY_HAND = "qemu-img convert, same image, same LUN, same options, in turns"


class OneLun(ISCSIDriver):
    """A volume that is exported already."""

    def check_for_setup_error(self) -> None:
        """There is nothing to check."""

    def ensure_export(self, context: Any, volume: Any) -> None:
        """It is there."""

    def create_export(self, context: Any, volume: Any, connector: Any) -> None:
        """It is there."""

    def remove_export(self, context: Any, volume: Any) -> None:
        """It stays."""


def images() -> Iterator[Row]:
    """A raw and a compressed image, each onto the same LUN of tgt."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with _target(folder / "lun") as node:
            for image, extra in (("disk.raw", ()), ("disk.qcow2", ("-c",))):
                yield _row(folder, node, _image(folder, image, extra))


def _row(folder: Path, node: BlockNode, image: Path) -> Row:
    conf = folder / "penstock.conf"
    conf.write_text(f"[DEFAULT]\nstate_path = {folder}\n[lun]\nvolume_data_path = userspace\n")
    driver = OneLun(configuration=volume_backend(load([conf]), "lun"))
    service = DirectoryImages(image.parent, SystemClock())
    volume = VolumeModel(
        id="bench",
        name="volume-bench",
        name_id="bench",
        size=VOLUME_GIB,
        status="downloading",
        host="here@lun#lun",
        project_id="p",
        user_id="u",
        provider_location=f"127.0.0.1:{PORT},1 {TARGET} 1",
        provider_auth=f"CHAP {USER} {PASSWORD}",
    )

    def through_us() -> float:
        started = time.perf_counter()
        driver.copy_image_to_volume(admin_context("req-bench"), volume, service, id_of(image.name))
        return time.perf_counter() - started

    _by_hand(image, node)  # the first to write finds out how slow it is to make the file below the LUN
    ours, bare = [], []
    for turn in range(TURNS):
        if turn % 2:
            ours.append(through_us())
        bare.append(_by_hand(image, node))
        if not turn % 2:
            ours.append(through_us())
    what = f"image of {IMAGE_MIB} MiB ({image.suffix[1:]}) onto a volume by iSCSI"
    return Row(what, median(ours), "s", MOST, median(bare), BY_HAND)


def _by_hand(image: Path, node: BlockNode) -> float:
    with described(node) as words:
        argv = ["qemu-img", "convert", *words.objects, "-n", "-W", "-m", "16", "-t", "none"]
        argv += ["--image-opts", f"driver={image.suffix[1:]},file.driver=file,file.filename={image}"]
        argv += ["--target-image-opts", words.options(node, "raw")]
        started = time.perf_counter()
        _run(argv)
        return time.perf_counter() - started


def _image(folder: Path, name: str, extra: Sequence[str]) -> Path:
    """Half of it random, as the file systems of images are, half holes."""
    images_folder = folder / "images"
    images_folder.mkdir(exist_ok=True)
    raw = folder / "source"
    if not raw.exists():
        _run(["dd", "if=/dev/urandom", f"of={raw}", "bs=1M", f"count={IMAGE_MIB // 2}", "status=none"])
        _run(["truncate", "-s", f"{IMAGE_MIB}M", str(raw)])
    _run(["qemu-img", "convert", "-f", "raw", "-O", Path(name).suffix[1:], *extra, str(raw), str(images_folder / name)])
    return images_folder / name


@contextmanager
def _target(backing: Path) -> Iterator[BlockNode]:
    """A LUN of a tgt of our own, with CHAP."""
    with backing.open("wb") as file:
        file.truncate(VOLUME_GIB * 1024 * MIB)
    daemon = subprocess.Popen(
        ["tgtd", "-f", "-C", str(CONTROL), "--iscsi", f"portal=127.0.0.1:{PORT}"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_true("tgtd", lambda: _tgtadm("system", "show") == 0, timeout_s=20)
        steps: tuple[tuple[str, str, Mapping[str, str]], ...] = (
            ("target", "new", {"--tid": "1", "--targetname": TARGET}),
            ("logicalunit", "new", {"--tid": "1", "--lun": "1", "--backing-store": str(backing)}),
            ("account", "new", {"--user": USER, "--password": PASSWORD}),
            ("account", "bind", {"--tid": "1", "--user": USER}),
            ("target", "bind", {"--tid": "1", "--initiator-address": "127.0.0.1"}),
        )
        for mode, step, words in steps:
            if _tgtadm(mode, step, *(word for pair in words.items() for word in pair)) != 0:
                raise RuntimeError(f"tgtadm {mode} {step} failed")
        yield iscsi_node(f"127.0.0.1:{PORT}", TARGET, 1, initiator="iqn.2026-11.bench", user=USER, password=PASSWORD)
    finally:
        daemon.kill()
        daemon.wait()


def _tgtadm(mode: str, step: str, *words: str) -> int:
    argv = ["tgtadm", "-C", str(CONTROL), "--lld", "iscsi", "--mode", mode, "--op", step, *words]
    return subprocess.run(argv, capture_output=True, check=False, timeout=20).returncode


def _run(argv: Sequence[str]) -> None:
    # In a session of its own, as ours are: the kernel shares a busy machine out among sessions, and one that is shared
    # with the target daemon is served better (measured: 12 to 25 % under load).
    subprocess.run(argv, check=True, capture_output=True, timeout=600, start_new_session=True)

"""qemu-img: the field's own converter. Argv and parsing here; it runs as any command of this machine does."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from penstock.errors import Fault, InsufficientCapacity, Unavailable
from penstock.host.runner import Completed, Host
from penstock.images.errors import ImageCopyFailure, ImageUnacceptable
from penstock.images.lun_server import writes_zeros_one_by_one
from penstock.images.nodes import BlockNode, described

INFO_TIMEOUT_S = 60.0
# A copy slower than this is taken for hung: qemu's own network timeouts end it long before.
SLOWEST_BYTES_PER_S = 256 * 1024
LEAST_TIMEOUT_S = 600.0
COROUTINES = "16"
# A copy ends with whoever asked for it: one that outlived a killed daemon would write over what the volume's user
# writes once the next daemon has made the copy again.
ENDS_WITH_US = ("setpriv", "--pdeathsig", "KILL", "--")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a look at an image may cost: CPU seconds, and GiB of address space."""

    cpu_s: int = 60
    address_space_gib: int = 1

    @property
    def prefix(self) -> tuple[str, ...]:
        """The words in front of the command."""
        return ("prlimit", f"--cpu={self.cpu_s}", f"--as={self.address_space_gib * 2**30}", "--")


@dataclass(frozen=True, slots=True)
class QemuImg:
    """qemu-img on `host`. Raises what `Host.run` raises, and ImageCopyFailure for its own complaints."""

    host: Host
    limits: Limits = Limits()

    def info(self, node: BlockNode, image_format: str) -> Mapping[str, Any]:
        """What qemu says of an image whose format is known. Raises ImageUnacceptable when it cannot open it."""
        with described(node) as words:
            argv = (
                *self.limits.prefix,
                *("qemu-img", "info", *words.objects, "--output=json"),
                *("--image-opts", words.options(node, image_format)),
            )
            done = self.host.run(argv, timeout_s=INFO_TIMEOUT_S)
        if done.exit_code != 0:
            raise ImageUnacceptable(f"qemu-img cannot read the image: {_complaint(done)}")
        try:
            answer = json.loads(done.stdout)
        except ValueError as err:
            raise ImageUnacceptable("qemu-img said of the image what is no JSON.") from err
        if not isinstance(answer, dict):
            raise ImageUnacceptable("qemu-img said of the image what nobody understands.")
        return answer

    def write(
        self,
        source: BlockNode,
        source_format: str,
        target: BlockNode,
        *,
        size_bytes: int,
        target_is_zero: bool,
        bps_limit: int = 0,
    ) -> None:
        """Unpack `source` onto `target`, which is there and large enough. Repeatable.

        `target_is_zero` leaves out zeros: only for a target that nobody ever wrote to. `bps_limit` is in bytes a
        second, 0 for none. `size_bytes` is what the source unpacks to.
        """
        is_as_data = not target_is_zero and writes_zeros_one_by_one(self.host, target)
        with described(source, target) as words:
            argv = [
                *ENDS_WITH_US,
                *("qemu-img", "convert", *words.objects, "-n", "-W", "-m", COROUTINES),
                # A device is written past the page cache; not every file system can do that for a file.
                *("-t", "writeback" if target.driver == "file" else "none"),
                *(("--target-is-zero",) if target_is_zero else ()),
                *(("-S", "0") if is_as_data else ()),
                *(("-r", str(bps_limit)) if bps_limit else ()),
                *("--image-opts", words.options(source, source_format)),
                *("--target-image-opts", words.options(target, "raw")),
            ]
            self._copy(argv, size_bytes, bps_limit, f"to {target}")

    def pack(
        self,
        source: BlockNode,
        path: str,
        image_format: str,
        *,
        size_bytes: int,
        compressed: bool = False,
        bps_limit: int = 0,
    ) -> None:
        """Make the image file `path` of `source`, whose bytes are what they are. A file that is there is replaced."""
        with described(source) as words:
            argv = [
                *ENDS_WITH_US,
                *("qemu-img", "convert", *words.objects, "-W", "-m", COROUTINES, "-t", "writeback"),
                *(("-c",) if compressed else ()),
                *(("-r", str(bps_limit)) if bps_limit else ()),
                *("-O", image_format),
                *(("-o", "subformat=streamOptimized") if image_format == "vmdk" else ()),
                *("--image-opts", words.options(source, "raw"), path),
            ]
            self._copy(argv, size_bytes, bps_limit, f"of {source}")

    def _copy(self, argv: list[str], size_bytes: int, bps_limit: int, what: str) -> None:
        slowest = min(SLOWEST_BYTES_PER_S, bps_limit or SLOWEST_BYTES_PER_S) / 2
        done = self.host.run(argv, timeout_s=LEAST_TIMEOUT_S + size_bytes / slowest)
        if done.exit_code != 0:
            raise _failure(done, what)


# What qemu-img's last line tells: the C library's words for errno, and libiscsi's (7.2, block/iscsi.c).
MEANING: tuple[tuple[re.Pattern[str], type[Fault]], ...] = (
    (
        re.compile(r"No space left on device|Disk quota exceeded|SPACE ALLOCATION FAILED", re.IGNORECASE),
        InsufficientCapacity,
    ),
    (re.compile(r"Connection (refused|reset|timed out)|No route to host|Can not reconnect|not ready"), Unavailable),
    (re.compile(r"Failed to connect to LUN(?!.*Authentication)|mount failed"), Unavailable),
)


def _failure(done: Completed, what: str) -> Fault:
    complaint = _complaint(done)
    kind = next((fault for text, fault in MEANING if text.search(complaint)), ImageCopyFailure)
    return kind(f"The copy {what} failed: {complaint}")


def _complaint(done: Completed) -> str:
    """What it said last, which is the reason; without its own name in front."""
    lines = [line for line in done.stderr.splitlines() if line.strip()]
    return lines[-1].removeprefix("qemu-img: ") if lines else f"exit {done.exit_code}"

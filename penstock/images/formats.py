"""What an image file really is, told from its bytes, and whether it is safe to hand to a program that follows it.

An image can name other files: a backing file, an external data file, the extents of a VMDK. A program that opened
those would hand the machine's files to whoever made the image (CVE-2015-1850, CVE-2022-47951, CVE-2024-32498,
CVE-2024-4467). So we look first, with oslo.utils' inspectors, which only read; and tell qemu the format afterwards.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from oslo_utils.imageutils import format_inspector

from penstock.images.errors import ImageUnacceptable

# The published disk formats we take, and qemu's names for them.
QEMU_FORMATS = {
    "raw": "raw",
    "iso": "raw",
    "qcow2": "qcow2",
    "vmdk": "vmdk",
    "vdi": "vdi",
    "vhd": "vpc",
    "vhdx": "vhdx",
}
# What bytes without a format of their own may look like: they are copied as they are.
PLAIN = frozenset({"raw", "iso", "gpt", "luks"})
CHUNK_BYTES = 65536
# Enough for every inspector to make up its mind, but for VMDK's, which wants the footer; a VHDX's tables come latest.
LOOKED_AT_BYTES = 8 * 2**20


@dataclass(frozen=True, slots=True)
class Inspected:
    """`qemu_format` is what to tell qemu; `virtual_bytes` how large it unpacks."""

    qemu_format: str
    virtual_bytes: int


def qemu_format(disk_format: str | None) -> str:
    """qemu's name for a published disk format. Raises ImageUnacceptable for one we do not take."""
    try:
        return QEMU_FORMATS[disk_format or ""]
    except KeyError:
        raise ImageUnacceptable(
            f"Images of format '{disk_format}' cannot be used; the formats are {', '.join(sorted(QEMU_FORMATS))}."
        ) from None


def inspect(path: Path, disk_format: str | None, *, vmdk_types: frozenset[str] | None = None) -> Inspected:
    """Look at the file, which claims to be `disk_format`; `vmdk_types` are the kinds of VMDK allowed.

    Raises ImageUnacceptable: another format, or one that refers to other files or has what we do not know.
    """
    wanted = qemu_format(disk_format)
    with path.open("rb") as file:
        found = _formats(file, path.stat().st_size if wanted == "vmdk" else LOOKED_AT_BYTES)
    names = {str(item) for item in found}
    if wanted == "raw":
        # A guest that writes a header onto a raw image must not make us follow it the next time.
        if not names <= PLAIN:
            raise ImageUnacceptable(f"The image says it is {disk_format} but its bytes are {_told(names)}.")
        return Inspected("raw", path.stat().st_size)
    if names != {str(disk_format)}:
        raise ImageUnacceptable(f"The image says it is {disk_format} but its bytes are {_told(names)}.")
    (inspector,) = found
    try:
        inspector.safety_check()
    except format_inspector.SafetyCheckFailed as err:
        raise ImageUnacceptable(f"The {disk_format} image is not safe to use: {_reasons(err)}.") from err
    except format_inspector.ImageFormatError as err:
        raise ImageUnacceptable(f"The {disk_format} image cannot be understood: {err}.") from err
    if wanted == "vmdk" and vmdk_types is not None:
        _check_vmdk(inspector, vmdk_types)
    return Inspected(wanted, int(inspector.virtual_size))


def _formats(file: IO[bytes], look_at_bytes: int) -> list[format_inspector.FileInspector]:
    wrapper = format_inspector.InspectWrapper(file)
    try:
        for _ in _chunks(wrapper, look_at_bytes):
            if wrapper.formats is not None:
                break
        wrapper.close()
        return list(wrapper.formats or ())
    except format_inspector.ImageFormatError as err:
        raise ImageUnacceptable(f"The image cannot be understood: {err}.") from err


def _chunks(wrapper: format_inspector.InspectWrapper, look_at_bytes: int) -> Iterator[bytes]:
    looked = 0
    while looked < look_at_bytes and (chunk := wrapper.read(CHUNK_BYTES)):
        looked += len(chunk)
        yield chunk


def _check_vmdk(inspector: format_inspector.FileInspector, allowed: frozenset[str]) -> None:
    kind = str(getattr(inspector, "vmdktype", "unknown"))
    if kind not in {name.lower() for name in allowed}:
        raise ImageUnacceptable(f"VMDK images of type '{kind}' are not allowed; {', '.join(sorted(allowed))} are.")


def _told(names: set[str]) -> str:
    return " and ".join(sorted(names)) or "nothing known"


def _reasons(err: format_inspector.SafetyCheckFailed) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in sorted(err.failures.items()))

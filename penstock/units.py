"""Sizes. The APIs speak GiB, ZFS speaks bytes."""

from __future__ import annotations

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB


def gib_to_bytes(size_gib: int) -> int:
    """Whole GiB in bytes."""
    return size_gib * GIB


def bytes_to_gib(size_bytes: int) -> float:
    """Bytes in GiB, rounded to hundredths as pools are reported."""
    return round(size_bytes / GIB, 2)


def bytes_to_gib_ceil(size_bytes: int) -> int:
    """The smallest whole number of GiB that holds `size_bytes`, at least 1."""
    return max(1, -(-size_bytes // GIB))

"""Sizes as clients write them: bytes, or ``3g`` and the like."""

from __future__ import annotations

import re

from penstock.appliance.faults import InvalidArgument

SECTOR = 512
MOST_BYTES = 2**60
_SIZE = re.compile(r"([0-9]{1,19})([kmgtp]?)b?", re.IGNORECASE)
_BLOCK = re.compile(r"([0-9]{1,6})(k?)", re.IGNORECASE)


def volume_size(text: object) -> int:
    """Bytes, a multiple of a sector. Raises InvalidArgument."""
    found = None if isinstance(text, bool) else _SIZE.fullmatch(str(text))
    size = int(found[1]) << (10 * " kmgtp".index(found[2].lower() or " ")) if found else 0
    if not 0 < size <= MOST_BYTES or size % SECTOR:
        raise InvalidArgument(f"volsize: {text!r:.40} is not a size, such as 3g or a number of bytes (of {SECTOR})")
    return size


def block_size(text: object) -> int:
    """Bytes, a power of two from 512 to 1 MiB. Raises InvalidArgument."""
    found = None if isinstance(text, bool) else _BLOCK.fullmatch(str(text))
    size = int(found[1]) * (1024 if found[2] else 1) if found else 0
    if not SECTOR <= size <= 2**20 or size & (size - 1):
        raise InvalidArgument(f"volblocksize: {text!r:.40} is not a power of two from 512 to 1M")
    return size

"""An image, as every image service tells of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from penstock.domain.record import Record


@dataclass(frozen=True, slots=True)
class ImageModel(Record):
    """An image's record, with the published field names; read as attributes or as a mapping.

    `size` and `virtual_size` are in bytes, `min_disk` in GiB, `min_ram` in MiB. `checksum` is MD5; `os_hash_value` is
    by the algorithm `os_hash_algo`, and is what we check where there is one.
    """

    id: str
    name: str | None
    status: str
    disk_format: str | None
    container_format: str | None
    size: int | None = None
    virtual_size: int | None = None
    min_disk: int = 0
    min_ram: int = 0
    checksum: str | None = None
    os_hash_algo: str | None = None
    os_hash_value: str | None = None
    owner: str | None = None
    visibility: str = "private"
    protected: bool = False
    properties: Mapping[str, str] = field(default_factory=dict)
    created_at: datetime | None = None
    updated_at: datetime | None = None

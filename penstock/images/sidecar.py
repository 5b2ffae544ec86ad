"""What is known of an image file beside its bytes: the record in ``<file>.json``, or what its name tells."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from penstock.errors import Invalid
from penstock.images.model import ImageModel

SUFFIX = ".json"
FORMATS = {
    ".raw": "raw",
    ".img": "raw",
    ".iso": "iso",
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vdi": "vdi",
    ".vhd": "vhd",
    ".vpc": "vhd",
    ".vhdx": "vhdx",
}
# An image that nobody gave an id has one made of its name, the same on every machine and at every start.
NAMES = uuid.UUID("5c1ddb4c-6d2f-5a0e-9d0a-f3a2a8ad1f55")
STORED = (
    "id",
    "name",
    "status",
    "disk_format",
    "container_format",
    "virtual_size",
    "min_disk",
    "min_ram",
    "checksum",
    "os_hash_algo",
    "os_hash_value",
    "owner",
    "visibility",
    "protected",
)


def id_of(name: str) -> str:
    """The id of an image that has only a name."""
    return str(uuid.uuid5(NAMES, name))


def record_of(path: Path) -> ImageModel:
    """The image in file `path`, which need not be there as long as its record is. Raises Invalid for a record that is
    none.
    """
    told = _told(path.with_name(path.name + SUFFIX))
    size = path.stat().st_size if path.exists() else None
    return image_of({"status": "active" if size is not None else "queued", **told}, path.name, size)


def image_of(told: Mapping[str, Any], file_name: str, size: int | None) -> ImageModel:
    """The image that `told` describes, its bytes in a file of that name and size. Raises Invalid."""
    known = {name: told[name] for name in STORED if told.get(name) is not None}
    known.setdefault("id", id_of(file_name))
    known.setdefault("name", Path(file_name).stem)
    known.setdefault("disk_format", FORMATS.get(Path(file_name).suffix.lower()))
    known.setdefault("container_format", "bare")
    known.setdefault("visibility", "public" if told.get("owner") is None else "private")
    properties = told.get("properties") or {}
    if not isinstance(properties, Mapping) or not all(
        isinstance(known.get(n, 0), int) for n in ("min_disk", "min_ram")
    ):
        raise Invalid(f"The record of image {file_name} does not fit: properties are names to texts, sizes numbers.")
    return ImageModel(
        **{"status": "active", **known},
        size=size,
        properties={str(name): str(value) for name, value in properties.items()},
        created_at=_time(told.get("created_at")),
        updated_at=_time(told.get("updated_at")),
    )


def text_of(image: ImageModel) -> str:
    """The record as it is kept beside the image."""
    kept: dict[str, Any] = {name: image[name] for name in STORED if image[name] is not None}
    kept["properties"] = dict(image.properties)
    for name in ("created_at", "updated_at"):
        if image[name] is not None:
            kept[name] = image[name].isoformat()
    return json.dumps(kept, indent=1, sort_keys=True)


def may_see(image: ImageModel, project_id: str | None, *, is_admin: bool) -> bool:
    """Is the image the caller's to use?"""
    return (
        is_admin
        or image.visibility in ("public", "community")
        or (image.owner is not None and image.owner == project_id)
    )


def _told(path: Path) -> Mapping[str, Any]:
    try:
        told = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except ValueError as err:
        raise Invalid(f"{path} is not JSON: {err}.") from err
    if not isinstance(told, dict):
        raise Invalid(f"{path} does not describe an image.")
    return told


def _time(text: Any) -> datetime | None:
    if text is None:
        return None
    found = datetime.fromisoformat(str(text))
    return found.astimezone(UTC).replace(tzinfo=None) if found.tzinfo else found

"""One volume's data onto another, through this machine: what migration and revert come to without a better way."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from enum import Enum
from typing import Any

import structlog

from penstock.errors import Invalid
from penstock.images.nodes import BlockNode
from penstock.units import GIB
from penstock.volume.data_path.local import attached_node
from penstock.volume.generic.image_copy import ImageCopy
from penstock.volume.interface.values import Connector, Context
from penstock.volume.models import VolumeModel

log = structlog.get_logger(__name__)


class Remote(Enum):
    """Which of the two volumes another backend serves."""

    NONE = None
    SOURCE = "src"
    TARGET = "dest"
    BOTH = "both"


def copy_volume_data(
    driver: ImageCopy,
    context: Context,
    source: VolumeModel,
    target: VolumeModel,
    *,
    remote: Remote = Remote.NONE,
    target_is_zero: bool = False,
) -> None:
    """Copy all of `source` to `target`, at least as large, both attached to this machine meanwhile. Repeatable.

    `driver` serves what is not `remote`. `target_is_zero` leaves zeros out: only for a new volume of a backend that
    reports ``sparse_copy_volume``. Keeps to the driver's throttle. Raises ImageCopyFailure and what attaching raises.
    """
    if target.size < source.size:
        raise Invalid(f"Volume {target.id} of {target.size} GiB cannot hold the {source.size} GiB of {source.id}.")
    here = driver.local_properties()
    with (
        _attached(driver, context, target, here, remote=remote in (Remote.TARGET, Remote.BOTH)) as onto,
        _attached(driver, context, source, here, remote=remote in (Remote.SOURCE, Remote.BOTH)) as origin,
    ):
        driver.converter().qemu_img.write(
            origin,
            "raw",
            onto,
            size_bytes=source.size * GIB,
            target_is_zero=target_is_zero,
            bps_limit=driver.throttle.bps_limit,
        )
    log.info("volume.copied", source=source.id, target=target.id, gib=source.size)


@contextlib.contextmanager
def _attached(
    driver: ImageCopy, context: Context, volume: VolumeModel, here: Connector, *, remote: bool
) -> Iterator[BlockNode]:
    attach_info: Mapping[str, Any]
    attach_info, volume = driver.attach_here(context, volume, here, remote=remote)
    try:
        yield attached_node(attach_info)
    finally:
        driver.detach_here(context, attach_info, volume, here, remote=remote)

"""Which image service the configuration names."""

from __future__ import annotations

from pathlib import Path

from oslo_config import cfg

from penstock.clock import Clock
from penstock.errors import Invalid
from penstock.images.directory import DirectoryImages
from penstock.images.openstack import OpenstackImages
from penstock.images.service import ImageService
from penstock.images.url_list import UrlImages


def image_service(conf: cfg.ConfigOpts, clock: Clock) -> ImageService | None:
    """The service of section [images]; None when there is to be none. Nothing is contacted. Raises Invalid."""
    settings = conf.images
    if settings.service == "directory":
        return DirectoryImages(Path(settings.directory), clock)
    if settings.service == "list":
        return UrlImages(Path(_wanted(settings.url_list, "url_list")))
    if settings.service == "openstack":
        return OpenstackImages(_wanted(settings.cloud, "cloud"))
    return None


def _wanted(value: str | None, name: str) -> str:
    if not value:
        raise Invalid(f"[images] {name} is missing.")
    return value

"""What a backend reports of itself: stats, pools, and the properties an operator may put into volume types."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import structlog

from penstock.config.backend import BackendConfiguration

log = structlog.get_logger(__name__)

Properties = dict[str, dict[str, Any]]
LIMITS = ("enum", "default", "minimum", "maximum")
STANDARD = (
    ("thin_provisioning", "Thin Provisioning", "Sets thin provisioning."),
    ("compression", "Compression", "Enables compression."),
    ("qos", "QoS", "Enables QoS."),
    ("replication_enabled", "Replication", "Enables replication."),
)


class Capabilities:
    """Stats and capabilities, part of every driver."""

    configuration: BackendConfiguration
    capabilities: dict[str, Any]
    pools: list[Any]
    _stats: dict[str, Any]

    def get_volume_stats(self, refresh: bool = False) -> dict[str, Any]:
        """The backend's stats under their published names; `refresh` asks the storage, else the last are returned."""
        if refresh or not self._stats:
            self._update_volume_stats()
        return self._stats

    def _update_volume_stats(self) -> None:
        """Gather the stats into `_stats`. Drivers override it."""
        self._update_pools_and_stats(
            {
                "volume_backend_name": backend_name(self.configuration),
                "vendor_name": "Open Source",
                "driver_version": str(getattr(self, "VERSION", "N/A")),
                "storage_protocol": None,
                "pools": [],
            }
        )

    def _update_pools_and_stats(self, data: dict[str, Any]) -> None:
        """Make `data` the stats, with a pool of unknown capacity for each of `pools`, or one for the whole backend."""
        data.setdefault("pools", [])
        data["pools"].extend(
            {
                "pool_name": name,
                "total_capacity_gb": 0,
                "free_capacity_gb": 0,
                "provisioned_capacity_gb": None,
                "reserved_percentage": 100,
                "QoS_support": False,
                "filter_function": self.get_filter_function(),
                "goodness_function": self.get_goodness_function(),
            }
            for name in self.pools or [data["volume_backend_name"]]
        )
        self._stats = data

    def get_filter_function(self) -> str | None:
        """The configured ``filter_function``, else the driver's own; None lets the scheduler always consider it."""
        return self.configuration.safe_get("filter_function") or self.get_default_filter_function()

    def get_goodness_function(self) -> str | None:
        """The configured ``goodness_function``, else the driver's own; None is the lowest score."""
        return self.configuration.safe_get("goodness_function") or self.get_default_goodness_function()

    def get_default_filter_function(self) -> str | None:
        """A filter expression that suits the backend, None for none."""
        return None

    def get_default_goodness_function(self) -> str | None:
        """A goodness expression that suits the backend, None for none."""
        return None

    def get_prefixed_property(self, property: str) -> str | None:  # noqa: A002 - the published name
        """`property` with the vendor's prefix in front; None when there is no vendor or no property."""
        prefix = self.capabilities.get("vendor_prefix")
        return f"{prefix}:{property}" if property and prefix else None

    def init_capabilities(self) -> None:
        """Gather `capabilities`: the stats, and under ``properties`` what volume types may ask for."""
        self.capabilities = dict(self.get_volume_stats(True) or {})
        properties = self._init_standard_capabilities()
        vendor_properties, vendor = self._init_vendor_properties()
        if vendor and vendor_properties:
            prefix = vendor.replace(":", "_")  # the colon is what separates it from the property
            properties.update(_prefixed(vendor_properties, vendor, prefix))
            self.capabilities["vendor_prefix"] = prefix
        self.capabilities["properties"] = properties

    def _set_property(
        self,
        properties: Properties,
        entry: str,
        title: str,
        description: str,
        type: str,  # noqa: A002 - the published name
        **kwargs: Any,
    ) -> None:
        """Put property `entry` into `properties`; `kwargs` may limit it (enum, default, minimum, maximum)."""
        limits = {name: value for name, value in kwargs.items() if name in LIMITS}
        properties[entry] = {"title": title, "description": description, "type": type, **limits}

    def _init_standard_capabilities(self) -> Properties:
        """The properties any volume type may ask for."""
        properties: Properties = {}
        for entry, title, description in STANDARD:
            self._set_property(properties, entry, title, description, "boolean")
        return properties

    def _init_vendor_properties(self) -> tuple[Properties, str | None]:
        """The driver's own properties, made with `_set_property`, each ``<vendor>:<name>``; and the vendor."""
        return {}, None


def backend_name(configuration: BackendConfiguration) -> str:
    """What the backend is called: its ``volume_backend_name``, else its section."""
    return configuration.safe_get("volume_backend_name") or configuration.config_group


def _prefixed(found: Mapping[str, dict[str, Any]], vendor: str, prefix: str) -> Properties:
    """The properties that belong to `vendor`, under `prefix`; others cannot be told apart from standard ones."""
    properties: Properties = {}
    for key, value in found.items():
        if not key.startswith((f"{vendor}:", f"{prefix}:")):
            log.warning("volume.property_ignored", property=key, wanted_prefix=f"{prefix}:")
            continue
        properties[key.replace(vendor, prefix, 1) if key.startswith(f"{vendor}:") else key] = value
    return properties

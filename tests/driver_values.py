"""What share drivers are handed, for tests: complete, valid and different from each other."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from penstock.config.backend import BackendConfiguration
from penstock.config.loading import load
from penstock.ids import new_id
from penstock.share.drivers.zfsonlinux.options import zfsonlinux_opts
from penstock.share.models import AccessModel, ExportLocationModel, ShareModel, SnapshotModel

SERVICE = "host@zfs"


def a_share(pool: str = "tank", *, size: int = 1, path: str = "", **changes: Any) -> ShareModel:
    """A new share instance placed on `pool`; `path` is its export location, if it has one."""
    share = ShareModel(
        id=new_id(),
        share_id=new_id(),
        name="share-x",
        display_name="weekly reports",
        size=size,
        share_proto="NFS",
        project_id="p1",
        user_id="u1",
        host=f"{SERVICE}#{pool}",
        status="creating",
        share_type_id="type-1",
        export_locations=(ExportLocationModel(path),) if path else (),
    )
    return replace(share, **changes)


def a_snapshot(share: ShareModel, **changes: Any) -> SnapshotModel:
    """A new snapshot instance of `share`."""
    snapshot = SnapshotModel(
        id=new_id(),
        snapshot_id=new_id(),
        share_id=share.share_id,
        share_instance_id=share.id,
        name="share-snapshot-x",
        share_name=share.name,
        display_name=None,
        status="creating",
        progress="0%",
        size=share.size,
        share_size=share.size,
        share_proto="NFS",
        project_id="p1",
        user_id="u1",
        provider_location=None,
        share=share,
    )
    return replace(snapshot, **changes)


def a_rule(to: str = "10.0.0.1", level: str = "rw", **changes: Any) -> AccessModel:
    """A new access rule."""
    rule_id = new_id()
    rule = AccessModel(
        id=rule_id,
        access_id=rule_id,
        share_id="s",
        share_instance_id="i",
        access_type="ip",
        access_to=to,
        access_level=level,
        access_key=None,
        state="applying",
    )
    return replace(rule, **changes)


def a_configuration(**values: Any) -> BackendConfiguration:
    """A backend's section ``[zfs]`` for pool tank, with these options on top."""
    conf = load()
    configuration = BackendConfiguration(conf, "zfs")
    configuration.append_config_values(zfsonlinux_opts)
    settings = {
        "driver_handles_share_servers": False,
        "zfs_share_export_ip": "192.0.2.5",
        "zfs_zpool_list": ["tank"],
        **values,
    }
    for name, value in settings.items():
        conf.set_override(name, value, group="zfs")
    return configuration

"""The driver's options: those published for it, and where our own share service is."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from oslo_config import cfg

from penstock.config.backend import BackendConfiguration
from penstock.domain.attachments import host_address
from penstock.errors import Invalid

PENSTOCK_SHARES = "penstock.volume.drivers.nfs_appliance.penstock_shares.PenstockShares"

PUBLISHED = (
    cfg.StrOpt("nas_user", default="", help="User by whom the appliance is administered."),
    cfg.StrOpt("nas_password", default="", secret=True, help="Password of that user."),
    cfg.BoolOpt(
        "nfs_sparsed_volumes",
        default=True,
        help="Make volumes as sparse files, which take no space until they are written; off: write all of it at "
        "creation, which takes long.",
    ),
    cfg.StrOpt("nfs_mount_point_base", default="$state_path/mnt", help="Folder of the mount points of NFS shares."),
    cfg.StrOpt("nfs_mount_options", help="Options of the NFS client's mounts, as in nfs(5)."),
    cfg.IntOpt("nfs_mount_attempts", default=3, help="How often a share is tried to be mounted; at least once."),
    cfg.StrOpt(
        "nas_secure_file_operations",
        default="auto",
        choices=["auto", "true", "false"],
        ignore_case=True,
        help="true: nobody reaches the volumes' files as root; false: root does. auto: true.",
    ),
    cfg.StrOpt(
        "nas_secure_file_permissions",
        default="auto",
        choices=["auto", "true", "false"],
        ignore_case=True,
        help="true: only owner and group may read and write a volume's file (660); false: everybody may (666), for "
        "hypervisors whose emulator runs as another user. auto: true.",
    ),
)
OWN = (
    cfg.StrOpt(
        "nas_appliance",
        default=PENSTOCK_SHARES,
        help="Dotted name of the class that speaks with the appliance; the default is this product's share service.",
    ),
    cfg.StrOpt(
        "nas_auth_url",
        help="Address of Identity for that service; unset: of this same process.",
    ),
    cfg.StrOpt("nas_project", default="admin", help="Project that the volumes' shares belong to."),
    cfg.StrOpt("nas_share_type", help="Share type of the volumes' shares; unset: the default type."),
    cfg.IntOpt(
        "nas_timeout", default=600, min=1, help="Seconds the appliance may take for one thing, such as making a share."
    ),
)
OPTIONS: tuple[cfg.Opt, ...] = PUBLISHED + OWN


@dataclass(frozen=True, slots=True)
class Settings:
    """The options, read once."""

    sparse: bool
    mount_base: str
    mount_options: str | None
    mount_attempts: int
    secure_operations: bool
    secure_permissions: bool
    our_address: str

    @property
    def file_mode(self) -> int:
        """Permissions of a volume's file."""
        return 0o660 if self.secure_permissions else 0o666

    @property
    def client_options(self) -> str:
        """What clients mount with, as they are told."""
        return f"-o {self.mount_options or 'v3'}"


def settings_of(configuration: BackendConfiguration) -> Settings:
    """The options of the backend. Raises Invalid for values that cannot be right."""
    options = configuration.nfs_mount_options
    if options and any(character.isspace() for character in options):
        raise Invalid("nfs_mount_options are separated by commas, without blanks.")
    return Settings(
        sparse=configuration.nfs_sparsed_volumes,
        # links resolved, so that the mount points are those the kernel tells of
        mount_base=str(Path(configuration.nfs_mount_point_base).resolve()),
        mount_options=options,
        mount_attempts=max(1, configuration.nfs_mount_attempts),
        secure_operations=configuration.nas_secure_file_operations.lower() != "false",
        secure_permissions=configuration.nas_secure_file_permissions.lower() != "false",
        our_address=host_address(str(configuration.conf.my_ip)),
    )

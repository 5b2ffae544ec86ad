"""The field's published suites (tempest, and it with manila-tempest-plugin), unmodified: set-up, run, results."""

from __future__ import annotations

import re
import subprocess
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

REQUIREMENTS = ("tempest==47.0.0", "manila-tempest-plugin==3.2.0")
MAX_VERSION = "2.75"
VOLUME_PLUGIN = "tempest.api.volume"
# What asks for an image service whatever it was told, and what copies data, of which dummy backends have none.
VOLUMES_OUT_OF_REACH = (
    "test_volumes_get.VolumesGetTest",
    "test_volumes_negative.VolumesNegativeTest",
    r"test_volumes_extend.VolumesExtendTest.test_volume_extend\b(?!_)",
    "test_volume_retype.VolumeRetypeWithMigrationTest",
)
PLUGIN = "manila_tempest_tests.tests.api"
# What the plugin tests about resources that come with later issues; everything else runs. Share group types are here
# (quotas and share types are tested beside one), the groups themselves are not.
LATER_MODULES = (
    "backup",
    "qos_types",
    "resource_locks",
    "security_services",
    "share_encryption",
    "share_group_actions",
    "share_groups",
    "share_network_subnet",
    "share_networks",
    "share_servers",
    "share_transfers",
    "snapshot_export_locations",
    "snapshot_rules",
)
LATER_TESTS = (
    "test_create_share_group_with_exceeding_quota_limit",
    "test_share_group_quotas_usages",
    "test_share_type_azs_share_groups",
)
RESULT = re.compile(
    r"^\{\d+\} (?:(?:setUp|tearDown)Class \()?(?P<test>[^\s()]+)\)?(?: \[[\d.]+s\])?"
    r" \.\.\. (?P<outcome>ok|FAILED|SKIPPED)(?:: (?P<reason>.*))?"
)


@dataclass(frozen=True, slots=True)
class Ended:
    """A test (or a class of tests, where its set-up skips or fails) that ended."""

    test: str
    outcome: str
    reason: str = ""


@dataclass(slots=True)
class Results:
    """Outcomes by resource (the module in `plugin`), why tests were skipped, and the tests that failed."""

    plugin: str = PLUGIN
    by_resource: dict[str, Counter[str]] = field(default_factory=lambda: defaultdict(Counter))
    skips: Counter[str] = field(default_factory=Counter)
    failed: list[str] = field(default_factory=list)

    def add(self, ended: Ended) -> None:
        """Count one finished test."""
        test, outcome = ended.test, ended.outcome
        if outcome == "SKIPPED":
            self.skips[ended.reason] += 1
        module = test.removeprefix(f"{self.plugin}.").split(".")
        resource = module[1] if module[0] == "admin" else module[0]
        resource = resource.removeprefix("test_").removesuffix("_negative")
        self.by_resource[resource][outcome] += 1
        if outcome == "FAILED":
            self.failed.append(test)

    def total(self, outcome: str) -> int:
        """How many tests ended so."""
        return sum(counts[outcome] for counts in self.by_resource.values())


def tempest_conf(workspace: Path, url: str, admin_password: str, backends: Sequence[str]) -> str:
    """The suite's configuration for a server at `url`, where it makes its own projects and users as its ``admin``."""
    share = {
        "min_api_microversion": "2.0",
        "max_api_microversion": MAX_VERSION,
        "multitenancy_enabled": False,
        "enable_protocols": "nfs",
        "enable_ip_rules_for_protocols": "nfs",
        "enable_user_rules_for_protocols": "",
        "enable_cert_rules_for_protocols": "",
        "enable_cephx_rules_for_protocols": "",
        "enable_ro_access_level_for_protocols": "nfs",
        "default_share_type_name": "default",
        "capability_storage_protocol": "NFS",
        "capability_snapshot_support": True,
        "capability_create_share_from_snapshot_support": True,
        "capability_revert_to_snapshot_support": True,
        # not asked for: pools that can do both say so by a list, which the suite's own choice of pools cannot compare
        "capability_thin_provisioned": False,
        "multi_backend": True,
        "backend_names": ",".join(backends),
        "build_interval": 1,
        "build_timeout": 60,
        "run_quota_tests": True,
        "run_extend_tests": True,
        "run_shrink_tests": True,
        "run_snapshot_tests": True,
        "run_revert_to_snapshot_tests": True,
        "run_manage_unmanage_tests": True,
        "run_manage_unmanage_snapshot_tests": True,
        "run_mount_snapshot_tests": False,
        "run_share_group_tests": True,
        "run_replication_tests": True,
        "run_multiple_share_replicas_tests": True,
        "backend_replication_type": "readable",
        "run_host_assisted_migration_tests": False,
        "run_driver_assisted_migration_tests": True,
        "run_migration_with_preserve_snapshots_tests": True,
        "run_create_share_from_snapshot_in_another_pool_or_az_tests": True,
    }
    sections = common_sections(workspace, url, admin_password, "manila")
    return written({**sections, "share": share})


def volume_conf(workspace: Path, url: str, admin_password: str, backends: Sequence[str]) -> str:
    """The configuration of tempest's own tests of volumes. What needs a compute or an image service is skipped."""
    volume = {
        "catalog_type": "block-storage",
        "min_microversion": "3.0",
        "max_microversion": "latest",
        "build_interval": 1,
        "build_timeout": 60,
        "storage_protocol": "iSCSI",
        "vendor_name": "Penstock",
        "backend_names": ",".join(backends),
    }
    features = {
        "multi_backend": True,
        "backup": False,  # its tests restore from an object store
        "snapshot": True,
        "clone": True,
        "manage_volume": True,
        "manage_snapshot": True,
        "volume_revert": True,
        "extend_attached_volume": False,
        "consistency_group": False,
    }
    sections = common_sections(workspace, url, admin_password, "cinder")
    return written({**sections, "volume": volume, "volume-feature-enabled": features})


def common_sections(workspace: Path, url: str, admin_password: str, available: str) -> dict[str, dict[str, object]]:
    """What every suite is told: where the server is, who administers it, and which services there are."""
    return {
        "DEFAULT": {"log_dir": workspace, "log_file": "tempest.log", "debug": True},
        "oslo_concurrency": {"lock_path": workspace / "locks"},
        "auth": {
            "use_dynamic_credentials": True,
            "admin_username": "admin",
            "admin_password": admin_password,
            "admin_project_name": "admin",
            "admin_domain_name": "Default",
            "tempest_roles": "member",
            "create_isolated_networks": False,
        },
        "identity": {
            "uri_v3": f"{url}/v3",
            "auth_version": "v3",
            "region": "RegionOne",
            "v3_endpoint_type": "publicURL",
            "default_domain_id": "default",
        },
        "identity-feature-enabled": {"api_v2": False, "api_v3": True},
        "service_available": dict.fromkeys(("cinder", "neutron", "glance", "nova", "swift", "manila"), False)
        | {available: True},
        "validation": {"run_validation": False},
    }


def written(sections: dict[str, dict[str, object]]) -> str:
    """The text of a configuration file."""
    return "\n".join(_section(name, options) for name, options in sections.items())


def later_shares() -> list[str]:
    """Patterns of the share suite's tests that are not run."""
    return [*(rf"{re.escape(PLUGIN)}\.(admin\.)?test_{name}" for name in LATER_MODULES), *LATER_TESTS]


def run(tempest: Path, workspace: Path, only: str, *, workers: int, without: Sequence[str]) -> Iterator[Ended]:
    """Run the suite and yield each test as it ends. Its whole output goes to ``workspace/output.log``."""
    excluded = workspace / "exclude.txt"
    excluded.write_text("\n".join([*without, ""]))
    argv = (
        tempest,
        "run",
        "--config-file",
        workspace / "etc" / "tempest.conf",
        "--regex",
        only,
        "--exclude-list",
        excluded,
        "--concurrency",
        str(workers),
    )
    with (
        (workspace / "output.log").open("w") as log,
        subprocess.Popen(argv, cwd=workspace, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process,
    ):
        assert process.stdout is not None
        for line in process.stdout:
            log.write(line)
            found = RESULT.match(line.strip())
            if found:
                yield Ended(found["test"], found["outcome"], found["reason"] or "")


def _section(name: str, options: dict[str, object]) -> str:
    return "\n".join([f"[{name}]", *(f"{key} = {value}" for key, value in options.items()), ""])

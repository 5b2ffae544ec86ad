"""Configuration: where values come from, and that every mistake in a file is told in a sentence."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from oslo_config import cfg

from penstock.config.backend import BackendConfiguration, volume_backend
from penstock.config.checking import check
from penstock.config.loading import load
from penstock.config.reference import reference, sample
from penstock.errors import Invalid
from penstock.share.drivers.zfsonlinux.options import zfsonlinux_opts
from penstock.share.loading import options_of

OWN = (cfg.IntOpt("own_option", default=7),)


def written(folder: Path, text: str) -> Path:
    path = folder / "penstock.conf"
    path.write_text(text)
    return path


def problems(folder: Path, text: str) -> list[str]:
    path = written(folder, text)
    return [str(problem) for problem in check(load([path]), [path], lambda _name: OWN)]


GOOD = "[DEFAULT]\nenabled_share_backends = a\n[a]\nshare_driver = x.Y\ndriver_handles_share_servers = False\n"


def test_defaults_need_no_file() -> None:
    conf = load()
    assert conf.osapi_share_listen == "127.0.0.1"
    assert conf.osapi_share_listen_port == 8786
    assert conf.quota.shares == 50
    assert conf.database.connection == "sqlite:////var/lib/penstock/penstock.sqlite"


def test_published_old_names_of_quotas_still_work(tmp_path: Path) -> None:
    assert load([written(tmp_path, "[DEFAULT]\nquota_shares = 7\n")]).quota.shares == 7


def test_a_later_file_wins(tmp_path: Path) -> None:
    second = tmp_path / "second.conf"
    second.write_text("[DEFAULT]\nperiodic_interval = 5\n")
    conf = load([written(tmp_path, "[DEFAULT]\nperiodic_interval = 4\nreport_interval = 3\n"), second])
    assert (conf.periodic_interval, conf.report_interval) == (5, 3)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"nothing\.conf"):
        load([tmp_path / "nothing.conf"])


def test_a_file_that_is_none_is_named(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match=r"penstock\.conf is not a configuration file"):
        load([written(tmp_path, "this is no INI file\n")])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("[a]\nreserved_share_percentage = 4\n", 4, id="section"),
        pytest.param("[DEFAULT]\nreserved_share_percentage = 5\n[a]\n", 5, id="default-for-all-backends"),
        pytest.param("[DEFAULT]\nreserved_share_percentage = 5\n[a]\nreserved_share_percentage = 0\n", 0, id="both"),
        pytest.param("[a]\n", 0, id="neither"),
    ],
)
def test_a_backends_value_comes_from_its_section_first(tmp_path: Path, text: str, value: int) -> None:
    assert BackendConfiguration(load([written(tmp_path, text)]), "a").reserved_share_percentage == value


def test_a_drivers_own_options(tmp_path: Path) -> None:
    backend = BackendConfiguration(load([written(tmp_path, "[a]\nown_option = 9\n")]), "a")
    assert backend.safe_get("own_option") is None
    backend.append_config_values(OWN)
    backend.append_config_values(OWN)
    assert backend.own_option == backend.safe_get("own_option") == 9
    with pytest.raises(AttributeError, match="no option 'nothing'"):
        _ = backend.nothing


def test_a_wrong_value_of_a_backend_is_invalid(tmp_path: Path) -> None:
    backend = BackendConfiguration(load([written(tmp_path, "[a]\nnum_shell_tries = 0\n")]), "a")
    with pytest.raises(Invalid, match="greater than or equal to 1"):
        _ = backend.num_shell_tries


def test_a_good_file_has_no_problems(tmp_path: Path) -> None:
    assert problems(tmp_path, GOOD) == []


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        pytest.param("", "no backend is enabled", id="no-backend"),
        pytest.param(GOOD + "own_optoin = 3\n", r"\[a\] own_optoin: no such option.*'own_option'", id="misspelt"),
        pytest.param(GOOD + "own_option = three\n", r"\[a\] own_option: the value does not fit", id="drivers-value"),
        pytest.param(GOOD + "[quota]\nshares = many\n", r"\[quota\] shares: the value does not fit", id="value"),
        pytest.param(
            GOOD + "[qouta]\nshares = 1\n", r"\[qouta\]: no such section. Did you mean \[quota\]", id="section"
        ),
        pytest.param(GOOD + "[b]\nshare_driver = x\n", "enabled_share_backends does not name", id="not-enabled"),
        pytest.param("[DEFAULT]\nenabled_share_backends = z\n", r"\[z\]: .* no section", id="missing-section"),
        pytest.param(GOOD.replace("share_driver = x.Y\n", ""), "share_driver: is missing", id="no-driver"),
        pytest.param(GOOD.replace("driver_handles_share_servers = False", ""), "say True or False", id="no-mode"),
    ],
)
def test_every_mistake_is_told(tmp_path: Path, text: str, sentence: str) -> None:
    (found,) = problems(tmp_path, text)
    assert re.search(sentence, found)


SAME = """
[DEFAULT]
enabled_share_backends = a,b
enabled_backends = c
[a]
share_driver = x.Y
driver_handles_share_servers = False
zfs_zpool_list = {a}
[b]
share_driver = x.Y
driver_handles_share_servers = False
zfs_zpool_list = {b}
zfs_use_ssh = {ssh}
zfs_service_ip = 10.0.0.2
[c]
volume_driver = x.Y
zfs_zpool_list = {c}
"""


@pytest.mark.parametrize(
    ("a", "b", "c", "ssh", "sentences"),
    [
        ("tank/a", "tank/b,pond", "tank/c", False, []),
        ("tank/a", "pond,tank/a/", "tank/c", False, ["[b] zfs_zpool_list: names tank/a, which [a] names, too"]),
        ("tank/a", "tank/a", "tank/c", True, []),  # of another machine
        ("tank/a", "tank/b", "tank/a", True, ["[c] zfs_zpool_list: names tank/a, which [a] names, too"]),
    ],
)
def test_two_backends_in_one_dataset_are_a_problem(
    tmp_path: Path, a: str, b: str, c: str, ssh: bool, sentences: list[str]
) -> None:
    path = written(tmp_path, SAME.format(a=a, b=b, c=c, ssh=ssh))
    names = ("zfs_use_ssh", "zfs_service_ip", "zfs_zpool_list")
    opts = [option for option in zfsonlinux_opts if option.name in names]
    found = check(load([path]), [path], lambda _name: opts, lambda _name: opts)
    assert [str(problem) for problem in found if problem.is_fatal] == [
        f"{sentence}: each backend needs a dataset of its own." for sentence in sentences
    ]


def test_a_driver_that_cannot_be_imported_is_a_problem(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    (problem,) = check(load([path]), [path], options_of)
    assert problem.is_fatal
    assert "'x.Y' cannot be imported" in problem.sentence


def test_options_of_a_driver_that_does_not_tell_are_left_alone(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD + "whatever = 1\n")
    assert check(load([path]), [path], lambda _name: None) == []


def test_sections_of_libraries_are_left_alone(tmp_path: Path) -> None:
    text = "[keystone_authtoken]\nauth_url = http://k\n[oslo_policy]\npolicy_file = policy.yaml\n"
    assert problems(tmp_path, GOOD + text) == []


def test_the_sample_is_a_configuration_with_every_option_at_its_default(tmp_path: Path) -> None:
    path = written(tmp_path, sample())
    assert check(load([path]), [path], lambda _name: OWN)[0].sentence.startswith("no backend is enabled")
    for option in reference():
        assert f"#{option.name} =" in path.read_text()
        assert option.text.endswith("."), option.name


@pytest.mark.parametrize(
    ("text", "value"),
    [
        pytest.param("[v]\nreserved_percentage = 4\n", 4, id="section"),
        pytest.param("[backend_defaults]\nreserved_percentage = 5\n[v]\n", 5, id="shared-section"),
        pytest.param("[backend_defaults]\nreserved_percentage = 5\n[v]\nreserved_percentage = 0\n", 0, id="both"),
        pytest.param("[DEFAULT]\nreserved_percentage = 6\n[v]\n", 6, id="default-for-all"),
        pytest.param("[v]\n", 0, id="neither"),
    ],
)
def test_a_volume_backends_value_comes_from_its_section_first(tmp_path: Path, text: str, value: int) -> None:
    assert volume_backend(load([written(tmp_path, text)]), "v").reserved_percentage == value


def test_the_share_halfs_default_does_not_speak_for_volumes(tmp_path: Path) -> None:
    volumes = volume_backend(load([written(tmp_path, "[v]\n")]), "v")
    assert volumes.max_over_subscription_ratio == "20.0"  # and not the share option's 20.0
    assert volumes.target_ip_address == "127.0.0.1"
    assert volumes.replication_device is None


def test_two_drivers_that_mean_different_things_by_a_name(tmp_path: Path) -> None:
    conf = load([written(tmp_path, "[backend_defaults]\nown_option = 3\n[v]\n[w]\n")])
    first, second = volume_backend(conf, "v"), volume_backend(conf, "w")
    first.append_config_values(OWN)
    second.append_config_values([cfg.StrOpt("own_option", default="none")])
    assert (first.own_option, second.own_option) == (3, "none")


def test_volume_backends_are_checked(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        "[DEFAULT]\nenabled_backends = v, w\n[v]\nvolume_driver = x.Y\nvolume_cleer = none\ntarget_port = high\n"
        "[other]\nvolume_driver = x.Y\n",
    )
    found = [str(item) for item in check(load([path]), [path], lambda _name: OWN, lambda _name: ())]
    assert any(
        "[v] volume_cleer: no such option; it has no effect. Did you mean 'volume_clear'" in line for line in found
    )
    assert any(line.startswith("[v] target_port: the value does not fit") for line in found)
    assert any(line.startswith("[w]: the backend is enabled but") for line in found)
    assert any("enabled_backends does not name" in line for line in found)
    assert not any("driver_handles_share_servers" in line for line in found)

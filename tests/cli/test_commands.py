"""The command line as its users meet it: help, exit codes, one sentence per failure, and a fast start."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from penstock.cli.main import main

CONFIG = """
[DEFAULT]
state_path = {folder}
host = store1
enabled_share_backends = quick
[quick]
share_driver = penstock.share.drivers.dummy.DummyDriver
driver_handles_share_servers = False
"""


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.conf"
    path.write_text(CONFIG.format(folder=tmp_path / "state"))
    return path


def commands(group: click.Group = main, names: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    context = click.Context(group, **main.context_settings)
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        if isinstance(command, click.Group):
            yield from commands(command, (*names, name))
        else:
            yield (*names, name), command


def run(*words: str | Path) -> click.testing.Result:
    return CliRunner().invoke(main, [str(word) for word in words], env={"PENSTOCK_CONFIG": ""})


def process(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("OS_", "PENSTOCK_"))}
    argv = [sys.executable, "-m", "penstock.cli", *words]
    return subprocess.run(argv, capture_output=True, text=True, env={**clean, **environment}, timeout=60, check=False)


@pytest.mark.parametrize(
    ("names", "command"), list(commands()), ids=lambda item: " ".join(item) if type(item) is tuple else ""
)
def test_every_command_explains_itself_by_example(names: tuple[str, ...], command: click.Command) -> None:
    result = run(*names, "--help")
    assert result.exit_code == 0
    assert f"penstock {' '.join(names)}" in result.output
    assert "Example" in result.output
    assert {"--config", "--debug"} <= {option for param in command.params for option in param.opts} or names == (
        "config",
        "sample",
    )


def test_help_imports_next_to_nothing() -> None:
    script = (
        "import sys; from penstock.cli.main import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "heavy = {'sqlalchemy', 'oslo_config', 'starlette', 'structlog', 'rich', 'uvicorn', 'alembic'}\n"
        "assert not heavy & set(sys.modules), heavy & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr


def test_exit_codes_of_the_real_thing(config: Path) -> None:
    assert process("--version").returncode == 0
    usage = process("share", "create", "nothing")
    assert (usage.returncode, "Traceback" in usage.stderr) == (2, False)
    fault = process("db", "check", "--config", str(config))
    assert fault.returncode == 1
    assert fault.stderr.startswith("penstock: ")
    assert fault.stderr.count("\n") == 1
    assert process("db", "upgrade", PENSTOCK_CONFIG=str(config)).returncode == 0
    assert process("db", "check", "--config", str(config)).stdout.startswith("The database is at")


def test_a_traceback_only_when_asked_for(config: Path) -> None:
    quiet, loud = run("--config", config, "db", "check"), run("--config", config, "--debug", "db", "check")
    assert (quiet.exit_code, loud.exit_code) == (1, 1)
    assert "Traceback" not in quiet.output
    assert "Traceback" in loud.output


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        pytest.param(
            ("db", "check", "--config", "/nowhere.conf"), "No such configuration file: /nowhere.conf", id="file"
        ),
        pytest.param(("doctor", "--backend", "other"), "'other' is not an enabled backend", id="backend"),
        pytest.param(("doctor",), "keeps no identity on its storage", id="no-inventory"),
        pytest.param(("recover",), "keeps no identity on its storage", id="no-recovery"),
        pytest.param(("operation", "show", "5"), "There is no operation 5", id="operation"),
        pytest.param(("user", "create", "ann", "--project", "x"), "There is no project 'x'", id="project"),
        pytest.param(("user", "set", "ann", "--disable"), "There is no user 'ann'", id="user"),
        pytest.param(("share", "list"), "To log in, name a password", id="password"),
        pytest.param(
            ("share", "list", "--url", "ftp://x", "--user", "a", "--project", "b", "--password-file", "{config}"),
            "is not an http or https address",
            id="scheme",
        ),
    ],
)
def test_faults_are_one_sentence(config: Path, words: tuple[str, ...], sentence: str) -> None:
    assert run("--config", config, "db", "upgrade").exit_code == 0
    result = run("--config", config, *(word.replace("{config}", str(config)) for word in words))
    assert result.exit_code == 1
    assert result.stderr.startswith("penstock: ")
    assert sentence in result.stderr
    assert result.stderr.count("\n") == 1


def test_without_any_configuration_it_says_how_to_begin(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("penstock.cli.options.DEFAULT_PATH", tmp_path / "none.conf")
    result = run("backend", "list")
    assert result.exit_code == 1
    assert "penstock config sample" in result.stderr


def test_the_sample_is_a_configuration_without_problems(tmp_path: Path) -> None:
    path = tmp_path / "sample.conf"
    path.write_text(run("config", "sample").output)
    assert "zfs_zpool_list" in path.read_text()
    result = run("config", "check", "--config", path)
    assert result.exit_code == 0, result.output


def test_config_check_names_what_is_wrong(config: Path) -> None:
    config.write_text(config.read_text().replace("DummyDriver", "NoDriver"))
    result = run("config", "check", "--config", config)
    assert result.exit_code == 1
    assert "problem  [quick] share_driver" in result.output


def test_backend_check_and_list(config: Path) -> None:
    assert run("--config", config, "db", "upgrade").exit_code == 0
    checked = run("--config", config, "backend", "check")
    assert checked.exit_code == 0, checked.output
    assert checked.output.splitlines()[0] == "quick  OK       configuration and driver"
    listed = run("--config", config, "backend", "list")
    assert "store1@quick" in listed.output
    config.write_text(config.read_text().replace("= False", "= True"))
    failed = run("--config", config, "backend", "check", "quick")
    assert failed.exit_code == 1
    assert "problem" in failed.output


def test_projects_and_users(config: Path) -> None:
    assert run("--config", config, "db", "upgrade").exit_code == 0
    assert run("--config", config, "project", "create", "research").exit_code == 0
    again = run("--config", config, "project", "create", "research")
    assert (again.exit_code, "named 'research' already" in again.stderr) == (1, True)
    assert run("--config", config, "project", "set", "research", "--name", "lab").exit_code == 0
    assert "lab" in run("--config", config, "project", "list").output
    refused = run("--config", config, "user", "create", "ann", "--project", "lab")
    assert "There is no role 'member'" in refused.stderr


def test_backends_of_volumes_are_checked_and_listed_too(config: Path) -> None:
    text = config.read_text().replace("[DEFAULT]", "[DEFAULT]\nenabled_backends = blocks", 1)
    config.write_text(f"{text}\n[blocks]\nvolume_driver = penstock.volume.drivers.dummy.DummyVolumeDriver\n")
    run("--config", config, "db", "upgrade")
    checked = run("--config", config, "backend", "check", "blocks")
    assert checked.exit_code == 0
    assert "OK       pools and target daemon" in checked.output
    listed = run("--config", config, "backend", "list")
    assert "DummyVolumeDriver" in listed.output

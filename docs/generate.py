"""Make docs/reference from the code, so that it cannot say anything else."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from penstock.cli import main as cli
from penstock.config.appliance_options import REPLICATION_TARGET
from penstock.config.reference import OptionDoc, reference
from penstock.domain import volume_lifecycle
from penstock.domain.lifecycle import SHARE_TRANSITIONS, SNAPSHOT_TRANSITIONS
from penstock.domain.volume_groups import GROUP_TRANSITIONS
from penstock.share.drivers.zfsonlinux.options import zfsonlinux_opts
from penstock.volume.drivers.nfs_appliance.options import OPTIONS as NFS_OPTIONS
from penstock.volume.drivers.zfs.options import zfs_volume_opts
from penstock.volume.drivers.zfssa.options import SAN, ZFSSA_OPTS

SECTIONS = {
    "<zfsonlinux backend>": zfsonlinux_opts,
    "<zfs volume backend>": zfs_volume_opts,
    "<zfssa volume backend>": (*SAN, *ZFSSA_OPTS),
    "<volumes on NFS backend>": NFS_OPTIONS,
    "<an appliance to replicate to>": REPLICATION_TARGET,
}
FORCED, REST = "force_delete", "at rest"
FOLDER = Path(__file__).parent / "reference"
MADE = "<!-- made by script/docs, do not edit -->\n\n"


def options() -> str:
    """Every option of the configuration file, by section."""
    lines = [f"{MADE}# Options\n\nThe file is `/etc/penstock/penstock.conf`, or what `--config` names.\n"]
    section = None
    for doc in reference(SECTIONS):
        if doc.section != section:
            section = doc.section
            lines.append(f"\n## [{section}]\n\n| option | default | meaning |\n| --- | --- | --- |\n")
        lines.append(_option(doc))
    return "".join(lines)


def _option(doc: OptionDoc) -> str:
    default = "" if doc.default is None else f"`{doc.default}`"
    text = " ".join(doc.text.split()).replace("|", "\\|")
    choices = f" One of: {', '.join(doc.choices)}." if doc.choices else ""
    return f"| `{doc.name}` | {default} | {text}{choices} |\n"


def states() -> str:
    """How shares, volumes, their snapshots and groups move between states."""
    resting = ", ".join(sorted(f"`{status.value}`" for status in volume_lifecycle.RESTING))
    tables: tuple[tuple[str, str, Mapping[tuple[Any, Any], Any]], ...] = (
        ("Shares", "", SHARE_TRANSITIONS),
        ("Snapshots of shares", "", SNAPSHOT_TRANSITIONS),
        (
            "Volumes",
            f"With nothing going on a volume is `{REST}` here: {resting}, as its attachments say.\n\n",
            volume_lifecycle.VOLUME_TRANSITIONS,
        ),
        ("Snapshots of volumes", "", volume_lifecycle.SNAPSHOT_TRANSITIONS),
        ("Groups of volumes", "", GROUP_TRANSITIONS),
    )
    parts = [f"{MADE}# States\n"]
    for title, said, table in tables:
        parts.append(f"\n## {title}\n\n{said}{_diagram(table)}\n{_transitions(table)}")
    return "".join(parts)


def _name(state: Any) -> str:
    return REST if state is volume_lifecycle.REST else str(state.value)


def _diagram(table: Mapping[tuple[Any, Any], Any]) -> str:
    usual = [(_name(a), e.value, _name(b)) for (a, e), b in table.items() if e.value != FORCED]
    named = dict.fromkeys(name for a, _, b in usual for name in (a, b) if _id(name) != name)
    names = "".join(f'    state "{name}" as {_id(name)}\n' for name in named)
    arrows = "".join(f"    {_id(a)} --> {_id(b)}: {event}\n" for a, event, b in usual)
    return f"```mermaid\nstateDiagram-v2\n{names}{arrows}```\n"


def _id(name: str) -> str:
    """Mermaid takes a hyphen for the beginning of an arrow."""
    return name.replace("-", "_").replace(" ", "_")


def _transitions(table: Mapping[tuple[Any, Any], Any]) -> str:
    rows = [f"| `{_name(a)}` | {e.value} | `{_name(b)}` |\n" for (a, e), b in table.items() if e.value != FORCED]
    forced = "\nAn administrator's forced delete leads from every state to `deleting`.\n"
    has_forced = any(event.value == FORCED for _, event in table)
    return "\n| from | event | to |\n| --- | --- | --- |\n" + "".join(rows) + (forced if has_forced else "")


def commands() -> str:
    """Every command of ``penstock``."""
    parts = [f"{MADE}# Commands\n"]
    _describe(cli, "penstock", None, parts)
    return "".join(parts)


def _describe(command: click.Command, name: str, parent: click.Context | None, parts: list[str]) -> None:
    settings = {**command.context_settings, "terminal_width": 100, "max_content_width": 100}
    context = click.Context(command, info_name=name, parent=parent, **settings)
    path = context.command_path
    parts.append(f"\n## {path}\n\n```\n{command.get_help(context)}\n```\n")
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            found = command.get_command(context, child)
            if found is not None and not found.hidden:
                _describe(found, child, context, parts)


PAGES = {"options.md": options, "states.md": states, "commands.md": commands}


def main() -> int:
    """Write the pages, or with ``--check`` say which are not up to date."""
    old = []
    FOLDER.mkdir(exist_ok=True)
    for name, make in PAGES.items():
        path, text = FOLDER / name, make()
        if not path.exists() or path.read_text() != text:
            old.append(name)
            if "--check" not in sys.argv:
                path.write_text(text)
    if old:
        print(f"docs/reference: {'not up to date' if '--check' in sys.argv else 'written'}: {', '.join(old)}")
    return 1 if old and "--check" in sys.argv else 0


if __name__ == "__main__":
    sys.exit(main())

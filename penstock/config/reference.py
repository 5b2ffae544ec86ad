"""The options as data: what the reference page and the sample file are made from."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from oslo_config import cfg

from penstock.config.backend_options import BACKEND_OPTIONS
from penstock.config.options import SECTIONS
from penstock.config.volume_options import VOLUME_BACKEND_OPTIONS

WIDTH = 100


@dataclass(frozen=True, slots=True)
class OptionDoc:
    """One option in words. `default` is the text a file would have, None when there is no default."""

    section: str
    name: str
    kind: str
    default: str | None
    choices: tuple[str, ...]
    text: str
    is_secret: bool


def reference(backends: Mapping[str, Sequence[cfg.Opt]] | None = None) -> tuple[OptionDoc, ...]:
    """All options: ours, those of any share and of any volume backend, and `backends`: section to driver options."""
    sections: dict[str, Sequence[cfg.Opt]] = {
        **SECTIONS,
        "<backend>": BACKEND_OPTIONS,
        "<volume backend>": VOLUME_BACKEND_OPTIONS,
        **(backends or {}),
    }
    return tuple(_doc(section, option) for section, options in sections.items() for option in options)


def sample(backends: Mapping[str, Sequence[cfg.Opt]] | None = None) -> str:
    """A configuration file with every option, explained, and commented out at its default."""
    lines: list[str] = []
    section = None
    for doc in reference(backends):
        if doc.section != section:
            section = doc.section
            lines.append(f"{'# ' if section.startswith('<') else ''}[{section}]\n")
        lines.extend(_explained(doc))
    return "\n".join(lines)


def _explained(doc: OptionDoc) -> Iterator[str]:
    yield from (f"# {line}" for line in textwrap.wrap(f"{doc.text} ({doc.kind})", WIDTH))
    if doc.choices:
        yield f"# One of: {', '.join(doc.choices)}."
    yield f"#{doc.name} = {'' if doc.default is None else doc.default}\n"


def _doc(section: str, option: cfg.Opt) -> OptionDoc:
    default = option.sample_default if option.sample_default is not None else option.default
    return OptionDoc(
        section=section,
        name=option.name,
        kind=option.type.type_name.removesuffix(" value"),
        default=None if default is None else _as_written(default),
        choices=tuple(str(choice) for choice in getattr(option.type, "choices", None) or ()),
        text=option.help or "",
        is_secret=option.secret,
    )


def _as_written(value: object) -> str:
    if isinstance(value, list | tuple):
        return ",".join(map(str, value))
    if isinstance(value, dict):
        return ",".join(f"{key}:{item}" for key, item in value.items())
    return str(value)

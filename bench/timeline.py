"""Where the time of one operation goes, from what the daemon writes anyway: its log and the operation's row."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rich.table import Table

from bench.stage import Measured, Stage

WORDS = 6  # of a command that are shown


@dataclass(frozen=True, slots=True)
class Moment:
    """Something that took from `began` to `ended`, in seconds since the client asked."""

    what: str
    began: float
    ended: float


def explain(stage: Stage) -> list[Table]:
    """For each kind of operation that was measured, the one of median length, moment by moment."""
    lines = [json.loads(line) for line in stage.daemon.log.read_text().splitlines() if line.startswith("{")]
    kinds = list(dict.fromkeys(one.what for one in stage.measured))
    tables = []
    for kind in kinds:
        runs = sorted((one for one in stage.measured if one.what == kind), key=lambda one: one.ended - one.started)
        one = runs[len(runs) // 2]
        tables.append(_table(one, sorted(_moments(stage, one, lines), key=lambda moment: moment.began)))
    return tables


def _moments(stage: Stage, one: Measured, lines: Sequence[dict[str, Any]]) -> Iterator[Moment]:
    (row,) = stage.rows(
        "SELECT created_at, started_at, finished_at, request_id FROM operations WHERE resource_key = ?"
        " ORDER BY abs(julianday(created_at) - julianday(?)) LIMIT 1",
        (f"share:{one.share_id}", datetime.fromtimestamp(one.started, UTC).replace(tzinfo=None).isoformat(" ")),
    )
    created, claimed, finished = (_unix(text) - one.started for text in row[:3])
    yield Moment("the operation waits for its worker (the request's commit included)", created, claimed)
    yield Moment("its end is written", finished, finished)
    yield Moment("seen in the database by somebody else", one.ended - one.started, one.ended - one.started)
    for line in lines:
        if line.get("request_id") == row[3] and "seconds" in line and line["event"] in TOLD:
            ended = _unix(line["timestamp"]) - one.started
            yield Moment(TOLD[line["event"]](line), ended - line["seconds"], ended)


TOLD = {
    "request": lambda line: f"{line['method']} is answered",
    "host.command": lambda line: " ".join(line["argv"][:WORDS]),
    "host.program_asked": lambda line: " ".join([line["program"], *line["asked"]]),
    "host.bus_call": lambda line: line["bus_call"][2],
    "host.mode_set": lambda line: f"gives {line['path']} mode {line['mode']}",
    "host.file_written": lambda line: f"writes {line['path']}",
}


def _unix(text: str) -> float:
    found = datetime.fromisoformat(text)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _table(one: Measured, moments: Sequence[Moment]) -> Table:
    table = Table(title=f"{one.what}: {1000 * (one.ended - one.started):.1f} ms, the median run", title_justify="left")
    for column in ("from, ms", "to", "took"):
        table.add_column(column, justify="right")
    table.add_column("what")
    for moment in moments:
        took = 1000 * (moment.ended - moment.began)
        table.add_row(
            f"{1000 * moment.began:.1f}",
            f"{1000 * moment.ended:.1f}" if took else "",
            f"{took:.1f}" if took else "",
            moment.what[:100],
        )
    return table

"""Statements for SQLite as SQLAlchemy has compiled them, run without what it does for each execution.

A statement that SQLite runs in 15 microseconds costs 50 to 100 by SQLAlchemy's `Connection`, and three times that when
the code has not run for a moment: see docs/decisions/0007-prepared-statements.md. SQLAlchemy says how a statement's
values are bound and its rows read; one that is run for the second time is run from what was learned then. Whatever is
not plain (many rows at once, defaults of columns, long lists, statements that are built anew each time) is left to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Dialect, SelectBase, UpdateBase
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.sql.compiler import SQLCompiler

MOST_LISTED = 32  # items of lists in one statement: each length is a statement of its own

Processor = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Plan:
    """A statement as SQLite is given it, for parameters of those names and lists of those lengths."""

    sql: str
    order: tuple[str, ...]
    fixed: Mapping[str, Any]  # parameters that are in the statement itself
    binding: tuple[tuple[str, Processor], ...]
    lists: tuple[str, ...]
    reading: tuple[tuple[int, Processor], ...]
    result: SimpleResultMetaData | None

    def run(self, raw: sqlite3.Connection, parameters: Mapping[str, Any]) -> Answer:
        """Run it, and read all it finds. Raises what `sqlite3` does."""
        values = {**self.fixed, **parameters}
        for name in self.lists:
            for number, item in enumerate(values[name], 1):
                values[f"{name}_{number}"] = item
        for name, bind in self.binding:
            values[name] = bind(values[name])
        cursor = raw.execute(self.sql, [values[name] for name in self.order])
        if self.result is None:
            return Answer(NOTHING, iter(()), cursor.rowcount)
        rows = cursor.fetchall()
        if self.reading:
            rows = [self._read(row) for row in rows]
        return Answer(self.result, iter(rows), cursor.rowcount)

    def _read(self, row: tuple[Any, ...]) -> tuple[Any, ...]:
        values = list(row)
        for index, read in self.reading:
            values[index] = read(values[index])
        return tuple(values)


NOTHING = SimpleResultMetaData(())


class Answer(IteratorResult[Any]):
    """What a statement found, and how many rows it changed."""

    def __init__(self, keys: SimpleResultMetaData, rows: Iterator[Any], rowcount: int) -> None:
        super().__init__(keys, rows)
        self.rowcount = rowcount


class _Known:
    """A statement that was seen before: its plans, by the names that are given and the lengths of its lists."""

    __slots__ = ("lists", "plans")

    def __init__(self) -> None:
        self.lists: tuple[str, ...] | None = None  # unknown until it is learned
        self.plans: dict[Any, Plan | None] = {}


class Statements:
    """What is known of the statements of one dialect. Any thread may ask: at worst a statement is learned twice."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        self._seen: WeakKeyDictionary[Any, _Known] = WeakKeyDictionary()

    def plan_for(self, statement: Any, parameters: Any) -> Plan | None:
        """How to run it; None: let SQLAlchemy do it. What is run once only is not worth the learning."""
        if not isinstance(statement, SelectBase | UpdateBase) or not isinstance(parameters, dict | None):
            return None
        known = self._seen.get(statement)
        if known is None:
            self._seen[statement] = _Known()
            return None
        given: dict[str, Any] = parameters or {}
        if known.lists is None:
            known.lists = _lists_in(statement, self._dialect)
        shape: tuple[Any, ...] = tuple(given)
        if known.lists:
            lengths = [len(value) if isinstance(value := given[name], list | tuple) else None for name in known.lists]
            if None in lengths or sum(length or 0 for length in lengths) > MOST_LISTED:
                return None
            shape += tuple(lengths)
        if shape not in known.plans:
            known.plans[shape] = self._learned(statement, given)
        return known.plans[shape]

    def _learned(self, statement: Any, given: Mapping[str, Any]) -> Plan | None:
        dialect = self._dialect
        compiled = statement.compile(dialect=dialect, column_keys=sorted(given) or None)
        if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or compiled.update_prefetch:
            return None
        if any(bind.callable is not None for bind in compiled.binds.values()):  # its value is of the moment
            return None
        state = compiled.construct_expanded_state(given, escape_names=False)
        items = {item: name for name, items in state.parameter_expansion.items() for item in items}
        order = tuple(state.positiontup or ())
        binders = {name: _binder(compiled, items.get(name, name)) for name in order}
        is_given = {name for name in order if items.get(name, name) in given}
        fixed = {name: _bound(state.parameters[name], binders[name]) for name in order if name not in is_given}
        columns = list(getattr(statement, "exported_columns", ()))
        readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        return Plan(
            sql=state.statement,
            order=order,
            fixed=fixed,
            binding=tuple((name, bind) for name in is_given if (bind := binders[name]) is not None),
            lists=tuple(name for name in state.parameter_expansion if name in given),
            reading=tuple((index, read) for index, read in enumerate(readers) if read is not None),
            result=SimpleResultMetaData([column.key for column in columns]) if columns else None,
        )


_KNOWN: WeakKeyDictionary[Dialect, Statements] = WeakKeyDictionary()


def statements_of(dialect: Dialect) -> Statements:
    """What is known of its statements; the same for all who ask."""
    return _KNOWN.setdefault(dialect, Statements(dialect))


def _lists_in(statement: Any, dialect: Dialect) -> tuple[str, ...]:
    """The parameters that are lists, and are not in the statement itself."""
    binds = statement.compile(dialect=dialect).binds
    return tuple(name for name, bind in binds.items() if bind.expanding and bind.required)


def _binder(compiled: SQLCompiler, name: str) -> Processor | None:
    dialect = compiled.dialect
    found: Processor | None = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
    return found


def _bound(value: Any, bind: Processor | None) -> Any:
    return value if bind is None else bind(value)

"""Statements for SQLite as SQLAlchemy has compiled them, run without what it does for each execution.

A statement that SQLite runs in 15 microseconds costs 50 to 100 by SQLAlchemy's `Connection`, and three times that when
the code has not run for a moment: see docs/decisions/0007-prepared-statements.md. SQLAlchemy says how a statement's
values are bound and its rows read; one that is run for the second time is run from what was learned then. Whatever is
not plain (many rows at once, defaults of columns, long lists, statements that are built anew each time) is left to it.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
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
        """Run it, and read all it finds at once, whatever is asked of it. Raises what `sqlite3` does."""
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


class _Form:
    """A statement as compiled for parameters of certain names, and its plans by the lengths of its lists."""

    __slots__ = ("compiled", "lists", "plans")

    def __init__(self, compiled: SQLCompiler, given: Mapping[str, Any]) -> None:
        self.compiled = compiled
        self.lists = tuple(name for name, bind in compiled.binds.items() if bind.expanding and name in given)
        self.plans: dict[tuple[int, ...], Plan] = {}


class Statements:
    """What is known of the statements of one dialect. Any thread may ask: at worst a statement is learned twice."""

    def __init__(self, dialect: Dialect) -> None:
        self._dialect = dialect
        # by the names that are given; None: not plain
        self._seen: WeakKeyDictionary[Any, dict[tuple[str, ...], _Form | None]] = WeakKeyDictionary()

    def plan_for(self, statement: Any, parameters: Any) -> Plan | None:
        """How to run it; None: let SQLAlchemy do it. What is run once only is not worth the learning."""
        if not isinstance(statement, SelectBase | UpdateBase) or not isinstance(parameters, dict | None):
            return None
        forms = self._seen.get(statement)
        if forms is None:
            self._seen[statement] = {}
            return None
        given: dict[str, Any] = parameters or {}
        names = tuple(given)
        if names not in forms:
            forms[names] = self._compiled(statement, given)
        form = forms[names]
        return None if form is None else self._plan(statement, form, given)

    def _plan(self, statement: Any, form: _Form, given: Mapping[str, Any]) -> Plan | None:
        lists = [given[name] for name in form.lists]
        if not all(isinstance(found, list | tuple) for found in lists):
            return None
        lengths = tuple(map(len, lists))
        if sum(lengths) > MOST_LISTED:
            return None
        if lengths not in form.plans:
            form.plans[lengths] = self._learned(statement, form, given)
        return form.plans[lengths]

    def _compiled(self, statement: Any, given: Mapping[str, Any]) -> _Form | None:
        compiled = statement.compile(dialect=self._dialect, column_keys=sorted(given) or None)
        if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or compiled.update_prefetch:
            return None
        # values of the moment, and values that are written into the text
        if any(bind.callable is not None for bind in compiled.binds.values()) or compiled.literal_execute_params:
            return None
        keys = [column.keyname for column in _columns(statement, compiled)]
        return _Form(compiled, given) if len(set(keys)) == len(keys) else None

    def _learned(self, statement: Any, form: _Form, given: Mapping[str, Any]) -> Plan:
        dialect, compiled = self._dialect, form.compiled
        state = compiled.construct_expanded_state(given, escape_names=False)
        items = {item: name for name, items in state.parameter_expansion.items() for item in items}
        order = tuple(state.positiontup or ())
        binders = {name: _binder(compiled, items.get(name, name)) for name in order}
        is_given = {name for name in order if items.get(name, name) in given}
        fixed = {name: _bound(state.parameters[name], binders[name]) for name in order if name not in is_given}
        columns = _columns(statement, compiled)
        readers = [column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns]
        return Plan(
            sql=state.statement,
            order=order,
            fixed=fixed,
            binding=tuple((name, bind) for name in is_given if (bind := binders[name]) is not None),
            lists=form.lists,
            reading=tuple((index, read) for index, read in enumerate(readers) if read is not None),
            result=SimpleResultMetaData([column.keyname for column in columns]) if columns else None,
        )


def _columns(statement: Any, compiled: SQLCompiler) -> Sequence[Any]:
    """Names and types of what it finds, as SQLAlchemy names them in its own rows."""
    return compiled._result_columns if getattr(statement, "exported_columns", ()) else ()  # noqa: SLF001 - it tells no other way


def _binder(compiled: SQLCompiler, name: str) -> Processor | None:
    dialect = compiled.dialect
    found: Processor | None = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
    return found


def _bound(value: Any, bind: Processor | None) -> Any:
    return value if bind is None else bind(value)

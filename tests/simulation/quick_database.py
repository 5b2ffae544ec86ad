"""The store's statements on SQLite in memory, without what SQLAlchemy does for each execution.

A life of the simulation runs thousands of them, and three quarters of its time went there. SQLAlchemy compiles every
statement, and says how its values are bound and read; one that is run for the second time is run from what was learned
at the first. Whatever is not plain (many rows at once, defaults of columns, statements that are built anew each time)
goes through SQLAlchemy. tests/simulation/test_quick_database.py holds both to the same answers.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, StaticPool, create_engine
from sqlalchemy.engine import IteratorResult
from sqlalchemy.engine.result import SimpleResultMetaData
from sqlalchemy.exc import IntegrityError, OperationalError
from sqlalchemy.sql.compiler import SQLCompiler

from penstock.store.database import AFTER_COMMIT, WHEN_VISIBLE, Database, translated

Processor = Callable[[Any], Any]
Looks = dict[Any, tuple[int, list[Any]]]  # what was found, and how many rows had been changed until then


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
        for index, read in self.reading:
            rows = [(*row[:index], read(row[index]), *row[index + 1 :]) for row in rows]
        return Answer(self.result, iter(rows), cursor.rowcount)


NOTHING = SimpleResultMetaData(())


class Answer(IteratorResult[Any]):
    """What a statement found, and how many rows it changed."""

    def __init__(self, keys: SimpleResultMetaData, rows: Iterator[Any], rowcount: int) -> None:
        super().__init__(keys, rows)
        self.rowcount = rowcount


class QuickTransaction:
    """What the store uses of a `Connection`."""

    def __init__(self, database: QuickDatabase) -> None:
        self._database = database
        self.info: dict[str, Any] = {}
        self.dialect: Dialect = database.engine.dialect

    def execute(self, statement: Any, parameters: Any = None) -> Any:
        database = self._database
        plan = database.plan_for(statement, parameters)
        if plan is None:
            return database.slow.execute(statement, parameters)
        try:
            return plan.run(database.raw, parameters or {})
        except sqlite3.IntegrityError as err:
            raise IntegrityError(plan.sql, parameters, err) from err
        except sqlite3.OperationalError as err:
            raise OperationalError(plan.sql, parameters, err) from err


class QuickDatabase(Database):
    """SQLite in memory, used by one thread."""

    def __init__(self) -> None:
        super().__init__("sqlite://")
        held: Any = self.engine.raw_connection()
        self.raw: sqlite3.Connection = held.driver_connection
        # Sees the transactions that we begin and end below, and thinks that it is in one for ever.
        unaware = create_engine("sqlite://", creator=lambda: self.raw, poolclass=StaticPool)
        self.slow: Connection = unaware.connect()
        self._held = held
        self._seen: WeakKeyDictionary[Any, dict[Any, Plan | None]] = WeakKeyDictionary()

    @contextmanager
    def begin(self, *, durable: bool = True) -> Iterator[Connection]:
        callbacks: list[Callable[[], None]] = []
        transaction: Any = QuickTransaction(self)
        transaction.info[WHEN_VISIBLE] = transaction.info[AFTER_COMMIT] = callbacks
        with translated(), self._serial, self._inside("BEGIN IMMEDIATE", "COMMIT"):
            if self._guard is not None:
                self._guard(transaction)
            yield transaction
            self.before_commit()
        for callback in callbacks:
            callback()

    @contextmanager
    def read(self) -> Iterator[Connection]:
        transaction: Any = QuickTransaction(self)
        with translated(), self._serial, self._inside("BEGIN", "ROLLBACK"):
            yield transaction

    def before_commit(self) -> None:
        """Called before each commit; what it raises rolls back."""

    @contextmanager
    def _inside(self, first: str, last: str) -> Iterator[None]:
        self.raw.execute(first)
        try:
            yield
        except BaseException:
            self.raw.execute("ROLLBACK")
            raise
        self.raw.execute(last)

    def looked(self, memory: Looks, key: Any, look: Callable[[Connection], list[Any]]) -> list[Any]:
        """What `look` finds in a transaction of its own, asked again only when something was written since."""
        changes = self.raw.total_changes
        if key not in memory or memory[key][0] != changes:
            with self.read() as tx:
                memory[key] = (changes, look(tx))
        return memory[key][1]

    def plan_for(self, statement: Any, parameters: Any) -> Plan | None:
        """How to run it; None: let SQLAlchemy do it. What is run once only is not worth the learning."""
        if parameters is not None and not isinstance(parameters, dict):
            return None
        plans = self._seen.get(statement)
        if plans is None:
            self._seen[statement] = {}
            return None
        given = parameters or {}
        shape = (*given, *(len(value) for value in given.values() if type(value) in (list, tuple)))
        if shape not in plans:
            plans[shape] = self._learned(statement, given)
        return plans[shape]

    def _learned(self, statement: Any, given: Mapping[str, Any]) -> Plan | None:
        dialect = self.engine.dialect
        compiled = statement.compile(dialect=dialect, column_keys=sorted(given) or None)
        if not isinstance(compiled, SQLCompiler) or compiled.insert_prefetch or compiled.update_prefetch:
            return None
        state = compiled.construct_expanded_state(given, escape_names=False)
        items = {item: name for name, items in state.parameter_expansion.items() for item in items}
        lists = tuple(name for name in state.parameter_expansion if name in given)
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
            lists=lists,
            reading=tuple((index, read) for index, read in enumerate(readers) if read is not None),
            result=SimpleResultMetaData([column.key for column in columns]) if columns else None,
        )


def _binder(compiled: SQLCompiler, name: str) -> Processor | None:
    dialect = compiled.dialect
    found: Processor | None = compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect)
    return found


def _bound(value: Any, bind: Processor | None) -> Any:
    return value if bind is None else bind(value)

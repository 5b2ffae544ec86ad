"""The language of ``filter_function`` and ``goodness_function``: arithmetic and comparison over a few named values.

Source: "Configure and use driver filter and weighing for scheduler" of the Shared File Systems service. Operators, from
weak to strong: ``a ? b : c``; ``or`` ``|``; ``and`` ``&``; ``not`` ``!``; ``<`` ``<=`` ``>`` ``>=`` ``==`` ``!=``
``<>``; ``+`` ``-``; ``*`` ``/``; sign; ``^``. Functions: ``abs(x)``, ``min(x, ...)``, ``max(x, ...)``. Values:
numbers, text in quotes, and ``stats.x``, ``capabilities.x``, ``share.x`` or ``volume.x``, ``extra.x``, ``qos.x``.

An expression is an operator's text: it is parsed into closures and can do nothing but calculate. Its length bounds its
work; an exponent is bounded too.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any

from penstock.errors import Invalid

Value = float | str | bool
Values = Mapping[str, Mapping[str, Any]]
Node = Callable[[Values], Value]

LONGEST = 2000
DEEPEST = 50
LARGEST_EXPONENT = 64
SCOPES = ("stats", "capabilities", "share", "volume", "extra", "qos")

_TOKEN = re.compile(
    r"\s*(?:(?P<number>\d+(?:\.\d*)?(?:[eE][+-]?\d+)?|\.\d+)"
    r"|(?P<text>'[^']*'|\"[^\"]*\")"
    r"|(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:\.[A-Za-z0-9_:-]*[A-Za-z0-9_])?)"
    r"|(?P<mark><=|>=|==|!=|<>|[-+*/^()<>!&|?:,]))"
)
_COMPARISONS: dict[str, Callable[[Any, Any], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    ">": operator.gt,
    ">=": operator.ge,
    "==": operator.eq,
    "!=": operator.ne,
    "<>": operator.ne,
}
_FUNCTIONS: dict[str, Callable[..., float]] = {"abs": abs, "min": min, "max": max}


def evaluate(text: str, values: Values) -> Value:
    """What the expression comes to with these values, by scope and name.

    Raises Invalid for text that is not of the language, a name that has no value, or arithmetic that has no result.
    """
    try:
        return _compiled(text)(values)
    except ZeroDivisionError as err:
        raise Invalid(f"'{text[:128]}' divides by zero.") from err
    except OverflowError as err:
        raise Invalid(f"'{text[:128]}' becomes too large.") from err


@lru_cache(maxsize=256)
def _compiled(text: str) -> Node:
    if len(text) > LONGEST:
        raise Invalid(f"An expression has at most {LONGEST} characters.")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent: one method per strength of operator, each gives a closure over the values."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = _split(text)
        self._at = 0
        self._depth = 0

    def parse(self) -> Node:
        node = self._choice()
        if self._at < len(self._tokens):
            raise self._error(f"'{self._tokens[self._at]}' is not expected there")
        return node

    def _choice(self) -> Node:
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error("it is nested too deeply")
        condition = self._either()
        if self._took("?"):
            yes = self._choice()
            self._need(":")
            no = self._choice()
            self._depth -= 1
            return lambda values: yes(values) if condition(values) else no(values)
        self._depth -= 1
        return condition

    def _either(self) -> Node:
        node = self._both()
        while self._took("or", "|"):
            node = _or(node, self._both())
        return node

    def _both(self) -> Node:
        node = self._negated()
        while self._took("and", "&"):
            node = _and(node, self._negated())
        return node

    def _negated(self) -> Node:
        count = 0
        while self._took("not", "!"):
            count += 1
        node = self._comparison()
        if count == 0:
            return node
        wanted = count % 2 == 0
        return lambda values: bool(node(values)) is wanted

    def _comparison(self) -> Node:
        node = self._sum()
        while mark := self._took(*_COMPARISONS):
            node = _compared(_COMPARISONS[mark], node, self._sum())
        return node

    def _sum(self) -> Node:
        node = self._product()
        while mark := self._took("+", "-"):
            node = _calculated(operator.add if mark == "+" else operator.sub, node, self._product())
        return node

    def _product(self) -> Node:
        node = self._signed()
        while mark := self._took("*", "/"):
            node = _calculated(operator.mul if mark == "*" else operator.truediv, node, self._signed())
        return node

    def _signed(self) -> Node:
        sign = 1
        while mark := self._took("+", "-"):
            sign = -sign if mark == "-" else sign
        node = self._power()
        return node if sign == 1 else lambda values: -_number(node(values))

    def _power(self) -> Node:
        base = self._atom()
        if not self._took("^"):
            return base
        self._depth += 1
        if self._depth > DEEPEST:
            raise self._error("it is nested too deeply")
        exponent = self._signed()  # from the right: 2 ^ 3 ^ 2 is 2 ^ 9
        self._depth -= 1
        return _calculated(_power, base, exponent)

    def _atom(self) -> Node:
        if self._took("("):
            node = self._choice()
            self._need(")")
            return node
        token = self._next()
        if token[0] in "'\"":
            text = token[1:-1]
            return lambda _values: text
        if token[0].isdigit() or token[0] == ".":
            number = float(token)
            return lambda _values: number
        if token in _FUNCTIONS:
            return self._call(_FUNCTIONS[token])
        if token in ("True", "False", "true", "false"):
            truth = token in ("True", "true")
            return lambda _values: truth
        return self._named(token)

    def _call(self, function: Callable[..., float]) -> Node:
        self._need("(")
        arguments = [self._choice()]
        while self._took(","):
            arguments.append(self._choice())
        self._need(")")
        if function is abs and len(arguments) != 1:
            raise self._error("abs takes one value")
        if function is not abs and len(arguments) < 2:
            raise self._error("min and max take at least two values")
        return lambda values: function(*(_number(argument(values)) for argument in arguments))

    def _named(self, token: str) -> Node:
        scope, dot, name = token.partition(".")
        if not dot or scope not in SCOPES:
            raise self._error(f"'{token}' is not a value; values are {', '.join(f'{one}.*' for one in SCOPES)}")

        def look_up(values: Values) -> Value:
            if name not in values.get(scope, {}):
                raise Invalid(f"'{token}' has no value.")
            return _plain(values[scope][name])

        return look_up

    def _took(self, *wanted: str) -> str | None:
        if self._at < len(self._tokens) and self._tokens[self._at] in wanted:
            self._at += 1
            return self._tokens[self._at - 1]
        return None

    def _need(self, wanted: str) -> None:
        if not self._took(wanted):
            raise self._error(f"'{wanted}' is missing")

    def _next(self) -> str:
        if self._at == len(self._tokens) or self._tokens[self._at] in (*_COMPARISONS, *"+-*/^)&|?:,!"):
            raise self._error("a value is missing")
        self._at += 1
        return self._tokens[self._at - 1]

    def _error(self, what: str) -> Invalid:
        return Invalid(f"'{self._text[:128]}' is not an expression: {what}.")


def _split(text: str) -> list[str]:
    found, at = [], 0
    stripped = text.rstrip()
    while at < len(stripped):
        match = _TOKEN.match(stripped, at)
        if match is None:
            raise Invalid(f"'{text[:128]}' is not an expression: '{stripped[at : at + 16].strip()}' is not known.")
        found.append(match[match.lastgroup or 0])
        at = match.end()
    return found


def _or(left: Node, right: Node) -> Node:
    return lambda values: bool(left(values)) or bool(right(values))


def _and(left: Node, right: Node) -> Node:
    return lambda values: bool(left(values)) and bool(right(values))


def _compared(compare: Callable[[Any, Any], bool], left: Node, right: Node) -> Node:
    def node(values: Values) -> bool:
        one, other = left(values), right(values)
        if isinstance(one, str) != isinstance(other, str):  # extra specs are text: '5' is also the number
            one, other = _number(one), _number(other)
        return compare(one, other)

    return node


def _calculated(calculate: Callable[[float, float], float], left: Node, right: Node) -> Node:
    return lambda values: calculate(_number(left(values)), _number(right(values)))


def _power(base: float, exponent: float) -> float:
    if abs(exponent) > LARGEST_EXPONENT:
        raise Invalid(f"An exponent is at most {LARGEST_EXPONENT}, not {exponent:g}.")
    found: float | complex = base**exponent
    if isinstance(found, complex):
        raise Invalid(f"{base:g} ^ {exponent:g} is not a number.")
    return found


def _plain(value: Any) -> Value:
    if isinstance(value, bool | str):
        return value
    if isinstance(value, int | float):
        return float(value)
    return "" if value is None else str(value)


def _number(value: Value) -> float:
    try:
        return float(value)
    except ValueError as err:
        raise Invalid(f"'{value}' is not a number.") from err

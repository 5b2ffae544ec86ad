"""The arguments of a request's body: taken one by one, checked, and nothing left over."""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.appliance.faults import InvalidArgument, MissingArgument, UnknownArgument


class Arguments:
    """A JSON object that a handler takes apart. Raises Refusals."""

    def __init__(self, values: dict[str, Any]) -> None:
        self._left = dict(values)

    @classmethod
    def of(cls, body: bytes) -> Arguments:
        """Of a request's body; none is an empty object."""
        if not body:
            return cls({})
        try:
            found = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError) as err:
            raise InvalidArgument(f"the body is not JSON: {err}") from err
        if not isinstance(found, dict):
            raise InvalidArgument("the body is not a JSON object")
        return cls(found)

    def __contains__(self, name: str) -> bool:
        return name in self._left

    def names(self) -> list[str]:
        """What has not been taken yet."""
        return list(self._left)

    def take(self, name: str) -> Any:
        """Whatever it is; None when it is not there."""
        return self._left.pop(name, None)

    def text(self, name: str) -> str:
        """Raises MissingArgument, InvalidArgument."""
        found = self.optional_text(name)
        if found is None:
            raise MissingArgument(f"the argument {name} is missing")
        return found

    def optional_text(self, name: str) -> str | None:
        """Raises InvalidArgument for what is no text."""
        found = self.take(name)
        if found is not None and not isinstance(found, str):
            raise InvalidArgument(f"the argument {name} is not text")
        return found

    def flag(self, name: str) -> bool | None:
        """True and False, also as text, as extra specs have them. Raises InvalidArgument."""
        found = self.take(name)
        if found is None or isinstance(found, bool):
            return found
        if isinstance(found, str) and found.strip().lower() in ("true", "false"):
            return found.strip().lower() == "true"
        raise InvalidArgument(f"the argument {name} is neither true nor false")

    def texts(self, name: str) -> list[str]:
        """A list of texts; one text is a list of one. Raises MissingArgument, InvalidArgument."""
        found = self.take(name)
        if found is None:
            raise MissingArgument(f"the argument {name} is missing")
        many = [found] if isinstance(found, str) else found
        if not isinstance(many, list) or not all(isinstance(each, str) for each in many):
            raise InvalidArgument(f"the argument {name} is not a list of texts")
        return list(dict.fromkeys(many))

    def end(self) -> None:
        """Raises UnknownArgument when something is left."""
        if self._left:
            raise UnknownArgument(f"unknown arguments: {', '.join(sorted(map(str, self._left)))[:200]}")

"""From a body's bytes to a typed request: strict, and with a sentence that tells the client what to change."""

from __future__ import annotations

import re
import threading
from collections.abc import Mapping
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta

from penstock.errors import Invalid

Body = TypeVar("Body")

_NO_CONTROL = r"\A[^\x00-\x1f\x7f]*\Z"
_NO_NUL = r"\A[^\x00-\x08\x0b\x0c\x0e-\x1f\x7f]*\Z"
Name = Annotated[str, Meta(max_length=255, pattern=_NO_CONTROL)]  # one line
Text = Annotated[str, Meta(max_length=255, pattern=_NO_NUL)]  # may have line ends and tabs
Key = Annotated[str, Meta(min_length=1, max_length=255, pattern=_NO_CONTROL)]
Flag = bool | str | int | None  # the published APIs take "True", "yes" and 1 too; see parse_flag
Whole = int | str  # and whole numbers in quotes; see parse_whole

TRUE_WORDS = frozenset({"1", "t", "true", "on", "y", "yes"})
FALSE_WORDS = frozenset({"0", "f", "false", "off", "n", "no"})
METADATA_VALUE_LENGTH = 1023

MOST_QUOTED = 160

_AT = re.compile(r"^(?P<what>.*?)(?: - at `(?P<where>.*)`)?$", re.DOTALL)


_decoders: dict[Any, msgspec.json.Decoder[Any]] = {}
_making = threading.Lock()  # for _decoders


class Strict(msgspec.Struct, forbid_unknown_fields=True):
    """A body whose unknown fields are refused."""


class Lenient(msgspec.Struct):
    """A body whose unknown fields are not looked at, because published clients send more than the API reads."""


def parse(payload: bytes, wanted: type[Body]) -> Body:
    """The JSON `payload` as `wanted`. Raises Invalid."""
    if not payload.strip():
        raise Invalid("The request needs a JSON body.")
    try:
        return _decoder(wanted).decode(payload)
    except msgspec.ValidationError as err:
        raise Invalid(_sentence(str(err))) from err
    except RecursionError as err:
        raise Invalid("The request body is nested too deeply.") from err
    except (msgspec.DecodeError, UnicodeDecodeError) as err:
        raise Invalid(f"The request body is not JSON: {err}.") from err


def _decoder(wanted: type[Body]) -> msgspec.json.Decoder[Body]:
    """The decoder of a type, made by one thread at a time.

    msgspec 0.22 looks into a Struct class when it first decodes one, and lets other threads use what it has found so
    far: ten first requests at once have crashed the process.
    """
    found = _decoders.get(wanted)
    if found is None:
        with _making:
            found = _decoders.setdefault(wanted, msgspec.json.Decoder(wanted))
    return found


def parse_nothing(payload: bytes) -> None:
    """The arguments of an action that has none: null or an empty object. Raises Invalid."""
    found = parse(payload, dict[str, Any] | None)  # type: ignore[arg-type]
    if found:
        raise Invalid("This action takes no arguments.")


def parse_flag(name: str, value: object) -> bool:
    """A boolean as these APIs take it: true, "true", "1", "on", "yes" and their opposites. Raises Invalid."""
    if isinstance(value, bool):
        return value
    word = str(value).strip().lower() if isinstance(value, str | int) else ""
    if word in TRUE_WORDS:
        return True
    if word in FALSE_WORDS:
        return False
    raise Invalid(f"'{name}' must be true or false, not {_shown(value)}.")


def parse_whole(name: str, value: object, *, minimum: int | None = None, maximum: int = 2**31 - 1) -> int:
    """A whole number, also one in quotes. Raises Invalid."""
    text = value.strip() if isinstance(value, str) else value
    if isinstance(text, str) and re.fullmatch(r"[+-]?[0-9]{1,18}", text, re.ASCII):
        text = int(text)
    if not isinstance(text, int) or isinstance(text, bool):
        raise Invalid(f"'{name}' must be a whole number, not {_shown(value)}.")
    if minimum is not None and text < minimum:
        raise Invalid(f"'{name}' must be at least {minimum}, not {text}.")
    if text > maximum:
        raise Invalid(f"'{name}' must be at most {maximum}, not {text}.")
    return text


def check_name(name: str, value: str | None) -> str | None:
    """A one-line text of at most 255 characters from a place other than a body (path, query). Raises Invalid."""
    if value is not None and (len(value) > 255 or not re.match(_NO_CONTROL, value)):
        raise Invalid(f"'{name}' must be one line of at most 255 characters, without control characters.")
    return value


def check_pairs(what: str, items: Mapping[str, Any], *, value_length: int = METADATA_VALUE_LENGTH) -> dict[str, str]:
    """Metadata or extra specs: text keys of 1 to 255 characters, text values of at most `value_length`.

    Raises Invalid, naming the key.
    """
    for key, value in items.items():
        if not key.strip() or len(key) > 255 or not re.match(_NO_CONTROL, key):
            raise Invalid(f"A key of {what} must have 1 to 255 characters, all printable; {_shown(key)} has not.")
        if not isinstance(value, str):
            raise Invalid(f"The value of '{key}' in {what} must be text, not {_shown(value)}.")
        if len(value) > value_length or not re.match(_NO_NUL, value):
            raise Invalid(f"The value of '{key}' in {what} must have at most {value_length} characters, all printable.")
    return dict(items)


def _sentence(text: str) -> str:
    match = _AT.match(text)
    what, where = (match["what"], match["where"]) if match else (text, None)
    if len(what) > MOST_QUOTED:  # it quotes what was sent, however long that is
        what = f"{what[:MOST_QUOTED]}..."
    if "matching regex" in what:
        what = "Control characters are not allowed"
    if where:
        return f"{what}, in '{where.removeprefix('$.')}'."
    return f"{what}."


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 64 else f"{text[:61]}..."

"""Messages as JSON and back, in the dialect of etcd's gateway.

Out: proto names (``create_revision``), bytes in base64, 64-bit integers as strings, enums by
name, zeros left out (a member of a oneof is there when it is set, zero or not), no spaces.
In: proto or camelCase names, integers as strings or numbers and exact over the whole 64 bits,
enums by name or number, base64 of either alphabet with or without padding, null for "not set",
unknown fields ignored. One value per field, one member per oneof.

A table per message type is made from its descriptor when it is first needed. Nothing here knows
of HTTP or of the envelopes that streams are answered in.
"""

from __future__ import annotations

import json
import re
from binascii import Error as Base64Error
from binascii import a2b_base64, b2a_base64
from collections.abc import Callable
from decimal import Decimal
from typing import Final, NamedTuple, TypeVar

from google.protobuf.descriptor import Descriptor, EnumDescriptor, FieldDescriptor

from trioetcd.schema.messages import POOL, Message

__all__ = ["DEPTH_MAX", "JsonError", "from_json", "from_json_values", "to_json"]

DEPTH_MAX: Final = 64
"""Messages within messages: far more than a transaction needs, far less than the stack holds."""

_M = TypeVar("_M", bound=Message)


class JsonError(ValueError):
    """The text is not JSON, or not the JSON of the message asked for; one sentence says why."""


# ------------------------------------------------------------------------------------ outwards


class _Out(NamedTuple):
    """How one field is written."""

    name: str
    key: str  # '"name":'
    text: Callable[..., str]
    repeated: bool
    presence: bool


def _quoted_integer(value: int) -> str:
    return f'"{value}"'


def _bool_text(value: int) -> str:
    return "true" if value else "false"


def _base64_text(value: bytes) -> str:
    return f'"{b2a_base64(value, newline=False).decode()}"'


def _string_text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False)


def _enum_text(enum: EnumDescriptor) -> Callable[[int], str]:
    names = {value.number: f'"{value.name}"' for value in enum.values}

    def text(value: int) -> str:
        return names.get(value) or str(value)

    return text


_TEXT: Final[dict[int, Callable[..., str]]] = {
    FieldDescriptor.TYPE_INT64: _quoted_integer,
    FieldDescriptor.TYPE_UINT64: _quoted_integer,
    FieldDescriptor.TYPE_INT32: str,
    FieldDescriptor.TYPE_UINT32: str,
    FieldDescriptor.TYPE_BOOL: _bool_text,
    FieldDescriptor.TYPE_STRING: _string_text,
    FieldDescriptor.TYPE_BYTES: _base64_text,
}

_outs: Final[dict[str, tuple[_Out, ...]]] = {}


def _out_table(descriptor: Descriptor) -> tuple[_Out, ...]:
    rows = []
    for field in descriptor.fields:
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            text: Callable[..., str] = to_json
        elif field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            text = _enum_text(field.enum_type)
        else:
            text = _TEXT[field.type]
        rows.append(
            _Out(field.name, f'"{field.name}":', text, field.is_repeated, field.has_presence)
        )
    return tuple(rows)


def to_json(message: Message) -> str:
    """Write a message as one JSON object without spaces or line ends."""
    full_name = message.DESCRIPTOR.full_name
    table = _outs.get(full_name)
    if table is None:
        table = _outs[full_name] = _out_table(POOL.FindMessageTypeByName(full_name))
    parts = []
    for name, key, text, repeated, presence in table:
        if presence:
            if message.HasField(name):
                parts.append(key + text(getattr(message, name)))
        elif repeated:
            values = getattr(message, name)
            if values:
                parts.append(f"{key}[{','.join([text(value) for value in values])}]")
        else:
            value = getattr(message, name)
            if value:
                parts.append(key + text(value))
    return f"{{{','.join(parts)}}}"


# ------------------------------------------------------------------------------------- inwards


class _MisfitError(Exception):
    """A value that does not fit; the fields around it are noted on the way out."""

    def __init__(self, what: str, *path: str) -> None:
        super().__init__(what)
        self.what = what
        self.path = list(path)

    def __str__(self) -> str:
        if not self.path:
            return f"the JSON value {self.what}"
        return f'field "{".".join(reversed(self.path))}" {self.what}'


class _In(NamedTuple):
    """How one field is read: `value` for what is no message, which it gives or raises."""

    name: str
    value: Callable[[object], object] | None
    repeated: bool
    oneof: str


_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][+-]?[0-9]{1,9})?")


def _integer_between(low: int, high: int) -> Callable[[object], int]:
    def value(given: object) -> int:
        if isinstance(given, str):
            if len(given) > 64 or not _NUMBER.fullmatch(given):
                raise _MisfitError("is not a number")
            given = Decimal(given)
        if isinstance(given, Decimal):
            # The comparison keeps 1e999999999 from becoming an integer of that many digits.
            if not low <= given <= high:
                raise _MisfitError("is out of range")
            if given != (given := int(given)):
                raise _MisfitError("is not an integer")
        if not isinstance(given, int) or isinstance(given, bool):
            raise _MisfitError("is not a number")
        if not low <= given <= high:
            raise _MisfitError("is out of range")
        return given

    return value


_int32 = _integer_between(-(2**31), 2**31 - 1)


def _enum_value(enum: EnumDescriptor) -> Callable[[object], int]:
    numbers = {value.name: value.number for value in enum.values}

    def value(given: object) -> int:
        if isinstance(given, str):
            number = numbers.get(given)
            if number is None:
                raise _MisfitError("is not one of " + ", ".join(numbers))
            return number
        return _int32(given)

    return value


def _bool_value(given: object) -> bool:
    if isinstance(given, bool):
        return given
    raise _MisfitError("is neither true nor false")


def _string_value(given: object) -> str:
    if not isinstance(given, str):
        raise _MisfitError("is not a string")
    try:
        given.encode()
    except UnicodeEncodeError:
        raise _MisfitError("holds half a character") from None
    return given


_URL_SAFE = str.maketrans("-_", "+/")


def _bytes_value(given: object) -> bytes:
    if not isinstance(given, str):
        raise _MisfitError("is not base64 in a string")
    if "-" in given or "_" in given:
        given = given.translate(_URL_SAFE)
    if len(given) % 4:
        if given.endswith("="):
            raise _MisfitError("is not base64")
        given += "=" * (-len(given) % 4)
    try:
        return a2b_base64(given, strict_mode=True)
    except (Base64Error, ValueError):
        raise _MisfitError("is not base64") from None


_VALUE: Final[dict[int, Callable[[object], object]]] = {
    FieldDescriptor.TYPE_INT64: _integer_between(-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT64: _integer_between(0, 2**64 - 1),
    FieldDescriptor.TYPE_INT32: _int32,
    FieldDescriptor.TYPE_UINT32: _integer_between(0, 2**32 - 1),
    FieldDescriptor.TYPE_BOOL: _bool_value,
    FieldDescriptor.TYPE_STRING: _string_value,
    FieldDescriptor.TYPE_BYTES: _bytes_value,
}

_ins: Final[dict[str, dict[str, _In]]] = {}


def _in_table(descriptor: Descriptor) -> dict[str, _In]:
    table = {}
    for field in descriptor.fields:
        value: Callable[[object], object] | None
        if field.type == FieldDescriptor.TYPE_MESSAGE:
            value = None
        elif field.type == FieldDescriptor.TYPE_ENUM:
            assert field.enum_type is not None
            value = _enum_value(field.enum_type)
        else:
            value = _VALUE[field.type]
        oneof = field.containing_oneof.name if field.containing_oneof else ""
        row = _In(field.name, value, field.is_repeated, oneof)
        table[field.name] = table[field.json_name] = row
    return table


def _fill(message: Message, given: object, depth: int) -> None:
    """Set the fields of an empty message from a parsed JSON object."""
    if not isinstance(given, dict):
        raise _MisfitError("is not an object")
    if depth > DEPTH_MAX:
        raise _MisfitError("is nested too deeply")
    full_name = message.DESCRIPTOR.full_name
    table = _ins.get(full_name)
    if table is None:
        table = _ins[full_name] = _in_table(POOL.FindMessageTypeByName(full_name))
    seen = set()
    for key, value in given.items():
        row = table.get(key)
        if row is None or value is None:
            continue
        if row.name in seen:
            raise _MisfitError("is given twice", row.name)
        seen.add(row.name)
        if row.oneof:
            if row.oneof in seen:
                raise _MisfitError(f"comes beside another of {row.oneof}", row.name)
            seen.add(row.oneof)
        try:
            _set(message, row, value, depth)
        except _MisfitError as misfit:
            misfit.path.append(row.name)
            raise


def _set(message: Message, row: _In, given: object, depth: int) -> None:
    if row.repeated:
        if not isinstance(given, list):
            raise _MisfitError("is not an array")
        container = getattr(message, row.name)
        if row.value is None:
            for item in given:
                _fill(container.add(), item, depth + 1)
        else:
            container.extend([row.value(item) for item in given])
    elif row.value is None:
        inner = getattr(message, row.name)
        inner.SetInParent()
        _fill(inner, given, depth + 1)
    else:
        setattr(message, row.name, row.value(given))


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise JsonError("invalid JSON: an object names one field twice")
    return made


def _decimal(text: str) -> Decimal:
    try:
        return Decimal(text)
    except ArithmeticError:
        raise JsonError("invalid JSON: a number is too long") from None


def _no_constant(_name: str) -> object:
    raise JsonError("invalid JSON: a number is none")


_DECODER: Final = json.JSONDecoder(
    parse_float=_decimal, parse_constant=_no_constant, object_pairs_hook=_object
)
_SPACE: Final = re.compile(r"[ \t\n\r]*")


def _skip_space(text: str, position: int) -> int:
    match = _SPACE.match(text, position)
    assert match is not None, "no space is space too"
    return match.end()


def from_json_values(kind: type[_M], text: bytes) -> list[_M]:
    """Read JSON values that follow each other, as a stream's request body holds them.

    Raises:
        JsonError: the text is not that.
    """
    messages = []
    try:
        decoded = text.decode()
        position = _skip_space(decoded, 0)
        while position < len(decoded):
            given, position = _DECODER.raw_decode(decoded, position)
            message = kind()
            _fill(message, given, 1)
            messages.append(message)
            position = _skip_space(decoded, position)
    except _MisfitError as misfit:
        raise JsonError(str(misfit)) from None
    except json.JSONDecodeError as error:
        raise JsonError(f"invalid JSON: {error.msg} at character {error.pos + 1}") from None
    except UnicodeDecodeError:
        raise JsonError("invalid JSON: not UTF-8") from None
    except RecursionError:
        raise JsonError("invalid JSON: nested too deeply") from None
    except JsonError:
        raise
    except ValueError:
        # What the interpreter refuses to parse: an integer of thousands of digits.
        raise JsonError("invalid JSON: a number is too long") from None
    return messages


def from_json(kind: type[_M], text: bytes) -> _M:
    """Read one JSON object as a message; an empty text is an empty message.

    Raises:
        JsonError: the text is not that.
    """
    messages = from_json_values(kind, text)
    if not messages:
        return kind()
    if len(messages) > 1:
        raise JsonError("invalid JSON: text follows the value")
    return messages[0]

"""The flags as values: one `Flag` per row of `flag_table`, and how a flag's text is read.

Nothing here knows where a text came from; `arguments`, `config_file` and `config` do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum
from typing import Final

from trioetcd.node.flag_table import EXPERIMENTAL, EXPERIMENTAL_GATES, TABLE
from trioetcd.node.go_syntax import parse_bool, parse_duration, parse_int
from trioetcd.url import Url, parse_urls

__all__ = ["FLAGS", "ConfigError", "Flag", "Kind", "Status", "Value", "suggestion"]

Value = str | bool | int | float | tuple[str, ...] | tuple[Url, ...]
"""What a flag's text is read into."""


class ConfigError(Exception):
    """The settings cannot be used; the message is one sentence for the person who typed them.

    Attributes:
        exit_code: 2 for a command line that cannot be read, 1 for settings that make no sense.
    """

    def __init__(self, message: str, *, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


class Kind(Enum):
    """What a flag's text is read as."""

    STRING = "string"
    BOOL = "bool"
    INT = "int"
    UINT = "uint"
    DURATION = "duration"
    URLS = "urls"
    LIST = "list"
    CHOICE = "choice"


class Status(Enum):
    """What becomes of a flag that is given."""

    WORKS = "works"
    IDLE = "idle"
    REFUSED = "refused"
    REMOVED = "removed"


@dataclass(frozen=True, slots=True)
class Flag:
    """One row of the table.

    Attributes:
        name: as on the command line, without dashes in front.
        group: heading it stands under.
        kind: how its text is read.
        choices: the permitted words of a choice.
        default: its text when it is not given.
        status: what becomes of it when it is given.
        meaning: what it does.
        reason: why it is not `Status.WORKS`; empty otherwise.
        file_path: where it stands in the configuration file.
    """

    name: str
    group: str
    kind: Kind
    choices: tuple[str, ...]
    default: str
    status: Status
    meaning: str
    reason: str
    file_path: tuple[str, ...]

    @property
    def variable(self) -> str:
        """The environment variable of the same meaning."""
        return "ETCD_" + self.name.upper().replace("-", "_")

    @property
    def field(self) -> str:
        """The field of `Config` that holds it."""
        return self.name.replace("-", "_")

    def parse(self, text: str) -> Value:
        """Read the flag's text.

        Raises:
            ValueError: the text does not fit the kind; the message says why.
        """
        match self.kind:
            case Kind.STRING:
                return text
            case Kind.BOOL:
                return parse_bool(text)
            case Kind.INT:
                return parse_int(text)
            case Kind.UINT:
                number = parse_int(text)
                if number < 0:
                    raise ValueError(f"{text!r} is less than nothing")
                return number
            case Kind.DURATION:
                return parse_duration(text)
            case Kind.URLS:
                return parse_urls(text) if text else ()
            case Kind.LIST:
                return tuple(part.strip() for part in text.split(",") if part.strip())
            case Kind.CHOICE:
                if text not in self.choices:
                    words = ", ".join(repr(word) for word in self.choices if word)
                    raise ValueError(f"{text!r} is none of {words}")
                return text

    @property
    def value(self) -> Value:
        """The default, read."""
        return self.parse(self.default)


def _flag(group: str, header: str, notes: Iterable[str]) -> Flag:
    name, kind, default, status = header.split()
    meaning: list[str] = []
    reason = ""
    path: tuple[str, ...] = (name,)
    for note in notes:
        mark, _, rest = note.partition(" ")
        match mark:
            case "@":
                path = tuple(rest.split("."))
            case "=":
                default = rest
            case "!":
                reason = rest
            case _:
                meaning.append(note)
    choices = tuple(kind.split("|")) if "|" in kind or kind == "zap" else ()
    return Flag(
        name=name,
        group=group,
        kind=Kind.CHOICE if choices else Kind(kind),
        choices=choices,
        default="" if default == "-" else default,
        status=Status(status),
        meaning=" ".join(meaning),
        reason=reason,
        file_path=path,
    )


def _read_table(table: str) -> dict[str, Flag]:
    flags: dict[str, Flag] = {}
    group = header = ""
    notes: list[str] = []

    def finish() -> None:
        if header:
            flag = _flag(group, header, notes)
            assert flag.name not in flags, flag.name
            flags[flag.name] = flag

    for line in table.splitlines():
        if line.startswith("    "):
            notes.append(line.strip())
        elif line:
            finish()
            notes = []
            header = "" if line.startswith("[") else line
            group = line[1:-1] if line.startswith("[") else group
    finish()
    return flags


FLAGS: Final = _read_table(TABLE)
"""Every flag by its name, in the order of the table."""


def suggestion(word: str, candidates: Iterable[str] | None = None) -> str:
    """Give ``; did you mean X?`` for a misspelt flag or key, or nothing."""
    known = [*FLAGS, *EXPERIMENTAL, *EXPERIMENTAL_GATES] if candidates is None else list(candidates)
    close = difflib.get_close_matches(word, known, n=1, cutoff=0.7)
    dashes = "--" if candidates is None else ""
    return f"; did you mean {dashes}{close[0]}?" if close else ""

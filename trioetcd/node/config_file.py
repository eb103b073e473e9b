"""The configuration file's contents, read into values by the flags' table.

The file is a mapping (YAML or JSON) with the flags' names as keys, some of them in groups, and
durations as whole nanoseconds. `config` opens and parses it; only the mapping arrives here.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

from trioetcd.node.arguments import Given
from trioetcd.node.flag_table import EXPERIMENTAL, EXPERIMENTAL_GATES
from trioetcd.node.flags import FLAGS, ConfigError, Flag, Kind, suggestion
from trioetcd.node.go_syntax import format_duration

__all__ = ["flag_line_of", "read_mapping"]

_NOT_IN_FILES: Final = frozenset({"config-file", "version", "help"})
_FLAG_LINE: Final = re.compile(r"^\s*(--?[a-z][a-z0-9-]*)(?:[= ](.*))?$")
_PATHS: Final = {
    flag.file_path: flag for name, flag in FLAGS.items() if name not in _NOT_IN_FILES
} | {(old,): FLAGS[new] for old, new in EXPERIMENTAL.items()}
_GROUPS: Final = frozenset(path[:end] for path in _PATHS for end in range(1, len(path)))
_BY_LAST_NAME: Final = {
    name: ".".join(flag.file_path) for name, flag in FLAGS.items() if len(flag.file_path) > 1
}


def flag_line_of(text: str) -> str:
    """Give the YAML form of the first ``--flag=value`` line of a file; empty if it has none."""
    for line in text.splitlines():
        match = _FLAG_LINE.match(line)
        if match:
            return f"{match.group(1).lstrip('-')}: {(match.group(2) or 'true').strip()}"
    return ""


def read_mapping(document: Mapping[object, object]) -> Given:
    """Read the contents of a configuration file.

    Raises:
        ConfigError: an unknown key, or a value that does not fit its key.
    """
    given = Given(from_file=True)
    for path, value in _leaves(document, ()):
        spelled = path[0]
        where = f"the file's {'.'.join(path)}"
        if len(path) == 1 and spelled in EXPERIMENTAL_GATES:
            given.set(spelled, _text(value, None, where), where=where, exit_code=1)
            continue
        flag = _PATHS.get(path)
        if flag is None:
            raise ConfigError(f"the file has an unknown key {'.'.join(path)}{_hint(path)}")
        if value is None:
            continue
        name = spelled if len(path) == 1 and spelled in EXPERIMENTAL else flag.name
        given.set(name, _text(value, flag, where), where=where, exit_code=1)
    return given


def _leaves(
    mapping: Mapping[object, object],
    above: tuple[str, ...],
) -> Iterator[tuple[tuple[str, ...], object]]:
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise ConfigError(f"the file has the key {key!r}, which is no text; put it in quotes")
        path = (*above, key)
        if path not in _GROUPS:
            yield path, value
        elif isinstance(value, Mapping):
            yield from _leaves(value, path)
        elif value is not None:
            raise ConfigError(f"the file's {'.'.join(path)} must hold keys of its own")


def _hint(path: tuple[str, ...]) -> str:
    name = path[-1]
    if len(path) == 1 and name in _BY_LAST_NAME:
        return f"; in a file it is written {_BY_LAST_NAME[name]}"
    siblings = {known[len(path) - 1] for known in _PATHS if known[:-1] == path[:-1]}
    siblings |= {group[-1] for group in _GROUPS if group[:-1] == path[:-1]}
    return suggestion(name, sorted(siblings))


def _text(value: object, flag: Flag | None, where: str) -> str:
    """Spell a parsed value as the command line would."""
    kind = Kind.BOOL if flag is None else flag.kind
    if isinstance(value, bool):
        if kind is not Kind.BOOL:
            word = "true" if value else "false"
            raise ConfigError(f"{where}: {word} is no text; put the word you mean in quotes")
        return "true" if value else "false"
    if isinstance(value, str):
        return value
    if isinstance(value, int):
        if kind is Kind.DURATION:
            return format_duration(value / 1e9)
        if kind is not Kind.BOOL:
            return str(value)
    if isinstance(value, list) and kind in {Kind.LIST, Kind.URLS}:
        return ",".join(str(item) for item in value)
    if isinstance(value, float) and kind is Kind.STRING:
        return str(value)
    raise ConfigError(f"{where}: {value!r} does not fit; this key takes a {kind.value}")

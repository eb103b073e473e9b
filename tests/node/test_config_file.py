"""Tests of `trioetcd.node.config_file`: what stands in a configuration file."""

from __future__ import annotations

import pytest

from trioetcd.node.config_file import flag_line_of, read_mapping
from trioetcd.node.flags import ConfigError


@pytest.mark.parametrize(
    ("document", "sentence"),
    [
        ({"nam": "x"}, "unknown key nam; did you mean name"),
        ({"cert-file": "x"}, "in a file it is written client-transport-security.cert-file"),
        (
            {"client-transport-security": {"cert-fil": "x"}},
            "unknown key client-transport-security.cert-fil; did you mean cert-file",
        ),
        ({"client-transport-security": "x"}, "must hold keys of its own"),
        ({"config-file": "x"}, "unknown key config-file"),
        ({1: "x"}, "put it in quotes"),
        ({"name": True}, "put the word you mean in quotes"),
        ({"pre-vote": 1}, "this key takes a bool"),
        ({"heartbeat-interval": [1]}, "this key takes a uint"),
        ({"heartbeat-interval": "x"}, "invalid value for the file's heartbeat-interval"),
    ],
)
def test_slips_end_in_a_sentence(document: dict[object, object], sentence: str) -> None:
    """The sentence names the key, and a close one."""
    with pytest.raises(ConfigError, match=sentence):
        read_mapping(document)


def test_keys_without_a_value_are_left_at_their_default() -> None:
    """``key:`` alone, and an empty group, say nothing."""
    given = read_mapping({"name": None, "client-transport-security": None})

    assert {} == given.values


def test_numbers_are_taken_where_text_is_meant() -> None:
    """A name or retention of digits needs no quotes."""
    given = read_mapping({"name": 1, "auto-compaction-retention": 1.5})

    assert {"name": "1", "auto-compaction-retention": "1.5"} == given.values


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("--name=m1\n--data-dir=d\n", "name: m1"),
        ("# words\n--pre-vote\n", "pre-vote: true"),
        ("-name m1", "name: m1"),
        ("name: m1\nlog-outputs:\n- stderr\n", ""),
        ("---\nname: m1\n", ""),
        ("", ""),
    ],
)
def test_a_file_of_flags_is_recognised(text: str, line: str) -> None:
    """The first such line is given in its right form; YAML is not mistaken for one."""
    assert line == flag_line_of(text)

"""Tests of `trioetcd.node.arguments`: the rules of the command line and the environment."""

from __future__ import annotations

import pytest

from trioetcd.node.arguments import merge_gates, read_arguments, read_environment
from trioetcd.node.flags import ConfigError


def test_of_several_the_last_one_wins() -> None:
    """Duplicates are no error; etcd's own test framework gives some."""
    given = read_arguments(["--snapshot-count=1", "--snapshot-count", "2", "-snapshot-count=3"])

    assert {"snapshot-count": 3} == given.values


def test_a_value_may_begin_with_a_dash() -> None:
    """What follows a flag is its value, whatever it looks like."""
    assert {"name": "--x"} == read_arguments(["--name", "--x"]).values


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--nmae=x"], 2, "unknown flag --nmae; did you mean --name"),
        (["--debug"], 2, "unknown flag --debug; write --log-level=debug"),
        (["--name"], 2, "flag --name needs a value"),
        (["--heartbeat-interval=abc"], 2, "'abc' is not a whole number"),
        (["--max-wals=-1"], 2, "less than nothing"),
        (["--initial-cluster-state=old"], 2, "'old' is none of 'new', 'existing'"),
        (["--listen-client-urls=localhost:2379"], 2, "write https://localhost:2379"),
        (["--grpc-keepalive-interval=5"], 2, "add a unit: 5s"),
        (["--pre-vote", "false"], 1, "'false' is not a valid flag; write --pre-vote=false"),
        (["member", "list"], 1, "'member' is not a valid flag"),
        (["-"], 1, "'-' is not a valid flag"),
    ],
)
def test_slips_end_in_a_sentence(arguments: list[str], code: int, sentence: str) -> None:
    """Usage errors exit with 2, stray words with 1, as etcd's do."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        read_arguments(arguments)

    assert code == caught.value.exit_code


def test_a_flag_and_its_variable_contradict_each_other() -> None:
    """Both for one setting are an error, even with one value."""
    given = read_arguments(["--name=a"])
    with pytest.raises(ConfigError, match="conflicting environment variable ETCD_NAME"):
        read_environment({"ETCD_NAME": "a"}, given)


def test_unknown_variables_are_told_without_their_values() -> None:
    """A variable nobody knows is a warning; others' variables and empty ones are nothing."""
    given = read_arguments([])
    read_environment(
        {
            "ETCD_DATA_DRI": "secret",
            "ETCDCTL_API": "3",
            "PATH": "/bin",
            "ETCD_NAME": "",
            "ETCD_UNSUPPORTED_ARCH": "arm64",
            "ETCD_VERSION": "3",
        },
        given,
    )

    assert {} == given.values
    assert given.warnings == [
        "unrecognized environment variable ETCD_DATA_DRI; did you perhaps mean ETCD_DATA_DIR?",
        "cannot set special environment variable ETCD_VERSION",
    ]


def test_a_variable_that_does_not_fit_is_named() -> None:
    """The sentence names the variable, and the code is that of settings."""
    with pytest.raises(ConfigError, match="invalid value for ETCD_MAX_TXN_OPS") as caught:
        read_environment({"ETCD_MAX_TXN_OPS": "many"}, read_arguments([]))

    assert caught.value.exit_code == 1


def test_feature_gates_are_known_by_name() -> None:
    """Gates come from the flag and from spellings of old; unknown ones are refused."""
    gates = dict(merge_gates("LeaseCheckpoint=true", {"InitialCorruptCheck": False}))

    assert gates["LeaseCheckpoint"]
    assert gates["CompactHashCheck"]
    assert not gates["InitialCorruptCheck"]
    with pytest.raises(ConfigError, match="did you mean LeaseCheckpoint"):
        merge_gates("LeaseCheckpont=true", {})
    with pytest.raises(ConfigError, match="neither true nor false"):
        merge_gates("LeaseCheckpoint=on", {})

"""Tests of `trioetcd.cli.flag_help`: no flag is left out of the help."""

from __future__ import annotations

import re

import pytest

from trioetcd.cli.flag_help import help_text
from trioetcd.node.flags import FLAGS, Flag, Status

HELP = help_text()


@pytest.mark.parametrize("flag", FLAGS.values(), ids=[*FLAGS])
def test_every_flag_that_can_be_given_is_in_the_help(flag: Flag) -> None:
    """With its mark; removed ones are left out."""
    marks = {Status.WORKS: " ", Status.IDLE: "*", Status.REFUSED: "!", Status.REMOVED: " "}
    line = re.compile(rf"^ {re.escape(marks[flag.status])}--{flag.name}(=.*| .*)?$", re.MULTILINE)

    assert (flag.status is not Status.REMOVED) == bool(line.search(HELP))


def test_the_help_fits_a_terminal() -> None:
    """Sentences are wrapped at 100 columns; only a long default may stand out."""
    wide = [line for line in HELP.splitlines() if len(line) > 100]

    assert [line for line in wide if "log-rotation-config-json" in line] == wide

"""Tests of `trioetcd.runtime.trace`: the form of a line, and that a slow reader stalls nobody."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import pytest

from trioetcd.runtime.trace import LEVELS, Log, open_outputs
from trioetcd.values import Index


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """A pipe: its reading and its writing end."""
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_line_has_the_form_of_etcds(pipe: tuple[int, int]) -> None:
    """Level, time, caller and message come first, then the fields."""
    log = Log([pipe[1]])
    log.info(
        "ready to serve client requests", port=2379, urls=("a", "b"), raw=b"\xff", e=OSError("x")
    )
    log.close()
    text = os.read(pipe[0], 4096).decode()
    line = json.loads(text)

    assert text.endswith("\n")
    assert ["level", "ts", "caller", "msg", "port", "urls", "raw", "e"] == list(line)
    assert ("info", "ready to serve client requests") == (line["level"], line["msg"])
    assert line["caller"].startswith("runtime/test_trace.py:")
    assert datetime.fromisoformat(line["ts"]).utcoffset() is not None
    assert (["a", "b"], "\\xff", "x") == (line["urls"], line["raw"], line["e"])


def test_console_lines_stay_lines(pipe: tuple[int, int]) -> None:
    """A message with line breaks cannot fake a second line."""
    log = Log([pipe[1]], layout="console")
    log.warn("one\ntwo", field="x\ny")
    log.warn("bare")
    log.close()
    lines = os.read(pipe[0], 4096).decode().splitlines()

    assert len(lines) == 2
    assert "\twarn\t" in lines[0]
    assert lines[0].endswith("\t'one\\ntwo'\t" + r'{"field":"x\ny"}')
    assert lines[1].endswith("\tbare")


@pytest.mark.parametrize("level", LEVELS)
def test_levels_below_the_threshold_are_silent(pipe: tuple[int, int], level: str) -> None:
    """Only lines of the level asked for and above are written."""
    log = Log([pipe[1]], level=level)
    for name in ("debug", "info", "warn", "error", "fatal"):
        getattr(log, name)(name)
    log.event("applied", Index(7))
    log.close()
    written = [json.loads(line)["level"] for line in os.read(pipe[0], 4096).splitlines()]
    expected = [name for name in LEVELS if name != "panic" and log.enabled(name)]

    assert expected + (["debug"] if level == "debug" else []) == written


def test_a_full_pipe_stalls_nobody(pipe: tuple[int, int]) -> None:
    """With no reader at all, logging returns, the newest lines are lost, and the loss is told."""
    log = Log([pipe[1]], lines_max=50)
    for number in range(1000):
        log.info("x" * 1000, number=number)
    assert log.dropped > 0
    dropped = log.dropped
    text = b""
    lines: list[dict[str, int]] = []
    while sum(line.get("dropped", 0) for line in lines) < dropped:
        text += os.read(pipe[0], 65536)
        if text.endswith(b"\n"):
            lines = [json.loads(line) for line in text.splitlines()]
    log.close()
    numbers = [line["number"] for line in lines if "number" in line]
    told = sum(line.get("dropped", 0) for line in lines)

    assert sorted(set(numbers)) == numbers
    assert dropped == told == 1000 - len(numbers)


def test_a_log_that_is_gone_stops_nobody(pipe: tuple[int, int]) -> None:
    """Writing to a closed descriptor is given up; closing twice and logging late do no harm."""
    gone = os.dup(pipe[1])
    os.close(gone)
    log = Log([gone])
    log.error("nobody hears this")
    log.close()
    log.close()
    log.info("nor this")

    assert log.dropped == 1


def test_outputs_are_opened_by_name(tmp_path: Path) -> None:
    """The standard streams keep their numbers; files are appended to, for their owner alone."""
    path = tmp_path / "member.log"
    descriptors = open_outputs(["stderr", "default", "stdout", str(path)])
    os.write(descriptors[-1], b"one\n")
    os.close(descriptors[-1])

    assert [2, 1] == descriptors[:2]
    assert len(descriptors) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    assert [2] == open_outputs([])

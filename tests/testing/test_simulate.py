"""The command that runs seeds."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioetcd.testing import simulate


def test_a_seed_takes_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    """Each seed prints one line with its options, and the sum comes last; exit code 0."""
    code = simulate.main(["--seeds", "1-2", "--seconds", "4", "--members", "1"])
    lines = capsys.readouterr().out.splitlines()

    assert code == 0
    assert len(lines) == 3
    assert lines[0].startswith("seed 1 ok ops ")
    assert " | seed=1 seconds=4.0 eras=" in lines[0]
    assert lines[2].startswith("2 seeds, 0 violations, ")


def test_seeds_run_side_by_side_as_they_run_alone(capsys: pytest.CaptureFixture[str]) -> None:
    """Two at a time, seeds leave the traces they leave alone, and in the same order."""
    traces = []
    for jobs in ("1", "2"):
        simulate.main(["--seeds", "1-3", "--seconds", "3", "--members", "1", "--jobs", jobs])
        lines = capsys.readouterr().out.splitlines()
        traces.append([line.partition(" trace ")[2] for line in lines[:3]])

    assert traces[0] == traces[1]
    assert all(traces[0])


def test_a_trace_is_written(tmp_path: Path) -> None:
    """The trace file holds every event."""
    path = tmp_path / "trace"
    simulate.main(["--seed", "1", "--seconds", "4", "--members", "1", "--trace", str(path)])

    assert " start (0, 1, 1)\n" in path.read_text()


def test_a_regression_is_replayed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A regression file stands for a seed and its options."""
    path = tmp_path / "one.toml"
    path.write_text('why = "x"\nseed = 9\nseconds = 4.0\nmembers = 1\nwithout = ["crash"]\n')

    assert simulate.main(["--regression", str(path)]) == 0
    assert "seed 9 ok" in capsys.readouterr().out


def test_a_violation_is_told_with_the_command_that_shows_it_again(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A broken promise gives exit code 1, the last events and the way to see it again."""
    monkeypatch.setattr("trioetcd.testing.simulator.WRITE_MICROS", -2_000_000_000)
    code = simulate.main(["--seed", "2", "--seconds", "4", "--members", "1", "--without", "crash"])
    text = capsys.readouterr().out

    assert code == 1
    assert "VIOLATION: no write succeeded" in text
    assert (
        "again: python -m trioetcd.testing.simulate --seed 2 --seconds 4 --members 1"
        " --without crash\n" in text
    )

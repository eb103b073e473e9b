"""A handful of seeds of each size, every regression, and the same run in two processes."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioetcd.testing.scenario import draw, load_regression
from trioetcd.testing.simulate import run

REGRESSIONS = sorted((Path(__file__).parent / "regressions").glob("*.toml"))


@pytest.mark.parametrize("seed", range(1, 9))
def test_a_sole_voter_keeps_its_promises(seed: int) -> None:
    """A member alone: no seed breaks a promise."""
    report, text = run(draw(seed, seconds=30, members=1))
    print(f"seed {seed}")

    assert report.violation is None, text


@pytest.mark.parametrize("seed", range(1, 7))
def test_three_members_keep_their_promises(seed: int) -> None:
    """Three members: no seed breaks a promise."""
    report, text = run(draw(seed, seconds=30, members=3))
    print(f"seed {seed}")

    assert report.violation is None, text


def test_five_members_keep_their_promises() -> None:
    """Five members, and all kinds of faults: no promise is broken."""
    seed = next(seed for seed in range(100) if len(draw(seed, members=5).faults) > 11)
    report, text = run(draw(seed, seconds=20, members=5))
    print(f"seed {seed}")

    assert report.violation is None, text


@pytest.mark.parametrize("path", REGRESSIONS, ids=lambda path: path.stem)
def test_what_was_found_once_stays_mended(path: Path) -> None:
    """A seed that once broke a promise breaks none."""
    regression = load_regression(path)
    report, text = run(regression.scenario())
    print(regression)

    assert report.violation is None, text

"""The simulator finds planted bugs: each has a seed that shows it."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from tests.simulation.mutants import load, planted, recorded, replay

MUTANTS = load()
WANTED = 20
SEED_MAX = 1000
SEARCHED = 200


def test_there_are_enough_planted_bugs_and_each_has_a_seed() -> None:
    """Twenty bugs at least are planted, and each is found by one of the first thousand seeds."""
    assert len(MUTANTS) >= WANTED
    assert [mutant.name for mutant in MUTANTS if not 0 < (mutant.seed or 0) <= SEED_MAX] == []


def test_every_planted_bug_still_applies() -> None:
    """The text that a planted bug changes is in the code, just once."""
    for mutant in MUTANTS:
        with planted(mutant) as folder:
            assert mutant.after in (folder / "trioetcd" / mutant.file).read_text()


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_every_planted_bug_is_found() -> None:
    """A bug of the regression list, planted, is found by its seed, or soon by another one.

    Seeds run otherwise when the code moves on; whichever finds a bug then is printed, to be kept.
    """
    others = [*recorded(), *range(1, SEARCHED + 1)]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        found = list(pool.map(partial(replay, others=others), MUTANTS))
    for mutant, shown in zip(MUTANTS, found, strict=True):
        print(f"{mutant.name}: seed {mutant.seed}: found by {shown}")

    assert [mutant.name for mutant, shown in zip(MUTANTS, found, strict=True) if not shown] == []

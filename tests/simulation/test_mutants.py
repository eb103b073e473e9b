"""The simulator finds planted bugs: each recorded seed still finds its own."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import Mutant, load, replay

MUTANTS = [mutant for mutant in load() if mutant.seed is not None]


@pytest.mark.slow
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_planted_bug_is_found(mutant: Mutant) -> None:
    """A bug of the regression list, planted, is found by its seed."""
    print(f"seed {mutant.seed}")

    assert replay(mutant) is not None

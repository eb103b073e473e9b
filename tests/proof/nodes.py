"""Whole nodes in mock time under seeded trouble: `trioetcd.testing.nodes` over many seeds.

A seed alone, with its traceback: ``python -m trioetcd.testing.nodes --seed 4711``.
"""

from __future__ import annotations

import sys
import traceback

from tests.proof.outcome import Budget, MissingMeansError, Options, Outcome, run
from trioetcd.testing import nodes
from trioetcd.testing.violation import Violation


def prove(options: Options, outcome: Outcome) -> None:
    """Run one seed after the other."""
    if options.target != "trioetcd":
        raise MissingMeansError("whole nodes in mock time are trioetcd's only")
    budget = Budget(options)
    for seed in range(options.seed, options.seed + options.cycles):
        if budget.spent():
            return
        try:
            report = nodes.run(nodes.draw(seed))
        except (ExceptionGroup, Violation) as failure:
            traceback.print_exception(failure)
            outcome.violated(seed, str(failure))
        else:
            outcome.count("lives", report.lives)
            outcome.count("snapshots", report.snapshots)
            outcome.count("acknowledged", report.acknowledged)
        outcome.done += 1
        outcome.last_seed = seed


if __name__ == "__main__":
    sys.exit(run("nodes", prove, cycles=1_000_000, description=(__doc__ or "").split("\n", 1)[0]))

"""Seeds of the simulator, one after the other: every promise is kept, and equal seeds run equally.

    python -m tests.proof.simulate --seed 1 --cycles 300

Each cycle is one seed: a whole cluster for 60 simulated seconds with faults, and then at peace. A
seed in a hundred runs once more in another process, which hashes differently, and must leave the
same trace.
"""

from __future__ import annotations

import gc
import os
import sys
from collections import deque
from concurrent.futures import Future, ProcessPoolExecutor
from multiprocessing import get_context
from typing import Final

from tests.proof.outcome import Budget, Options, Outcome, run
from trioetcd.testing.scenario import draw
from trioetcd.testing.simulate import run as simulate
from trioetcd.testing.simulator import Report

__all__ = ["prove"]

SECONDS: Final = 60.0
TWICE_ONE_IN: Final = 100
WAITING_PER_CORE: Final = 2
"""Seeds begun ahead, so that no core waits for a slow one."""


def cycle(seed: int) -> tuple[Report, str]:
    """Run one seed; gives what came of it, and for a violation the text that tells of it."""
    told = simulate(draw(seed, seconds=SECONDS))
    gc.collect()
    return told


def judge(outcome: Outcome, seed: int, report: Report) -> None:
    """Add what came of one seed to the outcome."""
    outcome.done += 1
    outcome.last_seed = max(seed, outcome.last_seed)
    outcome.count("simulated seconds", round(report.simulated))
    outcome.count("answers", sum(report.operations.values()))
    outcome.count("faults", sum(report.faults.values()))
    outcome.count("terms", report.terms)
    if report.violation is not None:
        outcome.violated(seed, report.violation)


def prove(options: Options, outcome: Outcome) -> None:
    """Run seeds on all cores until they are done or the time is up."""
    cores = os.cpu_count() or 1
    budget = Budget(options)
    spawn = get_context("spawn")
    with ProcessPoolExecutor(cores, spawn) as pool, ProcessPoolExecutor(1, spawn) as other:
        waiting: deque[tuple[int, Future[tuple[Report, str]], Future[tuple[Report, str]] | None]]
        waiting = deque()

        def take() -> None:
            seed, first, second = waiting.popleft()
            report, text = first.result()
            judge(outcome, seed, report)
            if text:
                print(text, flush=True)
            if second is not None and second.result()[0].digest != report.digest:
                outcome.violated(seed, "two processes ran it differently")

        for seed in range(options.seed, options.seed + options.cycles):
            if budget.spent():
                break
            twice = seed % TWICE_ONE_IN == 0
            again = other.submit(cycle, seed) if twice else None
            waiting.append((seed, pool.submit(cycle, seed), again))
            if len(waiting) >= cores * WAITING_PER_CORE:
                take()
        while waiting:
            take()


def main() -> int:
    """Run from the command line; give the exit code."""
    return run(
        "simulate",
        prove,
        cycles=300,
        description="Run seeds of the simulator, each 60 simulated seconds with faults.",
    )


if __name__ == "__main__":
    sys.exit(main())

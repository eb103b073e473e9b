"""``python -m trioetcd.testing.simulate``: run seeds, one line each; exit code 1 if one breaks.

On a broken promise it tells which, the last events, and the command that shows it again.
"""

from __future__ import annotations

import gc
import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from time import perf_counter
from typing import TextIO

from trioetcd.testing.scenario import FAULTS, Scenario, draw, load_regression
from trioetcd.testing.simulator import Report, Simulator

__all__ = ["main", "run"]

LAST_EVENTS = 40


def run(scenario: Scenario, *, file: TextIO | None = None) -> tuple[Report, str]:
    """Run a scenario.

    Args:
        scenario: what to run.
        file: where the trace goes, if anywhere.

    Returns:
        What came of it, and for a violation the text that tells of it.
    """
    simulator = Simulator(scenario, file=file)
    # A run makes no cycles worth looking for while it lasts.
    gc.disable()
    try:
        report = simulator.run()
    finally:
        gc.enable()
    if report.violation is None:
        return report, ""
    recent = list(simulator.trace.recent)[-LAST_EVENTS:]
    lines = [f"{now / 1e6:12.6f} {name} {facts}"[:300] for now, name, facts in recent]
    return report, "\n".join(
        [f"VIOLATION: {report.violation}", "the last events:", *lines, scenario.describe()]
    )


def summary(report: Report, seconds: float) -> str:
    """Give the one line of a run."""
    done = report.operations
    faults = ",".join(f"{name}:{count}" for name, count in sorted(report.faults.items()))
    return (
        f"seed {report.scenario.seed}"
        f" {'VIOLATION' if report.violation else 'ok'}"
        f" ops {done['done']}/{sum(done.values())} unknown {done['unknown']}"
        f" entries {report.entries} revision {report.revision} terms {report.terms}"
        f" struck {faults or '-'} simulated {report.simulated:.1f}s took {seconds:.2f}s"
        f" trace {report.digest[:16]} | {report.scenario.describe()}"
    )


def _arguments(arguments: Sequence[str] | None) -> Namespace:
    parser = ArgumentParser(prog="python -m trioetcd.testing.simulate", description=__doc__)
    parser.add_argument("--seed", type=int, help="one seed")
    parser.add_argument("--seeds", help="a range of seeds, as 1-300")
    parser.add_argument("--regression", type=Path, help="a regression file to replay")
    parser.add_argument("--seconds", type=float, default=60.0, help="simulated, per seed")
    parser.add_argument("--members", type=int, help="voters, instead of the number drawn")
    parser.add_argument("--trace", type=Path, help="write every event to this file")
    parser.add_argument("--without", nargs="*", default=[], choices=FAULTS, metavar="FAULT")
    parser.add_argument("--jobs", type=int, default=1, help="seeds run at the same time")
    parser.add_argument("--keep-going", action="store_true", help="after a violation")
    parser.add_argument("--quiet", action="store_true", help="only violations and the sum")
    return parser.parse_args(arguments)


def _scenarios(options: Namespace) -> list[Scenario]:
    if options.regression is not None:
        return [load_regression(options.regression).scenario()]
    if options.seeds is not None:
        first, _, last = options.seeds.partition("-")
        seeds = range(int(first), int(last or first) + 1)
    else:
        seeds = range(options.seed or 0, (options.seed or 0) + 1)
    without = tuple(options.without)
    return [
        draw(seed, seconds=options.seconds, without=without, members=options.members)
        for seed in seeds
    ]


def replay(scenario: Scenario, options: Namespace) -> str:
    """Give the command that runs a scenario again."""
    command = f"python -m trioetcd.testing.simulate --seed {scenario.seed}"
    command += f" --seconds {scenario.seconds:g}"
    if options.members is not None:
        command += f" --members {options.members}"
    if options.without:
        command += f" --without {' '.join(options.without)}"
    return command


def _told(options: Namespace, scenario: Scenario) -> tuple[float, bool, str]:
    """Run a scenario; give its simulated seconds, whether it broke, and what is to be said."""
    start = perf_counter()
    if options.trace is not None:
        with options.trace.open("w") as file:
            report, text = run(scenario, file=file)
    else:
        report, text = run(scenario)
    said = ""
    if text or not options.quiet:
        said = summary(report, perf_counter() - start) + "\n"
    if text:
        said += f"{text}\nagain: {replay(scenario, options)}\n"
    gc.collect()
    return report.simulated, bool(text), said


def _run_all(options: Namespace, scenarios: list[Scenario]) -> Iterator[tuple[float, bool, str]]:
    """Run scenarios, several at a time if told so; gives what came of them in their order."""
    told = partial(_told, options)
    if options.jobs == 1:
        yield from map(told, scenarios)
        return
    with ProcessPoolExecutor(options.jobs, get_context("spawn")) as pool:
        try:
            yield from pool.map(told, scenarios)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run what the command line asks for; give the exit code."""
    options = _arguments(arguments)
    write = sys.stdout.write
    broken = 0
    simulated = 0.0
    began = perf_counter()
    scenarios = _scenarios(options)
    for seconds, is_broken, said in _run_all(options, scenarios):
        simulated += seconds
        broken += is_broken
        write(said)
        sys.stdout.flush()
        if is_broken and not options.keep_going:
            break
    took = perf_counter() - began
    write(
        f"{len(scenarios)} seeds, {broken} violations, {simulated:.0f} simulated seconds"
        f" in {took:.1f} s: {simulated / took:.0f} a second\n"
    )
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())

"""The differential test as a command: `python -m tests.differential.run --steps 10000`.

Sequences of steps, each against a fresh pair of clusters, from one seed that is printed. The
first difference that docs/divergences.md does not list ends the run with exit code 1 and the
shortest sequence of steps that was found to show it, which is also kept in a file: `--replay`
sends that one again. `--members 3` compares clusters of three.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from tests.differential import steps as sequences
from tests.differential.campaign import Campaign, generated, shrink
from tests.differential.clusters import campaign
from tests.differential.steps import Step, describe


@dataclass(frozen=True, slots=True)
class Stage:
    """Between whom sequences are compared.

    Attributes:
        members: how many members each side has.
        against_itself: whether a second etcd stands in the place of trioetcd.
    """

    members: int = 1
    against_itself: bool = False

    def _run(self, make: Callable[[Campaign], Iterable[Step]]) -> Campaign:
        with tempfile.TemporaryDirectory() as directory:
            where = Path(directory)
            itself = self.against_itself
            with campaign(where, members=self.members, against_itself=itself) as run:
                run.run(make(run))
            return run

    def generated(self, seed: int, count: int) -> Campaign:
        """Run one sequence of generated steps against a fresh pair; give the finished campaign."""
        return self._run(lambda run: generated(run, seed, count))

    def replayed(self, steps: list[Step]) -> Campaign:
        """Run given steps against a fresh pair."""
        return self._run(lambda _: steps)

    def shrunk(self, run: Campaign, *, seconds: float) -> list[Step]:
        """Give the shortest sequence found in so many seconds that still differs in this way."""
        wanted = run.shape()
        return shrink(run.sent, lambda some: self.replayed(some).shape() >= wanted, seconds=seconds)


def _replay(stage: Stage, path: Path, seconds: float) -> int:
    run = stage.replayed(sequences.load(path))
    for finding in run.findings:
        print(finding)
    if run.findings and seconds:
        _show_shortest(stage, run, seconds)
    print(f"{len(run.sent)} steps, {len(run.findings)} differ")
    return 1 if run.findings else 0


def _show_shortest(stage: Stage, run: Campaign, seconds: float) -> None:
    steps = stage.shrunk(run, seconds=seconds)
    with tempfile.NamedTemporaryFile(prefix="differential-", suffix=".jsonl", delete=False) as file:
        path = Path(file.name)
    sequences.save(steps, path)
    print(f"shrunk to {len(steps)} steps:")
    for step in steps:
        print("   ", describe(step))
    print(f"python -m tests.differential.run --members {stage.members} --replay {path}")
    for finding in stage.replayed(steps).findings:
        print(finding)


def main() -> int:
    """Run as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--sequence", type=int, default=500, help="steps per pair of clusters")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--members", type=int, choices=(1, 3), default=1)
    parser.add_argument("--shrink-seconds", type=float, default=300.0)
    parser.add_argument("--against-itself", action="store_true", help="etcd against etcd")
    parser.add_argument("--keep-going", action="store_true", help="list findings, do not shrink")
    parser.add_argument("--replay", type=Path, help="send the sequence of a file instead")
    options = parser.parse_args()
    stage = Stage(options.members, options.against_itself)
    if options.replay:
        return _replay(stage, options.replay, options.shrink_seconds)
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    done = allowed = failed = fragments = 0
    while done < options.steps:
        count = min(options.sequence, options.steps - done)
        seed = options.seed + done
        run = stage.generated(seed, count)
        done += count
        allowed += len(run.allowed)
        fragments += run.reference.fragments
        if run.findings:
            failed += 1
            at = f"--members {stage.members} --seed {seed} --steps {count} --sequence {count}"
            print(f"sequence with {at} differs at")
            for finding in run.findings:
                print(finding, flush=True)
            if not options.keep_going:
                _show_shortest(stage, run, options.shrink_seconds)
                return 1
        print(f"{done} steps, {time.monotonic() - began:.0f} s", flush=True)
    print(
        f"{done} steps, {failed} sequences with differences, "
        f"{allowed} allowed differences, {fragments} fragments"
    )
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

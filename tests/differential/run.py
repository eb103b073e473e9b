"""The differential test as a command: `python -m tests.differential.run --steps 10000`.

Sequences of steps, each against a fresh pair of servers, from one seed that is printed. The
first difference that docs/divergences.md does not list ends the run with exit code 1 and the
shortest sequence of steps that was found to show it.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from tests.differential.campaign import Campaign, describe, generated, shrink
from tests.differential.comparison import load_divergences
from tests.differential.generator import Step
from tests.differential.servers import Side
from trioetcd.testing.cluster import running_etcd, running_member


@contextlib.contextmanager
def campaign(directory: Path, *, against_itself: bool = False) -> Iterator[Campaign]:
    """Start both servers; `against_itself` puts a second etcd in the place of trioetcd."""
    starter = running_etcd if against_itself else running_member
    with (
        running_etcd(directory / "reference") as reference_server,
        starter(directory / "subject") as subject_server,
        contextlib.closing(Side(reference_server)) as reference,
        contextlib.closing(Side(subject_server)) as subject,
    ):
        allowed = [] if against_itself else load_divergences()
        yield Campaign(reference, subject, allowed)


def run_sequence(seed: int, count: int, *, against_itself: bool = False) -> Campaign:
    """Run one sequence of generated steps against a fresh pair; give the finished campaign."""
    with tempfile.TemporaryDirectory() as directory:
        with campaign(Path(directory), against_itself=against_itself) as run:
            run.run(generated(run, seed, count))
        return run


def replay(steps: list[Step], *, against_itself: bool = False) -> Campaign:
    """Run given steps against a fresh pair."""
    with tempfile.TemporaryDirectory() as directory:
        with campaign(Path(directory), against_itself=against_itself) as run:
            run.run(steps)
        return run


def main() -> int:
    """Run as asked on the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=10_000)
    parser.add_argument("--sequence", type=int, default=500, help="steps per pair of servers")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().getrandbits(32))
    parser.add_argument("--shrink-seconds", type=float, default=60.0)
    parser.add_argument("--against-itself", action="store_true", help="etcd against etcd")
    parser.add_argument("--keep-going", action="store_true", help="list findings, do not shrink")
    options = parser.parse_args()
    print(f"seed {options.seed}", flush=True)
    began = time.monotonic()
    done = allowed = failed = 0
    while done < options.steps:
        count = min(options.sequence, options.steps - done)
        seed = options.seed + done
        run = run_sequence(seed, count, against_itself=options.against_itself)
        done += count
        allowed += len(run.allowed)
        if run.findings:
            failed += 1
            print(f"sequence with --seed {seed} --steps {count} differs at")
            for finding in run.findings:
                print(finding)
            if options.keep_going:
                continue
            steps = shrink(
                run.sent,
                lambda steps: bool(replay(steps, against_itself=options.against_itself).findings),
                seconds=options.shrink_seconds,
            )
            print(f"shrunk to {len(steps)} steps:")
            for step in steps:
                print("   ", describe(step))
            for finding in replay(steps, against_itself=options.against_itself).findings:
                print(finding)
            return 1
        print(f"{done} steps, {time.monotonic() - began:.0f} s", flush=True)
    print(f"{done} steps, {failed} sequences with differences, {allowed} allowed differences")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())

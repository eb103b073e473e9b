"""What a proof prints and returns: the same few words for all, so that proof.py can add them up.

The last line a proof prints is one JSON object. Exit codes: 0 all well, 1 a violation was found,
77 the machine lacks something, which the sentence on stderr names.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field

__all__ = ["EXIT_MISSING", "EXIT_VIOLATION", "MissingMeansError", "Options", "Outcome", "run"]

EXIT_VIOLATION = 1
EXIT_MISSING = 77
SEEDS = 2**32
VIOLATIONS_KEPT = 20


class MissingMeansError(Exception):
    """This machine cannot run the proof; the message names what is missing."""


@dataclass(frozen=True, slots=True)
class Options:
    """What every proof can be told.

    Attributes:
        seed: the seed of the first cycle; cycle i runs with seed + i, alone and replayable.
        cycles: how many to do at most.
        seconds: stop beginning new cycles after so long.
        target: `trioetcd`, or the path of an etcd binary: the control.
        only: name of the one case to run, where a proof has named cases.
        numbers: what else this proof can be told.
    """

    seed: int
    cycles: int
    seconds: float
    target: str
    only: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


@dataclass(slots=True)
class Outcome:
    """What a proof has done.

    Attributes:
        proof: its name.
        done: cycles finished.
        first_seed: the seed of the first.
        last_seed: the seed of the last.
        violations: one sentence each, with its seed; empty is what is wanted.
        figures: whatever else was counted.
        notes: what was seen on the way that is no violation.
    """

    proof: str
    first_seed: int
    done: int = 0
    last_seed: int = 0
    violations: list[str] = field(default_factory=list)
    figures: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)

    def violated(self, seed: int, sentence: str) -> None:
        """Note a violation and say it at once."""
        if len(self.violations) < VIOLATIONS_KEPT:
            self.violations.append(f"seed {seed}: {sentence}")
        self.count("violations")
        print(f"VIOLATION {self.proof} seed {seed}: {sentence}", flush=True)

    def count(self, name: str, amount: float = 1) -> None:
        """Add to a figure."""
        self.figures[name] = self.figures.get(name, 0) + amount

    def peak(self, name: str, value: float) -> None:
        """Keep the largest of a figure."""
        self.figures[name] = max(self.figures.get(name, value), value)

    def note(self, sentence: str) -> None:
        """Keep a sentence once."""
        if sentence not in self.notes:
            self.notes.append(sentence)


def run(
    name: str,
    prove: Callable[[Options, Outcome], None],
    *,
    cycles: int,
    description: str,
    seconds: float = 3600,
    numbers: Mapping[str, tuple[float, str]] | None = None,
    argv: list[str] | None = None,
) -> int:
    """Parse the options, run a proof, print its outcome, give the exit code.

    Args:
        name: the proof's name, as in the track record.
        prove: does the cycles, filling in the outcome.
        cycles: how many when not told.
        description: one sentence for `--help`.
        seconds: for how long when not told.
        numbers: more options, each with its default and what it means.
        argv: the arguments, by default those of the process.
    """
    parser = argparse.ArgumentParser(prog=f"python -m tests.proof.{name}", description=description)
    parser.add_argument("--seed", type=int, help="seed of the first cycle (default: random)")
    parser.add_argument(
        "--cycles", type=int, default=cycles, help="how many (default: %(default)s)"
    )
    parser.add_argument(
        "--seconds", type=float, default=seconds, help="begin no cycle after so long"
    )
    parser.add_argument("--target", default="trioetcd", help="trioetcd, or an etcd binary's path")
    parser.add_argument("--only", default="", help="run only the case of this name")
    more = numbers or {}
    for option, (default, meaning) in more.items():
        parser.add_argument(f"--{option}", type=float, default=default, help=meaning)
    arguments = parser.parse_args(argv)
    seed = random.SystemRandom().randrange(SEEDS) if arguments.seed is None else arguments.seed
    options = Options(
        seed=seed,
        cycles=arguments.cycles,
        seconds=arguments.seconds,
        target=arguments.target,
        only=arguments.only,
        numbers={option: getattr(arguments, option) for option in more},
    )
    print(f"{name}: seed {seed}, target {options.target}", flush=True)
    outcome = Outcome(proof=name, first_seed=seed, last_seed=seed)
    began = time.monotonic()
    try:
        prove(options, outcome)
    except MissingMeansError as missing:
        print(f"{name}: cannot run here: {missing}", file=sys.stderr)
        return EXIT_MISSING
    outcome.figures["seconds"] = round(time.monotonic() - began, 1)
    print(json.dumps(asdict(outcome)))
    return EXIT_VIOLATION if outcome.violations else 0


class Budget:
    """Says when no further cycle should begin."""

    def __init__(self, options: Options) -> None:
        self._end = time.monotonic() + options.seconds

    def spent(self) -> bool:
        """Tell whether the time is up."""
        return time.monotonic() >= self._end

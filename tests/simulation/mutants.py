"""Planted bugs: each is put into a copy of the package, and some seed must find it.

A mutant is a TOML file in `mutants/`: why it matters (a row of the regression list), the file, the
text as it is and as it is with the bug, and the seed that finds it. The text must be there exactly
once, so that a mutant that no longer applies is noticed.

    python -m tests.simulation.mutants                       # replay all recorded seeds
    python -m tests.simulation.mutants --find [NAME ...] --seeds 1-1000
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from argparse import ArgumentParser
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

ROOT = Path(__file__).parents[2]
FOLDER = Path(__file__).parent / "mutants"


@dataclass(frozen=True, slots=True)
class Mutant:
    """One planted bug.

    Attributes:
        name: the file's name.
        why: what goes wrong, and where it went wrong before.
        file: the module, from the package's folder on.
        before, after: its text.
        seed: a seed that finds it; None before one is known.
        options: further options of `trioetcd.testing.simulate`.
    """

    name: str
    why: str
    file: str
    before: str
    after: str
    seed: int | None = None
    options: tuple[str, ...] = ()


def load() -> list[Mutant]:
    """Read all mutants."""
    found = []
    for path in sorted(FOLDER.glob("*.toml")):
        table = tomllib.loads(path.read_text())
        table["options"] = tuple(table.get("options", ()))
        found.append(Mutant(name=path.stem, **table))
    return found


@contextmanager
def planted(mutant: Mutant) -> Iterator[Path]:
    """Give a folder with a copy of the package that has the bug."""
    with TemporaryDirectory() as folder:
        copy = Path(folder)
        shutil.copytree(
            ROOT / "trioetcd", copy / "trioetcd", ignore=shutil.ignore_patterns("__pycache__")
        )
        path = copy / "trioetcd" / mutant.file
        text = path.read_text()
        if text.count(mutant.before) != 1:
            raise LookupError(f"{mutant.name}: its text is not once in {mutant.file}")
        path.write_text(text.replace(mutant.before, mutant.after))
        yield copy


def simulate(folder: Path, *arguments: str, timeout: float = 600.0) -> tuple[int, str]:
    """Run the simulator of a copy; give its exit code and what it printed."""
    done = subprocess.run(
        [sys.executable, "-m", "trioetcd.testing.simulate", *arguments],
        cwd=folder,
        env=os.environ | {"PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        check=False,
        timeout=timeout,
    )
    if done.stderr or done.returncode not in {0, 1}:
        raise RuntimeError(done.stderr)
    return done.returncode, done.stdout


def replay(mutant: Mutant, others: Iterable[int] = ()) -> tuple[int, str] | None:
    """Run a mutant's seed; when it finds nothing, because the code has moved on, then others.

    Returns:
        The seed that finds it and the violation; None if none does.
    """
    own = mutant.seed
    with planted(mutant) as folder:
        for seed in dict.fromkeys([*([] if own is None else [own]), *others]):
            code, text = simulate(folder, "--seed", str(seed), *mutant.options)
            if code:
                return seed, _violation(text)
    return None


def recorded() -> list[int]:
    """Give the seeds that find a mutant, each once."""
    return sorted({mutant.seed for mutant in load() if mutant.seed is not None})


def find(mutant: Mutant, seeds: str) -> tuple[int, str] | None:
    """Look for a seed that finds a mutant; give it with the violation."""
    jobs = str(os.cpu_count() or 1)
    with planted(mutant) as folder:
        code, text = simulate(
            folder, "--seeds", seeds, "--quiet", "--jobs", jobs, *mutant.options, timeout=7200.0
        )
    found = re.search(r"^seed (\d+) VIOLATION", text, re.MULTILINE)
    if not code or found is None:
        return None
    return int(found[1]), _violation(text)


def _violation(text: str) -> str:
    found = re.search(r"^VIOLATION: (.*)$", text, re.MULTILINE)
    assert found is not None
    return found[1]


def main() -> int:
    """Replay or look for seeds; exit code 1 if a mutant survives."""
    parser = ArgumentParser(description=__doc__)
    parser.add_argument("--find", nargs="*", metavar="NAME", help="all without a name")
    parser.add_argument("--seeds", default="1-1000")
    options = parser.parse_args()
    survivors = 0
    for mutant in load():
        if options.find is None:
            found = replay(mutant)
            print(f"{mutant.name}: seed {mutant.seed}: {found or 'SURVIVES'}", flush=True)
            survivors += found is None
            continue
        if options.find and mutant.name not in options.find:
            continue
        found = find(mutant, options.seeds)
        print(f"{mutant.name}: {found or 'SURVIVES'}", flush=True)
        survivors += found is None
        if found is not None:
            path = FOLDER / f"{mutant.name}.toml"
            kept = re.sub(r"^seed = .*\n", "", path.read_text(), flags=re.MULTILINE)
            path.write_text(f"seed = {found[0]}\n{kept}")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

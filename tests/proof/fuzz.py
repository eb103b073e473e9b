"""Coverage-guided fuzzing of every parser of what strangers send, resumable.

The corpora stay in build/fuzz and grow; an input that got through a parser's defences is kept
beside them and replayed by `python -m tests.proof.fuzz_target NAME FILE`.

Usage: python -m tests.proof.fuzz [--only TARGET] [--seconds 1200] [--seed N]
"""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
from pathlib import Path
from typing import Final

from tests.proof.outcome import MissingMeansError, Options, Outcome, run

ROOT: Final = Path(__file__).resolve().parents[2]
CORPORA: Final = ROOT / "build" / "fuzz"
NAMES: Final = (
    "frames", "grpc", "header-block", "header-in-frame", "http1", "peer", "config", "arguments",
    "json",
)  # fmt: skip
EXECUTED: Final = re.compile(r"stat::number_of_executed_units:\s*(\d+)")
SEED_MAX: Final = 2**31
UNBOUNDED: Final = 2**31 - 1


def prove(options: Options, outcome: Outcome) -> None:
    """Give each target its share of the time, or of the executions, whichever ends first."""
    if importlib.util.find_spec("atheris") is None:
        raise MissingMeansError("the package atheris (the test extra holds it)")
    names = [name for name in NAMES if options.only in {"", name}]
    share = max(1, int(options.seconds / len(names)))
    for name in names:
        executed = fuzz(name, share, options, outcome)
        outcome.count(name, executed)
        outcome.done += executed


def fuzz(name: str, seconds: int, options: Options, outcome: Outcome) -> int:
    """Fuzz one target; give the number of executions."""
    corpus = CORPORA / name
    corpus.mkdir(parents=True, exist_ok=True)
    if not any(corpus.iterdir()):
        _plant(name, corpus)
    command = [
        sys.executable, "-m", "tests.proof.fuzz_target", name,
        f"-max_total_time={seconds}",
        f"-runs={options.cycles if options.cycles < UNBOUNDED else -1}",
        f"-seed={options.seed % SEED_MAX or 1}",
        f"-artifact_prefix={CORPORA}/{name}-",
        "-print_final_stats=1", "-timeout=10", "-rss_limit_mb=2048", "-max_len=4096",
        str(corpus),
    ]  # fmt: skip
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    count = EXECUTED.search(done.stderr)
    if done.returncode != 0:
        said = [
            line for line in done.stderr.splitlines()
            if "Error" in line or "artifact" in line or "assert" in line or 'File "' in line
        ]  # fmt: skip
        outcome.violated(options.seed, f"{name}: {' | '.join(said[-6:]) or done.stderr[-400:]}")
    return int(count[1]) if count else 0


def _plant(name: str, corpus: Path) -> None:
    script = (
        "import sys, pathlib; from tests.proof.fuzz_target import SEEDS\n"
        "for i, data in enumerate(SEEDS[sys.argv[1]]):\n"
        "    pathlib.Path(sys.argv[2], f'seed-{i}').write_bytes(data)\n"
    )
    command = [sys.executable, "-c", script, name, str(corpus)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True)


def main() -> int:
    """Run the proof from the command line."""
    return run("fuzz", prove, cycles=UNBOUNDED, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())

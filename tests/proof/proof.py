"""Runs all proofs for a given time and adds what was done to docs/track-record.md.

    python -m tests.proof.proof --budget 60m [--only kill]

Each proof goes on with the seeds after those it has done, so that runs add up: the table's counts
only ever grow, and every seed named there can be replayed by `--seed`.
"""

from __future__ import annotations

import argparse
import dataclasses
import datetime as dt
import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tests.proof.outcome import EXIT_MISSING, EXIT_VIOLATION, SEEDS

__all__ = ["Row", "budget_seconds", "read_table", "write_table"]

ROOT: Final = Path(__file__).resolve().parents[2]
RECORD: Final = ROOT / "docs" / "track-record.md"
BEGIN: Final = "<!-- proof table: written by tests/proof/proof.py -->"
END: Final = "<!-- end of the proof table -->"
SHARES: Final = {
    "simulate": (0.15, "seeds of the simulator, 60 simulated seconds with faults each"),
    "kill": (0.12, "kill -9 at random moments under load"),
    "power": (0.12, "power cuts at random moments under load"),
    "cluster_kill": (0.08, "leaders of three killed under load"),
    "cluster_power": (0.06, "power cuts of three members at once, under load"),
    "chaos": (0.12, "level-3 runs: three members, a proxy, faults, judged histories"),
    "kube": (0.06, "runs of several apiservers with a cluster's traffic, leaders killed"),
    "catch_up": (0.02, "members that came back far behind, or with nothing"),
    "faulty_disk": (0.1, "EIO and ENOSPC at the Nth sync or write"),
    "sync_order": (0.03, "puts whose sync was seen before their answer"),
    "bitflip": (0.1, "single bits flipped in a data directory"),
    "abuse": (0.05, "HTTP/2 and TLS abuse cases"),
    "rotation": (
        0.05,
        "rotations of three members' certificates and CAs under load, no failed call",
    ),
    "nodes": (0.05, "runs of three whole nodes in mock time, with trouble"),
    "fuzz": (0.15, "inputs tried on the parsers"),
}
"""Per proof: its share of the budget, and what one unit of its count is."""
GRACE_SECONDS: Final = 300
UNIT: Final = {"s": 1, "m": 60, "h": 3600}


@dataclass(slots=True)
class Row:
    """One line of the table.

    Attributes:
        proof: its name.
        what: what is counted.
        done: how many in all.
        seeds: the range done last.
        next_seed: where the next run begins.
        violations: how many in all.
        date: of the last run.
    """

    proof: str
    what: str
    done: int = 0
    seeds: str = "none yet"
    next_seed: int = 1
    violations: int = 0
    date: str = "never"


def budget_seconds(text: str) -> float:
    """Read `90s`, `60m` or `2h`.

    Raises:
        ValueError: it is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)([smh])", text)
    if match is None:
        raise ValueError(f"a budget is a number with s, m or h, not {text!r}")
    return float(match[1]) * UNIT[match[2]]


def read_table(text: str) -> dict[str, Row]:
    """Read the rows between the markers."""
    rows = {name: Row(name, what) for name, (_, what) in SHARES.items()}
    table = text.partition(BEGIN)[2].partition(END)[0]
    for line in table.splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 7 and cells[0] in rows:
            rows[cells[0]] = Row(
                cells[0],
                rows[cells[0]].what,
                int(cells[2].replace(" ", "")),
                cells[3],
                int(cells[4]),
                int(cells[5]),
                cells[6],
            )
    return rows


def write_table(text: str, rows: dict[str, Row]) -> str:
    """Put the rows between the markers, leaving the rest as it is."""
    lines = [
        "| proof | what is counted | done | last seeds | next seed | violations | last run |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        "| " + " | ".join(str(cell) for cell in dataclasses.astuple(row)) + " |"
        for row in rows.values()
    ]
    before, _, rest = text.partition(BEGIN)
    after = rest.partition(END)[2]
    return f"{before}{BEGIN}\n" + "\n".join(lines) + f"\n{END}{after}"


def run_proof(row: Row, seconds: float) -> int:
    """Run one proof for so long, add its outcome to its row, give its exit code."""
    command = [
        sys.executable, "-m", f"tests.proof.{row.proof}",
        f"--seed={row.next_seed}", f"--seconds={seconds:.0f}", f"--cycles={2**31 - 1}",
    ]  # fmt: skip
    print(f"== {row.proof}: {seconds:.0f} s from seed {row.next_seed}", flush=True)
    try:
        done = subprocess.run(
            command, cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False,
            timeout=seconds + GRACE_SECONDS,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        print(f"{row.proof}: stuck, ended {GRACE_SECONDS} s after its time")
        row.violations += 1
        return EXIT_VIOLATION
    lines = done.stdout.strip().splitlines()
    print("\n".join(lines[1:-1]))
    if done.returncode not in {0, EXIT_VIOLATION}:
        if done.returncode != EXIT_MISSING:
            print(f"{row.proof}: broke down with exit code {done.returncode}")
        return done.returncode
    outcome = json.loads(lines[-1])
    print(f"   {outcome['done']} done, {len(outcome['violations'])} violations; "
          f"{json.dumps(outcome['figures'])}", flush=True)  # fmt: skip
    row.done += outcome["done"]
    row.seeds = f"{outcome['first_seed']} to {outcome['last_seed']}"
    row.next_seed = (outcome["last_seed"] + 1) % SEEDS
    row.violations += int(outcome["figures"].get("violations", 0))
    row.date = dt.datetime.now(dt.UTC).date().isoformat()
    return done.returncode


def main() -> int:
    """Divide the budget, run, record after each proof, so that an interruption loses little."""
    parser = argparse.ArgumentParser(prog="python -m tests.proof.proof")
    default = os.environ.get("BUDGET", "60m")
    parser.add_argument(
        "--budget", default=default, help="e.g. 90s, 60m, 2h (default: %(default)s)"
    )
    parser.add_argument("--only", action="append", default=[], choices=[*SHARES])
    options = parser.parse_args()
    names = options.only or [*SHARES]
    whole = sum(SHARES[name][0] for name in names)
    seconds = budget_seconds(options.budget)
    codes = {}
    for name in names:
        rows = read_table(RECORD.read_text())
        codes[name] = run_proof(rows[name], seconds * SHARES[name][0] / whole)
        RECORD.write_text(write_table(RECORD.read_text(), rows))
    for name, code in codes.items():
        if code:
            reason = "cannot run on this machine" if code == EXIT_MISSING else "FAILED"
            print(f"{name}: {reason} (exit code {code})")
    return max((1 for code in codes.values() if code), default=0)


if __name__ == "__main__":
    sys.exit(main())

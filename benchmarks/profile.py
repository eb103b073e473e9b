"""Where the time of a member goes under load: a table by function, for docs/performance.md.

    python -m benchmarks.profile [--seconds 10] [--mode put] [--clients 100] [--with cprofile]

With py-spy (`pip install py-spy`) a running member is sampled and not slowed down; only samples
that hold the GIL count. Without it the member is run under cProfile, which makes small functions
look dearer than they are: good for ranking, not for microseconds.
"""

from __future__ import annotations

import argparse
import pstats
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

from benchmarks.loadgen import LoadError, Report, load
from tests.proof.member import Member

ROWS = 40
UNDER_CPROFILE = """
import cProfile, runpy, sys, threading
profile = cProfile.Profile()
output, sys.argv = sys.argv[1], ["trioetcd", *sys.argv[2:]]
profile.enable()
try:
    runpy.run_module("trioetcd", run_name="__main__", alter_sys=False)
finally:
    profile.disable()
    profile.dump_stats(output)
"""


def drive(member: Member, options: argparse.Namespace) -> Report:
    """Put the member under the chosen load."""
    return load(
        member,
        options.mode,
        seconds=options.seconds,
        clients=options.clients,
        conns=10,
        keys=10_000,
    )


def sample(options: argparse.Namespace, directory: Path) -> None:
    """Sample a member with py-spy and print its functions by their own time."""
    spy = shutil.which("py-spy") or str(Path(sys.executable).parent / "py-spy")
    member = Member("trioetcd", directory)
    raw = directory / "samples"
    try:
        member.start()
        recorder = subprocess.Popen(
            [
                spy,
                "record",
                "--gil",
                "--format",
                "raw",
                "--rate",
                "500",
                "--nonblocking",
                "--duration",
                str(int(options.seconds)),
                "--pid",
                str(member.pid),
                "--output",
                str(raw),
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
        report = drive(member, options)
        _, said = recorder.communicate(timeout=60)
    finally:
        member.kill()
    if not raw.exists():
        raise LoadError(f"py-spy: {said.decode('utf-8', 'replace').strip()}")
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for line in raw.read_text().splitlines():
        stack, _, count = line.rpartition(" ")
        functions = [_function(place) for place in stack.split(";")]
        own[functions[-1]] += int(count)
        for function in set(functions):
            within[function] += int(count)
    total = sum(own.values())
    print(f"{report['rate']:,.0f} {options.mode}/s; {total} samples that held the GIL")
    print("\n| function | own % | with callees % | own µs per call |\n|---|---|---|---|")
    busy = total / 500 / options.seconds
    for function, samples in own.most_common(ROWS):
        share = samples / total
        micro = share * busy / report["rate"] * 1e6
        print(f"| {function} | {share:.1%} | {within[function] / total:.1%} | {micro:.2f} |")
    print(f"\nin all {busy / report['rate'] * 1e6:.1f} µs of Python per call, {busy:.0%} of a core")


def _function(place: str) -> str:
    """Shorten `name (path/file.py:line)` to file and name."""
    name, _, where = place.partition(" (")
    path = where.rpartition(":")[0] or where.rstrip(")")
    return f"{'/'.join(Path(path).parts[-2:])} {name}"


def profile(options: argparse.Namespace, directory: Path) -> None:
    """Run a member under cProfile and print its functions by their own time."""
    output = directory / "profile"
    script = directory / "under_cprofile.py"
    script.write_text(UNDER_CPROFILE)
    member = Member("trioetcd", directory, command=[sys.executable, str(script), str(output)])
    try:
        member.start()
        report = drive(member, options)
        assert member.process is not None
        member.process.send_signal(signal.SIGTERM)
        member.process.wait(30)
    finally:
        member.kill()
    print(f"{report['rate']:,.0f} {options.mode}/s under cProfile, which slows it down")
    pstats.Stats(str(output)).strip_dirs().sort_stats("tottime").print_stats(ROWS)


def main() -> int:
    """Profile from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.profile")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--mode", default="put", choices=["put", "range", "txn-put"])
    parser.add_argument("--clients", type=int, default=100)
    parser.add_argument("--with", dest="tool", choices=["py-spy", "cprofile"], default="")
    options = parser.parse_args()
    beside = Path(sys.executable).parent / "py-spy"
    spied = shutil.which("py-spy") is not None or beside.exists()
    tool = options.tool or ("py-spy" if spied else "cprofile")
    with tempfile.TemporaryDirectory(prefix="trioetcd-profile-") as directory:
        try:
            (sample if tool == "py-spy" else profile)(options, Path(directory))
        except LoadError as error:
            print(f"profile: {error}", file=sys.stderr)
            return 77
    return 0


if __name__ == "__main__":
    sys.exit(main())

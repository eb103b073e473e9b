"""Builds and runs the load generator in benchmarks/load, a Go program; nothing else needs Go."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Final, Protocol, TypedDict

__all__ = ["BUILD", "LoadError", "Report", "Target", "build", "load"]

ROOT: Final = Path(__file__).resolve().parent.parent
BUILD: Final = ROOT / "build"
BINARY: Final = BUILD / "bin" / "load"
SOURCE: Final = Path(__file__).resolve().parent / "load"


class LoadError(Exception):
    """The load generator cannot be built, or did not get through."""


class Target(Protocol):
    """Who is under load: one member, or several behind as many endpoints."""

    @property
    def endpoint(self) -> str:
        """The client URLs, with commas between."""

    @property
    def ca(self) -> Path:
        """Who signed the members' certificates."""

    @property
    def cert(self) -> Path:
        """The client's certificate."""

    @property
    def key(self) -> Path:
        """Its key."""


class Report(TypedDict, total=False):
    """What the load generator measured (see benchmarks/load/main.go)."""

    mode: str
    count: int
    errors: int
    error: str
    seconds: float
    rate: float
    latency_us: dict[str, float]
    pause_ms_max: int
    per_second: list[int]
    events: int
    puts: int
    bytes_each: float
    disturbed: int


def build() -> Path:
    """Build the load generator if its sources are newer than its binary.

    Raises:
        LoadError: Go is missing, or the build failed.
    """
    newest = max(file.stat().st_mtime for file in SOURCE.iterdir())
    if BINARY.exists() and BINARY.stat().st_mtime >= newest:
        return BINARY
    go = shutil.which("go")
    if go is None:
        raise LoadError(
            "the load generator is a Go program and Go is not installed: get Go 1.24 or newer "
            "(https://go.dev/dl/) and its `go` into PATH; nothing but the bench needs it"
        )
    BINARY.parent.mkdir(parents=True, exist_ok=True)
    print("building the load generator (the first time takes a minute)", flush=True)
    done = subprocess.run(
        [go, "build", "-o", str(BINARY), "."],
        cwd=SOURCE,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise LoadError(f"go build failed: {done.stderr.strip()}")
    return BINARY


def load(target: Target, mode: str, *, patience: float = 600, **options: object) -> Report:
    """Run the load generator against members and give its report.

    Args:
        target: a running member or cluster.
        mode: the generator's mode.
        patience: seconds after which it is given up.
        options: the generator's flags, underscores for hyphens.

    Raises:
        LoadError: it failed.
    """
    command = [
        str(build()),
        f"-mode={mode}",
        f"-endpoint={target.endpoint}",
        f"-cacert={target.ca}",
        f"-cert={target.cert}",
        f"-key={target.key}",
    ]
    for name, value in options.items():
        text = str(value).lower() if isinstance(value, bool) else str(value)
        command.append(f"-{name.replace('_', '-')}={text}")
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, check=False, timeout=patience
        )
    except subprocess.TimeoutExpired as error:
        raise LoadError(f"{mode}: no result after {patience:.0f} s") from error
    if done.returncode != 0:
        raise LoadError(f"{mode}: {done.stderr.strip()}")
    report: Report = json.loads(done.stdout)
    if report["errors"]:
        raise LoadError(f"{mode}: {report['errors']} calls failed, e.g. {report.get('error')}")
    return report

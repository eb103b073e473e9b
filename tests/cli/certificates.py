"""Commands of `trioetcd certs` as tests run them, in this process and as a user does."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from trioetcd.cli.certs import certs

ROOT = Path(__file__).parents[2]


def run(*words: str | Path) -> int:
    """Run a command in this process; give its exit code."""
    return certs([str(word) for word in words])


def start(*words: str | Path, cwd: Path, **more: str) -> subprocess.CompletedProcess[str]:
    """Run a command as a process of its own."""
    return subprocess.run(
        [sys.executable, "-m", "trioetcd", "certs", *map(str, words)],
        cwd=cwd,
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **more},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def openssl(*words: str | Path, cwd: Path) -> subprocess.CompletedProcess[str]:
    """Ask openssl, which knows nothing of us."""
    return subprocess.run(
        ["openssl", *map(str, words)], cwd=cwd, capture_output=True, text=True, check=False
    )


def check_modes(directory: Path) -> None:
    """Check that nothing under a directory can be read by anybody but its owner."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            wanted = 0o700 if path.is_dir() else 0o600
            assert path.stat().st_mode & 0o777 == wanted, path

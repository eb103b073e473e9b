"""Every example runs, against a member, exactly as its docstring says."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from trioetcd.testing.cluster import ServerProcess

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(member: ServerProcess, name: str, *arguments: str) -> list[str]:
    """Run an example in the environment that `certs env` prints, and give its lines."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env=member.environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_put_get(member: ServerProcess) -> None:
    """examples/put_get.py writes, reads, changes, looks back, and deletes."""
    lines = run(member, "put_get.py")
    assert lines[1] == "examples/greeting = hello, version 1"
    assert lines[2] == "changed"
    assert lines[3].endswith("it was hello")
    revision_error = "etcdserver: mvcc: required revision is a future revision"
    assert lines[4] == f"OUT_OF_RANGE: {revision_error}"
    assert lines[5] == "deleted 1"


def test_watch(member: ServerProcess) -> None:
    """examples/watch.py sees its own writes, once and in order."""
    lines = [line.partition(": ")[2] for line in run(member, "watch.py", "watched/")]
    assert lines == [
        "created b'watched/started' = b'yes'",
        "created b'watched/number' = b'0'",
        "changed b'watched/number' = b'1'",
        "changed b'watched/number' = b'2'",
        "deleted b'watched/number'",
    ]


@pytest.mark.slow
def test_lease_keepalive(member: ServerProcess) -> None:
    """examples/lease_keepalive.py outlives its lease's time, and its key goes with it."""
    lines = run(member, "lease_keepalive.py")
    assert lines[0].endswith("for 2 s")
    assert lines[1].startswith("still ")
    assert lines[2:] == ["examples/presence/me: PUT", "examples/presence/me: DELETE"]


def test_examples_are_short() -> None:
    """An example has less than 100 lines and is run by a test of its own here."""
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert names
    for name in names:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 100
        assert f"test_{name}" in globals()

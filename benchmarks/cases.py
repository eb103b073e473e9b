"""What is measured: each case takes a freshly started member and gives named figures."""

from __future__ import annotations

import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Generic, Protocol, TypeVar

from benchmarks.loadgen import Report, Target, load
from benchmarks.stalls import longest_ms
from tests.proof.cluster import Cluster
from tests.proof.member import Member

__all__ = ["CASES", "Case", "Contender", "Figures", "Timed"]

Figures = dict[str, float]
KEYS: Final = 10_000
CONNECTIONS: Final = 10
SETTLE_SECONDS: Final = 3.0
MILLION: Final = 1_000_000
SCANNED: Final = "scanned/"
SCANNED_KEYS: Final = 17_000
"""With 256-byte values and what a KeyValue has besides, 5 MB."""
SIZES: Final = (100_000, 300_000, 1_000_000)


class Contender(Protocol):
    """What is measured: one member or several."""

    def start(self) -> object:
        """Run until it serves."""

    def kill(self) -> None:
        """End it at once."""


Who = TypeVar("Who", bound=Contender)


@dataclass(frozen=True, slots=True)
class Case(Generic[Who]):
    """One row of the bench.

    Attributes:
        name: as in the table.
        make: makes who is measured, of a target and a directory.
        measure: what to do with it for how many seconds.
        figure: the figure whose medians are compared.
        unit: its unit.
        more_is_better: how the ratio is to be read.
        once: takes long and is done once, whatever the number of runs.
        goal: what docs/performance.md promises about the ratio or the figure, in words.
    """

    name: str
    make: Callable[[str, Path], Who]
    measure: Callable[[Who, float], Figures]
    figure: str
    unit: str
    more_is_better: bool = True
    once: bool = False
    goal: str = ""

    def run(self, target: str, root: Path, seconds: float) -> Figures:
        """Measure once, from a fresh start in an empty directory to the end of everybody."""
        who = self.make(target, root)
        try:
            who.start()
            return self.measure(who, seconds)
        finally:
            who.kill()


def _figures(report: Report) -> Figures:
    figures: Figures = {"rate": report["rate"], "count": report["count"]}
    for name, value in report.get("latency_us", {}).items():
        figures[f"{name}_ms"] = value / 1000
    figures["pause_ms"] = report["pause_ms_max"]
    return figures


def _put(clients: int, connections: int) -> Callable[[Target, float], Figures]:
    def measure(target: Target, seconds: float) -> Figures:
        return _figures(
            load(
                target,
                "put",
                seconds=seconds,
                warmup=1,
                keys=KEYS,
                clients=clients,
                conns=connections,
            )
        )

    return measure


def _range(*, serializable: bool) -> Callable[[Target, float], Figures]:
    def measure(target: Target, seconds: float) -> Figures:
        load(target, "fill", keys=KEYS, clients=4, conns=1)
        return _figures(
            load(
                target,
                "range",
                seconds=seconds,
                warmup=1,
                keys=KEYS,
                clients=100,
                conns=CONNECTIONS,
                serializable=serializable,
            )
        )

    return measure


def _txn_put(member: Member, seconds: float) -> Figures:
    return _figures(
        load(
            member, "txn-put", seconds=seconds, warmup=1, keys=KEYS, clients=100, conns=CONNECTIONS
        )
    )


def _fanout(member: Member, seconds: float) -> Figures:
    report = load(
        member, "watch-fanout", seconds=seconds, warmup=1, watchers=1000, streams=10, conns=10,
        clients=8,
    )  # fmt: skip
    return {"rate": report["rate"], "puts": report["puts"] / report["seconds"]}


def _latency(rate: float) -> Callable[[Member, float], Figures]:
    def measure(member: Member, seconds: float) -> Figures:
        return _figures(load(member, "watch-latency", seconds=seconds, rate=rate))

    return measure


def _page(member: Member, seconds: float) -> Figures:
    load(member, "fill", keys=MILLION, clients=8, conns=4, patience=1800)
    time.sleep(SETTLE_SECONDS)
    report = load(member, "page", seconds=seconds, warmup=1, keys=MILLION, clients=1, conns=1)
    return _figures(report)


def _idle(member: Member, seconds: float) -> Figures:
    del seconds
    report = load(
        member, "idle", pid=member.pid, watchers=10_000, streams=100, conns=10,
        seconds=SETTLE_SECONDS,
    )  # fmt: skip
    return {"kib_each": report["bytes_each"] / 1024}


class Timed(Member):
    """A member whose rounds are timed, if it is trioetcd."""

    def __init__(self, target: str, root: Path) -> None:
        self.report = root / "stalls.json"
        command = (sys.executable, "-m", "benchmarks.stalls", str(self.report))
        super().__init__(target, root, command=command)


def _disturbed(
    disturbance: str, *, clients: int = 1, keys: int = SCANNED_KEYS, value_bytes: int = 256
) -> Callable[[Timed, float], Figures]:
    def measure(member: Timed, seconds: float) -> Figures:
        keys_and_values = {"keys": keys, "value_bytes": value_bytes, "clients": clients}
        load(member, "fill", prefix=SCANNED, conns=1, patience=1800, **keys_and_values)
        time.sleep(SETTLE_SECONDS)
        if not member.is_etcd:
            assert member.process is not None
            member.process.send_signal(signal.SIGUSR1)
        report = load(
            member, "watch-latency", seconds=seconds, rate=100, disturb=disturbance,
            scan_prefix=SCANNED, timeout=120, **keys_and_values,
        )  # fmt: skip
        figures = _figures(report)
        figures["disturbed"] = report.get("disturbed", 0)
        member.stop(60)
        if not member.is_etcd:
            figures["stall_ms"] = longest_ms(member.report)[0]["ms"]
        return figures

    return measure


def _million(member: Member, seconds: float) -> Figures:
    del seconds
    report = load(
        member, "put", total=MILLION, keys=MILLION, clients=100, conns=CONNECTIONS, patience=1800
    )
    figures = _figures(report)
    whole = report["per_second"][:-1]
    figures["slowest_second"] = min(whole, default=0)
    figures["last_tenth"] = sum(whole[-max(1, len(whole) // 10) :]) / max(1, len(whole) // 10)
    return figures


def memory(pid: int) -> Figures:
    """Read anonymous and resident memory of a process, in MB of a million bytes."""
    status = Path(f"/proc/{pid}/status").read_text()
    sizes = dict(line.split(":", 1) for line in status.splitlines())
    return {
        name: int(sizes[name].split()[0]) * 1024 / 1e6 for name in ("RssAnon", "VmRSS", "VmHWM")
    }


def _restart(member: Member) -> float:
    member.start(wait=False)
    return load(member, "first", since=member.started, seconds=60)["seconds"]


def _sized(keys: int) -> Callable[[Member, float], Figures]:
    def measure(member: Member, seconds: float) -> Figures:
        del seconds
        filled = load(member, "fill", keys=keys, clients=8, conns=4, patience=1800)
        time.sleep(SETTLE_SECONDS)
        figures = {f"loaded_{name}": size for name, size in memory(member.pid).items()}
        figures["fill_puts_per_s"] = filled["rate"]
        member.kill()
        figures["restart_killed_s"] = _restart(member)
        time.sleep(SETTLE_SECONDS)
        member.stop()
        figures["restart_s"] = _restart(member)
        time.sleep(SETTLE_SECONDS)
        figures |= memory(member.pid)
        figures["peak_RssAnon"] = max(figures["RssAnon"], figures["loaded_RssAnon"])
        return figures

    return measure


CASES: Final[tuple[Case[Member] | Case[Timed] | Case[Cluster], ...]] = (
    Case("put, 1 client", Member, _put(1, 1), "rate", "puts/s", goal="at least 1.0"),
    Case("put, 100 clients", Member, _put(100, CONNECTIONS), "rate", "puts/s", goal="at least 1.5"),
    Case("put, 1000 clients", Member, _put(1000, 100), "rate", "puts/s"),
    Case("txn-put, 100 clients", Member, _txn_put, "rate", "txns/s"),
    Case("range linearizable, 100 clients", Member, _range(serializable=False), "rate", "ranges/s"),
    Case(
        "range serializable, 100 clients",
        Member,
        _range(serializable=True),
        "rate",
        "ranges/s",
        goal="at least 2.0",
    ),
    Case(
        "watch fan-out, 1000 on 10 streams",
        Member,
        _fanout,
        "rate",
        "events/s",
        goal="at least 1.0",
    ),
    Case(
        "watch latency at 100 puts/s, p50",
        Member,
        _latency(100),
        "p50_ms",
        "ms",
        more_is_better=False,
    ),
    Case(
        "watch latency at 1000 puts/s, p99",
        Member,
        _latency(1000),
        "p99_ms",
        "ms",
        more_is_better=False,
    ),
    Case(
        "watch latency at 500 puts/s, p99",
        Member,
        _latency(500),
        "p99_ms",
        "ms",
        more_is_better=False,
        goal="at least 1.0",
    ),
    Case(
        "page of 500 of a million keys, with count, p50",
        Member,
        _page,
        "p50_ms",
        "ms",
        more_is_better=False,
        once=True,
        goal="at most 5 ms",
    ),
    Case(
        "10 000 idle watchers",
        Member,
        _idle,
        "kib_each",
        "KiB",
        more_is_better=False,
        once=True,
        goal="at most 16 KiB",
    ),
    *(
        Case(
            f"watch latency during {name}, p99",
            Timed,
            measure,
            "p99_ms",
            "ms",
            more_is_better=False,
            once=True,
            goal="at most 150 ms, no stall above 100 ms",
        )
        for name, measure in (
            ("10 scans of 5 MB", _disturbed("scan", clients=10)),
            ("compaction", _disturbed("compact")),
            ("defragmentation", _disturbed("defrag", keys=100_000)),
            ("a snapshot of 1 GB", _disturbed("snapshot", keys=200_000, value_bytes=5_000)),
        )
    ),
    *(
        Case(
            f"memory and restart, {keys} keys",
            Member,
            _sized(keys),
            "peak_RssAnon",
            "MB",
            more_is_better=False,
            once=True,
            goal="at most 120 MB and 1 s" if keys == 300_000 else "",
        )
        for keys in SIZES
    ),
    Case(
        "million puts over a million keys",
        Member,
        _million,
        "rate",
        "puts/s",
        once=True,
        goal="at least 1.3, no pause above 250 ms",
    ),
    Case(
        "three members: put, 1 client", Cluster, _put(1, 1), "rate", "puts/s", goal="at least 0.9"
    ),
    Case(
        "three members: put, 100 clients",
        Cluster,
        _put(100, CONNECTIONS),
        "rate",
        "puts/s",
        goal="at least 1.3",
    ),
    *(
        Case(
            f"three members: range {kind}, 100 clients",
            Cluster,
            _range(serializable=kind == "serializable"),
            "rate",
            "ranges/s",
            goal="at least 1.5",
        )
        for kind in ("linearizable", "serializable")
    ),
)

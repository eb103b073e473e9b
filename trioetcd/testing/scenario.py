"""What one seed draws: the cluster, its settings, which faults it suffers and how hard.

A scenario is data. Each option is drawn from a stream of its own, named after it, so that a new
option, or one fault less, changes nothing else about a seed.
"""

from __future__ import annotations

import tomllib
from dataclasses import asdict, dataclass, fields
from math import ceil
from pathlib import Path
from random import Random
from typing import Final

from trioetcd.replica import ReplicaConfig

__all__ = ["FAULTS", "Regression", "Scenario", "draw", "load_regression", "stream"]

FAULTS: Final = (
    "crash",  # power cuts of single members
    "restart",  # orderly stops
    "blackout",  # all members lose their power at once
    "torn",  # what a power cut does to the batch under way is left to chance
    "slow_disk",  # some batches take up to seconds
    "disk_error",  # a batch fails: the member ends
    "pause",  # a member stands still, its timers with it
    "drift",  # clocks run at different speeds
    "crowd",  # what arrives within some time is one step
    "hurry",  # steps are told that their time is up
    "loss",
    "duplicate",
    "reorder",
    "delay",
    "clog",
    "partition",
    "reset",
    "transfer",  # leadership is moved
    "depose",  # whoever leads is kept from the others as long as an election takes
    "members",  # members come and go
    "small",  # tiny batches, logs, slices: rare paths become common ones
)
"""Everything that can be switched off with ``--without``."""

_NETWORK: Final = frozenset(
    {
        "loss",
        "duplicate",
        "reorder",
        "delay",
        "clog",
        "partition",
        "reset",
        "transfer",
        "depose",
        "members",
    }
)


SNAPSHOTS: Final = True
"""Whether members can be sent a snapshot; before they can, a cluster's log is never cut, and nobody
joins."""

_NEVER: Final = 1 << 30


def stream(seed: int, name: str) -> Random:
    """Make the stream of chance of one name; the same in every process."""
    return Random(f"{seed}/{name}")  # noqa: S311 - a simulator's dice guard no secret


@dataclass(frozen=True, slots=True)
class Scenario:
    """One run, complete: equal scenarios give equal runs.

    Attributes:
        seed: what all chance is derived from.
        seconds: simulated seconds with faults.
        eras: in so many parts; after each all is healed and must come to rest.
        members: voters at the start.
        learners: learners added in the beginning.
        faults: which of `FAULTS` are on.
        heartbeat_millis, election_millis: Raft's timing.
        snapshot_count, catch_up_entries, log_bytes_max: when the log is cut.
        batch_bytes_max, append_bytes_max, inflight_max, slices_per_step, compaction_rows,
            flush_millis: sizes of work.
        disk_micros: the mean time of a batch on the disk.
        delay_micros: the mean delay of the network.
        clients: how many act at the same time.
        think_millis: the mean pause of a client between two acts.
        keys: how many keys there are to quarrel about.
        watchers: how many watch.
        mix: which acts are common: one of `workload.MIXES`.
        often: mean seconds between two faults of a kind.
    """

    seed: int
    seconds: float
    eras: int
    members: int
    learners: int
    faults: tuple[str, ...]
    heartbeat_millis: int
    election_millis: int
    snapshot_count: int
    catch_up_entries: int
    log_bytes_max: int
    batch_bytes_max: int
    append_bytes_max: int
    inflight_max: int
    slices_per_step: int
    compaction_rows: int
    flush_millis: int
    checkpoint_millis: int
    disk_micros: int
    delay_micros: int
    clients: int
    think_millis: int
    keys: int
    watchers: int
    mix: str
    often: float

    def has(self, fault: str) -> bool:
        """Whether a fault is on."""
        assert fault in FAULTS
        return fault in self.faults

    @property
    def ttl_min(self) -> int:
        """The shortest time to live a lease gets, in seconds, as the members compute it."""
        return ceil(1.5 * self.election_millis / 1000)

    def config(self, name: str) -> ReplicaConfig:
        """Give the settings of a member."""
        return ReplicaConfig(
            name=name,
            client_urls=(f"http://{name}:2379",),
            heartbeat_seconds=self.heartbeat_millis / 1000,
            election_seconds=self.election_millis / 1000,
            snapshot_count=self.snapshot_count,
            catch_up_entries=self.catch_up_entries,
            log_bytes_max=self.log_bytes_max,
            batch_bytes_max=self.batch_bytes_max,
            append_bytes_max=self.append_bytes_max,
            inflight_max=self.inflight_max,
            flush_seconds=self.flush_millis / 1000,
            slices_per_step=self.slices_per_step,
            compaction_rows=self.compaction_rows,
            checkpoint_seconds=self.checkpoint_millis / 1000,
        )

    def describe(self) -> str:
        """Give all options in one line."""
        options = asdict(self)
        options["faults"] = "+".join(self.faults) or "none"
        return " ".join(f"{name}={value}" for name, value in options.items())


def draw(
    seed: int, *, seconds: float = 60.0, without: tuple[str, ...] = (), members: int | None = None
) -> Scenario:
    """Draw the scenario of a seed.

    Args:
        seed: any number.
        seconds: how long it lasts.
        without: faults to leave out; everything else stays as it is.
        members: the size of the cluster instead of the one drawn.
    """
    unknown = set(without) - set(FAULTS)
    if unknown:
        raise ValueError(f"unknown faults: {', '.join(sorted(unknown))}")

    def choose(name: str, *values: int) -> int:
        return stream(seed, name).choice(values)

    size = choose("members", 1, 3, 3, 3, 3, 5) if members is None else members
    severity = stream(seed, "severity").choice((0.1, 0.25, 0.25, 0.4, 0.4, 0.4, 0.6, 0.6, 1.0))
    faults = tuple(
        fault
        for fault in FAULTS
        if stream(seed, f"fault/{fault}").random() < severity
        and fault not in without
        and not (size == 1 and fault in _NETWORK)
    )
    small = "small" in faults
    heartbeat = choose("heartbeat", 20, 50, 50, 100, 100, 100)

    def sized(name: str, usual: int, *unusual: int) -> int:
        return choose(name, usual, *unusual) if small else usual

    cuts = SNAPSHOTS or size == 1
    return Scenario(
        seed=seed,
        seconds=seconds,
        eras=choose("eras", 1, 2, 4, 6),
        members=size,
        learners=choose("learners", 0, 0, 1) if "members" in faults and size > 1 else 0,
        faults=faults,
        heartbeat_millis=heartbeat,
        election_millis=heartbeat * choose("election", 5, 10, 10),
        snapshot_count=sized("snapshot_count", 500, 10, 50, 200) if cuts else _NEVER,
        catch_up_entries=sized("catch_up_entries", 100, 1, 5, 30),
        log_bytes_max=sized("log_bytes_max", 32 << 20, 2000, 20_000, 32 << 20) if cuts else _NEVER,
        batch_bytes_max=sized("batch_bytes_max", 4 << 20, 200, 1000, 4 << 20),
        append_bytes_max=sized("append_bytes_max", 1 << 20, 1, 200, 1 << 20),
        inflight_max=sized("inflight_max", 256, 1, 4, 256),
        slices_per_step=sized("slices_per_step", 4, 1, 2),
        compaction_rows=sized("compaction_rows", 256, 2, 16),
        flush_millis=sized("flush_millis", 10, 1, 100),
        checkpoint_millis=choose("checkpoint", 400, 1000, 300_000),
        disk_micros=choose("disk", 300, 1000, 1000, 5000),
        delay_micros=choose("delay", 100, 500, 500, 5000),
        clients=choose("clients", 3, 5, 8),
        think_millis=choose("think", 50, 100, 200, 400),
        keys=choose("keys", 3, 8, 30),
        watchers=choose("watchers", 1, 2, 4),
        mix=stream(seed, "mix").choice(("even", "even", "keys", "leases", "txns", "reads")),
        often=stream(seed, "often").choice((4.0, 8.0, 15.0)),
    )


@dataclass(frozen=True, slots=True)
class Regression:
    """A seed worth keeping.

    Attributes:
        why: what it found, in a sentence.
        seed, seconds, without, members: see `draw`.
    """

    why: str
    seed: int
    seconds: float = 60.0
    without: tuple[str, ...] = ()
    members: int | None = None

    def scenario(self) -> Scenario:
        """Give the run."""
        return draw(self.seed, seconds=self.seconds, without=self.without, members=self.members)


def load_regression(path: Path) -> Regression:
    """Read a regression file (TOML: the attributes of `Regression`).

    Raises:
        ValueError: it is not one.
    """
    table = tomllib.loads(path.read_text())
    known = {each.name for each in fields(Regression)}
    if not {"why", "seed"} <= set(table) <= known:
        raise ValueError(f"{path.name}: needs why and seed, may have {', '.join(sorted(known))}")
    return Regression(**{**table, "without": tuple(table.get("without", ()))})

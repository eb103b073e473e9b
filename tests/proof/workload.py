"""Writes whose every answer is remembered, and the check that nothing acknowledged was lost.

Each key belongs to one slot, and a slot has one write under way at a time. So after a crash at
most one write per slot is in doubt: its keys must hold either the last acknowledged state, with
exactly the acknowledged revisions, or the state of the write in doubt, at a later revision.

A power cut by `EXT4_IOC_SHUTDOWN` has a flaw that was measured with a bare write loop: one sync
under way while the cut is made may report success although its data are gone (4 of 60 cuts; never
one that began after the cut). So answers that arrive in that moment are kept as doubts too.
"""

from __future__ import annotations

import math
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from tests.proof.kv import (
    DELETE,
    GRANT,
    PUT,
    TXN,
    Client,
    Future,
    Item,
    RpcFailedError,
    delete_request,
    finish,
    grant_request,
    header_revision,
    put_request,
    txn_of_puts,
)
from tests.proof.member import Member
from tests.proof.outcome import Outcome

__all__ = ["Ledger", "Load"]

PREFIX: Final = b"proof/"
PREFIX_END: Final = b"proof0"
VALUE_BYTES: Final = (8, 256, 256, 256, 4096)
HISTORY_SAMPLE: Final = 300
LEASE_SECONDS: Final = 86_400
RETRY_SECONDS: Final = 0.1
TIMEOUT_SECONDS: Final = 5.0
CLUSTER_TIMEOUT_SECONDS: Final = 2.0
"""Shorter, because a write sent on to a leader that is dead gets no answer at all."""

State = tuple[bytes | None, int]
"""What a key holds, and the revision that made it so (0: never written)."""
Values = tuple[bytes | None, bytes | None]
"""What the two keys of a slot hold."""
GRACE_SECONDS: Final = 0.15
"""How long after a cut an answer may still be that of a sync that was under way."""


@dataclass(slots=True)
class Slot:
    """Two keys written by one writer, one write at a time.

    Attributes:
        keys: the two.
        states: what was acknowledged last, per key.
        doubts: what the writes that nobody can be sure of would leave, one after the other.
    """

    keys: tuple[bytes, bytes]
    states: list[State]
    doubts: list[Values] = field(default_factory=list)

    def values(self) -> Values:
        """Give what the keys hold if every write in doubt was done."""
        return self.doubts[-1] if self.doubts else (self.states[0][0], self.states[1][0])


@dataclass(slots=True)
class Acknowledged:
    """One acknowledged state of one key: it must be readable at its revision for ever."""

    key: bytes
    value: bytes | None
    revision: int


@dataclass(slots=True)
class Ledger:
    """Everything a member has promised so far, over all its restarts.

    Attributes:
        slots: the keys and their last states.
        history: acknowledged states since the last check, to be read back at their revisions.
        observed: pairs seen by readers since the last check.
        revision: the largest revision any answer carried.
        compacted: no revision below this one need be readable.
        leases: acknowledged leases.
        writes: acknowledged writes in all.
        last_ack: time.time() of the last acknowledgement.
        blurred: from when to when answers count as doubts (time.time()).
    """

    slots: list[Slot]
    history: list[Acknowledged] = field(default_factory=list)
    observed: list[Item] = field(default_factory=list)
    revision: int = 0
    compacted: int = 0
    leases: set[int] = field(default_factory=set)
    writes: int = 0
    last_ack: float = 0.0
    blurred: tuple[float, float] = (math.inf, math.inf)

    @classmethod
    def of(cls, slots: int) -> Ledger:
        """Make a ledger of so many slots."""
        return cls(
            [
                Slot((PREFIX + b"%04da" % i, PREFIX + b"%04db" % i), [(None, 0), (None, 0)])
                for i in range(slots)
            ]
        )

    def check(self, client: Client, outcome: Outcome, seed: int, chance: random.Random) -> None:
        """Compare what the member holds with what it promised; doubts are settled by what it says.

        Raises:
            RpcFailedError: the member does not answer.
        """
        now = client.range(PREFIX, PREFIX_END)
        if now.revision < self.revision:
            outcome.violated(seed, f"revision went back: {self.revision} to {now.revision}")
        self.revision = max(self.revision, now.revision)
        self.blurred = (math.inf, math.inf)
        held = {item.key: item for item in now.items}
        for slot in self.slots:
            self._check_slot(slot, held, outcome, seed)
        lost = self.leases - client.leases() if self.leases else set()
        if lost:
            outcome.violated(seed, f"{len(lost)} acknowledged leases are gone: {sorted(lost)[:3]}")
        self._check_history(client, outcome, seed, chance)

    def cutting(self) -> None:
        """Note that the power is about to be cut."""
        self.blurred = (time.time(), math.inf)

    def cut(self) -> None:
        """Note that the power is gone: no sync that begins from now on may succeed."""
        self.blurred = (self.blurred[0], time.time() + GRACE_SECONDS)

    def _check_slot(self, slot: Slot, held: dict[bytes, Item], outcome: Outcome, seed: int) -> None:
        found: list[State] = [
            (held[key].value, held[key].mod_revision) if key in held else (None, 0)
            for key in slot.keys
        ]
        doubts, slot.doubts = slot.doubts, []
        if all(_same(want, have) for want, have in zip(slot.states, found, strict=True)):
            return
        if any(_doubt_holds(doubt, slot.states, found) for doubt in doubts):
            self.history.extend(
                Acknowledged(key, value, revision)
                for key, (value, revision) in zip(slot.keys, found, strict=True)
                if value is not None
            )
            outcome.count("unanswered writes found done")
        else:
            in_doubt = "; ".join(_short([(value, 0) for value in doubt]) for doubt in doubts)
            outcome.violated(
                seed,
                f"{slot.keys[0].decode()}: promised {_short(slot.states)}, "
                f"in doubt {in_doubt or 'nothing'}, found {_short(found)}",
            )
        slot.states = found

    def _check_history(
        self, client: Client, outcome: Outcome, seed: int, chance: random.Random
    ) -> None:
        readable = [a for a in self.history if a.revision >= max(self.compacted, 1)]
        seen = [
            Acknowledged(item.key, item.value, item.mod_revision)
            for item in self.observed
            if item.mod_revision >= max(self.compacted, 1)
        ]
        sample = chance.sample(readable, min(HISTORY_SAMPLE, len(readable)))
        sample += chance.sample(seen, min(HISTORY_SAMPLE // 4, len(seen)))
        for entry in sample:
            answer = client.range(entry.key, revision=entry.revision)
            value = answer.items[0].value if answer.items else None
            if value != entry.value or (
                answer.items and answer.items[0].mod_revision != entry.revision
            ):
                found = [(i.value, i.mod_revision) for i in answer.items]
                outcome.violated(
                    seed,
                    f"{entry.key!r} at revision {entry.revision}: promised "
                    f"{_short([(entry.value, entry.revision)])}, found {_short(list(found))}",
                )
        outcome.count("revisions read back", len(sample))
        self.history.clear()
        self.observed.clear()


def _doubt_holds(doubt: Values, states: list[State], found: list[State]) -> bool:
    newest = max(revision for _, revision in states)
    for wanted, before, have in zip(doubt, states, found, strict=True):
        if wanted == before[0]:
            # this half was not touched by the writes in doubt
            if not _same(before, have):
                return False
        elif have[0] != wanted or (wanted is not None and have[1] <= newest):
            return False
    both_new = all(
        wanted is not None and wanted == have[0] for wanted, have in zip(doubt, found, strict=True)
    )
    # the two halves of one txn have one value and must have one revision
    return not both_new or doubt[0] != doubt[1] or found[0][1] == found[1][1]


def _same(want: State, have: State) -> bool:
    # a deleted key shows no revision: only its absence can be compared
    return want[0] == have[0] and (want[0] is None or want[1] == have[1])


def _short(states: list[State]) -> str:
    return ", ".join(
        f"{'nothing' if value is None else value.split(b' ')[0].decode()}@{revision}"
        for value, revision in states
    )


class Load:
    """Writers and a reader that run until the member dies or they are told to stop.

    Args:
        members: whom to write to; each writer keeps to one of them.
        ledger: where promises are kept; between cycles nobody else touches it.
        seed: decides operations, keys and values.
        writers: threads; each owns a share of the slots and keeps `window` writes under way.
        window: writes under way per thread.
        lone: nobody but one writer, whose calls come one after the other; and no leases.
        persistent: go on after a failure, with the slots that are not in doubt.
    """

    def __init__(
        self,
        members: Sequence[Member],
        ledger: Ledger,
        *,
        seed: int,
        writers: int = 3,
        window: int = 8,
        lone: bool = False,
        persistent: bool = False,
    ) -> None:
        if lone:
            writers = window = 1
        self._lone = lone
        self._persistent = persistent
        self._timeout = CLUSTER_TIMEOUT_SECONDS if persistent else TIMEOUT_SECONDS
        self._ledger = ledger
        self._stop = threading.Event()
        self._lock = threading.Lock()
        count = writers if lone else writers + 1
        self._clients = [members[i % len(members)].client() for i in range(count)]
        self._seed = seed
        self._window = window
        self.errors: list[RpcFailedError] = []
        self._threads = [
            threading.Thread(target=self._write, args=(i, writers), daemon=True)
            for i in range(writers)
        ]
        if not lone:
            self._threads.append(threading.Thread(target=self._read, daemon=True))
        for thread in self._threads:
            thread.start()

    def wait(self, seconds: float) -> None:
        """Let it run for a while."""
        self._stop.wait(seconds)

    def finish(self) -> None:
        """Stop, wait for the answers under way, close the connections."""
        self._stop.set()
        for thread in self._threads:
            thread.join()
        for client in self._clients:
            client.close()

    def _failed(self, error: RpcFailedError) -> None:
        with self._lock:
            self.errors.append(error)

    def _read(self) -> None:
        chance = random.Random(f"{self._seed} reader")
        client = self._clients[-1]
        while not self._stop.is_set():
            slot = chance.choice(self._ledger.slots)
            try:
                answer = client.range(slot.keys[0], serializable=chance.random() < 0.5, timeout=5)
            except RpcFailedError:
                if not self._persistent:
                    return
                self._stop.wait(RETRY_SECONDS)
                continue
            with self._lock:
                if time.time() < self._ledger.blurred[0]:
                    self._ledger.revision = max(self._ledger.revision, answer.revision)
                    self._ledger.observed.extend(answer.items)
            time.sleep(0.002)

    def _write(self, index: int, writers: int) -> None:
        chance = random.Random(f"{self._seed} writer {index}")
        mine = self._ledger.slots[index::writers]
        client = self._clients[index]
        serial = 0
        while not self._stop.is_set():
            batch: list[tuple[Slot, Values, Future]] = []
            grants: list[tuple[int, Future]] = []
            free = [slot for slot in mine if not (self._persistent and slot.doubts)]
            for slot in chance.sample(free, min(self._window, len(free))):
                serial += 1
                path, request, after = self._operation(slot, chance, index, serial)
                slot.doubts.append(after)
                future = client.begin(path, request, timeout=self._timeout)
                batch.append((slot, after, future))
            if chance.random() < 0.05 and not self._lone:
                lease = chance.randrange(1, 2**62)
                grants.append((lease, client.begin(GRANT, grant_request(lease, LEASE_SECONDS))))
            alive = True
            for slot, after, future in batch:
                alive &= self._settle(slot, after, future)
            for lease, future in grants:
                try:
                    finish(future)
                except RpcFailedError:
                    alive = False
                else:
                    with self._lock:
                        if time.time() < self._ledger.blurred[0]:
                            self._ledger.leases.add(lease)
            if not alive and not self._persistent:
                return
            if not alive or not free:
                self._stop.wait(RETRY_SECONDS)

    def _operation(
        self, slot: Slot, chance: random.Random, index: int, serial: int
    ) -> tuple[str, bytes, Values]:
        name = b"%d.%d.%d " % (self._seed, index, serial)
        value = name + bytes(chance.choice(VALUE_BYTES) - 1)
        first, second = slot.values()
        pick = chance.random()
        if pick < 0.15:
            pairs = [(slot.keys[0], value), (slot.keys[1], value)]
            return TXN, txn_of_puts(pairs), (value, value)
        if pick < 0.25:
            return DELETE, delete_request(slot.keys[0]), (None, second)
        if pick < 0.6:
            return PUT, put_request(slot.keys[0], value), (value, second)
        return PUT, put_request(slot.keys[1], value), (first, value)

    def _settle(self, slot: Slot, after: Values, future: Future) -> bool:
        try:
            answer = finish(future)
        except RpcFailedError as error:
            self._failed(error)
            return False
        revision = header_revision(answer)
        with self._lock:
            ledger = self._ledger
            ledger.last_ack = time.time()
            if ledger.blurred[0] <= ledger.last_ack <= ledger.blurred[1]:
                return True
            ledger.revision = max(ledger.revision, revision)
            ledger.writes += 1
            for position, value in enumerate(after):
                if value != slot.states[position][0]:
                    slot.states[position] = (value, revision)
                    ledger.history.append(Acknowledged(slot.keys[position], value, revision))
            slot.doubts.clear()
        return True

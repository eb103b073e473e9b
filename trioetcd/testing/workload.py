"""Clients that quarrel over few keys, each doing one thing after the other, in scripts.

A script is a generator: it yields what it asks and gets the result. What it knows it knows from
answers alone. Besides the general judgement of each answer (`answers`), scripts keep ledgers
that need no revisions: lists that are only appended to, accounts whose sum never changes,
registers whose history is searched for an order at the end.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from random import Random
from typing import Final

from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind
from trioetcd.testing.linearizability import Action, Call, check_registers
from trioetcd.testing.operation import (
    Ask,
    KeepAlive,
    Pause,
    Propose,
    Read,
    Result,
    Status,
)
from trioetcd.testing.violation import require

__all__ = ["MIXES", "Script", "Workload"]

Script = Generator[Ask, Result, None]
"""What a client does, one thing after the other."""

_EVEN: Final = {
    "put": 20,
    "get": 14,
    "stale": 5,
    "delete": 6,
    "txn": 5,
    "register": 12,
    "move": 6,
    "append": 8,
    "scan": 5,
    "old": 4,
    "compact": 1,
    "lease": 4,
}

MIXES: Final[dict[str, dict[str, int]]] = {
    "even": _EVEN,
    "keys": _EVEN | {"put": 60, "delete": 20, "compact": 2},
    "leases": _EVEN | {"lease": 25},
    "txns": _EVEN | {"txn": 20, "move": 20, "append": 20},
    "reads": _EVEN | {"get": 40, "scan": 15, "old": 15},
}
"""How often each script is chosen."""

ACCOUNTS: Final = 4
BALANCE: Final = 100
LIST_LENGTH: Final = 30
REGISTER_CALLS: Final = 60


class Workload:
    """Makes scripts, and keeps their ledgers.

    Attributes:
        calls: the histories of the registers.
        calm: set when faults are over: nothing that takes long is begun any more.

    Args:
        keys: how many keys there are.
        mix: one of `MIXES`.
        now: gives microseconds.
    """

    def __init__(self, *, keys: int, mix: str, now: Callable[[], int]) -> None:
        weights = MIXES[mix]
        self._names = list(weights)
        self._weights = list(weights.values())
        self._keys = [b"k%02d" % number for number in range(keys)]
        self._now = now
        self._count = 0
        self._revision = 1
        self._compacted = 0
        self._leases = 0
        self._list = 0
        self._appended: dict[bytes, dict[bytes, bool]] = {}
        self._lists: dict[bytes, list[bytes]] = {}
        self._register_calls = 0
        self.calls: list[Call] = []
        self.calm = False

    def script(self, random: Random) -> Script:
        """Choose what a client does next."""
        name = random.choices(self._names, self._weights)[0]
        if self.calm and name == "lease":
            name = "put"
        match name:
            case "put":
                return self._put(random)
            case "get":
                return self._get(random, serializable=False)
            case "stale":
                return self._get(random, serializable=True)
            case "delete":
                return self._delete(random)
            case "txn":
                return self._txn(random)
            case "register":
                return self._register(random)
            case "move":
                return self._move(random)
            case "append":
                return self._append(random)
            case "scan":
                return self._scan(random)
            case "old":
                return self._old(random)
            case "compact":
                return self._compact(random)
            case _:
                return self._lease(random)

    def value(self) -> bytes:
        """Make a value that is in no other request."""
        self._count += 1
        return b"v%d" % self._count

    def _note(self, result: Result) -> None:
        self._revision = max(self._revision, result.revision)

    # -- plain keys --------------------------------------------------------------------------

    def _put(self, random: Random) -> Script:
        value = self.value()
        if random.random() < 0.02:
            value += bytes(random.randrange(20_000))
        request = messages.PutRequest(
            key=random.choice(self._keys), value=value, prev_kv=random.random() < 0.3
        )
        self._note((yield Propose(CommandKind.PUT, request.SerializeToString())))

    def _get(self, random: Random, *, serializable: bool) -> Script:
        request = messages.RangeRequest(key=random.choice(self._keys))
        self._note((yield Read(request, serializable)))

    def _delete(self, random: Random) -> Script:
        key = random.choice(self._keys)
        # The end of the interval makes the request unlike any other; no key lies in between.
        end = key + b"\0" + self.value()
        if random.random() < 0.2:
            end = b"k%02d" % random.randrange(100) + b"\0" + self.value()
        request = messages.DeleteRangeRequest(key=key, range_end=end, prev_kv=random.random() < 0.3)
        self._note((yield Propose(CommandKind.DELETE_RANGE, request.SerializeToString())))

    def _txn(self, random: Random) -> Script:
        compared, written, gone = (random.choice(self._keys) for _ in range(3))
        request = messages.TxnRequest()
        request.compare.add(
            key=compared,
            target=messages.Compare.VERSION,
            result=random.choice((messages.Compare.EQUAL, messages.Compare.GREATER)),
            version=random.randrange(4),
        )
        value = self.value()
        for branch, suffix in ((request.success, b"+"), (request.failure, b"-")):
            branch.add().request_range.key = gone
            put = branch.add().request_put
            put.key, put.value, put.prev_kv = written, value + suffix, random.random() < 0.5
            if gone != written:
                deletion = branch.add().request_delete_range
                deletion.key, deletion.prev_kv = gone, random.random() < 0.5
            branch.add().request_range.key = written
        self._note((yield Propose(CommandKind.TXN, request.SerializeToString())))

    def _scan(self, random: Random) -> Script:
        request = messages.RangeRequest(
            key=b"k",
            range_end=random.choice((b"l", b"\0", b"k2")),
            limit=random.choice((0, 0, 1, 3)),
            keys_only=random.random() < 0.2,
            count_only=random.random() < 0.2,
        )
        self._note((yield Read(request, random.random() < 0.3)))

    def _old(self, random: Random) -> Script:
        revision = self._revision - int(random.expovariate(1 / 40)) + 1
        request = messages.RangeRequest(
            key=random.choice(self._keys),
            range_end=random.choice((b"", b"\0")),
            revision=max(1, revision),
        )
        yield Read(request, random.random() < 0.5)

    def _compact(self, random: Random) -> Script:
        revision = self._revision - int(random.expovariate(1 / 30))
        self._compacted = max(1, self._compacted, revision) + (random.random() < 0.1)
        request = messages.CompactionRequest(revision=self._compacted)
        yield Propose(CommandKind.COMPACT, request.SerializeToString())

    def _lease(self, random: Random) -> Script:
        self._leases += 1
        lease = self._leases
        grant = messages.LeaseGrantRequest(ID=lease, TTL=random.randrange(1, 6))
        result = yield Propose(CommandKind.LEASE_GRANT, grant.SerializeToString())
        if result.status != Status.DONE:
            return
        for _ in range(random.randrange(3)):
            put = messages.PutRequest(
                key=random.choice((b"t%d" % lease, random.choice(self._keys))),
                value=self.value(),
                lease=lease,
            )
            self._note((yield Propose(CommandKind.PUT, put.SerializeToString())))
        for _ in range(random.randrange(5)):
            yield Pause(random.randrange(100_000, 2_000_000))
            yield KeepAlive(lease)
        if random.random() < 0.4:
            revoke = messages.LeaseRevokeRequest(ID=lease)
            self._note((yield Propose(CommandKind.LEASE_REVOKE, revoke.SerializeToString())))

    # -- ledgers -----------------------------------------------------------------------------

    def _register(self, random: Random) -> Script:
        """Read, write or swap a register; nobody but the final search looks at the history."""
        self._register_calls += 1
        key = b"r%d" % (self._register_calls // REGISTER_CALLS * 2 + random.randrange(2))
        invoked = self._now()
        choice = random.random()
        if choice < 0.3:
            value = self.value()
            put = messages.PutRequest(key=key, value=value)
            result = yield Propose(CommandKind.PUT, put.SerializeToString())
            self._record(key, Action.WRITE, invoked, result, value=value)
            return
        result = yield Read(messages.RangeRequest(key=key))
        if result.status != Status.DONE:
            return
        found = messages.RangeResponse.FromString(result.body).kvs
        known = found[0].value if found else None
        self._record(key, Action.READ, invoked, result, value=known)
        if choice < 0.6 or known is None:
            return
        invoked = self._now()
        value = self.value()
        txn = messages.TxnRequest()
        txn.compare.add(key=key, target=messages.Compare.VALUE, value=known)
        put = txn.success.add().request_put
        put.key, put.value = key, value
        result = yield Propose(CommandKind.TXN, txn.SerializeToString())
        succeeded = (
            result.status == Status.DONE and messages.TxnResponse.FromString(result.body).succeeded
        )
        self._record(
            key, Action.SWAP, invoked, result, value=value, expected=known, succeeded=succeeded
        )

    def _record(
        self,
        key: bytes,
        action: Action,
        invoked: int,
        result: Result,
        *,
        value: bytes | None,
        expected: bytes | None = None,
        succeeded: bool = True,
    ) -> None:
        if result.status in {Status.REFUSED, Status.ERROR}:
            return
        returned = self._now() if result.status == Status.DONE else None
        self.calls.append(
            Call(key, action, invoked, returned, value, expected, succeeded=succeeded)
        )

    def _move(self, random: Random) -> Script:
        """Move an amount from one account to another, if nobody came between."""
        result = yield Read(messages.RangeRequest(key=b"a", range_end=b"b"))
        if result.status != Status.DONE:
            return
        kvs = messages.RangeResponse.FromString(result.body).kvs
        mark = self.value()
        txn = messages.TxnRequest()
        if not kvs:
            txn.compare.add(key=b"a0", target=messages.Compare.VERSION, version=0)
            for number in range(ACCOUNTS):
                put = txn.success.add().request_put
                put.key, put.value = b"a%d" % number, b"%d %s" % (BALANCE, mark)
        else:
            balances = [int(kv.value.split()[0]) for kv in kvs]
            require(
                sum(balances) == ACCOUNTS * BALANCE and len(balances) == ACCOUNTS,
                "the accounts hold {} at revision {}",
                balances,
                result.revision,
            )
            source, target = random.sample(range(ACCOUNTS), 2)
            amount = random.randrange(1, 10)
            for number, balance in (
                (source, balances[source] - amount),
                (target, balances[target] + amount),
            ):
                txn.compare.add(
                    key=kvs[number].key,
                    target=messages.Compare.MOD,
                    mod_revision=kvs[number].mod_revision,
                )
                put = txn.success.add().request_put
                put.key, put.value = kvs[number].key, b"%d %s" % (balance, mark)
        self._note((yield Propose(CommandKind.TXN, txn.SerializeToString())))

    def _append(self, random: Random) -> Script:
        """Append to a list (Jepsen's and Elle's list-append), if nobody came between."""
        key = b"l%d" % max(0, self._list - random.randrange(2))
        result = yield Read(messages.RangeRequest(key=key))
        if result.status != Status.DONE:
            return
        kvs = messages.RangeResponse.FromString(result.body).kvs
        known = kvs[0].value if kvs else b""
        self._lists.setdefault(key, []).append(known)
        if known.count(b" ") >= LIST_LENGTH and key == b"l%d" % self._list:
            self._list += 1
        item = self.value()
        txn = messages.TxnRequest()
        txn.compare.add(
            key=key,
            target=messages.Compare.MOD,
            mod_revision=kvs[0].mod_revision if kvs else 0,
        )
        put = txn.success.add().request_put
        put.key, put.value = key, known + item + b" "
        result = yield Propose(CommandKind.TXN, txn.SerializeToString())
        if result.status == Status.DONE:
            succeeded = messages.TxnResponse.FromString(result.body).succeeded
            self._appended.setdefault(key, {})[item] = succeeded

    # -- the end -----------------------------------------------------------------------------

    def check(self, read: Callable[[bytes], bytes | None]) -> None:
        """Balance the ledgers.

        Args:
            read: gives the value a key has in the end.

        Raises:
            Violation: they do not balance.
        """
        for key, seen in self._lists.items():
            final = read(key) or b""
            for known in seen:
                require(final.startswith(known), "{} was {}, is {}", key, known, final)
            items = final.split()
            require(len(set(items)) == len(items), "{} has an item twice: {}", key, final)
            for item, succeeded in self._appended.get(key, {}).items():
                require((item in items) == succeeded, "{}: {} in {}", key, item, final)
        check_registers(self.calls)

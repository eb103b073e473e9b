"""A seeded source of steps: requests, and what happens on streams, spread over members.

The same seed against servers that answer alike makes the same steps. The generator looks at
the reference's answers only to know which revisions, leases and watches would be interesting
next. A service that is to be compared too gets its method in `servers.METHODS`, a row in
`Generator._KINDS` and, where its answers hold what two clusters never share, one in
`answers`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import ClassVar, Final

from tests.differential.requests import (
    INT64_MAX,
    INT64_MIN,
    LARGE,
    LARGE_END,
    LEASES,
    Requests,
    agree,
    hides_puts,
    spare,
)
from tests.differential.steps import (
    BriefLease,
    Call,
    CloseStream,
    Flush,
    KeepAlive,
    Quiet,
    Raced,
    Step,
    Watch,
)
from trioetcd.keyrange import prefix_end
from trioetcd.schema import messages

STREAMS: Final = 6
WATCHES_MAX: Final = 14
"""From so many on a stream it is rather cancelled than created."""

LONG_TTL: Final = 5000
"""No lease that outlives its step may expire within a run."""

RACED: Final = 77_777
"""The watch id that only `Raced` uses."""

NO_SPACE: Final = 1
CORRUPT: Final = 2
ACCUSED: Final = (7, 8, 2**64 - 1)
"""Members that alarms are raised for; none is one of either cluster's."""


@dataclass(slots=True)
class Generator(Requests):
    """Makes steps.

    Attributes:
        watches: the watch ids in use on each stream.
        ended: those that are taken only because nobody has cancelled them yet.
        alarms: kind and member of the alarms that are raised.
        members: how many members there are to ask.
    """

    watches: Mapping[int, Collection[int]] = field(default_factory=dict)
    ended: Mapping[int, Collection[int]] = field(default_factory=dict)
    alarms: set[tuple[int, int]] = field(default_factory=set)
    members: int = 1
    _plan: deque[Step] = field(default_factory=deque)

    _KINDS: ClassVar[dict[str, int]] = {
        "_put": 240,
        "_range": 240,
        "_delete": 80,
        "_txn": 240,
        "_compact": 20,
        "_grant": 40,
        "_brief": 10,
        "_revoke": 20,
        "_time_to_live": 20,
        "_leases": 10,
        "_keep_alive": 12,
        "_watch": 130,
        "_raced": 4,
        "_large": 8,
        "_alarm": 6,
        "_status": 6,
        "_hash_kv": 8,
        "_member_list": 3,
        "_quiet": 2,
        "_flush": 15,
    }

    def step(self) -> Step:
        """Make the next step."""
        self._count += 1
        if self.alarms and self.often(0.3):
            return self._disarm() if self.often(0.6) else self._status()
        if self._plan and self.often(0.5):
            return self._plan.popleft()
        (name,) = self.chance.choices(list(self._KINDS), list(self._KINDS.values()))
        step: Step = getattr(self, name)()
        return step

    def _place(self) -> int:
        return self.chance.randrange(self.members)

    def _range(self) -> Step:
        return Call("KV/Range", self.range_request(), self._place())

    def _put(self) -> Step:
        return Call("KV/Put", self.put_request(), self._place())

    def _delete(self) -> Step:
        return Call("KV/DeleteRange", self.delete_request(), self._place())

    def _txn(self) -> Step:
        request = self.txn_request(0)
        while self.alarms and hides_puts(request):
            request = self.txn_request(0)
        spare(request)
        if self.members > 1:
            agree(request, self.compacted, self.revision)
        return Call("KV/Txn", request, self._place())

    def _compact(self) -> Step:
        revision = self.at() if self.often(0.5) else self.known()
        return Call("KV/Compact", self._compaction(revision), self._place())

    def _compaction(self, revision: int) -> messages.CompactionRequest:
        return messages.CompactionRequest(revision=revision, physical=self.often(0.7))

    def _large(self) -> Step:
        """Plan for events that are too much for one response; give the first step."""
        create = messages.WatchCreateRequest(key=LARGE[0], range_end=LARGE_END)
        create.prev_kv = self.often(0.7)
        create.fragment = self.often(0.8)
        if self.often(0.5):
            create.start_revision = self._start()
        watch = Watch(self.chance.randrange(STREAMS), messages.WatchRequest(create_request=create))
        delete = messages.DeleteRangeRequest(key=LARGE[0], range_end=LARGE_END)
        delete.prev_kv = self.often(0.3)
        steps = [watch, *(self._put_large() for _ in range(self.chance.randint(1, 3)))]
        if self.often(0.6):
            steps.append(Call("KV/DeleteRange", delete, self._place()))
        if self.often(0.3):  # the watch has to catch up with all of it
            steps.append(steps.pop(0))
        self._plan += steps
        return self._plan.popleft()

    def _put_large(self) -> Step:
        size = self.chance.choice((100_000, 300_000, 300_000, 300_000, 400_000))
        puts = [
            messages.PutRequest(key=key, value=b"%06d" % self._count * (size // 6))
            for key in self.chance.sample(LARGE, self.chance.randint(3, len(LARGE)))
        ]
        operations = [messages.RequestOp(request_put=put) for put in puts]
        return Call("KV/Txn", messages.TxnRequest(success=operations), self._place())

    def _grant(self) -> Step:
        ttl = self.chance.choice((LONG_TTL, 2 * LONG_TTL, 9_000_000_000, 9_000_000_001, INT64_MAX))
        lease = self.chance.choice(LEASES)
        # leases are listed in the order of their expiry: no two may share a second
        ttl += 10 * LEASES.index(lease) if ttl < 9_000_000_000 else 0
        request = messages.LeaseGrantRequest(ID=lease, TTL=ttl)
        return Call("Lease/LeaseGrant", request, self._place())

    def _brief(self) -> Step:
        ttl = self.chance.choice((0, -1, 1, 2, 3, 60, INT64_MIN))
        lease = self.chance.choice((0, 0, 424242, INT64_MIN))
        return BriefLease(messages.LeaseGrantRequest(ID=lease, TTL=ttl), self._place())

    def _revoke(self) -> Step:
        request = messages.LeaseRevokeRequest(ID=self.lease())
        return Call("Lease/LeaseRevoke", request, self._place())

    def _time_to_live(self) -> Step:
        request = messages.LeaseTimeToLiveRequest(ID=self.lease(), keys=self.often(0.7))
        return Call("Lease/LeaseTimeToLive", request, self._place())

    def _leases(self) -> Step:
        return Call("Lease/LeaseLeases", messages.LeaseLeasesRequest(), self._place())

    def _keep_alive(self) -> Step:
        leases = tuple(self.lease() for _ in range(self.chance.randint(0, 3)))
        return KeepAlive(leases, self._place())

    def _alarm(self) -> Step:
        if self.often(0.5):
            kind = self.chance.randrange(3)
            request = messages.AlarmRequest(action=messages.AlarmRequest.GET, alarm=kind)
        elif self.often(0.2):  # one that is not raised
            request = messages.AlarmRequest(action=messages.AlarmRequest.DEACTIVATE, memberID=99)
            request.alarm = self.chance.randrange(3)
        else:
            request = messages.AlarmRequest(action=messages.AlarmRequest.ACTIVATE)
            request.memberID = self.chance.choice(ACCUSED)
            # 3.5 forgets one kind of alarm when the other is raised or cleared
            raised = {kind for kind, _ in self.alarms}
            request.alarm = max(raised, default=NO_SPACE if self.often(0.8) else CORRUPT)
            if self.often(0.1):
                request.alarm = 0
        return Call("Maintenance/Alarm", request, self._place())

    def _disarm(self) -> Step:
        kind, member = self.chance.choice(sorted(self.alarms))
        request = messages.AlarmRequest(action=messages.AlarmRequest.DEACTIVATE)
        request.alarm = kind
        request.memberID = member
        return Call("Maintenance/Alarm", request, self._place())

    def _status(self) -> Step:
        return Call("Maintenance/Status", messages.StatusRequest(), self._place())

    def _hash_kv(self) -> Step:
        revision = self.at() if self.often(0.5) else self.known()
        # since 3.6 the compact revision itself can be hashed
        request = messages.HashKVRequest(revision=revision + (revision == self.compacted))
        return Call("Maintenance/HashKV", request, self._place())

    def _member_list(self) -> Step:
        request = messages.MemberListRequest(linearizable=self.often(0.5))
        return Call("Cluster/MemberList", request, self._place())

    def _start(self) -> int:
        """A start revision of a watch: past, next, or to come."""
        if self.often(0.15):
            return self.revision + self.chance.choice((1, 2, 5, 20, 100))
        start = max(0, self.at() if self.often(0.5) else self.known())
        # 3.5 forgets deletions at the very revision of a compaction (etcd issue 18089)
        return start + 1 if start == self.compacted else start

    def _watch(self) -> Step:
        stream = self.chance.randrange(STREAMS)
        known = sorted((*self.watches.get(stream, ()), *self.ended.get(stream, ())))
        kind = self.chance.random()
        if kind < 0.02 and stream in self.watches:
            return CloseStream(stream)
        if kind < 0.17:
            request = messages.WatchRequest(progress_request=messages.WatchProgressRequest())
            return Watch(stream, request)
        if kind < 0.18:
            return Watch(stream, messages.WatchRequest())
        if (kind < 0.28 and known) or len(known) > WATCHES_MAX:
            number = self.chance.choice(known) if self.often(0.9) else 999
            cancel = messages.WatchCancelRequest(watch_id=number)
            return Watch(stream, messages.WatchRequest(cancel_request=cancel))
        key = self.key()
        create = messages.WatchCreateRequest(key=key, range_end=self.end(key))
        create.prev_kv = self.often(0.5)
        create.fragment = self.often(0.3)
        create.progress_notify = self.often(0.3)
        if self.often(0.6):
            create.start_revision = self._start()
        elif self.often(0.04):
            create.start_revision = self.chance.choice((-1, -7, INT64_MIN))
        if self.often(0.3):
            create.filters.extend(self.chance.choices((0, 1, 7), (5, 5, 1), k=2))
            del create.filters[self.chance.randint(1, 2) :]
        if self.often(0.4):
            create.watch_id = self.chance.choice((1, 2, 7, 1000, -3, INT64_MAX, *known))
        return Watch(stream, messages.WatchRequest(create_request=create))

    def _raced(self) -> Step:
        last = max(self.compacted + 1, self.revision)
        start = self.chance.randint(self.compacted + 1, last)
        key = self.key() or b"a"
        end = self.chance.choice((b"", b"\0", prefix_end(key)))
        create = messages.WatchCreateRequest(key=key, range_end=end, watch_id=RACED)
        create.start_revision = start
        # not of the start itself, see `_start`
        compaction = self._compaction(self.chance.randint(start + 1, last + 1))
        return Raced(self.chance.randrange(STREAMS), create, compaction)

    def _quiet(self) -> Step:
        return Quiet()

    def _flush(self) -> Step:
        return Flush()


def seeded(seed: int) -> Generator:
    """Make a generator from a seed."""
    return Generator(random.Random(seed))

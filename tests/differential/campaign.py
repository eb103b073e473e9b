"""Sending one sequence of steps to two clusters and comparing all they answer."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from tests.differential.answers import needs_catching_up, steady, tolerable
from tests.differential.comparison import (
    Difference,
    Divergence,
    Fields,
    compare,
    unexplained,
)
from tests.differential.generator import seeded
from tests.differential.requests import SENTINEL
from tests.differential.servers import Pending, Side
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
    describe,
)
from tests.differential.watching import Watches
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

ALARM = "Maintenance/Alarm"
ACTIVATE = messages.AlarmRequest.ACTIVATE
DEACTIVATE = messages.AlarmRequest.DEACTIVATE


@dataclass(frozen=True, slots=True)
class Finding:
    """What differed at which step."""

    number: int
    step: Step
    differences: list[Difference]

    def __str__(self) -> str:
        lines = "\n".join(f"    {difference}" for difference in self.differences)
        return f"step {self.number}: {describe(self.step)}\n{lines}"


@dataclass(slots=True)
class Campaign:
    """Two clusters, the steps sent so far, and what differed beyond the allowed.

    Attributes:
        reference: the side that is right.
        subject: the side under test.
        divergences: allowed differences.
        findings: everything else.
        sent: every step, so that a run can be repeated and shrunk.
        allowed: the differences that were allowed.
        revision: the newest revision.
        compacted: the compact revision.
        alarms: kind and member of the alarms that are raised.
    """

    reference: Side
    subject: Side
    divergences: list[Divergence]
    findings: list[Finding] = field(default_factory=list)
    sent: list[Step] = field(default_factory=list)
    allowed: list[Difference] = field(default_factory=list)
    revision: int = 1
    compacted: int = 0
    alarms: set[tuple[int, int]] = field(default_factory=set)
    watches: Watches = field(init=False)
    _flushes: int = 0

    def __post_init__(self) -> None:
        self.watches = Watches(self.reference, self.subject)

    def run(self, steps: Iterable[Step]) -> None:
        """Send steps until they end or something differs."""
        for step in steps:
            self.sent.append(step)
            self._do(step)
            if self.findings:
                return
        for step in self._last_steps():
            self.sent.append(step)
            self._do(step)

    def _last_steps(self) -> list[Step]:
        """Read everything of every member, so that nothing that went wrong stays unseen."""
        everything = messages.RangeRequest(key=b"\0", range_end=b"\0", serializable=True)
        steps: list[Step] = [Flush()]
        for at in range(len(self.subject.links)):
            steps.append(Call("KV/Range", everything, at))
            steps.append(Call("Lease/LeaseLeases", messages.LeaseLeasesRequest(), at))
            steps.append(Call("Maintenance/HashKV", messages.HashKVRequest(), at))
        return steps

    def shape(self) -> set[tuple[str, str]]:
        """Say in what kinds of fields the findings differ, whatever their numbers."""
        return {
            (difference.rpc, re.sub(r"\d+", "#", difference.field))
            for finding in self.findings
            for difference in finding.differences
        }

    def _do(self, step: Step) -> None:
        match step:
            case Call():
                self._note(self._call(step))
            case BriefLease():
                self._note(self._brief(step))
            case KeepAlive(leases, at):
                self._catch_up()
                first, second = (side.keep_alive(leases, at) for side in self._sides)
                self._note(compare("Lease/LeaseKeepAlive", first, second))
            case Watch():
                self._note(self._watch(step))
            case Raced():
                self._note(self._race(step))
            case CloseStream(stream):
                if stream in self.watches.starts:
                    self._note(self._settle())
                    self.watches.close(stream)
            case Quiet():
                self._note(self._settle() + self.watches.quiet(self.revision))
            case Flush():
                self._note(self._settle())

    @property
    def _sides(self) -> tuple[Side, Side]:
        return self.reference, self.subject

    def _catch_up(self) -> None:
        for side in self._sides:
            side.catch_up()

    def _note(self, differences: list[Difference]) -> None:
        left = unexplained(differences, self.divergences)
        self.allowed += [found for found in differences if found not in left]
        if left:
            self.findings.append(Finding(len(self.sent) - 1, self.sent[-1], left))

    # -- unary requests ----------------------------------------------------------------------

    def _call(self, step: Call) -> list[Difference]:
        rpc, request, at = step.rpc, step.request, step.at
        found: list[Difference] = []
        if rpc == "KV/Compact":
            # what a watch still has to read from history depends on when it reads
            found += self._settle()
        if needs_catching_up(rpc, request):
            self._catch_up()
        found += self._both(rpc, request, at)
        if rpc == "Maintenance/HashKV":
            found += self._unequal_hashes(request)
        return found

    def _unequal_hashes(self, request: Message) -> list[Difference]:
        """Ask all members of the subject for the same hash; 3.5's may differ while it compacts."""
        rpc = "Maintenance/HashKV"
        places = range(len(self.subject.links))
        first, *others = (self.subject.call(rpc, request, at)[1].get("hash") for at in places)
        return [Difference(rpc, "hash", first, other) for other in others if other != first]

    def _both(self, rpc: str, request: Message, at: int = 0) -> list[Difference]:
        """Call both sides at once; give the differences."""
        asked = [side.start(rpc, request, at) for side in self._sides]
        return self._answered(rpc, request, asked)

    def _answered(self, rpc: str, request: Message, asked: list[Pending]) -> list[Difference]:
        answers: list[Fields] = []
        found: list[Difference] = []
        for side, pending in zip(self._sides, asked, strict=True):
            message, fields = pending.outcome()
            if side is self.reference:
                self._learn(request, message, fields)
            if str(fields.get("error", "")).startswith("UNAVAILABLE"):
                # two servers that die of the same request agree, which is no comfort
                found += [
                    Difference("process", server.name, None, server.exit_code(seconds=1.0))
                    for server in side.servers
                ]
            answers.append(steady(rpc, message, fields, side.numbers()))
        first, second = answers
        found += compare(rpc, first, second)
        if rpc == "Lease/LeaseTimeToLive":
            found = [difference for difference in found if not tolerable(difference)]
        return found

    def _learn(self, request: Message, message: Message | None, fields: Fields) -> None:
        """Note what the reference's answer says of its state."""
        revision = fields.get("header.revision")
        if isinstance(revision, int):
            self.revision = max(self.revision, revision)
        if message is None:
            return
        if isinstance(request, messages.CompactionRequest):
            self.compacted = max(self.compacted, request.revision)
        elif isinstance(request, messages.AlarmRequest):
            alarm = (request.alarm, request.memberID)
            if request.action == ACTIVATE and request.alarm:
                self.alarms.add(alarm)
            elif request.action == DEACTIVATE:
                self.alarms.discard(alarm)

    def _brief(self, step: BriefLease) -> list[Difference]:
        rpc, request, at = "Lease/LeaseGrant", step.request, step.at
        assert isinstance(request, messages.LeaseGrantRequest)
        answers: list[Fields] = []
        revoked: list[Fields] = []
        for side in self._sides:
            message, fields = side.call(rpc, request, at)
            if isinstance(message, messages.LeaseGrantResponse):
                if request.ID == 0:
                    fields["ID"] = "positive" if message.ID > 0 else message.ID
                revoke = messages.LeaseRevokeRequest(ID=message.ID)
                revoked.append(side.call("Lease/LeaseRevoke", revoke, at)[1])
            answers.append(fields)
        first, second = answers
        differences = compare(rpc, first, second)
        if len(revoked) == len(answers):
            first, second = revoked
            differences += compare("Lease/LeaseRevoke", first, second)
        return differences

    # -- watch streams -----------------------------------------------------------------------

    def _watch(self, step: Watch) -> list[Difference]:
        number, request = step.stream, step.request
        assert isinstance(request, messages.WatchRequest)
        watches = self.watches
        self._catch_up()
        watches.open(number)
        kind = request.WhichOneof("request_union")
        if kind == "create_request":
            if request.create_request.start_revision < 0:
                return watches.create_negative(number, request, self.revision)
            watches.create(number, request, self.revision)
            return watches.compare()
        found = self._settle()
        if kind == "cancel_request":
            watches.cancel(number, request)
        elif kind == "progress_request":
            watches.progress(number, request, self.revision)
        else:
            watches.tell(number, request)
        return found + self._settle()

    def _race(self, step: Raced) -> list[Difference]:
        number, create, compact = step.stream, step.create, step.compact
        assert isinstance(create, messages.WatchCreateRequest)
        self._catch_up()
        watches = self.watches
        watches.open(number)
        found = self._settle()
        asked: list[Pending] = []
        rpc = "KV/Compact"
        watches.race(number, create, lambda side: asked.append(side.start(rpc, compact, number)))
        found += self._answered(rpc, compact, asked)
        self._sentinel(found)
        return found + watches.finish_race(number) + watches.compare()

    def _settle(self) -> list[Difference]:
        """Let every watch catch up, write the sentinel, and compare what was seen."""
        found: list[Difference] = []
        self._sentinel(found)
        return found + self.watches.compare()

    def _sentinel(self, found: list[Difference]) -> None:
        """Write the sentinel, with alarms that forbid it cleared so long, and wait for it."""
        self.watches.rest()
        alarms = sorted(self.alarms)
        for kind, member in alarms:
            found += self._raise(DEACTIVATE, kind, member)
        self._flushes += 1
        before = self.revision
        request = messages.PutRequest(key=SENTINEL, value=b"%d" % self._flushes)
        found += self._both("KV/Put", request)
        if self.revision > before:
            self.watches.await_sentinel(self.revision)
        for kind, member in alarms:
            found += self._raise(ACTIVATE, kind, member)

    def _raise(self, action: int, kind: int, member: int) -> list[Difference]:
        request = messages.AlarmRequest(memberID=member)
        request.action = action
        request.alarm = kind
        return self._both(ALARM, request)


def generated(campaign: Campaign, seed: int, count: int) -> Iterator[Step]:
    """Make `count` steps from `seed`, with an eye on the campaign's state."""
    generator = seeded(seed)
    generator.watches = campaign.watches.starts
    generator.ended = campaign.watches.ended
    generator.alarms = campaign.alarms
    generator.members = len(campaign.subject.links)
    for _ in range(count):
        generator.revision = campaign.revision
        generator.compacted = campaign.compacted
        yield generator.step()


def shrink(
    steps: list[Step],
    fails: Callable[[list[Step]], bool],
    *,
    seconds: float,
) -> list[Step]:
    """Leave out steps as long as the rest still fails and time remains."""
    deadline = time.monotonic() + seconds
    size = max(1, len(steps) // 2)
    while size:
        start = 0
        while start < len(steps) and time.monotonic() < deadline:
            shorter = steps[:start] + steps[start + size :]
            if fails(shorter):
                steps = shorter
            else:
                start += size
        size //= 2
    return steps

"""Sending one sequence of steps to two servers and comparing all they answer."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Final

from tests.differential.comparison import (
    Difference,
    Divergence,
    Fields,
    compare,
    unexplained,
)
from tests.differential.generator import (
    SENTINEL,
    SENTINEL_WATCH,
    BriefLease,
    Call,
    CloseStream,
    Flush,
    Generator,
    KeepAlive,
    Step,
    Watch,
)
from tests.differential.servers import Side
from trioetcd.schema import messages
from trioetcd.schema.messages import Message

QUIET_SECONDS: Final = 0.25
"""etcd brings watches of the past up to date every 100 ms; after this long it has."""

PATIENCE_SECONDS: Final = 8.0
"""How long a watch event may be late before it is missing."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What differed at which step."""

    number: int
    step: Step
    differences: list[Difference]

    def __str__(self) -> str:
        lines = "\n".join(f"    {difference}" for difference in self.differences)
        return f"step {self.number}: {describe(self.step)}\n{lines}"


def describe(step: Step) -> str:
    """Write a step on one line."""
    match step:
        case Call(rpc, request):
            return f"{rpc} {{{_text(request)}}}"
        case BriefLease(request):
            return f"Lease/LeaseGrant and LeaseRevoke {{{_text(request)}}}"
        case Watch(stream, request):
            return f"Watch/Watch stream {stream} {{{_text(request)}}}"
        case _:
            return repr(step)


def _text(message: Message) -> str:
    text = " ".join(str(message).split())
    return text if len(text) < 3000 else f"{text[:1500]} ... {text[-500:]}"


@dataclass(slots=True)
class Campaign:
    """Two servers, the steps sent so far, and what differed beyond the allowed.

    Attributes:
        reference: the side that is right.
        subject: the side under test.
        divergences: allowed differences.
        findings: everything else.
        sent: every step, so that a run can be repeated and shrunk.
    """

    reference: Side
    subject: Side
    divergences: list[Divergence]
    findings: list[Finding] = field(default_factory=list)
    sent: list[Step] = field(default_factory=list)
    allowed: list[Difference] = field(default_factory=list)
    revision: int = 1
    compacted: int = 0
    watches: dict[int, set[int]] = field(default_factory=dict)
    _starts: dict[int, int] = field(default_factory=dict)
    _restless_until: float = 0.0
    _flushes: int = 0

    def run(self, steps: Iterable[Step]) -> None:
        """Send steps until they end or something differs."""
        for step in steps:
            self.sent.append(step)
            self._do(step)
            if self.findings:
                return
        self.sent.append(Flush())
        self._do(Flush())

    def _do(self, step: Step) -> None:
        match step:
            case Call(rpc, request):
                self._call(rpc, request, step)
            case BriefLease(request):
                self._brief(request, step)
            case KeepAlive(leases):
                found = compare(
                    "Lease/LeaseKeepAlive",
                    self.reference.keep_alive(list(leases)),
                    self.subject.keep_alive(list(leases)),
                )
                self._note(step, found)
            case Watch(stream, request):
                self._watch(stream, request, step)
            case CloseStream(stream):
                if stream in self.watches:
                    self._settle(step)
                    self.reference.close_stream(stream)
                    self.subject.close_stream(stream)
                    del self.watches[stream]
                    self._starts.pop(stream, None)
            case Flush():
                self._settle(step)

    def _note(self, step: Step, differences: list[Difference]) -> None:
        left = unexplained(differences, self.divergences)
        self.allowed += [found for found in differences if found not in left]
        if left:
            self.findings.append(Finding(len(self.sent) - 1, step, left))

    def _both(self, rpc: str, request: Message) -> tuple[Message | None, Fields, Message | None]:
        """Call both sides at once; the differences go to `_differences`."""
        first, second = self.reference.start(rpc, request), self.subject.start(rpc, request)
        message, expected = first.outcome()
        answer, got = second.outcome()
        self._differences = compare(rpc, _steady(rpc, expected), _steady(rpc, got))
        for side, fields in ((self.reference, expected), (self.subject, got)):
            if str(fields.get("error", "")).startswith("UNAVAILABLE"):
                # two servers that die of the same request agree, which is no comfort
                status = side.server.exit_code(seconds=1.0)
                self._differences.append(Difference("process", side.server.name, None, status))
        if rpc == "Lease/LeaseTimeToLive":
            self._differences = [found for found in self._differences if not _tolerable(found)]
        return message, expected, answer

    _differences: list[Difference] = field(default_factory=list)

    def _call(self, rpc: str, request: Message, step: Step) -> None:
        if rpc == "KV/Compact":
            # what a watch still has to read from history depends on when it reads
            self._settle(step)
        message, expected, _ = self._both(rpc, request)
        revision = expected.get("header.revision")
        if isinstance(revision, int):
            self.revision = max(self.revision, revision)
        if message is not None and isinstance(request, messages.CompactionRequest):
            self.compacted = max(self.compacted, request.revision)
        self._note(step, self._differences)

    def _brief(self, request: messages.LeaseGrantRequest, step: Step) -> None:
        rpc = "Lease/LeaseGrant"
        first, expected = self.reference.call(rpc, request)
        second, got = self.subject.call(rpc, request)
        granted = [
            (side, message.ID)
            for side, message in ((self.reference, first), (self.subject, second))
            if isinstance(message, messages.LeaseGrantResponse)
        ]
        if request.ID == 0:
            for fields in (expected, got):
                number = fields.get("ID")
                if isinstance(number, int):
                    fields["ID"] = "positive" if number > 0 else number
        differences = compare(rpc, expected, got)
        revoked = [
            side.call("Lease/LeaseRevoke", messages.LeaseRevokeRequest(ID=number))[1]
            for side, number in granted
        ]
        if len(revoked) == 2:
            differences += compare("Lease/LeaseRevoke", *revoked)
        self._note(step, differences)

    def _watch(self, number: int, request: messages.WatchRequest, step: Step) -> None:
        sides = (self.reference.stream(number), self.subject.stream(number))
        if number not in self.watches:
            self.watches[number] = set()
            create = messages.WatchCreateRequest(key=SENTINEL, watch_id=SENTINEL_WATCH)
            self._send(number, messages.WatchRequest(create_request=create))
        kind = request.WhichOneof("request_union")
        if kind == "progress_request" and self._starts.get(number, 0) > self.revision:
            # since 3.6 a watch of the future keeps progress back; 3.5 answers all the same
            return
        if kind != "create_request":
            self._settle(step)
        cancelled = request.cancel_request.watch_id
        if kind == "cancel_request" and cancelled not in self.watches[number]:
            for side in sides:  # silently ignored, both at once
                side.send(request)
            self._settle(step)
            return
        answers = self._send(number, request)
        if kind == "cancel_request":
            self.watches[number].discard(cancelled)
            for side in sides:
                side.forget(cancelled)
        if kind == "create_request":
            if request.create_request.start_revision <= self.revision:
                self._restless_until = time.monotonic() + QUIET_SECONDS
            if not answers.get("canceled"):
                given = answers.get("watch_id", 0)
                assert isinstance(given, int)
                self.watches[number].add(given)
                start = request.create_request.start_revision
                self._starts[number] = max(start, self._starts.get(number, 0))
        self._compare_streams(step)

    def _send(self, number: int, request: messages.WatchRequest) -> Fields:
        """Send a watch request that is answered at once, and wait for both answers."""
        control: Fields = {}
        for side in (self.subject.stream(number), self.reference.stream(number)):
            before = {key: len(items) for key, items in side.seen.items()}
            side.send(request)
            deadline = time.monotonic() + PATIENCE_SECONDS
            while time.monotonic() < deadline:
                arrived = [
                    item
                    for key, items in side.seen.items()
                    for item in items[before.get(key, 0) :]
                    if _answers(request, item)
                ]
                if arrived:
                    control = arrived[0]
                    break
                side.receive(max(0.01, deadline - time.monotonic()))
        return control

    def _settle(self, step: Step) -> None:
        """Let every watch catch up, write the sentinel, and compare what was seen."""
        rest = self._restless_until - time.monotonic()
        if rest > 0:
            self._drain(rest)
        self._flushes += 1
        request = messages.PutRequest(key=SENTINEL, value=b"%d" % self._flushes)
        _, expected, _ = self._both("KV/Put", request)
        self._note(step, self._differences)
        revision = expected.get("header.revision")
        if not isinstance(revision, int):
            return
        self.revision = revision
        deadline = time.monotonic() + PATIENCE_SECONDS
        for side in (self.reference, self.subject):
            for stream in side.streams.values():
                while not any(
                    item.get("kv.mod_revision") == revision for item in stream.seen[SENTINEL_WATCH]
                ):
                    if not stream.receive(max(0.0, deadline - time.monotonic())):
                        break
        self._compare_streams(step)

    def _drain(self, seconds: float) -> None:
        deadline = time.monotonic() + seconds
        while self.watches and time.monotonic() < deadline:
            for side in (self.reference, self.subject):
                for stream in side.streams.values():
                    stream.receive(0.005)

    def _compare_streams(self, step: Step) -> None:
        """Compare all watches of all streams, waiting for the slower side."""
        differences: list[Difference] = []
        for number, expected in self.reference.streams.items():
            got = self.subject.streams[number]
            deadline = time.monotonic() + PATIENCE_SECONDS
            while _pruned(expected.seen) != _pruned(got.seen) and time.monotonic() < deadline:
                expected.receive(0.001)
                got.receive(0.001)
                if _hopeless(expected.seen, got.seen):
                    break
            differences += _stream_differences(number, expected.seen, got.seen)
            for side, name in ((expected, "reference"), (got, "subject")):
                differences += [
                    Difference("Watch/Watch", f"stream[{number}].{name}", "", problem)
                    for problem in side.problems
                ]
                side.problems.clear()
            self._gone(number, expected.seen)
            expected.seen.clear()
            got.seen.clear()
        if differences:
            self._note(step, differences)

    def _gone(self, number: int, seen: dict[int, list[Fields]]) -> None:
        """Forget the watches that the server cancelled."""
        for watch, items in seen.items():
            if any(item.get("canceled") for item in items):
                self.watches[number].discard(watch)


def _answers(request: messages.WatchRequest, item: Fields) -> bool:
    """Whether this item is the control answer to the request (a cancel may arrive unasked)."""
    if "error" in item:
        return True
    if "header" not in item:
        return False
    match request.WhichOneof("request_union"):
        case "create_request":
            return "created" in item
        case "cancel_request":
            asked = request.cancel_request.watch_id
            return "canceled" in item and item.get("watch_id", 0) == asked
        case _:
            return not item.keys() & {"created", "canceled"}


def _pruned(seen: dict[int, list[Fields]]) -> dict[int, list[Fields]]:
    return {key: items for key, items in seen.items() if items}


def _hopeless(expected: dict[int, list[Fields]], got: dict[int, list[Fields]]) -> bool:
    """Whether what has arrived differs already, so that more cannot mend it."""
    return any(
        first != second
        for key in expected.keys() & got.keys()
        for first, second in zip(expected[key], got[key], strict=False)
    )


def _stream_differences(
    number: int,
    expected: dict[int, list[Fields]],
    got: dict[int, list[Fields]],
) -> list[Difference]:
    found: list[Difference] = []
    nothing: Fields = {"arrived": "nothing"}
    for watch in sorted(_pruned(expected).keys() | _pruned(got).keys()):
        first, second = expected.get(watch, []), got.get(watch, [])
        for place in range(max(len(first), len(second))):
            left = first[place] if place < len(first) else nothing
            right = second[place] if place < len(second) else nothing
            found += [
                item._replace(field=f"stream[{number}].watch[{watch}][{place}].{item.field}")
                for item in compare("Watch/Watch", left, right)
            ]
    return found


def _steady(rpc: str, fields: Fields) -> Fields:
    """Bring what has no order (keys of a lease) into one."""
    if rpc == "Lease/LeaseTimeToLive":
        keys = sorted(str(value) for path, value in fields.items() if path.startswith("keys["))
        fields = {path: value for path, value in fields.items() if not path.startswith("keys[")}
        fields["keys, sorted"] = keys
    return fields


def _tolerable(difference: Difference) -> bool:
    """Two clocks: the remaining seconds of a lease may differ by one or two."""
    expected, got = difference.expected, difference.got
    return (
        difference.field == "TTL"
        and isinstance(expected, int)
        and isinstance(got, int)
        and min(expected, got) > 3
        and abs(expected - got) <= 2
    )


def generated(campaign: Campaign, seed: int, count: int) -> Iterator[Step]:
    """Make `count` steps from `seed`, with an eye on the campaign's state."""
    generator = Generator(random.Random(seed))
    for _ in range(count):
        generator.revision = campaign.revision
        generator.compacted = campaign.compacted
        generator.watches = campaign.watches
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

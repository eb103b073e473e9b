"""Tests of `trioetcd.wire.peer`: hello, messages, snapshots, and every rule somebody may break."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from tests.strategies import chunk_sizes
from tests.wire.conversation import chunked
from tests.wire.peer_conversation import (
    HEAD,
    SENDER,
    TO,
    answers_of,
    events_of,
    hello,
    joined,
    some_of_each,
)
from trioetcd import raft
from trioetcd.raft import Group
from trioetcd.values import ClusterID, Index, Term
from trioetcd.wire import peer_frames as frames
from trioetcd.wire.cbor import Value, encode
from trioetcd.wire.errors import RemoteProtocolError
from trioetcd.wire.limits import PeerLimits
from trioetcd.wire.peer import (
    Accepted,
    Answer,
    Failed,
    HashAsked,
    Hashed,
    Hello,
    Installed,
    Members,
    Messages,
    Numbered,
    OtherVersion,
    PeerDialler,
    PeerListener,
    Purpose,
    Refused,
    SnapshotEnd,
    SnapshotHead,
    SnapshotRows,
    Welcome,
    cut_rows,
)
from trioetcd.wire.peer_frames import FrameKind, frame

ROWS = [(b"k%d" % at, b"v" * at) for at in range(300)]


def written(*items: Value) -> bytes:
    return frame(encode(list(items)))


# -- hello ------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1])
def test_both_sides_learn_who_is_there(size: int) -> None:
    """Hello and welcome carry every field, whole and byte by byte."""
    dialler, listener = PeerDialler(hello()), PeerListener()
    heard: list[object] = []
    for piece in chunked(dialler.take(), size):
        listener.receive(piece)
        heard += events_of(listener)
    listener.welcome(2**64 - 1, "3.7.1")
    answers: list[Answer] = []
    for piece in chunked(listener.take(), size):
        dialler.receive(piece)
        answers += answers_of(dialler)

    assert [hello()] == heard
    assert hello() == listener.hello
    assert [Welcome(2**64 - 1, "3.7.1")] == answers
    assert answers[0] == dialler.welcome


def test_a_refusal_arrives_with_its_reason() -> None:
    """The dialler is told a code and a sentence, and nothing after that."""
    dialler, listener = PeerDialler(hello()), PeerListener()
    listener.receive(dialler.take())
    list(events_of(listener))
    listener.refuse("cluster", "x" * 5000)
    dialler.receive(listener.take())

    assert [Refused("cluster", "x" * PeerLimits().reason_letters_max)] == list(answers_of(dialler))
    dialler.receive(b"more")
    listener.receive(b"more")
    assert [] == [*answers_of(dialler), *events_of(listener)]


def test_another_version_is_told_apart_from_garbage() -> None:
    """A hello of a later protocol, whatever follows its version, can be refused in a sentence."""
    listener = PeerListener()
    listener.receive(written(FrameKind.HELLO.value, 2, b"anything", [1]))

    assert [OtherVersion(2)] == list(events_of(listener))
    listener.refuse("version", "this member speaks version 1")
    assert listener.take()
    assert listener.hello is None


def hello_with(at: int, value: Value) -> list[Value]:
    items: list[Value] = [1, 1, 1, 5, 6, 7, 8, "v", ["u"]]
    items[at] = value
    return items


@pytest.mark.parametrize(
    "items",
    [
        [],
        [1],
        [4, 1, 1, 5, 6, 7, 8, "v", []],
        [1, 1, 1, 5, 6, 7, 8, "v"],
        [1, 1, 1, 5, 6, 7, 8, "v", [], 1],
        hello_with(0, 99),
        hello_with(1, True),
        hello_with(2, 6),
        hello_with(2, 0),
        hello_with(3, b"5"),
        hello_with(4, "6"),
        hello_with(5, []),
        hello_with(6, False),
        hello_with(7, 1),
        hello_with(7, "v" * 65),
        hello_with(8, "u"),
        hello_with(8, [1]),
        hello_with(8, ["u" * 513]),
    ],
    ids=str,
)
def test_a_bad_hello_is_refused(items: list[Value]) -> None:
    """Missing, surplus and wrong fields break the protocol, and nothing more is heard."""
    listener = PeerListener()
    listener.receive(written(*items))
    with pytest.raises(RemoteProtocolError):
        listener.next_event()
    listener.receive(PeerDialler(hello()).take())
    assert listener.next_event() is None


def test_a_stranger_holds_no_memory() -> None:
    """A length above the hello's bound is refused by itself; so is speaking before the answer."""
    listener = PeerListener()
    listener.receive((4097).to_bytes(4, "big"))
    with pytest.raises(RemoteProtocolError, match="4097"):
        listener.next_event()
    listener = PeerListener()
    listener.receive(PeerDialler(hello()).take())
    list(events_of(listener))
    with pytest.raises(RemoteProtocolError, match="before the answer"):
        listener.receive(b"x" * 5000)


def test_what_comes_with_the_hello_waits_for_the_answer() -> None:
    """Frames that a hasty dialler sent right behind its hello are heard after the welcome."""
    sender, _ = joined()
    sender.send(some_of_each(1)[:1])
    listener = PeerListener()
    listener.receive(PeerDialler(hello()).take() + sender.take())
    assert [hello()] == list(events_of(listener))
    listener.welcome(1, "")

    assert [Messages(some_of_each(1)[:1])] == list(events_of(listener))


def test_who_asks_for_the_members_is_told_them() -> None:
    """A member that is about to join learns the cluster and its members, more than fit a hello."""
    members = Members(ClusterID(2**64 - 1), [b"m" * 3000, b"", b"m2" * 3000])
    dialler, listener = PeerDialler(hello(Purpose.MEMBERS)), PeerListener()
    listener.receive(dialler.take())
    assert [hello(Purpose.MEMBERS)] == list(events_of(listener))
    listener.tell_members(members)
    dialler.receive(listener.take())

    assert [members] == list(answers_of(dialler))


@pytest.mark.parametrize(
    ("purpose", "sent"),
    [
        (Purpose.MEMBERS, written(FrameKind.WELCOME.value, 1, "")),
        (Purpose.MESSAGES, written(FrameKind.MEMBERS.value, 1, [b"m"])),
        (Purpose.MEMBERS, written(FrameKind.MEMBERS.value, 1, ["m"])),
        (Purpose.MEMBERS, written(FrameKind.MEMBERS.value, 1)),
    ],
    ids=["welcome", "not-asked", "text", "short"],
)
def test_only_who_asks_is_told_the_members(purpose: Purpose, sent: bytes) -> None:
    """An answer to another question breaks the protocol."""
    dialler = PeerDialler(hello(purpose))
    dialler.receive(sent)
    with pytest.raises(RemoteProtocolError):
        dialler.next_event()


# -- hashes -----------------------------------------------------------------------------------

HASHED = Hashed(2**64 - 1, 2**63 - 1, 0)
HASH_PURPOSES = [purpose for purpose in Purpose if purpose.asks_hash]


@pytest.mark.parametrize("purpose", HASH_PURPOSES)
def test_who_asks_for_a_hash_is_told_it(purpose: Purpose) -> None:
    """One question for a revision, one answer: the hash, or a refusal with its code."""
    for answer in (HASHED, Refused("future", "not yet")):
        dialler, listener = joined(purpose)
        dialler.ask_hash(HashAsked(2**63 - 1))
        listener.receive(dialler.take())
        assert [HashAsked(2**63 - 1)] == list(events_of(listener))
        if isinstance(answer, Hashed):
            listener.tell_hash(answer)
        else:
            listener.refuse(*answer)
        dialler.receive(listener.take())

        assert [answer] == list(answers_of(dialler))
        dialler.receive(written(FrameKind.HASH.value, *HASHED))
        assert dialler.next_event() is None


@pytest.mark.parametrize(
    "sent",
    [
        written(FrameKind.HASH_REVISION.value),
        written(FrameKind.HASH_REVISION.value, 2**63),
        written(FrameKind.HASH_REVISION.value, 5, 5),
        written(FrameKind.HASH.value, *HASHED),
        frame(b"x" * 5000),
    ],
    ids=["empty", "large", "long", "answer", "frame"],
)
def test_only_a_short_question_comes_where_a_hash_is_asked_for(sent: bytes) -> None:
    """Anything else breaks the protocol, and so does more than a question before its answer."""
    _, listener = joined(Purpose.CHAIN_HASH)
    listener.receive(sent)
    with pytest.raises(RemoteProtocolError):
        listener.next_event()

    _, listener = joined(Purpose.CHAIN_HASH)
    listener.receive(written(FrameKind.HASH_REVISION.value, 5))
    assert [HashAsked(5)] == list(events_of(listener))
    with pytest.raises(RemoteProtocolError, match="before the answer"):
        listener.receive(bytes(5000))


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (False, written(FrameKind.HASH.value, *HASHED)),
        (True, written(FrameKind.HASH.value, 1, 2)),
        (True, written(FrameKind.HASH.value, 1, 2**63, 0)),
        (True, written(FrameKind.WELCOME.value, 1, "")),
    ],
    ids=["not-asked", "short", "large", "welcome"],
)
def test_nothing_but_a_hash_answers_the_question_for_one(*, asked: bool, sent: bytes) -> None:
    """A hash that nobody asked for, or another answer, breaks the protocol."""
    dialler, _ = joined(Purpose.CONTENT_HASH)
    if asked:
        dialler.ask_hash(HashAsked(5))
    dialler.receive(sent)
    with pytest.raises(RemoteProtocolError):
        dialler.next_event()


# -- messages ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, 1000])
def test_messages_arrive_in_order(size: int) -> None:
    """What was sent in some turns arrives as it was, however the bytes are cut."""
    dialler, listener = joined()
    sent = some_of_each(3)
    for start in range(0, len(sent), 5):
        dialler.send(sent[start : start + 5])
    heard: list[Numbered] = []
    for piece in chunked(dialler.take(), size):
        listener.receive(piece)
        for event in events_of(listener):
            assert isinstance(event, Messages)
            heard += event.messages

    assert sent == heard
    assert dialler.take() == b""


def proposal(sequence: int, size: int, count: int = 1) -> Numbered:
    return Numbered(sequence, raft.Propose(TO, SENDER, Term(1), [b"x" * size] * count))


def test_a_turn_is_few_frames() -> None:
    """Messages share a frame up to its target; a longer one is alone in its own."""
    limits = PeerLimits(frame_bytes_target=10_000, frame_bytes_max=100_000)
    dialler, listener = joined(limits=limits)
    sizes = [100] * 20 + [50_000] + [100, 9_000, 9_000]
    dialler.send([proposal(at, size) for at, size in enumerate(sizes)])
    listener.receive(dialler.take())
    counts = [len(event.messages) for event in events_of(listener) if isinstance(event, Messages)]

    assert [20, 1, 2, 1] == counts


@pytest.mark.parametrize(
    "long", [proposal(2, 100_000), proposal(2, 0, 1000)], ids=["bytes", "items"]
)
def test_what_fits_no_frame_is_dropped_and_counted(long: Numbered) -> None:
    """A message that the other side would have to refuse is not sent; its neighbours are."""
    limits = PeerLimits(frame_bytes_target=10_000, frame_bytes_max=100_000, items_max=1000)
    dialler, listener = joined(limits=limits)
    dialler.send([proposal(1, 1), long, proposal(3, 1)])
    listener.receive(dialler.take())
    heard = [m.sequence for e in events_of(listener) if isinstance(e, Messages) for m in e.messages]

    assert ([1, 3], 1) == (heard, dialler.dropped)


def test_a_frame_is_bounded_in_bytes_where_it_may_hold_more_items() -> None:
    """Few items do not make a frame short enough."""
    limits = PeerLimits(frame_bytes_target=100, frame_bytes_max=1000, items_max=100_000)
    dialler, listener = joined(limits=limits)
    dialler.send([proposal(1, 2000)])
    listener.receive(dialler.take())

    assert ([], 1) == (list(events_of(listener)), dialler.dropped)


def test_the_items_of_a_frame_are_bounded_on_both_sides() -> None:
    """So many small messages that they pass the bound are split before it."""
    limits = PeerLimits(items_max=100)
    dialler, listener = joined(limits=limits)
    dialler.send(some_of_each(5, count=10))
    listener.receive(dialler.take())
    heard = [e.messages for e in events_of(listener) if isinstance(e, Messages)]

    assert some_of_each(5, count=10) == [each for messages in heard for each in messages]
    assert len(heard) > 5


def test_damaged_entries_end_the_connection() -> None:
    """A flipped bit within a group is found by the group's own checksum."""
    dialler, listener = joined()
    group = Group(Index(1), Term(1), [b"payload"])
    message = raft.AppendEntries(TO, SENDER, Term(1), Index(0), Term(0), Index(0), (group,))
    dialler.send([Numbered(1, message)])
    listener.receive(dialler.take().replace(b"payload", b"pbyload"))
    with pytest.raises(RemoteProtocolError, match="damaged entries: the checksum"):
        listener.next_event()


@pytest.mark.parametrize(
    "sent",
    [
        written(FrameKind.MESSAGES.value),
        written(FrameKind.MESSAGES.value, 1),
        written(FrameKind.WELCOME.value, 1, ""),
        written(FrameKind.ROWS.value, b"k", b"v"),
        PeerDialler(hello()).take(),
        frame(b""),
        (2**24 + 1).to_bytes(4, "big"),
        b"\xff\xff\xff\xff",
    ],
    ids=["none", "no-array", "welcome", "rows", "hello", "empty", "long", "longest"],
)
def test_only_messages_come_after_the_hello(sent: bytes) -> None:
    """Anything else ends a connection for messages."""
    _, listener = joined()
    listener.receive(sent)
    with pytest.raises(RemoteProtocolError):
        listener.next_event()


@pytest.mark.parametrize(
    "sent",
    [
        written(FrameKind.WELCOME.value, 1, ""),
        written(FrameKind.REFUSED.value, "cluster", "late"),
        written(FrameKind.ACCEPTED.value),
        written(FrameKind.INSTALLED.value),
        written(FrameKind.FAILED.value, ""),
        written(FrameKind.MESSAGES.value, [1, 10, 1]),
        written(FrameKind.WELCOME.value, 1),
        (4097).to_bytes(4, "big"),
    ],
    ids=["welcome", "refused", "accepted", "installed", "failed", "messages", "short", "long"],
)
def test_a_listener_of_messages_is_silent(sent: bytes) -> None:
    """After its welcome a listener that says anything breaks the protocol."""
    dialler, _ = joined()
    dialler.receive(sent)
    with pytest.raises(RemoteProtocolError):
        dialler.next_event()
    assert dialler.next_event() is None


# -- snapshots --------------------------------------------------------------------------------


def offered() -> tuple[PeerDialler, PeerListener]:
    dialler, listener = joined(Purpose.SNAPSHOT)
    dialler.offer(HEAD)
    listener.receive(dialler.take())
    assert [HEAD] == list(events_of(listener))
    return dialler, listener


def carried(
    dialler: PeerDialler, listener: PeerListener, *, change: Callable[[bytes], bytes] = bytes
) -> list[object]:
    """Accept and carry the rows over in small pieces; give what the listener heard."""
    listener.accept()
    dialler.receive(listener.take())
    assert [Accepted()] == list(answers_of(dialler))
    for piece in cut_rows(iter(ROWS), PeerLimits(rows_bytes_max=2000)):
        dialler.send_rows(piece)
    dialler.end()
    heard: list[object] = []
    for sent in chunked(change(dialler.take()), 777):
        listener.receive(sent)
        heard += events_of(listener)
    return heard


def test_a_snapshot_goes_over_in_pieces() -> None:
    """Head, rows and end arrive whole, and both ends of the story are told."""
    dialler, listener = offered()
    *pieces, end = carried(dialler, listener)
    rows = [row for piece in pieces if isinstance(piece, SnapshotRows) for row in piece.rows]
    listener.installed()
    dialler.receive(listener.take())

    assert ROWS == rows
    assert len(pieces) > 10
    assert SnapshotEnd(whole=True) == end
    assert [Installed()] == list(answers_of(dialler))


def test_a_changed_byte_is_found_at_the_end() -> None:
    """Rows that differ from what was read fail the digest."""
    dialler, listener = offered()
    heard = carried(dialler, listener, change=lambda sent: sent.replace(b"k77", b"k78"))
    listener.failed("the digest differs")
    dialler.receive(listener.take())

    assert SnapshotEnd(whole=False) == heard[-1]
    assert [Failed("the digest differs")] == list(answers_of(dialler))


def test_the_digest_covers_the_head() -> None:
    """A head that was changed on the way fails the digest, too."""
    dialler, listener = joined(Purpose.SNAPSHOT)
    dialler.offer(HEAD)
    listener.receive(dialler.take().replace(b"meta", b"beta"))
    assert [HEAD._replace(meta=b"beta")] == list(events_of(listener))

    assert SnapshotEnd(whole=False) == carried(dialler, listener)[-1]


def test_a_snapshot_can_be_refused_or_fail_early() -> None:
    """After its head a snapshot is refused; during its rows it fails."""
    dialler, listener = offered()
    listener.refuse("snapshot", "not needed")
    dialler.receive(listener.take())
    assert [Refused("snapshot", "not needed")] == list(answers_of(dialler))

    dialler, listener = offered()
    listener.accept()
    dialler.receive(listener.take())
    list(answers_of(dialler))
    listener.failed("the disk is full")
    dialler.receive(listener.take())
    assert [Failed("the disk is full")] == list(answers_of(dialler))


@pytest.mark.parametrize(
    "sent",
    [
        written(FrameKind.ROWS.value, b"key"),
        written(FrameKind.ROWS.value, b"key", 1),
        written(FrameKind.SNAPSHOT_END.value, b"short"),
        written(FrameKind.SNAPSHOT_END.value, b"x" * 32, 1),
        written(FrameKind.MESSAGES.value, [1, 10, 1]),
    ],
    ids=["odd", "number", "short", "surplus", "messages"],
)
def test_bad_pieces_are_refused(sent: bytes) -> None:
    """A key without a value, a value of another type, a digest that is none, another frame."""
    _, listener = offered()
    listener.accept()
    listener.receive(sent)
    with pytest.raises(RemoteProtocolError):
        listener.next_event()


@pytest.mark.parametrize("at", range(4))
def test_a_bad_head_is_refused(at: int) -> None:
    """Numbers out of range and a description that is none break the protocol."""
    items: list[Value] = [FrameKind.SNAPSHOT_HEAD.value, 1, 2, 1, b""]
    items[at + 1] = 2**63
    _, listener = joined(Purpose.SNAPSHOT)
    listener.receive(written(*items))
    with pytest.raises(RemoteProtocolError):
        listener.next_event()


def test_rows_are_cut_by_their_bytes() -> None:
    """A piece holds at most so many bytes, or one row; all of them together are the rows."""
    limits = PeerLimits(rows_bytes_max=1000)
    rows = [*ROWS, (b"long", b"x" * 5000), (b"", b"")]
    pieces = list(cut_rows(iter(rows), limits))

    assert rows == [row for piece in pieces for row in piece]
    for piece in pieces:
        size = sum(len(key) + len(value) + limits.row_bytes for key, value in piece)
        assert size <= 1000 or len(piece) == 1


def test_the_smallest_rows_fit_a_frame() -> None:
    """A piece of empty rows has no more items than a listener takes."""
    limits = PeerLimits()
    piece = next(cut_rows(iter([(b"", b"")] * 200_000), limits))

    assert 2 * len(piece) + 1 <= limits.row_items_max


# -- anything ---------------------------------------------------------------------------------


def likely_frames() -> st.SearchStrategy[bytes]:
    dialler, _ = joined()
    dialler.send(some_of_each(9)[:6])
    messages = dialler.take()
    digest = frame(frames.encode_digest(b"d" * 32))
    return st.sampled_from(
        [
            PeerDialler(hello()).take(),
            PeerDialler(hello(Purpose.SNAPSHOT)).take(),
            messages,
            frame(frames.encode_head(HEAD)),
            frame(frames.encode_rows(ROWS[:5])),
            digest,
            written(FrameKind.WELCOME.value, 5, "v"),
            written(FrameKind.REFUSED.value, "cluster", "reason"),
            written(FrameKind.ACCEPTED.value),
            written(FrameKind.INSTALLED.value),
            written(FrameKind.FAILED.value, "reason"),
            written(FrameKind.MEMBERS.value, 5, [b"m"]),
            PeerDialler(hello(Purpose.MEMBERS)).take(),
            *(PeerDialler(hello(purpose)).take() for purpose in HASH_PURPOSES),
            written(FrameKind.HASH_REVISION.value, 5),
            written(FrameKind.HASH.value, *HASHED),
        ]
    )


def anything() -> st.SearchStrategy[bytes]:
    """Frames that are nearly right, in any order, some bytes of them changed; or any bytes."""
    kinds = st.lists(st.one_of(likely_frames(), st.binary(max_size=30).map(frame)), max_size=6)

    def damage(parts: list[bytes], seed: int) -> bytes:
        dice = random.Random(seed)
        data = bytearray(b"".join(parts))
        for _ in range(dice.choice((0, 0, 0, 1, 3)) if data else 0):
            data[dice.randrange(len(data))] = dice.getrandbits(8)
        return bytes(data)

    return st.one_of(
        st.builds(damage, kinds, st.integers(0, 2**32)),
        st.binary(max_size=200),
    )


def listen(sent: bytes, size: int) -> tuple[list[object], str]:
    """Feed a listener that agrees with everything; give what it heard and how it broke."""
    listener = PeerListener()
    heard: list[object] = []
    try:
        for piece in chunked(sent, size):
            listener.receive(piece)
            for event in events_of(listener):
                heard.append(event)
                match event:
                    case Hello(Purpose.MEMBERS):
                        listener.tell_members(Members(ClusterID(1), [b"m"]))
                    case Hello():
                        listener.welcome(1, "v")
                    case OtherVersion():
                        listener.refuse("version", "another")
                    case SnapshotHead():
                        listener.accept()
                    case HashAsked():
                        listener.tell_hash(HASHED)
                    case SnapshotEnd(whole):
                        listener.installed() if whole else listener.failed("digest")
                    case _:
                        pass
            listener.take()
    except RemoteProtocolError as error:
        listener.receive(b"more")
        assert listener.next_event() is None
        return heard, str(error)
    return heard, ""


@settings(deadline=None)
@given(sent=anything(), size=chunk_sizes())
@example(sent=b"", size=1)
def test_a_listener_survives_anything(sent: bytes, size: int) -> None:
    """Any bytes give events or RemoteProtocolError, the same ones whole and in pieces."""
    assert listen(sent, 0) == listen(sent, size)


def dial(sent: bytes, size: int, purpose: Purpose) -> tuple[list[object], str]:
    dialler = PeerDialler(hello(purpose))
    dialler.take()
    heard: list[object] = []
    try:
        for piece in chunked(sent, size):
            dialler.receive(piece)
            for answer in answers_of(dialler):
                heard.append(answer)
                if purpose is Purpose.SNAPSHOT and isinstance(answer, Welcome):
                    dialler.offer(HEAD)
                elif purpose.asks_hash and isinstance(answer, Welcome):
                    dialler.ask_hash(HashAsked(5))
                elif isinstance(answer, Accepted):
                    dialler.send_rows(ROWS[:3])
                    dialler.end()
            dialler.take()
    except RemoteProtocolError as error:
        dialler.receive(b"more")
        assert dialler.next_event() is None
        return heard, str(error)
    return heard, ""


@settings(deadline=None)
@given(sent=anything(), size=chunk_sizes(), purpose=st.sampled_from(Purpose))
def test_a_dialler_survives_anything(sent: bytes, size: int, purpose: Purpose) -> None:
    """Any bytes from a listener give answers or RemoteProtocolError, whole and in pieces alike."""
    assert dial(sent, 0, purpose) == dial(sent, size, purpose)

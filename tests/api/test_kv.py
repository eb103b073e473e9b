"""Tests of `trioetcd.api.kv`: the short way of a plain get says what the long one says."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from tests.api.metadata import NoMetadata
from tests.runtime.member import Caller, put, running
from trioetcd.api.kv import KVAPI, _plain_get
from trioetcd.errors import EtcdError
from trioetcd.runtime.server import Server
from trioetcd.schema import messages

requests = st.builds(
    messages.RangeRequest,
    key=st.binary(max_size=130),
    range_end=st.sampled_from([b"", b"", b"\0", b"8\1"]),
    revision=st.sampled_from([0, 0, 1]),
    serializable=st.booleans(),
    keys_only=st.sampled_from([False, False, True]),
)
damage = st.sampled_from([b"", b"", b"8\1", b"8\0", b"8", b"\x18\0", b"\n\1k", b"\n\0", b"\xff"])


def is_plain(request: messages.RangeRequest) -> bool:
    plain = messages.RangeRequest(key=request.key, serializable=request.serializable)
    return bool(request.key) and request == plain


@given(requests, damage)
@example(messages.RangeRequest(key=b"8\1"), b"")
@example(messages.RangeRequest(key=b"k8\1"), b"8\1")
def test_a_plain_get_is_told_by_its_bytes(request: messages.RangeRequest, more: bytes) -> None:
    """What is taken for one means to protobuf just what was found in it."""
    message = request.SerializeToString() + more
    found = _plain_get(message)
    if found is not None:
        key, serializable = found
        assert messages.RangeRequest.FromString(message) == messages.RangeRequest(
            key=key, serializable=serializable
        )
    if not more:
        assert (found is not None) == (is_plain(request) and len(request.key) < 128)


@given(st.binary(max_size=8))
def test_no_bytes_are_taken_for_more_than_they_are(message: bytes) -> None:
    """Nor do any other bytes pass for a plain get that protobuf reads otherwise, or not at all."""
    found = _plain_get(message)
    if found is not None:
        assert found[0]
        assert messages.RangeRequest.FromString(message) == messages.RangeRequest(
            key=found[0], serializable=found[1]
        )


async def read(server: Server, message: bytes) -> bytes:
    caller = Caller()
    answer = KVAPI(server).range(caller, 1, NoMetadata(), message)
    found = await caller.wait(1) if answer is None else answer
    assert isinstance(found, bytes)
    return found


@pytest.mark.parametrize("serializable", [False, True])
@pytest.mark.parametrize("key", [b"k", b"gone", b"k" * 127, b"k" * 128, b"\0"])
async def test_a_plain_get_is_answered_as_any_other(key: bytes, *, serializable: bool) -> None:
    """The same request with a field that says nothing takes the long way to the same answer."""
    message = messages.RangeRequest(key=key, serializable=serializable).SerializeToString()
    async with running() as server:
        caller = Caller()
        for call, present in enumerate((b"k", b"k" * 127, b"k" * 128)):
            put(server, caller, call, present)
            await caller.wait(call)
        limit_none = b"\x18\0"
        long = await read(server, message + limit_none)

        assert _plain_get(message + limit_none) is None
        assert long == await read(server, message)
        assert len(messages.RangeResponse.FromString(long).kvs) == (key[:1] == b"k")


async def test_a_plain_get_waits_until_the_store_is_current() -> None:
    """A linearizable one is answered later where the store is not current; the other at once."""
    message = messages.RangeRequest(key=b"k").SerializeToString()
    async with running() as server:
        server.replica.is_current = False
        caller = Caller()
        api = KVAPI(server)

        assert api.range(caller, 1, NoMetadata(), message) is None
        assert isinstance(api.range(caller, 2, NoMetadata(), message + b"8\1"), bytes)
        assert isinstance(await caller.wait(1), bytes)


class Conversation:
    """A stream whose client asks once and keeps what it is sent."""

    def __init__(self, request: messages.RangeRequest) -> None:
        self._requests = [request.SerializeToString()]
        self.pieces: list[messages.RangeResponse] = []

    async def receive(self) -> bytes | None:
        return self._requests.pop() if self._requests else None

    async def send(self, pieces: list[bytes], /) -> None:
        message = messages.RangeStreamResponse.FromString(b"".join(pieces))
        assert message.HasField("range_response")
        self.pieces.append(message.range_response)


@pytest.mark.parametrize(
    "request_",
    [
        messages.RangeRequest(key=b"k", range_end=b"l"),
        messages.RangeRequest(key=b"k", range_end=b"l", limit=15),
        messages.RangeRequest(key=b"k", range_end=b"l", revision=20),
        messages.RangeRequest(key=b"k", range_end=b"l", count_only=True),
        messages.RangeRequest(key=b"nothing", range_end=b"o"),
    ],
    ids=["all", "limit", "past", "count", "none"],
)
async def test_a_stream_of_pieces_is_what_a_range_answers(request_: messages.RangeRequest) -> None:
    """Merged, they are Range's answer; only the last has header, more and count."""
    async with running() as server:
        caller = Caller()
        for call in range(40):
            put(server, caller, call, b"k%02d" % call)
            await caller.wait(call)
        conversation = Conversation(request_)
        await KVAPI(server).range_stream(NoMetadata(), conversation)
        whole = messages.RangeResponse.FromString(await read(server, request_.SerializeToString()))

    merged = messages.RangeResponse()
    for piece in conversation.pieces:
        merged.MergeFrom(piece)
    assert merged == whole
    assert len(conversation.pieces[0].kvs) <= 10
    for piece in conversation.pieces[:-1]:
        assert (piece.HasField("header"), piece.more, piece.count) == (False, False, 0)


async def test_a_get_without_a_key_is_refused() -> None:
    """An empty key is an error however it is written."""
    async with running() as server:
        for message in (b"", b"\n\0", b"8\1", b"\n\x008\1"):
            with pytest.raises(EtcdError, match="key is not provided"):
                KVAPI(server).range(Caller(), 1, NoMetadata(), message)

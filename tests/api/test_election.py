"""Tests of `trioetcd.api.election`: who leads, what it proclaims, and who is told of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from tests.api.locks import ELECTION, KV, Callers
from tests.api.metadata import NoMetadata
from tests.runtime.member import running
from trioetcd import errors
from trioetcd.errors import Code, EtcdError
from trioetcd.schema import messages


@asynccontextmanager
async def callers() -> AsyncIterator[Callers]:
    with trio.fail_after(20):
        async with running() as server, trio.open_nursery() as nursery:
            yield Callers(server, nursery)
            nursery.cancel_scope.cancel()


async def elect(found: Callers, lease: int, value: bytes) -> messages.CampaignResponse:
    """Campaign where nobody leads."""
    call = found.campaign(b"e", lease, value)
    await call.ended.wait()
    assert call.answer is not None, call.error
    return messages.CampaignResponse.FromString(call.answer)


async def leader(found: Callers) -> messages.LeaderResponse:
    answer = await found.call(ELECTION + "Leader", messages.LeaderRequest(name=b"e"))
    assert isinstance(answer, messages.LeaderResponse)
    return answer


class Observer:
    """A client of Observe that reads when it is told to (`api.context.MessageStream`)."""

    def __init__(self, name: bytes) -> None:
        self.told: deque[messages.LeaderResponse] = deque()
        self.may_send = trio.Event()
        self.may_send.set()
        self._request: bytes | None = messages.LeaderRequest(name=name).SerializeToString()
        self._changed = trio.Event()

    async def receive(self) -> bytes | None:
        request, self._request = self._request, None
        return request

    async def send(self, answers: list[bytes], /) -> None:
        await self.may_send.wait()
        self.told.extend(map(messages.LeaderResponse.FromString, answers))
        self._changed.set()
        self._changed = trio.Event()

    async def next(self) -> tuple[bytes, bytes, int]:
        """Give key, value and the revision of the header of what is told next."""
        while not self.told:
            await self._changed.wait()
        response = self.told.popleft()
        return response.kv.key, response.kv.value, response.header.revision

    async def run(self, found: Callers) -> None:
        await found.router.streams[ELECTION + "Observe"](NoMetadata(), self)


async def test_the_first_to_come_leads_and_the_next_waits() -> None:
    """A campaign ends when the one before has resigned; the answer names place and lease."""
    async with callers() as found:
        await found.grant(1, 2)
        first = await elect(found, 1, b"one")
        second = found.campaign(b"e", 2, b"two")
        await found.wait_queued(b"e", 2)
        assert (b"e", b"e/1", 2, 1) == (
            first.leader.name,
            first.leader.key,
            first.leader.rev,
            first.leader.lease,
        )
        assert not second.ended.is_set()
        assert (await leader(found)).kv.value == b"one"
        await found.call(ELECTION + "Resign", messages.ResignRequest(leader=first.leader))
        await second.ended.wait()
        assert second.answer is not None
        elected = messages.CampaignResponse.FromString(second.answer)
        # As etcd has it: the revision at which the place was taken, not that of the election.
        assert (3, 3) == (elected.header.revision, elected.leader.rev)
        assert (await leader(found)).kv.value == b"two"


async def test_who_campaigns_again_proclaims() -> None:
    """The same lease keeps its place and changes the value; the same value changes nothing."""
    async with callers() as found:
        await found.grant(1)
        first = await elect(found, 1, b"one")
        again = await elect(found, 1, b"one")
        assert found.server.store.revision == 2
        changed = await elect(found, 1, b"two")
        assert first.leader == again.leader == changed.leader
        assert ((await leader(found)).kv.value, found.server.store.revision) == (b"two", 3)


async def test_only_the_leader_proclaims_and_resigns() -> None:
    """Another create revision is no leader's; to resign is to be no leader, and always done."""
    async with callers() as found:
        await found.grant(1)
        told = (await elect(found, 1, b"one")).leader
        stale = messages.LeaderKey(name=told.name, key=told.key, rev=told.rev - 1, lease=1)
        proclaim = messages.ProclaimRequest(leader=stale, value=b"wrong")
        with pytest.raises(EtcdError, match="election: not leader"):
            await found.call(ELECTION + "Proclaim", proclaim)
        await found.call(ELECTION + "Resign", messages.ResignRequest(leader=stale))
        assert (await leader(found)).kv.value == b"one"
        proclaim = messages.ProclaimRequest(leader=told, value=b"right")
        await found.call(ELECTION + "Proclaim", proclaim)
        assert (await leader(found)).kv.value == b"right"
        for _ in range(2):
            await found.call(ELECTION + "Resign", messages.ResignRequest(leader=told))
        with pytest.raises(EtcdError, match="election: not leader"):
            await found.call(ELECTION + "Proclaim", proclaim)
        with pytest.raises(EtcdError, match="election: no leader"):
            await leader(found)


@pytest.mark.parametrize(
    ("path", "request_", "text"),
    [
        ("Proclaim", messages.ProclaimRequest(), '"leader" field must be provided'),
        ("Resign", messages.ResignRequest(), '"leader" field must be provided'),
        (
            "Resign",
            messages.ResignRequest(leader=messages.LeaderKey()),
            "etcdserver: key is not provided",
        ),
        ("Leader", messages.LeaderRequest(name=b"nobody"), "election: no leader"),
        (
            "Campaign",
            messages.CampaignRequest(name=b"e", lease=9),
            "etcdserver: requested lease not found",
        ),
    ],
)
async def test_refusals_have_etcds_texts_and_no_code(
    path: str, request_: messages.Message, text: str
) -> None:
    """Whatever is wrong, the code is Unknown and the text says it."""
    async with callers() as found:
        with pytest.raises(EtcdError) as raised:
            await found.call(ELECTION + path, request_)
        assert (Code.UNKNOWN, text) == (raised.value.code, raised.value.text)


async def test_who_lost_its_place_is_not_elected() -> None:
    """A candidate whose lease ends while it waits is told so at once, and never leads."""
    async with callers() as found:
        await found.grant(1, 2)
        await elect(found, 1, b"one")
        second = found.campaign(b"e", 2, b"two")
        await found.wait_queued(b"e", 2)
        await found.revoke(2)
        await second.ended.wait()
        assert second.error is not None
        assert second.error.text == errors.ELECTION_NOT_LEADER.text


async def test_observers_are_told_of_every_leader_and_all_it_proclaims() -> None:
    """In order, from the leader there is, over a time without one, to the next."""
    async with callers() as found, trio.open_nursery() as nursery:
        await found.grant(1, 2)
        observer = Observer(b"e")
        nursery.start_soon(observer.run, found)
        await trio.testing.wait_all_tasks_blocked()
        first = (await elect(found, 1, b"one")).leader
        assert await observer.next() == (b"e/1", b"one", 2)
        proclaim = messages.ProclaimRequest(leader=first, value=b"more")
        await found.call(ELECTION + "Proclaim", proclaim)
        assert await observer.next() == (b"e/1", b"more", 3)
        late = Observer(b"e")
        nursery.start_soon(late.run, found)
        assert await late.next() == (b"e/1", b"more", 3)
        second = found.campaign(b"e", 2, b"two")
        await found.wait_queued(b"e", 2)
        await found.call(ELECTION + "Resign", messages.ResignRequest(leader=first))
        await second.ended.wait()
        for each in (observer, late):
            assert await each.next() == (b"e/2", b"two", 5)
        await found.revoke(2)
        await trio.testing.wait_all_tasks_blocked()
        assert not observer.told
        await elect(found, 1, b"again")
        for each in (observer, late):
            assert await each.next() == (b"e/1", b"again", 7)
        nursery.cancel_scope.cancel()
    assert not found.server.hub.sessions


async def test_a_slow_observer_misses_nothing_that_can_still_be_told() -> None:
    """What was proclaimed while it did not read comes later, in order."""
    async with callers() as found, trio.open_nursery() as nursery:
        await found.grant(1)
        told = (await elect(found, 1, b"0")).leader
        observer = Observer(b"e")
        observer.may_send = trio.Event()
        nursery.start_soon(observer.run, found)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, 20):
            request = messages.ProclaimRequest(leader=told, value=b"%d" % number)
            await found.call(ELECTION + "Proclaim", request)
        observer.may_send.set()
        assert [(await observer.next())[1] for _ in range(20)] == [b"%d" % n for n in range(20)]
        nursery.cancel_scope.cancel()


async def test_an_observer_goes_on_after_a_compaction_that_overtook_it() -> None:
    """It is told of the leader as it stands then."""
    async with callers() as found, trio.open_nursery() as nursery:
        await found.grant(1)
        told = (await elect(found, 1, b"0")).leader
        observer = Observer(b"e")
        observer.may_send = trio.Event()
        nursery.start_soon(observer.run, found)
        await trio.testing.wait_all_tasks_blocked()
        for number in range(1, 20):
            request = messages.ProclaimRequest(leader=told, value=b"%d" % number)
            await found.call(ELECTION + "Proclaim", request)
        compaction = messages.CompactionRequest(revision=found.server.store.revision, physical=True)
        await found.call(KV + "Compact", compaction)
        observer.may_send.set()
        assert (await observer.next())[1] == b"0"
        assert (await observer.next())[1] == b"19"
        nursery.cancel_scope.cancel()

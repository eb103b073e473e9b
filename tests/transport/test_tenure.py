"""Tests of `trioetcd.transport.tenure`: who is let in, who must go, and who is asked to come again.

Over real TLS; the time is the test's.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
import trio
import trio.testing
from cryptography import x509

from tests.transport.pairs import NOW, authority, bundle, secure_sockets, streams
from tests.transport.peers import Dice
from trioetcd import pki
from trioetcd.pki import Authorities, Objection, Reason, Role
from trioetcd.testing.node_life import in_loop
from trioetcd.transport.streams import ByteStream
from trioetcd.transport.tenure import LEAVING_LOOKS, RefusedError, Tenures

CA = authority("client").certificate


def serial() -> int:
    return x509.load_pem_x509_certificate(bundle(Role.CLIENT, "client").chain).serial_number


def revoking() -> Authorities:
    """Trust the CA, and revoke the client that `secure_sockets` makes."""
    data = pki.revocation_list(authority("client"), now=NOW, serials=[serial()])
    return Authorities(CA, pki.verify_lists(data, trust=CA, now=NOW, what="crl.pem"))


class Book:
    """Tenures with a time and an ear of the test's."""

    def __init__(self, authorities: Authorities | None) -> None:
        self.now: datetime = NOW
        self.told: list[tuple[str, str, Reason]] = []
        self.tenures = Tenures(
            "client",
            authorities,
            generation=1,
            ended=self._ended,
            entropy=Dice(1),
            now=lambda: self.now,
        )

    def _ended(self, side: str, remote: str, objection: Objection) -> None:
        self.told.append((side, remote, objection.reason))

    async def admit(self, stream: ByteStream, remote: str = "there") -> None:
        await self.tenures.admit(stream, remote, threads=trio.CapacityLimiter(1), in_thread=in_loop)


@contextmanager
def connected() -> Iterator[ByteStream]:
    with streams("tls") as (server, _):
        yield server


@contextmanager
def many(count: int) -> Iterator[list[ByteStream]]:
    pairs = [secure_sockets() for _ in range(count)]
    servers = [ByteStream(server) for server, _ in pairs]
    try:
        yield servers
    finally:
        for server, (_, client) in zip(servers, pairs, strict=True):
            server.close()
            client.close()


async def test_a_certificate_that_may_not_be_used_is_not_let_in() -> None:
    """Revoked, ended, not begun and of another CA: each has its reason, and none is entered."""
    other = Authorities(authority("other").certificate)
    for authorities, later, reason in (
        (revoking(), timedelta(0), Reason.REVOKED),
        (Authorities(CA), timedelta(days=400), Reason.EXPIRED),
        (Authorities(CA), -timedelta(days=1), Reason.EARLY),
    ):
        book = Book(authorities)
        book.now += later
        with connected() as stream, pytest.raises(RefusedError) as refused:
            await book.admit(stream)
        assert refused.value.objection.reason is reason
        assert len(book.tenures) == 0
    book = Book(Authorities(CA))
    with connected() as stream:
        await book.admit(stream)
        book.tenures.renew(other, generation=2)
        await book.tenures.look()
        assert [("client", "there", Reason.UNTRUSTED)] == book.told


async def test_who_is_revoked_is_cut_off_at_the_next_look() -> None:
    """Its reader meets the end, its writer a broken connection; it is told of once."""
    book = Book(Authorities(CA))
    with connected() as stream:
        await book.admit(stream)
        await book.tenures.look()
        assert [] == book.told
        book.tenures.renew(revoking(), generation=1)
        await book.tenures.look()
        await book.tenures.look()

        assert [("client", "there", Reason.REVOKED)] == book.told
        assert await stream.receive_some() == b""
        with pytest.raises(trio.BrokenResourceError):
            await stream.send_all(b"x" * 100_000)
        assert len(book.tenures) == 0


async def test_who_knows_how_to_say_goodbye_has_a_moment_for_it() -> None:
    """Politely asked first, cut off some looks later."""
    book = Book(Authorities(CA))
    asked: list[str] = []
    with connected() as stream:
        await book.admit(stream)
        stream.on_expel = lambda: asked.append("expel")
        book.tenures.renew(revoking(), generation=1)
        await book.tenures.look()
        assert ["expel"] == asked
        for _ in range(LEAVING_LOOKS - 1):
            await book.tenures.look()
            assert stream.receive_nowait() is None
        await book.tenures.look()

        assert stream.receive_nowait() == b""
        assert ["expel"] == asked


async def test_a_certificate_that_ends_is_noticed_without_any_change() -> None:
    """The look after its last second ends its connection, and asks it to move before that."""
    book = Book(Authorities(CA))
    asked: list[str] = []
    with connected() as stream:
        await book.admit(stream)
        stream.on_retire = lambda: asked.append("retire")
        end = bundle(Role.CLIENT, "client").not_after
        book.now = end - timedelta(minutes=2)
        await book.tenures.look()
        assert [] == asked
        book.now = end - timedelta(seconds=59)
        for _ in range(3):
            await book.tenures.look()
        assert (["retire"], []) == (asked, book.told)
        book.now = end
        await book.tenures.look()

        assert [("client", "there", Reason.EXPIRED)] == book.told


async def test_a_connection_that_closes_leaves_the_book() -> None:
    """Nothing is kept of it, so nothing is looked at."""
    book = Book(Authorities(CA))
    with connected() as stream:
        await book.admit(stream)
        assert len(book.tenures) == 1
    assert len(book.tenures) == 0


async def test_older_connections_move_one_after_another(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """Each is asked once, spread over seconds; the new generation's are left alone."""
    book = Book(Authorities(CA))
    asked: list[tuple[int, float]] = []
    with many(8) as servers:
        for number, stream in enumerate(servers):
            await book.admit(stream)
            stream.on_retire = lambda number=number: asked.append((number, trio.current_time()))
            if number == 5:
                book.tenures.renew(Authorities(CA), generation=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(book.tenures.run)
            assert book.tenures.retired() == 6
            await trio.sleep(60)
            nursery.cancel_scope.cancel()

    assert list(range(6)) == [number for number, _ in asked]
    gaps = [after - before for (_, before), (_, after) in pairwise(asked)]
    assert min(gaps) > 0.1
    assert asked[-1][1] - asked[0][1] < 3


async def test_moves_are_over_before_the_old_certificate_ends(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """When little time is left all are asked within it."""
    book = Book(Authorities(CA))
    asked: list[float] = []
    with many(4) as servers:
        for stream in servers:
            await book.admit(stream)
            stream.on_retire = lambda: asked.append(trio.current_time())
        book.tenures.renew(Authorities(CA), generation=2, until=NOW + timedelta(seconds=1))
        began = trio.current_time()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(book.tenures.run)
            await trio.sleep(60)
            nursery.cancel_scope.cancel()

    assert len(asked) == 4
    assert max(asked) - began < 1


async def test_who_has_only_just_come_is_asked_later(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """A connection whose protocol is not known yet cannot be asked; a later round finds it."""
    book = Book(Authorities(CA))
    asked: list[str] = []
    with connected() as stream:
        await book.admit(stream)
        book.tenures.renew(Authorities(CA), generation=2)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(book.tenures.run)
            await trio.sleep(7)
            stream.on_retire = lambda: asked.append("retire")
            await trio.sleep(7)
            nursery.cancel_scope.cancel()

    assert ["retire"] == asked


async def test_where_nobody_shows_a_certificate_all_may_stay_and_move() -> None:
    """Without a CA of clients nothing is judged, but a new certificate still moves them."""
    book = Book(None)
    with connected() as stream:
        await book.admit(stream)
        book.tenures.renew(None, generation=2)
        await book.tenures.look()

        assert ([], 1) == (book.told, book.tenures.retired())

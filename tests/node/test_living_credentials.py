"""Tests of credentials that change while a whole member runs: over real TLS, in real time."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest
import trio
from trio_websocket import ConnectionClosed

from tests.frontend.foreign import Client, Reply, framed
from tests.frontend.test_websocket import create
from tests.node.living import Living, living, now, serial_of
from tests.runtime.member import put_message
from trioetcd import pki
from trioetcd.node.pki_files import PkiFiles, save_pair, write_private
from trioetcd.pki import CertifiedKey, Role
from trioetcd.schema import messages
from trioetcd.testing.cluster import running_member

WATCH = "/etcdserverpb.Watch/Watch"
PUT = "/etcdserverpb.KV/Put"
ENDED_SECONDS = 5.0
"""The most that an existing connection may last whose certificate may not be used any more."""


async def watch(client: Client) -> Reply:
    request = messages.WatchRequest(
        create_request=messages.WatchCreateRequest(key=b"k")
    ).SerializeToString()
    reply = await client.open(WATCH, framed(request), end=False)
    await client.wait(lambda: reply.messages)
    return reply


async def refused(found: Living, pair: CertifiedKey) -> bool:
    """Say whether a certificate gets nothing: not the answer to a call, nor a frame before it."""
    try:
        client = Client(await found.connect(pair))
        await client.flush()
        await client.open(PUT, framed(put_message(b"refused")))
        data = await client.stream.receive_some(65_536)
    except (trio.BrokenResourceError, OSError):
        return True
    await trio.aclose_forcefully(client.stream)
    return not data


async def test_a_revoked_client_loses_its_connections_and_gets_no_new_one(tmp_path: Path) -> None:
    """gRPC, plain HTTP/2 and WebSocket end within 5 s, others' stay, and one line says why."""
    async with living(tmp_path) as found:
        alice, bob = found.issue("alice"), found.issue("bob")
        grpc, http, other = [await found.client(each) for each in (alice, alice, bob)]
        assert (await http.get("/version")).head[":status"] == "200"
        reply, kept = await watch(grpc), await watch(other)
        socket = await found.socket(alice)
        await socket.send_message(create("k"))
        await socket.get_message()
        found.revoke(alice)
        with trio.fail_after(ENDED_SECONDS):
            await grpc.wait(lambda: reply.ended)
            error = json.loads(await socket.get_message())["error"]
            with pytest.raises(ConnectionClosed):
                await socket.get_message()
            await grpc.wait_closed()
            await http.wait_closed()

        assert reply.status == (1, "etcdserver: watch canceled")
        assert (error["grpc_code"], error["message"]) == (1, "etcdserver: watch canceled")
        assert socket.closed is not None
        assert socket.closed.code == 1008
        assert await refused(found, alice)
        line = await found.wait_said("rejected connection on client endpoint")
        assert f"serial {serial_of(alice):x}, is revoked since" in str(line["error"])
        assert len(found.lines("ended a connection")) == 3
        assert "CN=alice" in str(found.lines("ended a connection")[0]["error"])
        await other.call(PUT, put_message(b"k"))
        await other.wait(lambda: len(kept.messages) == 2)
        request = messages.RangeRequest(key=b"refused").SerializeToString()
        answer = await other.call("/etcdserverpb.KV/Range", request)
        assert messages.RangeResponse.FromString(answer.messages[0]).count == 0
        exported = (await other.get("/metrics")).body.decode()
        assert 'trioetcd_tls_connections_ended_total{side="client",reason="revoked"} 3' in exported


async def test_what_is_said_after_the_end_is_not_heard(tmp_path: Path) -> None:
    """A connection whose certificate was revoked gets no call through any more, not even one."""
    async with living(tmp_path) as found:
        alice, bob = found.issue("alice"), found.issue("bob")
        client, other = await found.client(alice), await found.client(bob)
        reply = await watch(client)
        found.revoke(alice)
        await client.wait(lambda: reply.ended)
        late = await client.open(PUT, framed(put_message(b"late")))
        await client.wait_closed()
        request = messages.RangeRequest(key=b"late").SerializeToString()
        answer = await other.call("/etcdserverpb.KV/Range", request)

        assert not late.ended
        assert messages.RangeResponse.FromString(answer.messages[0]).count == 0


async def test_a_certificate_that_ends_ends_its_connections(tmp_path: Path) -> None:
    """What outlived its certificate ends within 5 s, and comes in no more."""
    async with living(tmp_path) as found:
        brief = found.brief(2.5)
        client = await found.client(brief)
        reply = await watch(client)
        with trio.fail_after(2.5 + ENDED_SECONDS):
            await client.wait(lambda: reply.ended)
            await client.wait_closed()

        assert reply.status == (1, "etcdserver: watch canceled")
        assert "ended on" in str(found.lines("ended a connection")[0]["error"])
        with pytest.raises(pki.PkiError, match="ended on"):
            await found.connect(brief)


async def test_a_ca_that_is_trusted_no_more_ends_its_clients(tmp_path: Path) -> None:
    """Forgetting a CA ends what it signed, and the other CA's clients go on."""
    async with living(tmp_path) as found:
        newer = pki.create_authority("client", now=now(), profile=pki.Profile())
        write_private(found.files.client_ca, newer.certificate + found.client_ca.certificate)
        await found.wait_reloaded()
        old = await found.client(found.issue())
        carol = pki.issue(newer, Role.CLIENT, "carol", now=now(), profile=pki.Profile())
        new = await found.client(carol)
        reply, kept = await watch(old), await watch(new)
        write_private(found.files.client_ca, newer.certificate)
        with trio.fail_after(ENDED_SECONDS):
            await old.wait(lambda: reply.ended)
            await old.wait_closed()

        assert "trusted no more" in str(found.lines("ended a connection")[0]["error"])
        # Carol's connection is asked to come again, since the listener's set is new.
        with trio.fail_after(ENDED_SECONDS):
            await new.wait(lambda: kept.ended)
        assert kept.status == (14, "etcdserver: server stopped")


async def test_a_new_certificate_moves_clients_without_a_failed_call(tmp_path: Path) -> None:
    """New handshakes use it at once; open connections get GOAWAY, WebSockets close code 1012."""
    async with living(tmp_path) as found:
        alice = found.issue()
        client = await found.client(alice)
        reply = await watch(client)
        socket = await found.socket(alice)
        await socket.send_message(create("k"))
        await socket.get_message()
        newer = found.server_pair()
        save_pair(found.files.server, newer)
        with trio.fail_after(1.5):
            await found.wait_reloaded()
        assert await found.serial_shown(alice) == serial_of(newer)
        with pytest.raises(ConnectionClosed):
            await socket.get_message()
        await client.wait(lambda: len(client.goaways) == 2 and reply.ended)

        assert client.goaways == [2**31 - 1, reply.stream]
        assert socket.closed is not None
        assert socket.closed.code == 1012
        assert reply.status == (14, "etcdserver: server stopped")
        await client.wait_closed()


async def test_a_bad_set_changes_nothing_and_says_so_once(tmp_path: Path) -> None:
    """Each kind of bad set keeps the old one in force, with one line that names the check."""
    async with living(tmp_path) as found:
        alice = found.issue()
        files = found.files
        good = {
            path: path.read_bytes()
            for path in (
                files.server,
                PkiFiles.key_of(files.server),
                files.client_ca,
                files.client_crl,
                files.peer,
                files.peer_ca,
                files.path / "peer-crl.pem",
            )
        }
        shown = await found.serial_shown(alice)
        stranger = pki.create_authority("client", now=now(), profile=pki.Profile())
        client_pair = found.issue()
        forged = pki.revocation_list(stranger, now=now())
        bad: list[tuple[Path, bytes, str]] = [
            (files.server, found.server_pair().certificate, "the key does not belong to"),
            (files.server, good[files.server][:-200], "damaged certificate"),
            (files.server, b"", "holds no certificate"),
            (PkiFiles.key_of(files.server), b"", "holds no private key"),
            (files.client_ca, client_pair.certificate, "which is no CA"),
            (files.client_ca, b"", "holds no certificate"),
            (files.client_crl, good[files.client_crl][:-40], "is cut off"),
            (files.client_crl, b"", "holds no revocation list"),
            (files.peer_ca, stranger.certificate, "is not signed by its CA"),
            (files.peer, client_pair.certificate, "the key does not belong to"),
            (files.path / "peer-crl.pem", forged[:99], "is cut off"),
        ]
        for count, (path, data, sentence) in enumerate(bad, 1):
            path.write_bytes(data)
            line = await found.wait_said("changed files are refused", count)
            assert sentence in str(line["error"]), path
            assert await found.serial_shown(alice) == shown
            write_private(path, good[path])
            await trio.sleep(0.6)  # two looks: what is good is tried, and is no different
        assert len(found.lines("changed files are refused")) == len(bad)
        assert [] == found.lines("read changed files")


async def test_a_hang_up_reads_everything_at_once(tmp_path: Path) -> None:
    """SIGHUP does not wait for the next look."""
    async with living(tmp_path) as found:
        alice = found.issue()
        newer = found.server_pair()
        save_pair(found.files.server, newer)
        found.hang_up[0]()
        with trio.fail_after(0.5):
            await found.wait_reloaded()

        assert await found.serial_shown(alice) == serial_of(newer)


async def test_the_made_list_of_revoked_clients_is_used(tmp_path: Path) -> None:
    """Without any flag the member follows the list beside the certificates it made."""
    async with living(tmp_path, own=True) as found:
        alice = found.issue()
        client = await found.client(alice)
        reply = await watch(client)
        found.revoke(alice)
        with trio.fail_after(ENDED_SECONDS):
            await client.wait(lambda: reply.ended)

        assert reply.status == (1, "etcdserver: watch canceled")


def test_a_hang_up_does_not_end_the_process(tmp_path: Path) -> None:
    """SIGHUP, which ends a process that has not asked for it, has certificates read again."""
    with running_member(tmp_path) as server:
        server.process.send_signal(signal.SIGHUP)
        assert server.exit_code(seconds=1) is None
        assert any("reading certificates again" in line for line in server.log)

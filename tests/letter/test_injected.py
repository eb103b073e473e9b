"""What no member can be brought to say is said from a state that only a test can make."""

from __future__ import annotations

import os
import subprocess
from functools import partial
from pathlib import Path

import pytest
import trio

from tests.frontend.foreign import Front, front
from tests.letter.caller import OK, Caller, Said, path_of, said_by
from tests.letter.injected import INJECTIONS, Injection
from tests.transport.pairs import NOW, PROFILE, authority
from trioetcd import errors, pki
from trioetcd.client.connection import Connection, Endpoint, client_tls
from trioetcd.errors import ErrorRow, EtcdError
from trioetcd.pki import Role
from trioetcd.schema.services import METHODS

SECONDS = 60.0


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """Give the CA's certificate, a client's, and its key."""
    directory = tmp_path_factory.mktemp("injected")
    pair = pki.issue(authority("client"), Role.CLIENT, "root", hosts=(), now=NOW, profile=PROFILE)
    contents = (authority("client").certificate, pair.certificate, pair.key)
    found = [directory / name for name in ("ca.crt", "client.crt", "client.key")]
    for path, content in zip(found, contents, strict=True):
        path.write_bytes(content)
    return found[0], found[1], found[2]


def last_said(caller: Caller, injection: Injection) -> Said:
    """Call, and give how the call ends."""
    method = METHODS[path_of(injection.rpc)]
    if not method.server_streaming:
        return caller.say(injection.rpc, injection.request)
    stream = caller.open(injection.rpc, injection.request)
    said, message = stream.next()
    while said == OK and message is not None:
        said, message = stream.next()
    stream.close()
    return said


async def row_of(found: Front, files: tuple[Path, Path, Path], injection: Injection) -> ErrorRow:
    """Call by our own client; give the row of the error that it raises."""
    ca, cert, key = files
    tls = client_tls(cacert=ca, cert=cert, key=key)
    endpoint = Endpoint("127.0.0.1", found.name[1], secure=True)
    connection = await Connection.open(endpoint, tls, trio.open_tcp_stream)
    found.nursery.start_soon(connection.run)
    call = connection.call(path_of(injection.rpc), timeout=SECONDS)
    call.send(injection.request.SerializeToString(), end=True)
    try:
        while await call.receive() is not None:
            pass
    except EtcdError as error:
        return error.row
    raise AssertionError("the call ended well")


@pytest.mark.parametrize("row", INJECTIONS, ids=lambda row: row.name)
async def test_what_is_said_in_an_injected_state(
    row: ErrorRow, files: tuple[Path, Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Grpcio is told etcd's code and sentence; our own client raises the row itself."""
    injection = INJECTIONS[row]
    async with front(seconds=SECONDS) as found:
        injection.inject(found, monkeypatch)
        caller = Caller(f"127.0.0.1:{found.name[1]}", *files)
        said = await trio.to_thread.run_sync(last_said, caller, injection)
        caller.close()
        assert said_by(row) == said

    async with front(seconds=SECONDS) as found:
        injection.inject(found, monkeypatch)
        assert row is await row_of(found, files, injection)


SHOWN = {
    errors.NOT_CAPABLE: ("put k v", 1, "Error: etcdserver: not capable"),
    errors.NOT_PRIMARY_LESSOR: (
        "lease keep-alive --once 1",
        2,
        "Error: rpc error: code = Unknown desc = not a primary lessor",
    ),
    errors.CLUSTER_ID_MISMATCH: (
        "member add m --peer-urls=https://127.0.0.1:1",
        1,
        "Error: rpc error: code = FailedPrecondition desc = etcdserver: cluster ID mismatch",
    ),
}
"""Command, exit code, and a line of what etcdctl says. What was cancelled it asks again, and the
versions of it that there are know no downgrades."""


@pytest.mark.interop
@pytest.mark.parametrize("row", SHOWN, ids=lambda row: row.name)
async def test_what_etcdctl_makes_of_it(
    row: ErrorRow,
    etcdctl: Path,
    files: tuple[Path, Path, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The real etcdctl shows the sentence, with the code where Go's clients do not know it."""
    command, code, line = SHOWN[row]
    names = ("CACERT", "CERT", "KEY")
    paths = {f"ETCDCTL_{name}": str(path) for name, path in zip(names, files, strict=True)}
    async with front(seconds=SECONDS) as found:
        INJECTIONS[row].inject(found, monkeypatch)
        run = partial(
            subprocess.run,
            [etcdctl, *command.split()],
            env={
                **os.environ,
                **paths,
                "ETCDCTL_API": "3",
                "ETCDCTL_ENDPOINTS": f"https://127.0.0.1:{found.name[1]}",
            },
            capture_output=True,
            timeout=SECONDS,
            text=True,
            check=False,
        )
        done = await trio.to_thread.run_sync(run)

    assert code == done.returncode
    assert line in done.stderr.splitlines()

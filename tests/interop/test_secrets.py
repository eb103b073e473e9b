"""No password, token or key leaves the hands it was given to: a search of everything written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.differential.servers import Side
from tests.interop.test_etcdctl import run
from trioetcd.ports import LAST_ROW
from trioetcd.schema import messages
from trioetcd.storage.leveldb import open_leveldb
from trioetcd.testing.cluster import running_member

pytestmark = [pytest.mark.interop]

PASSWORDS = ("r00t-p4ssw0rd-one", "al1ce-p4ssw0rd-two", "al1ce-p4ssw0rd-new", "n0b0dys-guess")
EVERYTHING = (b"", LAST_ROW)
KEY_LINE = 1
"""The first line of a key's own bytes in its file; the one before says what it is."""


def written(directory: Path) -> dict[str, bytes]:
    """Give what stands in every file but keys, and in the rows of the database as they are."""
    files = [path for path in directory.rglob("*") if path.is_file() and path.suffix != ".key"]
    found = {str(path): path.read_bytes() for path in files}
    for current in directory.rglob("CURRENT"):
        backend = open_leveldb(current.parent, create=False)
        try:
            rows = backend.scan(*EVERYTHING)
            found[f"rows of {current.parent}"] = b"\n".join(key + b"\t" + row for key, row in rows)
        finally:
            backend.close()
    return found


@pytest.mark.parametrize("etcdctl", ["3.5"], indirect=True)
def test_no_secret_is_written_anywhere(etcdctl: Path, tmp_path: Path) -> None:
    """Not in a file, a log line, an audit record or a Raft entry, whatever was done with them."""
    root, alice, renewed, guess = PASSWORDS
    audit = tmp_path / "audit.jsonl"
    with running_member(
        tmp_path, flags=[f"--audit-log={audit}", "--bcrypt-cost=4", "--log-level=debug"]
    ) as server:
        for command in (
            ("user", "add", f"root:{root}"),
            ("user", "grant-role", "root", "root"),
            ("role", "add", "reader"),
            ("role", "grant-permission", "reader", "--prefix=true", "readwrite", "a"),
            ("user", "add", f"alice:{alice}"),
            ("user", "grant-role", "alice", "reader"),
            ("auth", "enable"),
        ):
            assert run(etcdctl, server, command).code == 0, command
        assert run(etcdctl, server, [f"--user=alice:{alice}", "put", "a", "v"]).code == 0
        assert run(etcdctl, server, [f"--user=alice:{guess}", "put", "a", "v"]).code != 0
        assert run(etcdctl, server, [f"--user=alice:{alice}", "put", "b", "v"]).code != 0
        side = Side(server)
        tokens = []
        for password in (alice, renewed):
            request = messages.AuthenticateRequest(name="alice", password=password)
            answer, fields = side.call("Auth/Authenticate", request)
            assert isinstance(answer, messages.AuthenticateResponse), fields
            tokens.append(answer.token)
            metadata = [("token", answer.token)]
            put = messages.PutRequest(key=b"a", value=b"w")
            assert side.start("KV/Put", put, metadata=metadata).outcome()[0] is not None
            if password == alice:
                change = messages.AuthUserChangePasswordRequest(name="alice", password=renewed)
                done = side.call("Auth/UserChangePassword", change)
                assert done[0] is not None, done
        side.close()
        log = "\n".join(server.log).encode()
    keys = [path.read_bytes().splitlines()[KEY_LINE] for path in tmp_path.rglob("*.key")]
    assert len(keys) >= 4
    secrets = [*map(str.encode, PASSWORDS), *(token.split(".")[0].encode() for token in tokens)]
    searched = {**written(tmp_path), "the log": log}
    assert b"alice" in searched[str(audit)], "what is searched is what was written"
    assert any(b"alice" in content for name, content in searched.items() if "rows" in name)

    assert [] == [
        (name, secret)
        for name, content in searched.items()
        for secret in (*secrets, *keys)
        if secret in content
    ]

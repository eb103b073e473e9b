"""A leader that is told to stop lets another one lead first: processes, signals, real sockets."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio

from tests.node.test_cluster import NAMES, command_lines, wait_served
from trioetcd.client import Client, DisconnectedError, OutcomeUnknownError, open_client
from trioetcd.errors import EtcdError
from trioetcd.node.config import parse
from trioetcd.node.settings import Config


class Members:
    """Three members as processes.

    Attributes:
        configs: their settings.
        processes: themselves.
    """

    def __init__(self, directory: Path) -> None:
        lines = command_lines(directory)
        self._directory = directory
        self.configs = [parse(line, {}) for line in lines]
        self.processes = [
            subprocess.Popen(
                [sys.executable, "-m", "trioetcd", *line, f"--log-outputs={self.log(at)}"],
                env={key: value for key, value in os.environ.items() if "ETCD" not in key},
            )
            for at, line in enumerate(lines)
        ]

    def log(self, at: int) -> Path:
        return self._directory / f"{NAMES[at]}.log"

    def kill(self) -> None:
        for process in self.processes:
            process.kill()
            process.wait()

    @contextlib.asynccontextmanager
    async def client(self, at: int) -> AsyncIterator[Client]:
        config: Config = self.configs[at]
        root = self._directory / "a"
        async with open_client(
            [str(url) for url in config.listen_client_urls],
            cacert=root / "client-ca.crt",
            cert=root / "clients" / "root.crt",
            key=root / "clients" / "root.key",
        ) as client:
            yield client

    async def leader(self, *, asked: int, other_than: int = 0) -> tuple[int, int]:
        """Wait until a member knows a leader; gives it and the term."""
        async with self.client(asked) as client:
            while True:
                status = await client.status()
                if status.leader not in {0, other_than}:
                    return status.leader, status.raft_term
                await trio.lowlevel.checkpoint()

    async def place(self, member: int) -> int:
        for at in range(len(NAMES)):
            async with self.client(at) as client:
                if (await client.status()).header.member_id == member:
                    return at
        raise AssertionError(f"nobody is {member:x}")


async def write(client: Client, prefix: str, done: list[str], refused: list[str]) -> None:
    """Put one key after the other until it is refused; a put in doubt is neither."""
    at = 0
    while True:
        at += 1
        key = f"{prefix}{at}"
        try:
            await client.put(key, "v")
        except EtcdError as error:
            refused.append(error.text)
            return
        except (OutcomeUnknownError, DisconnectedError):
            return
        done.append(key)


@pytest.mark.slow
async def test_a_leader_that_is_stopped_hands_over(tmp_path: Path) -> None:
    """Another one leads in the next term, no write through others fails, and none is lost.

    Writers at the leader itself are served until they are told that it stops.
    """
    members = Members(tmp_path)
    done: list[str] = []
    refused: dict[int, list[str]] = {at: [] for at in range(3)}
    try:
        with trio.fail_after(90):
            await wait_served(members.configs)
            leader, term = await members.leader(asked=0)
            place = await members.place(leader)
            process = members.processes[place]
            asked = (place + 1) % 3
            async with trio.open_nursery() as nursery:
                for at in range(3):
                    client = await nursery.start(_keep_open, members, at)
                    nursery.start_soon(write, client, f"{at}/", done, refused[at])
                while len(done) < 50:
                    await trio.lowlevel.checkpoint()
                process.send_signal(signal.SIGTERM)
                found = await members.leader(asked=asked, other_than=leader)
                assert found[1] == term + 1
                code = await trio.to_thread.run_sync(process.wait)
                before = len(done)
                while len(done) < before + 20:
                    await trio.lowlevel.checkpoint()
                nursery.cancel_scope.cancel()
            async with members.client(asked) as client:
                keys = {each.key.decode() for each in (await client.range("0", end="3")).kvs}
    finally:
        members.kill()
    assert -signal.SIGTERM == code
    assert set(done) <= keys
    assert [[], []] == [refused[at] for at in range(3) if at != place]
    assert '"msg":"leadership transferred"' in members.log(place).read_text()


async def _keep_open(
    members: Members, at: int, *, task_status: trio.TaskStatus[Client] = trio.TASK_STATUS_IGNORED
) -> None:
    async with members.client(at) as client:
        task_status.started(client)
        await trio.sleep_forever()

"""Three secure members on this machine: the leader is killed, writes go on, it comes back.

Two of three are a quorum: if one dies, the others choose a new leader, and whatever was
acknowledged is still there. With --stay they stay up, and etcdctl can talk to them.
"""

from __future__ import annotations

import argparse
import shlex
import sys
import tempfile
from functools import partial
from itertools import pairwise
from math import inf
from pathlib import Path

import trio

from trioetcd.client import DisconnectedError, EtcdError, OutcomeUnknownError
from trioetcd.testing.members import NAMES, Members

GREEN, RED, PLAIN = ("\033[32m", "\033[31m", "\033[0m") if sys.stdout.isatty() else ("", "", "")


async def write(members: Members, acknowledged: trio.MemorySendChannel[float]) -> None:
    """Count in a key for ever; say when each write was acknowledged."""
    async with members.connect(*NAMES, request_seconds=0.5) as client:
        for number in range(1_000_000_000):
            try:
                await client.put("counter", str(number))
                await acknowledged.send(trio.current_time())
            except (EtcdError, DisconnectedError, OutcomeUnknownError):
                await trio.sleep(0.02)  # it was not done, or nobody can know; the next one then


async def show(members: Members) -> str:
    """Print who does what; gives the name of the leader."""
    leader = ""
    print(f"\n    {'member':9}{'endpoint':25}{'':9}{'term':>5}{'applied':>9}{'revision':>10}")
    for name in NAMES:
        print(f"    {name:9}{members.client_url(name):25}", end="")
        if not members.is_running(name):
            print(f"{RED}is down{PLAIN}")
            continue
        async with members.connect(name) as client:
            found = await client.status()
        leads = found.leader == found.header.member_id
        leader = name if leads else leader
        print(f"{GREEN}leads{PLAIN}    " if leads else "follows  ", end="")
        print(f"{found.raft_term:5}{found.raft_applied_index:9}{found.header.revision:10}")
    return leader


async def story(members: Members, *, stay: bool) -> None:
    """Kill the leader while a client writes, and bring it back."""
    leader = await show(members)
    print(f"\nA client writes, and {leader} is killed with SIGKILL ...", flush=True)
    acknowledged, written = trio.open_memory_channel[float](inf)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write, members, acknowledged)
        times = [await written.receive() for _ in range(200)]
        members.kill(leader)
        times += [await written.receive() for _ in range(200)]
        gap = max(after - before for before, after in pairwise(times))
        print(f"No write succeeded for {gap:.1f} s; then they went on.")
        await show(members)
        print(f"\n{leader} is started again, with the data that it had ...", flush=True)
        await trio.to_thread.run_sync(members.start, leader)
        nursery.cancel_scope.cancel()
    async with members.connect(leader) as client:
        await client.get("counter")  # answered only when this member knows all the others do
    await show(members)
    print(f"\n{leader} has caught up.")
    if not stay:
        print("Everything is stopped and removed; with --stay it stays up for you.")
        return
    print("For etcdctl, in another terminal (Ctrl-C here ends and removes everything):\n")
    for name, value in members.environment().items():
        print(f"export {name}={shlex.quote(value)}", flush=True)
    await trio.sleep_forever()


parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
parser.add_argument("--stay", action="store_true", help="stay up until Ctrl-C")
parser.add_argument("--port", type=int, default=0, help="the first of six ports; else free ones")
arguments = parser.parse_args()
try:
    with tempfile.TemporaryDirectory() as place, Members(Path(place), port=arguments.port) as three:
        print("Three members get certificates and start ...", flush=True)
        three.issue(*NAMES)
        three.start(*NAMES)
        trio.run(partial(story, three, stay=arguments.stay))
except* KeyboardInterrupt:
    print("\nEverything is stopped and removed.")
except* RuntimeError as group:
    why = group.exceptions[0]
    said = why.__notes__[0].splitlines()[-1]
    sys.exit(f"{why}; the last it said:\n{said}\nIf a port is taken, give another --port.")

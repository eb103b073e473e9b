"""What a cluster's nodes, its pods and its users make the apiservers do.

A thousand nodes renew a lease and write their status every ten seconds, spread out. Ten thousand
pods come, are bound, tell their status, and partly go again, with events that live for a while.
`rate` scales the numbers of nodes and pods.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final

import trio

from tests.proof.kube.channel import UnansweredError
from tests.proof.kube.record import Record
from tests.proof.kube.server import EVENTS, LEASES, NODES, PODS, ApiServer
from tests.proof.kube.storage import Mint, Result
from tests.proof.kube.users import User
from trioetcd.client import OutcomeUnknownError
from trioetcd.errors import EtcdError

__all__ = ["Scale", "Traffic"]

NODE_COUNT: Final = 1000
POD_COUNT: Final = 10_000
NODE_SECONDS: Final = 10.0
EVENT_SECONDS: Final = 20
"""How long an event lives; Kubernetes has an hour."""
MASTER_SECONDS: Final = 15
TRIES: Final = 5
RETRY_SECONDS: Final = 0.2
SIZES: Final = {NODES: 2000, LEASES: 300, PODS: 1200, EVENTS: 700}
NOISE: Final = 4096
GONE: Final = 0.6
"""The share of the pods that are deleted again."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much there is to do.

    Attributes:
        seconds: how long.
        rate: what part of a thousand nodes and ten thousand pods there is.
        compact_seconds: how often a compactor asks.
    """

    seconds: float
    rate: float
    compact_seconds: float

    @property
    def nodes(self) -> int:
        """How many nodes."""
        return max(3, round(NODE_COUNT * self.rate))

    @property
    def pods(self) -> int:
        """How many pods there will have been."""
        return max(10, round(POD_COUNT * self.rate))


class Traffic:
    """Everybody who talks to the apiservers.

    Args:
        servers: whom they talk to; anybody to anyone.
        record: where things are counted.
        scale: how much there is to do.
        seed: decides everything that is not the machine's to decide.
    """

    def __init__(self, servers: list[ApiServer], record: Record, scale: Scale, seed: int) -> None:
        self._servers = servers
        self._record = record
        self._scale = scale
        self._seed = seed
        self._stop = trio.Event()
        self._serial = 0
        self._noise = random.Random(f"{seed} noise").randbytes(2 * NOISE)

    async def run(self) -> None:
        """Talk until the time is up, and let everybody finish."""
        scale = self._scale
        async with trio.open_nursery() as nursery:
            for number in range(scale.nodes):
                nursery.start_soon(self._node, number)
            for number in range(scale.pods):
                nursery.start_soon(self._pod, number)
            for number, server in enumerate(self._servers):
                nursery.start_soon(self._master, server, number)
                user = User(server, self._record, self._chance(f"user {number}"))
                nursery.start_soon(user.run, self._pause)
                nursery.start_soon(self._disturber, server, number)
            nursery.start_soon(self._node_controller)
            await trio.sleep(scale.seconds)
            self._stop.set()

    # -- how everybody does things ---------------------------------------------------------

    def _chance(self, who: str) -> random.Random:
        return random.Random(f"{self._seed} {who}")

    def _mint(self, prefix: bytes) -> Mint:
        """Give what gives values for a resource, each unlike any other."""

        def mint() -> bytes:
            self._serial += 1
            begin = self._serial * 37 % NOISE
            return b"k8s\0%d:" % self._serial + self._noise[begin : begin + SIZES[prefix]]

        return mint

    async def _pause(self, seconds: float) -> bool:
        """Wait; give whether to go on afterwards."""
        with trio.move_on_after(seconds):
            await self._stop.wait()
        return not self._stop.is_set()

    async def _do(
        self, chance: random.Random, deed: Callable[[ApiServer], Awaitable[Result]]
    ) -> Result | None:
        """Do something through any server, again through any other where it failed.

        A client of an apiserver does not learn what became of a write that was not answered; it
        asks once more, and may find the object there, changed or gone.
        """
        for _ in range(TRIES):
            try:
                return await deed(chance.choice(self._servers))
            except (OutcomeUnknownError, UnansweredError):
                self._record.counts["deeds tried again"] += 1
            except EtcdError as error:
                self._record.flaws.append(f"a write was refused: {error}")
            await trio.sleep(RETRY_SECONDS)
        return None

    def _update(
        self, key: bytes, prefix: bytes, *, missing: bool = False
    ) -> Callable[[ApiServer], Awaitable[Result]]:
        def deed(server: ApiServer) -> Awaitable[Result]:
            return server.storage.update(
                key, self._mint(prefix), cached=server.cached(key), missing=missing
            )

        return deed

    def _create(self, key: bytes, prefix: bytes) -> Callable[[ApiServer], Awaitable[Result]]:
        return lambda server: server.storage.create(key, self._mint(prefix))

    async def _event(self, chance: random.Random, name: str) -> None:
        key = EVENTS + f"default/{name}.{chance.getrandbits(48):012x}".encode()
        await self._do(
            chance,
            lambda server: server.storage.create(key, self._mint(EVENTS), seconds=EVENT_SECONDS),
        )

    # -- who there is ----------------------------------------------------------------------

    async def _node(self, number: int) -> None:
        chance = self._chance(f"node {number}")
        node = NODES + b"node-%04d" % number
        lease = LEASES + b"kube-node-lease/node-%04d" % number
        if not await self._pause(NODE_SECONDS * number / self._scale.nodes):
            return
        await self._do(chance, self._create(node, NODES))
        await self._event(chance, node.rpartition(b"/")[2].decode())
        while True:
            await self._do(chance, self._update(lease, LEASES, missing=True))
            if not await self._pause(NODE_SECONDS / 2):
                return
            await self._do(chance, self._update(node, NODES))
            if not await self._pause(NODE_SECONDS / 2):
                return

    async def _node_controller(self) -> None:
        """Write on nodes as their kubelets do, so that there are conflicts."""
        chance = self._chance("node controller")
        while await self._pause(chance.uniform(0, 0.5)):
            node = NODES + b"node-%04d" % chance.randrange(self._scale.nodes)
            async with trio.open_nursery() as nursery:
                for _ in range(2):
                    nursery.start_soon(self._do, chance, self._update(node, NODES))

    async def _pod(self, number: int) -> None:
        chance = self._chance(f"pod {number}")
        if not await self._pause(self._scale.seconds * chance.uniform(0, 0.85)):
            return
        name = f"pod-{number:05d}"
        key = PODS + f"space-{number % 7}/{name}".encode()
        await self._do(chance, self._create(key, PODS))
        await self._event(chance, name)
        for _ in range(4):  # bound, told of, starting, running
            if not await self._pause(chance.uniform(0, 2)):
                return
            await self._do(chance, self._update(key, PODS))
        await self._event(chance, name)
        if chance.random() > GONE or not await self._pause(chance.uniform(1, 30)):
            return
        await self._do(chance, self._update(key, PODS))
        if await self._pause(chance.uniform(0, 2)):
            await self._do(
                chance, lambda server: server.storage.delete(key, cached=server.cached(key))
            )

    async def _master(self, server: ApiServer, number: int) -> None:
        """Write down that an apiserver lives, on a new lease each time."""
        key = b"/registry/masterleases/10.0.0.%d" % number
        chance = self._chance(f"master {number}")
        while True:
            await self._do(
                chance,
                lambda _: server.storage.update(
                    key, self._mint(LEASES), seconds=MASTER_SECONDS, missing=True
                ),
            )
            if not await self._pause(MASTER_SECONDS * 2 / 3):
                return

    async def _disturber(self, server: ApiServer, number: int) -> None:
        """Take a watch stream away, for so long at times that history is gone, or all caches."""
        chance = self._chance(f"disturber {number}")
        compact = self._scale.compact_seconds
        while await self._pause(chance.uniform(1, 4) * compact):
            if chance.random() < 0.25:
                server.restart()
            else:
                server.away(chance.choice((0, 0.5, 3.5)) * compact)
        server.come_back()

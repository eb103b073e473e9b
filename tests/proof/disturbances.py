"""What is done to a cluster while clients use it. Each ends with everything mended."""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from tests.proof.cluster import Cluster
from tests.proof.proxy import Proxy

__all__ = ["DISTURBANCES", "Stage"]

SHORT_SECONDS: Final = (0.2, 2.5)
DELAY_SECONDS: Final = (0.025, 0.125)
LOSS: Final = 0.5
FLAPS: Final = 8
FLAP_SECONDS: Final = (0.05, 0.3)
ASK_SECONDS: Final = 3.0


class Stage:
    """A cluster behind its proxy.

    Args:
        cluster: what is disturbed.
        proxy: what its members reach each other through.
        chance: decides whom, how, and how long.
    """

    def __init__(self, cluster: Cluster, proxy: Proxy, chance: random.Random) -> None:
        self.cluster = cluster
        self.proxy = proxy
        self.chance = chance

    async def leader(self) -> int:
        """Give who leads, or anybody if nobody does for a while."""
        return await trio.to_thread.run_sync(self._leader)

    def _leader(self) -> int:
        for place in self.cluster.places:
            status = self.cluster.status(place, seconds=ASK_SECONDS)
            if status is not None and status.leader == status.member:
                return place
        return self.anybody()

    def anybody(self) -> int:
        """Give one of the members."""
        return self.chance.choice(self.cluster.places)

    async def leader_or_not(self) -> int:
        """Give the leader half of the time, else anybody."""
        return await self.leader() if self.chance.random() < 0.5 else self.anybody()

    async def wait(self, bounds: tuple[float, float] = SHORT_SECONDS) -> None:
        """Let some time pass."""
        await trio.sleep(self.chance.uniform(*bounds))

    async def start(self, places: list[int]) -> None:
        """Start members and wait until they serve."""
        await trio.to_thread.run_sync(self.cluster.start, places)

    async def restore(self) -> None:
        """Mend and start whatever is not well."""
        self.proxy.heal()
        for place in self.cluster.places:
            self.cluster.resume(place)
        down = [place for place in self.cluster.places if not self.cluster.members[place].running()]
        if down:
            await self.start(down)


async def kill_one(stage: Stage) -> None:
    """Kill a member, often the leader, and start it again after a while."""
    place = await stage.leader_or_not()
    stage.cluster.kill([place])
    await stage.wait()
    await stage.start([place])


async def kill_two(stage: Stage) -> None:
    """Kill a majority at once; start it again."""
    spared = stage.anybody()
    places = [place for place in stage.cluster.places if place != spared]
    stage.cluster.kill(places)
    await stage.wait((0.0, 1.0))
    await stage.start(places)


async def kill_all(stage: Stage) -> None:
    """Kill all three at once; start them again."""
    stage.cluster.kill()
    await stage.start(list(stage.cluster.places))


async def pause(stage: Stage) -> None:
    """Stop a member, often the leader, for so long that it may be deposed without noticing."""
    place = await stage.leader_or_not()
    stage.cluster.pause(place)
    await stage.wait()
    stage.cluster.resume(place)


async def pause_in_turn(stage: Stage) -> None:
    """Stop one member after the other."""
    for place in stage.chance.sample(stage.cluster.places, 3):
        stage.cluster.pause(place)
        await stage.wait((0.1, 0.8))
        stage.cluster.resume(place)


async def isolate(stage: Stage) -> None:
    """Cut a member, often the leader, off from both others."""
    stage.proxy.isolate(await stage.leader_or_not())
    await stage.wait()
    stage.proxy.heal()


async def deafen(stage: Stage) -> None:
    """Let a member be heard, but hear nothing."""
    stage.proxy.isolate(await stage.leader_or_not(), outward=False)
    await stage.wait()
    stage.proxy.heal()


async def mute(stage: Stage) -> None:
    """Let a member hear, but not be heard."""
    stage.proxy.isolate(await stage.leader_or_not(), inward=False)
    await stage.wait()
    stage.proxy.heal()


async def cut_one_link(stage: Stage) -> None:
    """Cut two members off from each other; the third still has both."""
    one, other = stage.chance.sample(stage.cluster.places, 2)
    stage.proxy.lines[one, other].cut()
    stage.proxy.lines[other, one].cut()
    await stage.wait()
    stage.proxy.heal()


async def clog(stage: Stage) -> None:
    """Cut one direction after the other, and mend them in another order."""
    lines = list(stage.proxy.lines.values())
    for line in stage.chance.sample(lines, len(lines)):
        line.cut()
        await stage.wait((0.0, 0.2))
    for line in stage.chance.sample(lines, len(lines)):
        line.heal()
        await stage.wait((0.0, 0.2))


async def delay(stage: Stage) -> None:
    """Let everything between members take its time."""
    for line in stage.proxy.lines.values():
        line.delay = DELAY_SECONDS
    await stage.wait()
    stage.proxy.heal()


async def lose(stage: Stage) -> None:
    """Lose half of what passes, so that connections break again and again."""
    for line in stage.proxy.lines.values():
        line.loss = LOSS
    await stage.wait()
    stage.proxy.heal()


async def flap(stage: Stage) -> None:
    """Reset all connections again and again."""
    for _ in range(FLAPS):
        stage.proxy.reset()
        await stage.wait(FLAP_SECONDS)


async def isolate_and_kill(stage: Stage) -> None:
    """Cut the leader off and kill a follower, so that nobody has a majority."""
    leader = await stage.leader()
    stage.proxy.isolate(leader)
    await stage.wait((0.1, 0.8))
    other = stage.chance.choice([place for place in stage.cluster.places if place != leader])
    stage.cluster.kill([other])
    await stage.wait((0.1, 0.8))
    stage.proxy.heal()
    await stage.start([other])


DISTURBANCES: Final[dict[str, Callable[[Stage], Awaitable[None]]]] = {
    "kill": kill_one,
    "kill two": kill_two,
    "kill all": kill_all,
    "pause": pause,
    "pause in turn": pause_in_turn,
    "isolate": isolate,
    "deafen": deafen,
    "mute": mute,
    "cut one link": cut_one_link,
    "clog": clog,
    "delay": delay,
    "lose": lose,
    "flap": flap,
    "isolate and kill": isolate_and_kill,
}

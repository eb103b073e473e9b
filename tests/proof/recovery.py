"""How long a cluster is without a leader and without writes, measured from outside.

Every 10 ms each member is asked who leads, and one of them is given a write of its own, whatever
became of the ones before.
"""

from __future__ import annotations

import statistics
import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Final

import grpc

from tests.proof.cluster import Cluster
from tests.proof.kv import PUT, Client, Future, RpcFailedError, put_request
from tests.proof.outcome import Outcome

__all__ = ["Recovery", "summarize"]

EVERY_SECONDS: Final = 0.01
WRITE_SECONDS: Final = 5.0
STATUS_SECONDS: Final = 0.5
KEY: Final = b"probe"


class Recovery:
    """Measures what follows an event, which is whatever happens when `event` is called.

    Args:
        cluster: its running members are asked.
        without: the place of the member that is about to go; it is not asked.
    """

    def __init__(self, cluster: Cluster, without: int) -> None:
        self._cluster = cluster
        self._lost = cluster.number(without)
        self._places = [place for place in cluster.places if place != without]
        self._clients = {place: cluster.members[place].client() for place in self._places}
        self._stop = threading.Event()
        self._led = threading.Event()
        self._written = threading.Event()
        self._began = 0.0
        self._leader_at = 0.0
        self._write_at = 0.0
        for client in self._clients.values():
            client.status(timeout=5)  # shakes hands before it counts

    def measure(self, event: Callable[[], object], seconds: float) -> tuple[float, float]:
        """Let it happen and wait for a new leader and a write.

        Args:
            event: takes the member away.
            seconds: how long to wait at most.

        Returns:
            Seconds from the beginning of the event until another member was said to lead, and
            until a write was answered that began after it; `seconds` where that never came.
        """
        threads = [
            threading.Thread(target=self._ask, args=(place, client), daemon=True)
            for place, client in self._clients.items()
        ]
        threads.append(threading.Thread(target=self._put, daemon=True))
        happening = threading.Thread(target=event, daemon=True)
        self._began = time.monotonic()
        for thread in threads:
            thread.start()
        happening.start()
        end = self._began + seconds
        for reached in (self._led, self._written):
            reached.wait(max(0.0, end - time.monotonic()))
        self._stop.set()
        happening.join()
        for thread in threads:
            thread.join()
        for client in self._clients.values():
            client.close()
        return (
            self._leader_at - self._began if self._led.is_set() else seconds,
            self._write_at - self._began if self._written.is_set() else seconds,
        )

    def _ask(self, place: int, client: Client) -> None:
        while not self._stop.wait(EVERY_SECONDS) and not self._led.is_set():
            try:
                leader = client.status(timeout=STATUS_SECONDS).leader
            except RpcFailedError:
                continue
            if leader not in {0, self._lost} and not self._led.is_set():
                self._leader_at = time.monotonic()
                self._led.set()

    def _put(self) -> None:
        turn = 0
        while not self._stop.wait(EVERY_SECONDS) and not self._written.is_set():
            client = self._clients[self._places[turn % len(self._places)]]
            turn += 1
            # before a graceful stop has begun to bite, a write may still be the old leader's
            future = client.begin(PUT, put_request(KEY, b"%d" % turn), timeout=WRITE_SECONDS)
            future.add_done_callback(partial(self._answered, led=self._led.is_set()))

    def _answered(self, future: Future, *, led: bool) -> None:
        try:
            failed = future.exception() is not None
        except grpc.FutureCancelledError:
            return
        if not failed and (led or self._led.is_set()) and not self._written.is_set():
            self._write_at = time.monotonic()
            self._written.set()


def summarize(outcome: Outcome, name: str, values: list[float]) -> None:
    """Put median, p99 and maximum of some seconds into the figures."""
    if not values:
        return
    ordered = sorted(values)
    outcome.figures[f"{name}, p50 s"] = round(statistics.median(ordered), 3)
    at = min(len(ordered) - 1, int(len(ordered) * 0.99))
    outcome.figures[f"{name}, p99 s"] = round(ordered[at], 3)
    outcome.figures[f"{name}, max s"] = round(ordered[-1], 3)

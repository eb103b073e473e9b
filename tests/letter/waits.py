"""The scripts of those who wait in vain: for a store that lags, for a leader who cannot be asked.

Each ends with what was told when time was up. What is told is judged by the cases.
"""

from __future__ import annotations

from functools import partial

from tests.letter.caller import OK, said_by
from tests.letter.stages import Stage
from tests.proof.cluster import Cluster
from tests.proof.proxy import ProxyThread
from trioetcd import errors
from trioetcd.schema import messages as m

__all__ = ["ask_behind_a_backlog", "ask_without_a_way_to_the_leader"]

KEYS = 20_000
TXN_OPS = 128
SLOW_TXNS = 25
"""50 million compares: much more than can be made before time is up."""
ATTEMPTS = 5

GAP = 5000
"""So far commit may run ahead of what is applied."""

PUT = m.PutRequest(key=b"k", value=b"v")
RANGE = m.RangeRequest(key=b"k")


def ask_behind_a_backlog(stage: Stage) -> Stage:
    """Let a member commit what it applies slowly, then ask for what comes after that."""
    caller = stage.caller
    fills = []
    for begin in range(0, KEYS, TXN_OPS):
        txn = m.TxnRequest()
        for at in range(begin, begin + TXN_OPS):
            txn.success.add().request_put.key = b"f%d" % at
        fills.append(caller.ask("KV/Txn", txn))
    assert {fill.said() for fill in fills} == {OK}
    every = m.Compare(
        key=b"f",
        range_end=b"g",
        target=m.Compare.VERSION,
        result=m.Compare.GREATER,
        version=0,
    )
    slow = m.TxnRequest(compare=[every] * TXN_OPS)
    slow.success.add().request_put.key = b"k"
    before = stage.status().raftIndex
    waiting = [caller.ask("KV/Txn", slow) for _ in range(SLOW_TXNS)]
    while stage.status().raftIndex < before + SLOW_TXNS:
        pass
    puts = [caller.ask("KV/Put", PUT) for _ in range(GAP + SLOW_TXNS)]
    while (status := stage.status()).raftIndex <= status.raftAppliedIndex + GAP:
        pass
    stage.results["KV/Put"] = stage.say("KV/Put", PUT)
    asked = {
        "KV/Range": caller.ask("KV/Range", RANGE),
        "Lease/LeaseTimeToLive": caller.ask(
            "Lease/LeaseTimeToLive", m.LeaseTimeToLiveRequest(ID=1)
        ),
    }
    keep_alive = caller.open("Lease/LeaseKeepAlive", m.LeaseKeepAliveRequest(ID=1))
    for rpc, each in asked.items():
        stage.results[rpc] = each.said()
    stage.results["Lease/LeaseKeepAlive"] = keep_alive.next()[0]
    stage.results["KV/Txn"] = waiting[-1].said()
    for put in puts:
        put.said()
    keep_alive.close()
    return stage


def ask_without_a_way_to_the_leader(cluster: Cluster, proxy: ProxyThread) -> Stage:
    """Keep a follower from dialling anybody: it hears its leader, and cannot ask it for anything.

    Then another one comes to lead.
    """
    stages = [Stage.of(member) for member in cluster.members]
    numbers = [stage.me().ID for stage in stages]
    leading = cluster.leader()
    cut_off, next_one = (place for place in cluster.places if place != leading)
    stage = stages[cut_off]
    while stage.leader() != numbers[leading]:
        pass
    for place in (leading, next_one):
        proxy.tell(partial(proxy.proxy.refuse, cut_off, place))
    reading = stage.caller.ask("KV/Range", RANGE)
    move = m.MoveLeaderRequest(targetID=numbers[next_one])
    assert stages[leading].say("Maintenance/MoveLeader", move) == OK
    while stage.leader() != numbers[next_one]:
        pass
    writing = stage.caller.ask("KV/Put", PUT)
    stage.results["KV/Range"] = reading.said()
    stage.results["KV/Put"] = writing.said()
    for _ in range(ATTEMPTS):  # a busy machine may have let leadership move once more
        if stage.results["KV/Put"] == said_by(errors.TIMEOUT_DUE_TO_CONNECTION_LOST):
            break
        stage.results["KV/Put"] = stage.say("KV/Put", PUT)
    for each in stages:
        each.caller.close()
    return stage

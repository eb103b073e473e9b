"""Members in a storm: loss, doubling, reordering, crashes, partitions, changes; then calm."""

from __future__ import annotations

import pytest
from tests.raft.cluster import Cluster, Node, Snapshot, encode_change, ids

from trioetcd.raft import AddLearner, AddVoter, ConfState, RaftConfig, Remove, Role
from trioetcd.values import MemberID

SEEDS = 300
STEPS = 500


class Storm:
    """One seeded run: what happens next is drawn, what must hold is checked all along."""

    def __init__(self, seed: int) -> None:
        self.cluster = cluster = Cluster(
            1 + seed % 5,
            learners=seed % 2,
            seed=seed,
            keep=(1 << 30, 0, 5)[seed % 3],
            config=RaftConfig(
                member_id=MemberID(1),
                election_ticks=4,
                batch_bytes_max=(1 << 20, 12)[seed // 2 % 2],
                append_bytes_max=(1 << 20, 8)[seed // 3 % 2],
                inflight_max=(256, 2)[seed // 5 % 2],
                pre_vote=seed % 7 != 0,
                check_quorum=seed % 11 != 0,
            ),
        )
        self.random = cluster.random
        self.count = 0
        self.patience = self.random.choice((20, 200))

    def run(self) -> None:
        """Take all steps."""
        kinds = (
            [self.deliver] * 40
            + [self.persist] * 12
            + [self.cut] * 12
            + [self.send] * 12
            + [self.apply] * 6
            + [self.tick] * 12
            + [self.propose] * 8
            + [self.read] * 2
            + [self.rarely]
        )
        for _ in range(STEPS):
            self.random.choice(kinds)()

    def node(self) -> Node:
        """Draw a member that runs, or start one."""
        node = self.random.choice(list(self.cluster.nodes.values()))
        if node.down:
            node.start()
        return node

    def deliver(self) -> None:
        bag = self.cluster.bag
        if not bag:
            return
        at = self.random.randrange(min(len(bag), self.patience))
        chance = self.random.random()
        if chance < 0.05 and not isinstance(bag[at], Snapshot):
            self.cluster.deliver(bag[at])
            return
        message = bag.pop(at)
        if chance > 0.1 or isinstance(message, Snapshot):
            self.cluster.deliver(message)

    def persist(self) -> None:
        self.node().persisted()

    def cut(self) -> None:
        self.node().cut()

    def send(self) -> None:
        self.node().send()

    def apply(self) -> None:
        node = self.node()
        node.apply()
        self.cluster.check(node)

    def tick(self) -> None:
        node = self.node()
        node.raft.tick()
        self.cluster.check(node)

    def propose(self) -> None:
        datas = []
        for _ in range(self.random.randrange(1, 4)):
            self.count += 1
            datas.append(b"%d" % self.count)
        self.node().raft.propose(datas)

    def read(self) -> None:
        self.node().read()

    def rarely(self) -> None:
        cluster, random = self.cluster, self.random
        node = self.node()
        match random.randrange(8):
            case 0 | 1:
                node.crash()
            case 2:
                cluster.separate(node.id, random.choice(list(cluster.nodes)))
            case 3:
                cluster.heal()
            case 4:
                node.raft.transfer(random.choice(list(cluster.nodes)))
            case 5:
                node.raft.resign() if node.raft.role == Role.LEADER else None
            case 6:
                node.raft.report_unreachable(random.choice(list(cluster.nodes)))
            case _:
                self.change(node)

    def change(self, node: Node) -> None:
        """Propose to change the membership by one."""
        cluster = self.cluster
        member = MemberID(self.random.randrange(1, len(cluster.nodes) + 2))
        if member not in cluster.nodes:
            if len(cluster.nodes) > 6:
                return
            cluster.add(member)
        kind = self.random.choice((AddVoter, AddVoter, AddLearner, Remove))
        node.raft.propose([encode_change(kind(member))])

    def calm(self) -> None:
        """Heal everything; before long there is one leader, and all members agree."""
        cluster = self.cluster
        cluster.heal()
        for node in cluster.nodes.values():
            if node.down:
                node.start()
        for _ in range(40):
            cluster.tick(10)
            leaders = [node for node in cluster.up() if node.raft.role == Role.LEADER]
            if len(leaders) == 1 and cluster.propose(leaders[0].id, b"end"):
                cluster.tick(10)
                members = leaders[0].conf.members
                states = {cluster.nodes[member].state for member in members}
                confs = {cluster.nodes[member].conf for member in members}
                if len(states) == len(confs) == 1 and leaders[0].raft.role == Role.LEADER:
                    return
        raise AssertionError("no agreement in calm weather")


def test_storm_and_calm() -> None:
    """Whatever is lost, doubled, crashed or cut off: safety always, and agreement in the end."""
    for seed in range(SEEDS):
        storm = Storm(seed)
        try:
            storm.run()
            storm.calm()
        except BaseException:
            print("seed", seed)
            raise

"""Members in a storm: loss, doubling, reordering, crashes, partitions, changes; then calm."""

from __future__ import annotations

from random import Random

from tests.raft.cluster import Cluster, Node, Snapshot, encode_change
from trioetcd.raft import AddLearner, AddVoter, RaftConfig, Remove, Role
from trioetcd.values import MemberID

SEEDS = 300
STEPS = 500


class Storm:
    """One seeded run: what happens next is drawn, what must hold is checked all along."""

    def __init__(self, seed: int) -> None:
        random = Random(seed)
        self.cluster = cluster = Cluster(
            random.choice((1, 2, 3, 3, 3, 4, 5)),
            learners=random.choice((0, 0, 1)),
            seed=seed,
            keep=random.choice((1 << 30, 0, 5)),
            config=RaftConfig(
                member_id=MemberID(1),
                election_ticks=random.choice((2, 4, 10)),
                batch_bytes_max=random.choice((1 << 20, 12)),
                apply_entries_max=random.choice((1, 100)),
                append_bytes_max=random.choice((1 << 20, 8)),
                inflight_max=random.choice((256, 2)),
                pre_vote=random.random() > 0.2,
                check_quorum=random.random() > 0.2,
            ),
        )
        cluster.guarded = True
        self.random = cluster.random
        self.count = 0
        self.reorder = random.choice((1, 5, 200))
        self.loss = random.choice((0.0, 0.02, 0.3))
        # Which things happen how often is drawn too, so that seeds differ in kind.
        self.weights = {
            self.deliver: random.choice((40, 80, 200)),
            self.persist: random.choice((5, 20, 40)),
            self.cut: random.choice((5, 20, 40)),
            self.send: random.choice((10, 40)),
            self.apply: random.choice((5, 20)),
            self.tick: random.choice((3, 10, 40)),
            self.propose: random.choice((2, 10, 40)),
            self.read: random.choice((1, 5)),
            self.turn: random.choice((0, 40)),
            self.rarely: random.choice((0, 1, 4)),
            self.change: random.choice((0, 1, 4)),
        }

    def run(self) -> None:
        """Take all steps."""
        for what in self.random.choices(list(self.weights), list(self.weights.values()), k=STEPS):
            what()

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
        at = self.random.randrange(min(len(bag), self.reorder))
        lost, doubled = (self.random.random() < self.loss for _ in range(2))
        message = bag[at]
        if isinstance(message, Snapshot) or not doubled:
            del bag[at]
        if isinstance(message, Snapshot) or not lost:
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

    def turn(self) -> None:
        """Do all an owner does in a turn."""
        node = self.node()
        node.apply()
        node.cut()
        node.send()
        self.cluster.check(node)

    def rarely(self) -> None:
        cluster, random = self.cluster, self.random
        node = self.node()
        match random.randrange(7):
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
            case _:
                node.raft.report_unreachable(random.choice(list(cluster.nodes)))

    def change(self) -> None:
        """Propose to change the membership by one."""
        cluster, node = self.cluster, self.node()
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

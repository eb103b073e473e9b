"""The script of three members: one stands still, one is killed, the majority is lost, nobody leads.

What is asked at a moment that may pass too soon (a leader that has just stopped, and nobody knows)
is asked again after all is well. What is told is judged by the cases.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.letter.caller import OK, Said, said_by
from tests.letter.stages import Stage
from tests.proof.cluster import Cluster
from trioetcd import errors
from trioetcd.schema import messages as m

__all__ = ["play"]

PUT = m.PutRequest(key=b"k", value=b"v")
RANGE = m.RangeRequest(key=b"k")
LOCAL = m.RangeRequest(key=b"k", serializable=True)
WATCH = m.WatchRequest(create_request=m.WatchCreateRequest(key=b"k"))
ATTEMPTS = 10
NOTICED = "peer became inactive"
NOTICE_SECONDS = 20.0


def play(cluster: Cluster) -> Stage:
    """Play the script with a cluster that has started; give what was said at its ends."""
    stages = [Stage.of(member) for member in cluster.members]
    scene = _Scene(cluster, stages)
    scene.leadership()
    scene.leader_stands_still()
    scene.one_is_gone()
    scene.majority_is_lost()
    for stage in stages:
        stage.caller.close()
    return scene.told


class _Scene:
    def __init__(self, cluster: Cluster, stages: list[Stage]) -> None:
        self.cluster = cluster
        self.stages = stages
        self.numbers = [stage.me().ID for stage in stages]
        self.told = stages[0]

    def agreed(self) -> tuple[Stage, list[Stage]]:
        """Wait until all who run name the same leader among them; give it, and the others."""
        while True:
            alive = [stage for stage in self.stages if stage.member.running()]
            leaders = {stage.leader() for stage in alive}
            numbers = {self.numbers[self.stages.index(stage)]: stage for stage in alive}
            if len(leaders) == 1 and (leader := numbers.get(leaders.pop())):
                return leader, [stage for stage in alive if stage is not leader]

    def place(self, stage: Stage) -> int:
        return self.stages.index(stage)

    def number(self, stage: Stage) -> int:
        return self.numbers[self.place(stage)]

    def again(self, wanted: errors.ErrorRow, provoke: Callable[[], Said]) -> Said:
        """Provoke, and again if the moment had passed."""
        said = provoke()
        for _ in range(ATTEMPTS):
            if said == said_by(wanted):
                break
            said = provoke()
        return said

    def leadership(self) -> None:
        """It is moved by who leads, and by nobody else."""

        def ask_follower() -> Said:
            _, (follower, _) = self.agreed()
            request = m.MoveLeaderRequest(targetID=self.number(follower))
            return follower.say("Maintenance/MoveLeader", request)

        said = self.again(errors.NOT_LEADER, ask_follower)
        self.told.results["Maintenance/MoveLeader", "asked of a follower"] = said
        leader, (follower, _) = self.agreed()
        request = m.MoveLeaderRequest(targetID=self.number(follower))
        said = leader.say("Maintenance/MoveLeader", request)
        self.told.results["Maintenance/MoveLeader", "asked of the leader"] = said

    def leader_stands_still(self) -> None:
        """A follower sends a put on to a leader that stands still, and another one is elected."""

        def put() -> Said:
            leader, (follower, _) = self.agreed()
            self.cluster.pause(self.place(leader))
            try:
                return follower.say("KV/Put", PUT)
            finally:
                self.cluster.resume(self.place(leader))

        said = self.again(errors.TIMEOUT_DUE_TO_LEADER_FAIL, put)
        self.told.results["KV/Put", "the leader stands still"] = said

    def one_is_gone(self) -> None:
        """With one of three gone a fourth would be one too many."""
        leader, (gone, _) = self.agreed()
        before = leader.member.log().count(NOTICED)
        self.cluster.kill([self.place(gone)])
        while leader.member.log().count(NOTICED) == before:
            assert leader.leader() >= 0
        request = m.MemberAddRequest(peerURLs=["https://127.0.0.1:1"])
        said = leader.say("Cluster/MemberAdd", request)
        self.told.results["Cluster/MemberAdd", "one is gone"] = said

    def majority_is_lost(self) -> None:
        """The second of three stands still: nothing is decided, and soon nobody leads."""
        results = self.told.results
        leader, (still,) = self.agreed()
        alarm = m.AlarmRequest(action=m.AlarmRequest.ACTIVATE, memberID=1, alarm=m.NOSPACE)
        assert leader.say("Maintenance/Alarm", alarm) == OK
        self.cluster.pause(self.place(still))
        caller = leader.caller
        move = m.MoveLeaderRequest(targetID=self.number(still))
        lost = {
            "KV/Put": caller.ask("KV/Put", PUT),
            "KV/Range": caller.ask("KV/Range", RANGE),
        }
        moving = caller.ask("Maintenance/MoveLeader", move)
        results["KV/Range", "its client's time is up"] = leader.raw_say(
            "KV/Range", RANGE, timeout=0.2
        )
        while leader.leader():
            pass
        own = leader.me()
        results["Maintenance/Status", "nobody leads"] = "OK", ", ".join(leader.status().errors)
        update = m.MemberUpdateRequest(ID=own.ID, peerURLs=own.peerURLs)
        leaderless = {
            "KV/Put": caller.ask("KV/Put", PUT),
            "Cluster/MemberUpdate": caller.ask("Cluster/MemberUpdate", update),
        }
        keep_alive = caller.open("Lease/LeaseKeepAlive", m.LeaseKeepAliveRequest(ID=1))
        for rpc, request in {"KV/Range": LOCAL, "Watch/Watch": WATCH}.items():
            said = leader.say(rpc, request, [("hasleader", "true")])
            results[rpc, "nobody leads, and it wants that"] = said
        for rpc, asked in leaderless.items():
            results[rpc, "nobody leads"] = asked.said()
        results["Lease/LeaseKeepAlive", "nobody leads"] = keep_alive.next()[0]
        keep_alive.close()
        for rpc, asked in lost.items():
            results[rpc, "the majority is lost meanwhile"] = asked.said()
        results["Maintenance/MoveLeader", "to who stands still"] = moving.said()

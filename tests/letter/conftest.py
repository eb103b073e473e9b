"""The stages: members as processes of their own, over TLS, in the states that cases need."""

from __future__ import annotations

import random
from collections.abc import Iterator

import pytest

from tests.letter import troubles, waits
from tests.letter.auth_cases import set_users
from tests.letter.caller import OK, Caller
from tests.letter.stages import Stage
from tests.proof.cluster import Cluster
from tests.proof.member import Member
from tests.proof.proxy import Proxy, ProxyThread
from trioetcd.cli.certs import certs
from trioetcd.node.pki_files import PkiFiles
from trioetcd.schema import messages as m

QUICK = ("--heartbeat-interval=50", "--election-timeout=500")


@pytest.fixture(scope="session")
def lone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a member alone, whatever has been done to it."""
    member = Member("trioetcd", tmp_path_factory.mktemp("alone"))
    member.start()
    stage = Stage.of(member)
    yield stage
    stage.caller.close()
    member.kill()


@pytest.fixture
def alone(lone: Stage) -> Stage:
    """Give a member alone."""
    return lone


@pytest.fixture
def growing(lone: Stage) -> Iterator[Stage]:
    """Give a member alone, to which learners may be added that never start."""
    yield lone
    lone.lose_learners()


@pytest.fixture
def compacted(lone: Stage) -> Stage:
    """Give a member that has forgotten what was before revision 3, if not more."""
    lone.compact()
    return lone


@pytest.fixture
def corrupt(lone: Stage) -> Iterator[Stage]:
    """Give a member that was told that its data differ from others'."""
    alarm(lone, m.AlarmRequest.ACTIVATE)
    yield lone
    alarm(lone, m.AlarmRequest.DEACTIVATE)


def alarm(stage: Stage, action: int) -> None:
    request = m.AlarmRequest(action=action, memberID=stage.me().ID, alarm=m.CORRUPT)
    assert stage.say("Maintenance/Alarm", request) == OK


@pytest.fixture
def downgrading(lone: Stage) -> Iterator[Stage]:
    """Give a member whose downgrade is called off afterwards."""
    yield lone
    lone.say("Maintenance/Downgrade", m.DowngradeRequest(action=m.DowngradeRequest.CANCEL))


@pytest.fixture(scope="session")
def users(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a member with users, whose tokens are signed."""
    directory = tmp_path_factory.mktemp("users")
    secret = directory / "secret"
    secret.write_bytes(b"s" * 64)
    token = f"--auth-token=jwt,sign-method=HS256,priv-key={secret}"
    member = Member("trioetcd", directory, flags=["--bcrypt-cost=4", token])
    member.start()
    stage = Stage.of(member)
    set_users(stage)
    yield stage
    stage.caller.close()
    member.kill()


@pytest.fixture(scope="session")
def full(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a member that has more data than it may have."""
    member = Member("trioetcd", tmp_path_factory.mktemp("full"), flags=["--quota-backend-bytes=1"])
    member.start()
    stage = Stage.of(member)
    yield stage
    stage.caller.close()
    member.kill()


@pytest.fixture(scope="session")
def stopped(tmp_path_factory: pytest.TempPathFactory) -> Stage:
    """Give a member that was told to stop while streams were open."""
    member = Member("trioetcd", tmp_path_factory.mktemp("stopped"))
    member.start()
    stage = Stage.of(member)
    requests = {
        "Watch/Watch": m.WatchRequest(create_request=m.WatchCreateRequest(key=b"k")),
        "Lease/LeaseKeepAlive": m.LeaseKeepAliveRequest(ID=1),
        "Health/Watch": m.HealthCheckRequest(),
    }
    streams = {rpc: stage.caller.open(rpc, request) for rpc, request in requests.items()}
    assert {stream.next()[0] for stream in streams.values()} == {OK}
    member.stop()
    stage.results.update({rpc: stream.next()[0] for rpc, stream in streams.items()})
    stage.caller.close()
    return stage


@pytest.fixture(scope="session")
def revoked(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a member that was told of a client's revocation while the client watched."""
    member = Member("trioetcd", tmp_path_factory.mktemp("revoked"))
    member.start()
    given = PkiFiles(member.data_dir / "pki")
    where = f"--data-dir={member.data_dir}"
    assert certs(["issue", "client", "alice", where]) == 0
    alice = given.client("alice")
    caller = Caller(member.address, member.ca, alice, given.key_of(alice))
    stage = Stage(member, caller)
    create = m.WatchRequest(create_request=m.WatchCreateRequest(key=b"k"))
    watch = caller.open("Watch/Watch", create)
    assert watch.next()[0] == OK
    assert certs(["revoke", "alice", where]) == 0
    stage.results["Watch/Watch"] = watch.next()[0]
    caller.close()
    yield stage
    member.kill()


@pytest.fixture(scope="session")
def learning(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give a learner that has been added to a member alone."""
    cluster = Cluster("trioetcd", tmp_path_factory.mktemp("learning"))
    first, second, _ = cluster.members
    first.initial_cluster = f"{first.name}={first.peer_url}"
    first.start()
    leader = Stage.of(first)
    request = m.MemberAddRequest(peerURLs=[second.peer_url], isLearner=True)
    assert leader.say("Cluster/MemberAdd", request) == OK
    second.initial_cluster = f"{first.initial_cluster},{second.name}={second.peer_url}"
    second.initial_state = "existing"
    second.start()
    learner = Stage.of(second, leader)
    yield learner
    learner.caller.close()
    leader.caller.close()
    cluster.close()


@pytest.fixture(scope="session")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give what three members said while one after the other was lost."""
    cluster = Cluster("trioetcd", tmp_path_factory.mktemp("troubled"), flags=QUICK)
    try:
        cluster.start()
        yield troubles.play(cluster)
    finally:
        cluster.close()


@pytest.fixture(scope="session")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give what a member said whose store was long behind what was committed."""
    flags = [*QUICK, "--max-concurrent-streams=10000"]
    member = Member("trioetcd", tmp_path_factory.mktemp("behind"), flags=flags)
    member.start()
    stage = Stage.of(member)
    try:
        yield waits.ask_behind_a_backlog(stage)
    finally:
        stage.caller.close()
        member.kill()


@pytest.fixture(scope="session")
def unheard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """Give what a follower said that nobody could hear any more."""
    cluster = Cluster("trioetcd", tmp_path_factory.mktemp("unheard"), flags=QUICK)
    proxy = Proxy(
        [member.peer_port for member in cluster.members], cluster.owner_of, random.Random(1)
    )
    cluster.advertise(proxy.ports)
    try:
        with ProxyThread(proxy) as thread:
            cluster.start()
            yield waits.ask_without_a_way_to_the_leader(cluster, thread)
    finally:
        cluster.close()

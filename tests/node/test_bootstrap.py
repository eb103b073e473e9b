"""Tests of `trioetcd.node.bootstrap`: who a new member is, and who must not begin or go on."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import replace

import pytest

from trioetcd.cluster import (
    Addition,
    ClusterView,
    Member,
    Membership,
    Promotion,
    Removal,
    attributes_command,
    cluster_id,
    encode_change,
    member_id,
)
from trioetcd.node.bootstrap import (
    CannotStart,
    FirstRows,
    check_not_started,
    first_rows,
    force_new_cluster,
    initial_members,
    match_view,
)
from trioetcd.node.config import Config, parse
from trioetcd.ports import EPOCH_FIRST
from trioetcd.replica import Overlay, bootstrap, recover
from trioetcd.replica.rows import bootstrap_joiner, force_commit
from trioetcd.schema import messages
from trioetcd.statemachine import CommandKind, encode_command
from trioetcd.storage.memory import MemoryBackend
from trioetcd.testing.synchronous import Synchronous
from trioetcd.url import Url
from trioetcd.values import ClusterID, MemberID, RequestID

PEERS = "--peer-cert-file=p --peer-key-file=k --peer-trusted-ca-file=c"
THREE = f"--initial-cluster=c=https://c:1,a=https://a:1,b=https://b:1 {PEERS}"
ALONE = "--name=a --initial-cluster=a=https://a:1"
CLUSTER = ClusterID(0xC1)


def config(line: str) -> Config:
    return parse(shlex.split(line), {})


def member(number: int, url: str, name: str = "", *, learner: bool = False) -> Member:
    return Member(MemberID(number), name, (url,), (), is_learner=learner)


class Peers:
    """What the peers of a test answer, and who was asked."""

    def __init__(self, view: ClusterView | None = None) -> None:
        self.view = view
        self.asked: list[str] = []

    async def __call__(self, urls: Sequence[Url]) -> ClusterView | None:
        self.asked += map(str, urls)
        return self.view


A_AND_B = ClusterView(CLUSTER, (member(2, "https://b:1", "b"), member(1, "https://a:1")))


# -- a new cluster ---------------------------------------------------------------------------


def test_all_members_arrive_at_the_same_numbers() -> None:
    """Numbers follow from URLs and token as etcd's do, whoever computes them."""
    found = [initial_members(config(f"--name={name} {THREE}")) for name in "abc"]
    assert found[0][0] == found[1][0] == found[2][0]
    expected = [member_id((f"https://{name}:1",), "etcd-cluster") for name in "abc"]
    assert expected == [own for _, own in found]
    assert expected == [one.id for one in found[0][0]]
    other = initial_members(config(f"--name=a --initial-cluster-token=t {THREE}"))
    assert other[1] == member_id(("https://a:1",), "t")


async def test_a_new_cluster_begins_with_the_same_rows_everywhere() -> None:
    """Three members, three first batches: one cluster, one table, one log, each its own self."""
    begun = [await first_rows(config(f"--name={name} {THREE}"), Peers()) for name in "abc"]
    assert len({first.cluster_id for first in begun}) == 1
    assert len({first.member_id for first in begun}) == 3
    tables = []
    for first in begun:
        backend = written(first)
        recovered = recover(backend)
        assert recovered is not None
        assert (3, 4, 1) == (recovered.applied, recovered.first, recovered.hard_state.term)
        assert (first.cluster_id, first.member_id) == (recovered.cluster_id, recovered.member_id)
        tables.append(Membership(Overlay(backend), epoch=recovered.epoch).members())
    assert tables[0] == tables[1] == tables[2]
    assert begun[0].cluster_id == cluster_id(one.id for one in tables[0])


async def test_a_lone_member_asks_nobody() -> None:
    """A cluster of one has no peers to ask."""
    peers = Peers()
    first = await first_rows(config(ALONE), peers)
    assert [] == peers.asked
    assert cluster_id([first.member_id]) == first.cluster_id


async def test_a_member_that_lost_its_data_does_not_begin_anew() -> None:
    """Its cluster has seen it: it would break its votes, and its acknowledgements."""
    line = config(f"--name=a {THREE}")
    members, own = initial_members(line)
    seen = [replace(one, name="a" if one.id == own else "") for one in members]
    cluster = cluster_id(one.id for one in members)
    peers = Peers(ClusterView(cluster, tuple(seen)))
    with pytest.raises(CannotStart, match=f"`etcdctl member remove {own:x}`"):
        await first_rows(line, peers)
    assert ["https://b:1", "https://c:1"] == peers.asked
    peers.view = ClusterView(cluster, tuple(members))
    first = await first_rows(line, peers)
    assert own == first.member_id


async def test_who_should_join_does_not_begin_a_cluster_of_its_own() -> None:
    """The commonest slip: added to a cluster, but started as if there were none yet."""
    with pytest.raises(CannotStart, match="to join them, give --initial-cluster-state=existing"):
        await first_rows(config(f"--name=a {THREE}"), Peers(A_AND_B))


async def test_settings_of_the_first_start_are_checked_before_anybody_is_asked() -> None:
    """A member that is not in its own list stops with one sentence."""
    peers = Peers()
    with pytest.raises(CannotStart, match="whose --name is 'default'") as caught:
        await first_rows(config(THREE), peers)
    assert (1, []) == (caught.value.exit_code, peers.asked)


# -- joining ---------------------------------------------------------------------------------

JOIN = (
    f"--name=a --initial-cluster=a=https://a:1,b=https://b:1 "
    f"--initial-cluster-state=existing {PEERS}"
)


async def test_a_joiner_takes_its_number_from_the_cluster() -> None:
    """The number that MemberAdd gave, the cluster's own id, and a log with nothing in it."""
    peers = Peers(A_AND_B)
    first = await first_rows(config(JOIN), peers)
    assert (CLUSTER, MemberID(1)) == (first.cluster_id, first.member_id)
    assert ["https://b:1"] == peers.asked
    recovered = recover(written(first))
    assert recovered is not None
    assert (0, 0, 1, 0) == (
        recovered.last,
        recovered.applied,
        recovered.first,
        recovered.hard_state.term,
    )


async def test_a_joiner_waits_to_be_told_everything() -> None:
    """Before the first snapshot it knows no members, does not campaign and serves nobody."""
    first = await first_rows(config(JOIN), Peers(A_AND_B))
    joiner = Synchronous(written(first))
    for _ in range(50):
        joiner.pass_time(0.1)
    assert ([], 0, False) == (
        joiner.replica.membership.members(),
        joiner.replica.term,
        joiner.replica.ready,
    )


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (JOIN, "no member of the cluster answers at https://b:1"),
        (f"{ALONE} --initial-cluster-state=existing", "names nobody but this member"),
    ],
)
async def test_a_joiner_needs_somebody_to_join(line: str, sentence: str) -> None:
    """Nobody there, or nobody named: one sentence each."""
    with pytest.raises(CannotStart, match=sentence):
        await first_rows(config(line), Peers())


def test_schemes_and_order_do_not_matter() -> None:
    """Peers speak TLS whatever the scheme says; several URLs may come in any order."""
    several = Member(MemberID(7), "", ("http://y:1", "https://a:1"))
    view = ClusterView(CLUSTER, (several, member(2, "http://b:1", "b")))
    line = config(f"--name=a --initial-cluster=a=https://a:1,b=https://b:1,a=https://y:1 {PEERS}")
    assert MemberID(7) == match_view(line, view)


NOT_A_URL = member(3, "nonsense", "c")


@pytest.mark.parametrize(
    ("members", "sentence"),
    [
        ([member(2, "https://b:1", "b")], "first add it there with `etcdctl member add a --peer"),
        ([*A_AND_B.members, member(3, "https://c:1")], "has the member 3  at https://c:1, but"),
        ([*A_AND_B.members, NOT_A_URL], "has the member 3 c at nonsense, but"),
        ([member(1, "https://a:1")], "names 2 members, but cluster c1 has 1"),
        ([member(1, "https://a:1", "a"), member(2, "https://b:1", "b")], "has already been start"),
        (
            [
                member(1, "https://a:1", learner=True),
                member(2, "https://b:1", "b", learner=True),
            ],
            "has 2 learners, but --max-learners is 1",
        ),
    ],
)
def test_a_cluster_that_is_not_as_described_is_not_joined(
    members: list[Member], sentence: str
) -> None:
    """Each way in which the two sides disagree has its sentence."""
    with pytest.raises(CannotStart, match=sentence) as caught:
        match_view(config(JOIN), ClusterView(CLUSTER, tuple(members)))
    assert caught.value.exit_code == 1


def test_client_urls_tell_of_a_start_too() -> None:
    """As etcd measures it: who has told where its clients go has been there."""
    seen = Member(MemberID(1), "", ("https://a:1",), ("https://a:2",))
    with pytest.raises(CannotStart, match="already been started"):
        check_not_started(MemberID(1), ClusterView(CLUSTER, (seen,)))
    check_not_started(MemberID(2), ClusterView(CLUSTER, (seen,)))


# -- going on alone --------------------------------------------------------------------------

ME = member(1, "https://a:1", "a")
OTHERS = (member(2, "https://b:1", "b"), member(3, "https://c:1", "c", learner=True))


def written(first: FirstRows) -> MemoryBackend:
    backend = MemoryBackend()
    backend.prepare(first.rows).write()
    return backend


def survivor(*datas: bytes, me: Member = ME) -> MemoryBackend:
    """Make what is left of a cluster of three, with entries in the log that are not applied."""
    backend = MemoryBackend()
    members = (me, *OTHERS)
    backend.prepare(bootstrap(cluster_id=CLUSTER, member_id=me.id, members=members)).write()
    append(backend, datas)
    return backend


def append(backend: MemoryBackend, datas: Sequence[bytes]) -> None:
    recovered = recover(backend)
    assert recovered is not None
    backend.prepare(force_commit(recovered, {}, datas)).write()


def force(backend: MemoryBackend) -> bool:
    """Force the member to go on alone; whether there was anything to do."""
    recovered = recover(backend)
    assert recovered is not None
    rows = force_new_cluster(backend, recovered)
    if rows is None:
        return False
    backend.prepare(rows).write()
    return True


def command(kind: int, payload: bytes) -> bytes:
    return encode_command(kind, RequestID(9, 9, 9), payload)


def put(key: bytes) -> bytes:
    return command(CommandKind.PUT, messages.PutRequest(key=key, value=b"v").SerializeToString())


def alone(backend: MemoryBackend) -> Synchronous:
    """Start the survivor: it serves, and its cluster is itself.

    With changes of members to apply it does not campaign at once (Raft), so time must pass.
    """
    survivor = Synchronous(backend)
    survivor.step()
    survivor.settle()
    for _ in range(30):
        survivor.pass_time(0.1)
    replica = survivor.replica
    assert replica.ready
    assert (replica.member_id,) == replica.membership.conf_state().members
    return survivor


def test_the_last_member_goes_on_alone_while_users_are_told_apart() -> None:
    """Nobody is asked who may remove the others: it is root of the data who forces it."""
    no_password = messages.UserAddOptions(no_password=True)
    backend = survivor(
        *(
            command(kind, request.SerializeToString())
            for kind, request in (
                (
                    CommandKind.AUTH_USER_ADD,
                    messages.AuthUserAddRequest(name="root", options=no_password),
                ),
                (
                    CommandKind.AUTH_USER_GRANT_ROLE,
                    messages.AuthUserGrantRoleRequest(user="root", role="root"),
                ),
                (CommandKind.AUTH_ENABLE, messages.AuthEnableRequest()),
            )
        )
    )
    assert force(backend)
    assert alone(backend).replica.auth.enabled


def test_the_last_member_goes_on_alone() -> None:
    """The others are removed for ever, the member leads, the cluster keeps its number."""
    backend = survivor()
    assert force(backend)
    now = alone(backend).replica
    assert (CLUSTER, ME.id, True) == (now.cluster_id, now.leader, now.ready)
    assert all(now.membership.is_removed(other.id) for other in OTHERS)
    assert not force(backend), "again changes nothing"


def test_a_learner_that_is_left_alone_votes() -> None:
    """There is nobody else to vote."""
    backend = survivor(me=replace(ME, is_learner=True))
    assert force(backend)
    alone(backend)


def test_nothing_in_the_log_is_dropped() -> None:
    """What this member holds may have been answered for, so it stays (docs/divergences.md)."""
    backend = MemoryBackend()
    first = Synchronous(backend).start()
    for key in (b"a", b"b"):
        first.done(CommandKind.PUT, messages.PutRequest(key=key, value=b"v"))
    before = recover(backend)
    assert before is not None
    assert before.last > before.hard_state.commit, "the last put is not known to be committed"
    added = Addition(member(2, "https://b:1", "b"), 1)
    append(backend, [command(*encode_change(added))])
    assert force(backend)
    assert alone(backend).replica.store.revision == 3


def test_changes_on_their_way_cannot_bring_anybody_in() -> None:
    """Entries that are applied after the force add, promote and rename; the member stays alone."""
    new = member(4, "https://d:1")
    datas = [
        put(b"a"),
        b"",
        command(*encode_change(Promotion(MemberID(3)))),
        command(*encode_change(Addition(new, 1))),
        command(CommandKind.MEMBER_ATTRIBUTES, attributes_command(new.id, "d", ())),
        command(CommandKind.MEMBER_ADD, b"garbage"),
        put(b"b"),
    ]
    backend = survivor(*datas)
    assert force(backend)
    now = alone(backend)
    assert now.replica.membership.is_removed(new.id)
    assert now.replica.store.revision == 3
    now.pass_time(1.0)
    assert not force(backend), "again changes nothing"


def test_a_removed_member_cannot_be_the_last() -> None:
    """Its data is behind that of those who removed it; the log may say so, or the table."""
    removed = encode_change(Removal(ME.id))
    added = encode_change(Addition(member(4, "https://d:1"), 1))
    backend = survivor(command(*added), command(*removed))
    with pytest.raises(CannotStart, match="was removed from its cluster, as its log says"):
        force(backend)
    space = Overlay(backend)
    Membership(space, epoch=EPOCH_FIRST).apply(*removed)
    recovered = recover(backend)
    assert recovered is not None
    backend.prepare(force_commit(recovered, space.gathering, [])).write()
    with pytest.raises(CannotStart, match="member 1 was removed from its cluster, so"):
        force(backend)


def test_a_joiner_that_has_learnt_nothing_cannot_be_the_last() -> None:
    """There is nothing in it to be recovered."""
    backend = MemoryBackend()
    backend.prepare(bootstrap_joiner(cluster_id=CLUSTER, member_id=ME.id)).write()
    with pytest.raises(CannotStart, match="has not yet learnt who is in its cluster"):
        force(backend)

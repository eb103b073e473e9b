"""The table: every remote procedure answered well, every error provoked, with what provokes it.

A row is a case: the procedure, what it must say, where, and how it is provoked. To add one, write a
line into `CASES` (one request is enough), or a function with `@case` where it takes more. What is
not there is missed by `test_letter`'s closing tests, which look at the table alone.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Final, NamedTuple

from tests.letter.caller import OK, Said, said_by
from tests.letter.stages import Stage
from trioetcd import errors
from trioetcd.errors import ErrorRow
from trioetcd.schema import messages as m
from trioetcd.schema.messages import Message

__all__ = [
    "CASES",
    "REFUSED",
    "Case",
    "ask",
    "case",
]

Provoke = Callable[[Stage], Said]


class Case(NamedTuple):
    """One provocation.

    Attributes:
        rpc: the procedure, such as ``KV/Range``.
        said: code and sentence that it must answer.
        stage: where: the name of a fixture of `tests/letter/conftest.py`.
        provoke: does it, and gives what was said.
    """

    rpc: str
    said: Said
    stage: str
    provoke: Provoke

    @property
    def name(self) -> str:
        """The test's name: stage, procedure, and the sentence if it is an error."""
        return " ".join(filter(None, (self.stage, self.rpc, self.said[1])))


CASES: Final[list[Case]] = []


def ask(
    rpc: str, outcome: ErrorRow | Said, request: Message, *, on: str = "alone", times: int = 1
) -> None:
    """Add a case of one request, or of one that is made so many times and judged by the last."""

    def provoke(stage: Stage) -> Said:
        for _ in range(times - 1):
            stage.say(rpc, request)
        return stage.say(rpc, request)

    _add(rpc, outcome, on, provoke)


def case(rpc: str, outcome: ErrorRow | Said, *, on: str = "alone") -> Callable[[Provoke], Provoke]:
    """Add a case that takes more than a request."""

    def add(provoke: Provoke) -> Provoke:
        _add(rpc, outcome, on, provoke)
        return provoke

    return add


def _add(rpc: str, outcome: ErrorRow | Said, on: str, provoke: Provoke) -> None:
    said = said_by(outcome) if isinstance(outcome, ErrorRow) else outcome
    CASES.append(Case(rpc, said, on, provoke))


def put_op(key: bytes, value: bytes = b"") -> m.RequestOp:
    return m.RequestOp(request_put=m.PutRequest(key=key, value=value))


def delete_op(key: bytes) -> m.RequestOp:
    return m.RequestOp(request_delete_range=m.DeleteRangeRequest(key=key))


def range_op(request: m.RangeRequest) -> m.RequestOp:
    return m.RequestOp(request_range=request)


def nested(depth: int, puts: int) -> m.TxnRequest:
    """Make a txn in a txn in a txn, with so many puts in the innermost."""
    txn = m.TxnRequest(success=[put_op(b"n%d" % at) for at in range(puts)])
    for _ in range(depth):
        txn = m.TxnRequest(success=[m.RequestOp(request_txn=txn)])
    return txn


KEY: Final = b"k"
OLD: Final = 1
LATE: Final = 2**40
BIG: Final = b"v" * (1536 * 1024)
OVERSIZE: Final = b"v" * (2048 * 1024 + 1)
NOBODY: Final = 0x7B
LEASE: Final = 4711

# -- KV ---------------------------------------------------------------------------------------

ask("KV/Range", OK, m.RangeRequest(key=KEY))
ask("KV/Range", errors.EMPTY_KEY, m.RangeRequest())
ask("KV/Range", errors.INVALID_SORT_OPTION, m.RangeRequest(key=KEY, sort_order=3))
ask("KV/Range", errors.INVALID_SORT_OPTION, m.RangeRequest(key=KEY, sort_target=5))
ask("KV/Range", errors.FUTURE_REVISION, m.RangeRequest(key=KEY, revision=LATE))
ask("KV/Range", errors.COMPACTED, m.RangeRequest(key=KEY, revision=OLD), on="compacted")
ask("KV/RangeStream", OK, m.RangeRequest(key=KEY))
ask("KV/RangeStream", errors.EMPTY_KEY, m.RangeRequest())
ask("KV/RangeStream", errors.INVALID_SORT_OPTION, m.RangeRequest(key=KEY, sort_order=3))
ask("KV/RangeStream", errors.RANGE_STREAM_SORT, m.RangeRequest(key=KEY, sort_order=2))
ask(
    "KV/RangeStream",
    errors.RANGE_STREAM_REVISION_FILTER,
    m.RangeRequest(key=KEY, min_mod_revision=2),
)
ask("KV/RangeStream", errors.FUTURE_REVISION, m.RangeRequest(key=KEY, revision=LATE))
ask("KV/RangeStream", errors.COMPACTED, m.RangeRequest(key=KEY, revision=OLD), on="compacted")
ask("KV/Put", OK, m.PutRequest(key=KEY, value=b"v"))
ask("KV/Put", errors.EMPTY_KEY, m.PutRequest())
ask("KV/Put", errors.VALUE_PROVIDED, m.PutRequest(key=KEY, value=b"v", ignore_value=True))
ask("KV/Put", errors.LEASE_PROVIDED, m.PutRequest(key=KEY, lease=1, ignore_lease=True))
ask("KV/Put", errors.KEY_NOT_FOUND, m.PutRequest(key=b"none", ignore_value=True))
ask("KV/Put", errors.KEY_NOT_FOUND, m.PutRequest(key=b"none", ignore_lease=True))
ask("KV/Put", errors.LEASE_NOT_FOUND, m.PutRequest(key=KEY, lease=NOBODY))
ask("KV/Put", errors.REQUEST_TOO_LARGE, m.PutRequest(key=KEY, value=BIG))
ask("KV/Put", errors.NO_SPACE, m.PutRequest(key=KEY), on="full")
ask("KV/Put", errors.NO_SPACE, m.PutRequest(), on="full")  # before the request is looked at
ask("KV/Put", errors.CORRUPT, m.PutRequest(key=KEY), on="corrupt")
ask("KV/Put", errors.EMPTY_KEY, m.PutRequest(), on="corrupt")  # looked at before it is applied
ask("KV/DeleteRange", OK, m.DeleteRangeRequest(key=b"none"))
ask("KV/DeleteRange", OK, m.DeleteRangeRequest(key=b"none"), on="full")
ask("KV/DeleteRange", errors.EMPTY_KEY, m.DeleteRangeRequest())
ask("KV/DeleteRange", errors.CORRUPT, m.DeleteRangeRequest(key=KEY), on="corrupt")
ask("KV/Txn", OK, m.TxnRequest())
ask("KV/Txn", OK, nested(2, 126))
ask("KV/Txn", errors.TOO_MANY_OPS, nested(0, 129))
ask("KV/Txn", errors.TOO_MANY_OPS, nested(2, 127))
ask("KV/Txn", errors.TOO_MANY_OPS, m.TxnRequest(compare=[m.Compare(key=KEY)] * 129))
ask("KV/Txn", errors.DUPLICATE_KEY, m.TxnRequest(success=[put_op(KEY), put_op(KEY)]))
ask("KV/Txn", errors.EMPTY_KEY, m.TxnRequest(compare=[m.Compare()]))
ask("KV/Txn", errors.EMPTY_KEY, m.TxnRequest(failure=[put_op(b"")]))
ask("KV/Txn", errors.KEY_NOT_FOUND, m.TxnRequest(success=[m.RequestOp()]))
ask(
    "KV/Txn",
    errors.INVALID_SORT_OPTION,
    m.TxnRequest(success=[range_op(m.RangeRequest(key=KEY, sort_target=9))]),
)
ask(
    "KV/Txn",
    errors.LEASE_NOT_FOUND,
    m.TxnRequest(success=[m.RequestOp(request_put=m.PutRequest(key=KEY, lease=NOBODY))]),
)
ask(
    "KV/Txn",
    errors.FUTURE_REVISION,
    m.TxnRequest(success=[range_op(m.RangeRequest(key=KEY, revision=LATE))]),
)
ask(
    "KV/Txn",
    errors.COMPACTED,
    m.TxnRequest(success=[put_op(KEY), range_op(m.RangeRequest(key=b"o", revision=OLD))]),
    on="compacted",
)
ask("KV/Txn", errors.REQUEST_TOO_LARGE, m.TxnRequest(success=[put_op(KEY, BIG)]))
ask("KV/Txn", errors.NO_SPACE, m.TxnRequest(success=[put_op(KEY)]), on="full")
ask("KV/Txn", errors.NO_SPACE, nested(3, 1), on="full")
ask("KV/Txn", errors.NO_SPACE, nested(0, 129), on="full")  # before the request is looked at
ask("KV/Txn", OK, m.TxnRequest(failure=[delete_op(KEY)], success=[delete_op(KEY)]), on="full")
ask("KV/Txn", OK, m.TxnRequest(success=[range_op(m.RangeRequest(key=KEY))]), on="full")
ask("KV/Txn", errors.CORRUPT, m.TxnRequest(success=[put_op(KEY)]), on="corrupt")
ask("KV/Compact", errors.COMPACTED, m.CompactionRequest(revision=OLD), on="compacted")
ask("KV/Compact", errors.FUTURE_REVISION, m.CompactionRequest(revision=LATE))


@case("KV/Compact", OK)
def compact_what_there_is(stage: Stage) -> Said:
    """The revision of a put."""
    return stage.compact()


ask("KV/Compact", errors.CORRUPT, m.CompactionRequest(revision=2), on="corrupt")


# -- Watch, Lease -----------------------------------------------------------------------------

WATCH: Final = m.WatchRequest(create_request=m.WatchCreateRequest(key=KEY))

ask("Watch/Watch", OK, WATCH)
ask("Lease/LeaseGrant", OK, m.LeaseGrantRequest(TTL=60))
ask("Lease/LeaseGrant", errors.LEASE_EXIST, m.LeaseGrantRequest(ID=LEASE, TTL=60), times=2)
ask("Lease/LeaseGrant", errors.LEASE_TTL_TOO_LARGE, m.LeaseGrantRequest(TTL=9_000_000_001))
ask("Lease/LeaseGrant", OK, m.LeaseGrantRequest(TTL=9_000_000_000))
ask("Lease/LeaseGrant", errors.NO_SPACE, m.LeaseGrantRequest(TTL=60), on="full")
ask("Lease/LeaseGrant", errors.CORRUPT, m.LeaseGrantRequest(TTL=60), on="corrupt")
ask("Lease/LeaseRevoke", errors.LEASE_NOT_FOUND, m.LeaseRevokeRequest(ID=NOBODY))
ask("Lease/LeaseRevoke", errors.CORRUPT, m.LeaseRevokeRequest(ID=NOBODY), on="corrupt")
ask("Lease/LeaseKeepAlive", OK, m.LeaseKeepAliveRequest(ID=NOBODY))
ask("Lease/LeaseTimeToLive", OK, m.LeaseTimeToLiveRequest(ID=NOBODY))
ask("Lease/LeaseLeases", OK, m.LeaseLeasesRequest())


@case("Lease/LeaseRevoke", OK)
def revoke(stage: Stage) -> Said:
    """A lease that there is."""
    stage.say("Lease/LeaseGrant", m.LeaseGrantRequest(ID=LEASE + 1, TTL=60))
    return stage.say("Lease/LeaseRevoke", m.LeaseRevokeRequest(ID=LEASE + 1))


# -- Cluster ----------------------------------------------------------------------------------

URL: Final = "https://127.0.0.1:1"
_ports = itertools.count(2)

ask("Cluster/MemberList", OK, m.MemberListRequest())
ask("Cluster/MemberList", OK, m.MemberListRequest(linearizable=True))
ask("Cluster/MemberAdd", errors.MEMBER_BAD_URLS, m.MemberAddRequest(peerURLs=["none"]))
ask("Cluster/MemberAdd", errors.MEMBER_BAD_URLS, m.MemberAddRequest())
ask("Cluster/MemberRemove", errors.MEMBER_NOT_FOUND, m.MemberRemoveRequest(ID=NOBODY), on="growing")
ask("Cluster/MemberPromote", errors.MEMBER_NOT_FOUND, m.MemberPromoteRequest(ID=NOBODY))
ask(
    "Cluster/MemberUpdate",
    errors.MEMBER_NOT_FOUND,
    m.MemberUpdateRequest(ID=NOBODY, peerURLs=[URL]),
)


def learner(*urls: str) -> m.MemberAddRequest:
    """Make a request for a learner, by a URL that nobody ever had unless one is given."""
    fresh = f"https://127.0.0.1:{next(_ports)}"
    return m.MemberAddRequest(peerURLs=urls or [fresh], isLearner=True)


@case("Cluster/MemberAdd", OK, on="growing")
def add(stage: Stage) -> Said:
    """A learner, who risks no quorum."""
    stage.lose_learners()
    return stage.say("Cluster/MemberAdd", learner())


@case("Cluster/MemberRemove", OK, on="growing")
def remove(stage: Stage) -> Said:
    """That learner goes again."""
    stage.say("Cluster/MemberAdd", learner())
    return stage.say("Cluster/MemberRemove", m.MemberRemoveRequest(ID=stage.learner()))


@case("Cluster/MemberAdd", errors.MEMBER_EXIST, on="growing")
def add_within_a_second(stage: Stage) -> Said:
    """The number comes of the URLs and the second, so within one it is the same again."""
    said = OK
    while said in {OK, said_by(errors.PEER_URL_EXIST)}:  # a second began in between
        stage.lose_learners()
        request = learner()
        stage.say("Cluster/MemberAdd", request)
        said = stage.say("Cluster/MemberAdd", request)
    return said


@case("Cluster/MemberAdd", errors.MEMBER_NOT_FOUND, on="growing")
def add_removed(stage: Stage) -> Said:
    """A number that was removed never comes back: within a second the same one would."""
    said = OK
    while said == OK:
        stage.lose_learners()
        request = learner()
        stage.say("Cluster/MemberAdd", request)
        stage.lose_learners()
        said = stage.say("Cluster/MemberAdd", request)
    return said


@case("Cluster/MemberAdd", errors.PEER_URL_EXIST, on="growing")
def add_url_twice(stage: Stage) -> Said:
    """The URL of the member itself."""
    return stage.say("Cluster/MemberAdd", learner(*stage.me().peerURLs))


@case("Cluster/MemberAdd", errors.TOO_MANY_LEARNERS, on="growing")
def add_second_learner(stage: Stage) -> Said:
    """One is as many as there may be."""
    stage.lose_learners()
    stage.say("Cluster/MemberAdd", learner())
    return stage.say("Cluster/MemberAdd", learner())


@case("Cluster/MemberPromote", errors.LEARNER_NOT_READY, on="growing")
def promote_absent(stage: Stage) -> Said:
    """A learner that never started holds nothing."""
    stage.say("Cluster/MemberAdd", learner())
    return stage.say("Cluster/MemberPromote", m.MemberPromoteRequest(ID=stage.learner()))


@case("Cluster/MemberPromote", errors.MEMBER_NOT_LEARNER)
def promote_voter(stage: Stage) -> Said:
    """The member itself votes."""
    return stage.say("Cluster/MemberPromote", m.MemberPromoteRequest(ID=stage.me().ID))


@case("Cluster/MemberRemove", errors.MEMBER_NOT_ENOUGH_STARTED)
def remove_last(stage: Stage) -> Said:
    """Nobody would be left."""
    return stage.say("Cluster/MemberRemove", m.MemberRemoveRequest(ID=stage.me().ID))


@case("Cluster/MemberUpdate", OK)
def update(stage: Stage) -> Said:
    """The URLs that it has."""
    me = stage.me()
    return stage.say("Cluster/MemberUpdate", m.MemberUpdateRequest(ID=me.ID, peerURLs=me.peerURLs))


@case("Cluster/MemberUpdate", errors.MEMBER_BAD_URLS)
def update_badly(stage: Stage) -> Said:
    """What nobody can dial."""
    return stage.say(
        "Cluster/MemberUpdate", m.MemberUpdateRequest(ID=stage.me().ID, peerURLs=["x"])
    )


@case("Cluster/MemberUpdate", errors.PEER_URL_EXIST, on="growing")
def update_to_taken(stage: Stage) -> Said:
    """A learner that would have the URL of the member itself."""
    stage.say("Cluster/MemberAdd", learner())
    request = m.MemberUpdateRequest(ID=stage.learner(), peerURLs=stage.me().peerURLs)
    return stage.say("Cluster/MemberUpdate", request)


@case("Cluster/MemberAdd", errors.TOO_MANY_REQUESTS, on="growing")
def add_many_at_once(stage: Stage) -> Said:
    """A change of members while another one is under way; if none was, once more."""
    wanted = said_by(errors.TOO_MANY_REQUESTS)
    said: list[Said] = []
    for _ in range(50):
        stage.lose_learners()
        asked = [stage.caller.ask("Cluster/MemberAdd", learner()) for _ in range(4)]
        said = [each.said() for each in asked]
        if wanted in said:
            return wanted
    return said[-1]


# -- Maintenance, health ----------------------------------------------------------------------

ask("Maintenance/Alarm", OK, m.AlarmRequest())
ask("Maintenance/Status", OK, m.StatusRequest())
ask("Maintenance/Defragment", OK, m.DefragmentRequest())
ask("Maintenance/Hash", OK, m.HashRequest())
ask("Maintenance/HashKV", OK, m.HashKVRequest())
ask("Maintenance/HashKV", errors.FUTURE_REVISION, m.HashKVRequest(revision=LATE))
ask("Maintenance/HashKV", errors.COMPACTED, m.HashKVRequest(revision=OLD), on="compacted")
ask("Maintenance/Snapshot", OK, m.SnapshotRequest())
ask("Maintenance/MoveLeader", errors.BAD_LEADER_TRANSFEREE, m.MoveLeaderRequest(targetID=NOBODY))
ask("Maintenance/Downgrade", errors.NO_EARLIER_FORMAT, m.DowngradeRequest(version="3.6"))
ask("Maintenance/Downgrade", errors.UNKNOWN_METHOD, m.DowngradeRequest(action=7, version="3.6"))
ask(
    "Maintenance/Downgrade",
    errors.WRONG_DOWNGRADE_VERSION_FORMAT,
    m.DowngradeRequest(version="x"),
)
ask(
    "Maintenance/Downgrade",
    errors.INVALID_DOWNGRADE_TARGET_VERSION,
    m.DowngradeRequest(version="3.1"),
)
ask("Maintenance/Downgrade", errors.NO_INFLIGHT_DOWNGRADE, m.DowngradeRequest(action=2))
ask("Health/Check", OK, m.HealthCheckRequest())
ask("Health/Check", ("NOT_FOUND", "unknown service"), m.HealthCheckRequest(service="x"))
ask("Health/Watch", OK, m.HealthCheckRequest())
ask("Health/Watch", OK, m.HealthCheckRequest(service="x"))  # and tells of it in its answer


@case("Maintenance/MoveLeader", OK)
def move_to_itself(stage: Stage) -> Said:
    """To whoever leads already."""
    return stage.say("Maintenance/MoveLeader", m.MoveLeaderRequest(targetID=stage.me().ID))


# -- Lock, election ---------------------------------------------------------------------------

STALE: Final = m.LeaderKey(name=b"stale", key=b"stale/1", rev=1, lease=1)


@case("Lock/Lock", OK)
def lock(stage: Stage) -> Said:
    """With a lease of one's own."""
    stage.say("Lease/LeaseGrant", m.LeaseGrantRequest(ID=LEASE + 2, TTL=60))
    return stage.say("Lock/Lock", m.LockRequest(name=b"lock", lease=LEASE + 2))


@case("Lock/Lock", errors.SESSION_EXPIRED)
def lose_a_place(stage: Stage) -> Said:
    """The lease of one who waits behind another is revoked."""
    for lease in (LEASE + 4, LEASE + 5):
        stage.say("Lease/LeaseGrant", m.LeaseGrantRequest(ID=lease, TTL=60))
    stage.say("Lock/Lock", m.LockRequest(name=b"place", lease=LEASE + 4))
    waiting = stage.caller.ask("Lock/Lock", m.LockRequest(name=b"place", lease=LEASE + 5))
    while not stage.has(b"place/%x" % (LEASE + 5)):
        pass
    stage.say("Lease/LeaseRevoke", m.LeaseRevokeRequest(ID=LEASE + 5))
    return waiting.said()


@case("Election/Campaign", OK)
def campaign(stage: Stage) -> Said:
    """With a lease of one's own."""
    stage.say("Lease/LeaseGrant", m.LeaseGrantRequest(ID=LEASE + 3, TTL=60))
    request = m.CampaignRequest(name=b"election", lease=LEASE + 3, value=b"v")
    return stage.say("Election/Campaign", request)


def won(stage: Stage) -> m.LeaderKey:
    """Win an election, and give what proves it."""
    stage.say("Lease/LeaseGrant", m.LeaseGrantRequest(ID=LEASE + 3, TTL=60))
    request = m.CampaignRequest(name=b"election", lease=LEASE + 3, value=b"v")
    asked = stage.caller.ask("Election/Campaign", request)
    if asked.said() != OK:
        return m.LeaderKey()
    assert isinstance(asked.answer, m.CampaignResponse)
    return asked.answer.leader


@case("Election/Proclaim", OK)
def proclaim(stage: Stage) -> Said:
    """By whoever leads."""
    return stage.say("Election/Proclaim", m.ProclaimRequest(leader=won(stage), value=b"w"))


@case("Election/Leader", OK)
def elected(stage: Stage) -> Said:
    """There is one."""
    won(stage)
    return stage.say("Election/Leader", m.LeaderRequest(name=b"election"))


@case("Election/Observe", OK)
def observe(stage: Stage) -> Said:
    """The one there is comes first."""
    won(stage)
    return stage.say("Election/Observe", m.LeaderRequest(name=b"election"))


@case("Election/Resign", OK)
def resign(stage: Stage) -> Said:
    """Whoever leads."""
    return stage.say("Election/Resign", m.ResignRequest(leader=won(stage)))


ask("Lock/Unlock", OK, m.UnlockRequest(key=b"lock/none"))
ask(
    "Lock/Lock", ("UNKNOWN", errors.LEASE_NOT_FOUND.text), m.LockRequest(name=b"lock", lease=NOBODY)
)
ask("Election/Leader", errors.ELECTION_NO_LEADER, m.LeaderRequest(name=b"nobody"))
ask("Election/Proclaim", errors.ELECTION_NOT_LEADER, m.ProclaimRequest(leader=STALE))
ask("Election/Proclaim", errors.LEADER_KEY_MISSING, m.ProclaimRequest())
ask("Election/Resign", errors.LEADER_KEY_MISSING, m.ResignRequest())

# -- What comes along with a call, ends and deadlines -----------------------------------------


@case("KV/Range", errors.INVALID_CLIENT_API_VERSION)
def bad_api_version(stage: Stage) -> Said:
    """Octets that are no UTF-8; grpcio would not send them."""
    return stage.raw_say("KV/Range", m.RangeRequest(key=KEY), [("client-api-version", b"\xff")])


@case("Watch/Watch", errors.DEADLINE_EXCEEDED)
def watch_for_a_while(stage: Stage) -> Said:
    """A watch with a deadline that the server alone keeps."""
    return stage.raw_say("Watch/Watch", WATCH, timeout=0.05, end=False)


@case("Lease/LeaseKeepAlive", errors.DEADLINE_EXCEEDED)
def keep_alive_for_a_while(stage: Stage) -> Said:
    """Likewise."""
    request = m.LeaseKeepAliveRequest(ID=NOBODY)
    return stage.raw_say("Lease/LeaseKeepAlive", request, timeout=0.05, end=False)


ask(
    "KV/Put",
    ("RESOURCE_EXHAUSTED", "grpc: received message larger than max (2097158 vs. 2097152)"),
    m.PutRequest(key=b"", value=OVERSIZE),
)

for _rpc in ("Watch/Watch", "Lease/LeaseKeepAlive", "Health/Watch"):

    def _stopped(stage: Stage, rpc: str = _rpc) -> Said:
        return stage.told(rpc)

    _add(_rpc, errors.STOPPED, "stopped", _stopped)

# -- A learner --------------------------------------------------------------------------------

LEARNER_REFUSES: Final[dict[str, Message]] = {
    "KV/Range": m.RangeRequest(key=KEY),
    "KV/RangeStream": m.RangeRequest(key=KEY, serializable=True),
    "KV/Put": m.PutRequest(),  # refused before it is looked at
    "KV/DeleteRange": m.DeleteRangeRequest(),
    "KV/Txn": m.TxnRequest(compare=[m.Compare()]),
    "KV/Compact": m.CompactionRequest(revision=LATE),
    "Watch/Watch": WATCH,
    "Lease/LeaseGrant": m.LeaseGrantRequest(TTL=60),
    "Lease/LeaseRevoke": m.LeaseRevokeRequest(ID=NOBODY),
    "Lease/LeaseKeepAlive": m.LeaseKeepAliveRequest(ID=NOBODY),
    "Lease/LeaseTimeToLive": m.LeaseTimeToLiveRequest(ID=NOBODY),
    "Lease/LeaseLeases": m.LeaseLeasesRequest(),
    "Cluster/MemberAdd": m.MemberAddRequest(),
    "Cluster/MemberRemove": m.MemberRemoveRequest(ID=NOBODY),
    "Cluster/MemberUpdate": m.MemberUpdateRequest(ID=NOBODY),
    "Cluster/MemberList": m.MemberListRequest(),
    "Cluster/MemberPromote": m.MemberPromoteRequest(ID=NOBODY),
    "Maintenance/Alarm": m.AlarmRequest(),
    "Maintenance/Defragment": m.DefragmentRequest(),
    "Maintenance/Hash": m.HashRequest(),
    "Maintenance/HashKV": m.HashKVRequest(),
    "Maintenance/MoveLeader": m.MoveLeaderRequest(targetID=NOBODY),
    "Maintenance/Downgrade": m.DowngradeRequest(version="x"),
    "Lock/Lock": m.LockRequest(),
    "Lock/Unlock": m.UnlockRequest(),
    "Election/Campaign": m.CampaignRequest(),
    "Election/Proclaim": m.ProclaimRequest(),
    "Election/Leader": m.LeaderRequest(),
    "Election/Observe": m.LeaderRequest(),
    "Election/Resign": m.ResignRequest(),
    "Health/Check": m.HealthCheckRequest(service="x"),
    "Health/Watch": m.HealthCheckRequest(),
}

for _rpc, _request in LEARNER_REFUSES.items():
    ask(_rpc, errors.NOT_SUPPORTED_FOR_LEARNER, _request, on="learning")
ask("KV/Range", OK, m.RangeRequest(key=KEY, serializable=True), on="learning")
ask("KV/Range", errors.EMPTY_KEY, m.RangeRequest(serializable=True), on="learning")
ask("Maintenance/Status", OK, m.StatusRequest(), on="learning")
ask("Maintenance/Snapshot", OK, m.SnapshotRequest(), on="learning")


@case("Cluster/MemberPromote", OK, on="learning")
def promote(stage: Stage) -> Said:
    """Last of all: it has caught up by now, or will."""
    leader = stage.others[0]
    request = m.MemberPromoteRequest(ID=stage.learner())
    said = said_by(errors.LEARNER_NOT_READY)
    while said == said_by(errors.LEARNER_NOT_READY):
        said = leader.say("Cluster/MemberPromote", request)
    return said


# -- Three members, and what becomes of them --------------------------------------------------

TROUBLES: Final[dict[tuple[str, str], ErrorRow | Said]] = {
    ("Maintenance/MoveLeader", "asked of a follower"): errors.NOT_LEADER,
    ("Maintenance/MoveLeader", "asked of the leader"): OK,
    ("KV/Put", "the leader stands still"): errors.TIMEOUT_DUE_TO_LEADER_FAIL,
    ("Cluster/MemberAdd", "one is gone"): errors.UNHEALTHY,
    ("KV/Put", "the majority is lost meanwhile"): errors.TIMEOUT,
    ("KV/Range", "the majority is lost meanwhile"): errors.TIMEOUT,
    ("Maintenance/MoveLeader", "to who stands still"): errors.TIMEOUT_LEADER_TRANSFER,
    ("KV/Put", "nobody leads"): errors.NO_LEADER,
    ("Maintenance/Status", "nobody leads"): (
        "OK",
        f"{errors.NO_LEADER.text}, memberID:1 alarm:NOSPACE ",
    ),
    ("Cluster/MemberUpdate", "nobody leads"): errors.NO_LEADER,
    ("Lease/LeaseKeepAlive", "nobody leads"): errors.NO_LEADER,
    ("KV/Range", "its client's time is up"): errors.DEADLINE_EXCEEDED,
    ("KV/Range", "nobody leads, and it wants that"): errors.NO_LEADER,
    ("Watch/Watch", "nobody leads, and it wants that"): errors.NO_LEADER,
}
"""What the script of the stage `troubled` provokes, by procedure and trouble."""

for _key, _outcome in TROUBLES.items():

    def _told(stage: Stage, key: tuple[str, str] = _key) -> Said:
        return stage.told(key)

    _add(_key[0], _outcome, "troubled", _told)

# -- Who waits in vain ------------------------------------------------------------------------

IN_VAIN: Final[dict[tuple[str, str], ErrorRow]] = {
    ("behind", "KV/Range"): errors.TIMEOUT_WAIT_APPLIED_INDEX,
    ("behind", "KV/Put"): errors.TOO_MANY_REQUESTS,
    ("behind", "KV/Txn"): errors.TIMEOUT,
    ("behind", "Lease/LeaseKeepAlive"): errors.TIMEOUT_WAIT_APPLIED_INDEX,
    ("behind", "Lease/LeaseTimeToLive"): errors.TIMEOUT_WAIT_APPLIED_INDEX,
    ("unheard", "KV/Range"): errors.LEADER_CHANGED,
    ("unheard", "KV/Put"): errors.TIMEOUT_DUE_TO_CONNECTION_LOST,
}
"""What the scripts of `tests/letter/waits.py` provoke, by stage and procedure."""

for (_stage, _rpc), _row in IN_VAIN.items():

    def _waited(stage: Stage, rpc: str = _rpc) -> Said:
        return stage.told(rpc)

    _add(_rpc, _row, _stage, _waited)

# -- A client whose certificate was revoked ----------------------------------------------------


@case("Watch/Watch", errors.WATCH_CANCELED, on="revoked")
def _watch_of_a_revoked_client(stage: Stage) -> Said:
    return stage.told("Watch/Watch")


# -- What is not provoked ---------------------------------------------------------------------

REFUSED: Final[dict[str, str]] = {
    "Maintenance/Downgrade": "there is no earlier version of ours to go down to",
}
"""Procedures that never answer well, and why; that they refuse is provoked."""

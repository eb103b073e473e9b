"""What a member says of itself, in etcd's words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import pytest

from trioetcd.frontend import health
from trioetcd.runtime.metrics import Metrics
from trioetcd.schema import messages

TEXT = ("content-type", "text/plain; charset=utf-8")
NO_SNIFF = ("x-content-type-options", "nosniff")


@dataclass
class Member:
    """A member in any condition one likes."""

    alarms: Sequence[int] = ()
    leader: bool = True
    learner: bool = False
    local_error: str | None = None
    cluster_error: str | None = None
    metrics: Metrics = field(default_factory=Metrics)

    def alarm_types(self) -> Sequence[int]:
        return self.alarms

    def has_leader(self) -> bool:
        return self.leader

    def is_learner(self) -> bool:
        return self.learner

    def read_error(self, *, serializable: bool) -> str | None:
        return self.local_error if serializable else self.cluster_error


def get(member: Member, path: str, query: str = "") -> tuple[int, str]:
    """Ask and give status and body."""
    status, _, body = health.answer(member, "GET", path, query)
    return status, body.decode()


def test_version_is_numbers() -> None:
    """The version has etcd's three keys in etcd's order, and no spaces."""
    expected = b'{"etcdserver":"3.7.1","etcdcluster":"3.7.0","storage":"3.7.0"}'
    assert expected == health.version_body()
    answer = (200, [("content-type", "application/json")], expected)
    assert answer == health.answer(Member(), "GET", "/version", "")


def test_good_health() -> None:
    """A healthy member says true, with an empty reason and without a line end."""
    member = Member()
    expected = (200, [TEXT], b'{"health":"true","reason":""}')
    assert expected == health.answer(member, "GET", "/health", "")
    assert member.metrics.server_health_success.value == 1


@pytest.mark.parametrize(
    ("member", "query", "reason"),
    [
        (Member(alarms=[messages.NOSPACE]), "", "ALARM NOSPACE"),
        (Member(alarms=[messages.NOSPACE]), "exclude=CORRUPT&exclude=", "ALARM NOSPACE"),
        (Member(alarms=[messages.NOSPACE]), "exclude=NOSPACE", ""),
        (Member(alarms=[messages.NOSPACE, messages.CORRUPT]), "exclude=NOSPACE", "ALARM CORRUPT"),
        (Member(alarms=[1, 2]), "exclude=NOSPACE&exclude=CORRUPT", ""),
        (Member(alarms=[7], leader=False), "", "ALARM UNKNOWN"),
        (Member(leader=False, cluster_error="x"), "", "RAFT NO LEADER"),
        (Member(leader=False, cluster_error="x"), "serializable=false", "RAFT NO LEADER"),
        (Member(leader=False, cluster_error="x"), "serializable=true", ""),
        (Member(cluster_error="etcdserver: <x>"), "", "RANGE ERROR:etcdserver: \\u003cx\\u003e"),
        (Member(local_error="y"), "serializable=true", "RANGE ERROR:y"),
        (Member(local_error="y"), "", ""),
    ],
)
def test_reasons_of_bad_health(member: Member, query: str, reason: str) -> None:
    """The first thing wrong is the reason: alarms, then the leader, then a read."""
    text = f'{{"health":"{"false" if reason else "true"}","reason":"{reason}"}}'
    expected = (503, text + "\n") if reason else (200, text)
    failures = member.metrics.server_health_failures.value
    assert expected == get(member, "/health", query)
    assert bool(reason) == (member.metrics.server_health_failures.value - failures)


def test_bad_health_is_plain_text() -> None:
    """A bad answer is typed so that no browser takes it for markup."""
    status, headers, _ = health.answer(Member(leader=False), "GET", "/health", "")
    assert (status, headers) == (503, [TEXT, NO_SNIFF])


@pytest.mark.parametrize(
    ("path", "query", "body"),
    [
        ("/livez", "", "ok\n"),
        ("/livez", "verbose", "[+]serializable_read ok\nok\n"),
        ("/livez/serializable_read", "verbose=", "[+]serializable_read ok\nok\n"),
        ("/readyz", "", "ok\n"),
        (
            "/readyz",
            "verbose",
            (
                "[+]data_corruption ok\n[+]serializable_read ok\n"
                "[+]linearizable_read ok\n[+]non_learner ok\nok\n"
            ),
        ),
        (
            "/readyz",
            "verbose&exclude=non_learner&exclude=linearizable_read&exclude=unknown",
            "[+]data_corruption ok\n[+]serializable_read ok\nok\n",
        ),
        ("/readyz/non_learner", "", "ok\n"),
    ],
)
def test_good_checks(path: str, query: str, body: str) -> None:
    """A check that holds says ok, and says which only when asked to be verbose."""
    assert (200, body) == get(Member(), path, query)


def test_bad_checks_say_why() -> None:
    """A check that fails is always told in full, with the others of its kind."""
    member = Member(alarms=[messages.CORRUPT], learner=True, cluster_error="etcdserver: no leader")
    expected = (
        "[-]data_corruption failed: alarm activated: CORRUPT\n"
        "[+]serializable_read ok\n"
        "[-]linearizable_read failed: etcdserver: no leader\n"
        "[-]non_learner failed: not supported for learner\n"
        "\n"
    )
    assert (503, expected) == get(member, "/readyz")
    assert get(member, "/readyz/serializable_read") == (200, "ok\n")
    assert get(member, "/livez") == (200, "ok\n")
    assert get(member, "/readyz/non_learner")[0] == 503


def test_checks_are_counted() -> None:
    """Each check leaves its last result and a count by result."""
    member = Member(learner=True)
    get(member, "/readyz")
    member.learner = False
    get(member, "/readyz/non_learner")
    checks = member.metrics.server_healthchecks_total
    assert checks.labels("readyz", "non_learner", "error").value == 1
    assert checks.labels("readyz", "non_learner", "success").value == 1
    assert member.metrics.server_healthcheck.labels("readyz", "non_learner").value == 1
    text = member.metrics.render()
    assert 'etcd_server_healthcheck{type="readyz",name="data_corruption"} 1\n' in text


@pytest.mark.parametrize(
    "path", ["/version", "/health", "/livez", "/readyz", "/readyz/non_learner"]
)
@pytest.mark.parametrize("method", ["POST", "HEAD", "DELETE"])
def test_only_get(method: str, path: str) -> None:
    """Any other method is refused, and the answer says which is allowed."""
    status, headers, body = health.answer(Member(), method, path, "")
    assert (status, body) == (405, b"Method Not Allowed\n")
    assert ("allow", "GET") in headers


@pytest.mark.parametrize(
    "path",
    ["/", "", "livez", "/livez/", "/livez/non_learner", "/readyz/x", "/healthz", "/readyz/a/b"],
)
def test_other_paths_are_not_found(path: str) -> None:
    """A path or a check that does not exist is etcd's 404."""
    assert get(Member(), path) == (404, "404 page not found\n")


@pytest.mark.parametrize(
    ("path", "query", "needed"),
    [
        ("/health", "", True),
        ("/health", "serializable=true", False),
        ("/livez", "", False),
        ("/readyz", "", True),
        ("/readyz", "exclude=linearizable_read", False),
        ("/readyz/linearizable_read", "", True),
        ("/readyz/non_learner", "", False),
        ("/version", "", False),
    ],
)
def test_who_needs_the_cluster(path: str, query: str, *, needed: bool) -> None:
    """Only what asks for a linearizable read has to wait for one."""
    assert needed == health.needs_linearizable_read(path, query)

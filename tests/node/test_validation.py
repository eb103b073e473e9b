"""Tests of `trioetcd.node.validation`: what a member must not start with, and what it warns of."""

from __future__ import annotations

import re
import shlex

import pytest

from trioetcd.node.config import ConfigError, parse
from trioetcd.node.flags import FLAGS, Flag, Kind, Status
from trioetcd.node.validation import check_initial_cluster

CLIENT = "--advertise-client-urls=https://h:2379"
PEERS = "--peer-cert-file=p --peer-key-file=k --peer-trusted-ca-file=c"
FIRST_START = [
    ("--initial-cluster=a=https://h:1", "does not hold this member, whose --name is 'default'"),
    ("--name=a --initial-cluster=a=https://h:1,a=http://h:1", "a URL twice"),
    (f"--name=a --initial-cluster=a=https://h:1,b=http://h:1 {PEERS}", "a URL twice"),
    (
        "--name=a --initial-cluster=a=https://h:1 --initial-advertise-peer-urls=https://i:1",
        "the two must name the same URLs",
    ),
]
REFUSALS = [
    ("--heartbeat-interval=0", "--heartbeat-interval must be more than 0 ms"),
    ("--election-timeout=0", "--election-timeout must be more than 0 ms"),
    ("--election-timeout=499", "must be at least five times --heartbeat-interval=100"),
    ("--election-timeout=50001", "is more than 50000 ms"),
    ("--compact-hash-check-time=0s", "--compact-hash-check-time must be more than 0s"),
    ("--corrupt-check-time=-1s", "--corrupt-check-time must not be negative"),
    ("--bcrypt-cost=3", "not between 4 and 31"),
    ("--self-signed-cert-validity=11", "not between 1 and 10"),
    ("--auto-compaction-retention=a", "--auto-compaction-retention: 'a' is not a duration such as"),
    ("--auto-compaction-retention=1.5", "add a unit: 1.5s, nor a whole number of hours"),
    ("--auto-compaction-retention=-1", "'-1' is not a duration"),
    ("--auto-compaction-retention=-1h", "'-1h' is less than 1s"),
    ("--auto-compaction-retention=10ms", "'10ms' is less than 1s"),
    ("--auto-compaction-retention=9999999999", "longer than a duration can be"),
    ("--auto-compaction-mode=revision --auto-compaction-retention=1h", "'1h' is not a number of"),
    ("--auto-compaction-mode=revision --auto-compaction-retention=-1", "'-1' is not a number of"),
    (f"--auto-compaction-mode=revision --auto-compaction-retention={2**63}", "than there can be"),
    ("--compaction-batch-limit=-1", "--compaction-batch-limit must not be negative"),
    ("--max-txn-ops=0", "--max-txn-ops must be at least 1"),
    ("--name=a,b", "neither ',' nor '='"),
    ("--name=", "must have letters"),
    ("--discovery-fallback=proxy", "v2 proxies are gone"),
    ("--auth-token=jwt,sign-method=RS256", "RS256 needs priv-key= to sign tokens"),
    ("--auth-token-ttl=0", "at least 1 second"),
    ("--cert-identity=email", "none of cn, uri:PATTERN and dns:PATTERN"),
    ("--cert-identity=uri:spiffe://a/b", "must have one"),
    ("--auth-token=x", "none of 'simple', 'jwt'"),
    ("--tls-min-version=TLS1.3 --tls-max-version=TLS1.2", "is newer than --tls-max-version=TLS1.2"),
    ("--tls-min-version=TLS1.3 --cipher-suites=X", "--cipher-suites is for TLS 1.2"),
    ("--listen-client-urls=https://127.0.0.1:1", "--advertise-client-urls is needed with"),
    (f"--listen-client-urls=https://h:1 {CLIENT}", "must hold an IP address or localhost"),
    ("--listen-client-urls=", "--listen-client-urls must name at least one URL"),
    ("--advertise-client-urls=https://:1", "must name the host that others dial"),
    (f"--listen-client-urls=http://0.0.0.0:1 {CLIENT}", "unencrypted.*--allow-plaintext"),
    ("--listen-metrics-urls=http://10.0.0.1:1", "--listen-metrics-urls.*--allow-plaintext"),
    ("--cert-file=c", "--cert-file and --key-file must both be given"),
    ("--trusted-ca-file=c", "--trusted-ca-file needs --cert-file"),
    ("--cert-file=c --key-file=k --client-cert-auth", "--client-cert-auth needs --trusted-ca-file"),
    ("--client-cert-file=c", "--client-cert-file and --client-key-file must both be given"),
    ("--peer-client-key-file=c", "--peer-client-cert-file and --peer-client-key-file must both"),
    ("--peer-client-cert-file=c --peer-client-key-file=k", "needs --peer-cert-file, --peer-key-f"),
    ("--client-cert-allowed-cn=a --auto-tls", "need certificates to look at; give --cert-file"),
    (
        "--client-cert-allowed-cn=a --client-cert-allowed-hostname=b",
        "--client-cert-allowed-cn and --client-cert-allowed-hostname exclude each other",
    ),
    (
        f"--peer-cert-allowed-cn=a --peer-cert-allowed-hostname=b {PEERS}",
        "--peer-cert-allowed-cn and --peer-cert-allowed-hostname exclude each other",
    ),
    ("--allow-client-cidrs=10.0.0.1/8", "10.0.0.1/8 has host bits set; write a network as"),
    ("--allow-client-cidrs=10.0.0.0/8,home", "'home' does not appear to be"),
    ("--peer-cert-file=c --peer-key-file=k", "--peer-trusted-ca-file must be given, too"),
    ("--cert-file=c --key-file=k --client-crl-file=f", "--client-crl-file needs --trusted-ca-file"),
    ("--discovery-srv=example.org", "list the members in --initial-cluster"),
    ("--enable-v2=true", "--enable-v2 is gone"),
]


@pytest.mark.parametrize(("line", "sentence"), REFUSALS)
def test_settings_that_make_no_sense_are_refused(line: str, sentence: str) -> None:
    """Each has its sentence, and the exit code of settings."""
    with pytest.raises(ConfigError, match=sentence) as caught:
        parse(shlex.split(line), {})

    assert caught.value.exit_code == 1


@pytest.mark.parametrize(("line", "sentence"), FIRST_START)
def test_what_matters_at_the_first_start_is_checked_then(line: str, sentence: str) -> None:
    """Later starts go by what the cluster agreed on, so the same settings can be read."""
    config = parse(shlex.split(line), {})
    with pytest.raises(ConfigError, match=sentence):
        check_initial_cluster(config)


def test_members_of_a_cluster_are_accepted() -> None:
    """Several members with peer certificates, in any order, this one under its own name."""
    line = f"--name=b --initial-cluster=b=https://i:1,a=https://h:1,b=https://j:1 {PEERS}"
    config = parse(shlex.split(line), {})
    check_initial_cluster(config)
    assert ["a", "b"] == [name for name, _ in config.members]
    assert ["https://i:1", "https://j:1"] == list(map(str, config.initial_advertise_peer_urls))


@pytest.mark.parametrize("flag", ["--initial-cluster-state=new", "--peer-auto-tls"])
def test_members_that_could_not_trust_each_other_are_told_what_to_type(flag: str) -> None:
    """Several members without peer TLS get the `certs init` line with their names and hosts."""
    line = ["--name=a", "--initial-cluster=a=http://h1:2380,b=http://[::1]:12380", flag]
    with pytest.raises(ConfigError) as caught:
        parse(line, {})

    assert "`trioetcd certs init --out certs a=h1 'b=[::1]:12379:12380'`" in str(caught.value)


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        (f"--listen-client-urls=http://127.0.0.1:1 {CLIENT}", "serves without encryption"),
        (f"--listen-client-urls=unix:///x {CLIENT}", "serves without encryption"),
        ("--advertise-client-urls=http://h:1", "every client listener speaks TLS"),
        ("--auto-tls", "clients without a certificate may come in"),
        ("--cert-file=c --key-file=k --auto-tls --trusted-ca-file=t", "--auto-tls has no effect"),
        ("--cert-file=c --key-file=k", "clients without a certificate may come in"),
        ("--peer-client-cert-auth=false", "peers always verify each other"),
        (f"{PEERS} --peer-auto-tls", "--peer-auto-tls has no effect"),
        ("--unsafe-no-fsync", "every answer waits until its data is on the disk"),
        ("--enable-v2=false", "--enable-v2 has no effect"),
        ("--feature-gates=LeaseCheckpoint=true", "LeaseCheckpoint=true has no effect"),
    ],
)
def test_what_works_but_is_not_good_is_warned_of(line: str, sentence: str) -> None:
    """The member starts, with one sentence."""
    warnings = parse(shlex.split(line), {}).warnings

    assert len(warnings) == 1
    assert sentence in warnings[0]


@pytest.mark.parametrize(
    "line", ["", "InitialCorruptCheck=false,CompactHashCheck=false", "LeaseCheckpoint=false"]
)
def test_feature_gates_that_work_are_not_warned_of(line: str) -> None:
    """The checks of data can be switched off, and a gate can be left as it is, without a word."""
    assert () == parse([f"--feature-gates={line}"], {}).warnings


def test_progress_is_told_no_more_often_than_etcd_tells_it() -> None:
    """An interval below 100 ms is raised, with a warning; none at all is the default."""
    for text, seconds in (("10ms", 0.1), ("100ms", 0.1), ("1s", 1.0), ("0s", 600.0)):
        config = parse([f"--watch-progress-notify-interval={text}"], {})
        assert seconds == config.progress_seconds
        raised = [each for each in config.warnings if "progress" in each]
        assert len(raised) == (text == "10ms")


def test_who_needs_a_certificate_follows_from_the_flags() -> None:
    """A trusted CA, or a CA made here, makes certificates required; --auto-tls alone does not."""
    for line, required in (
        ("", True),
        ("--auto-tls", False),
        ("--auto-tls --client-cert-auth", True),
        ("--cert-file=c --key-file=k", False),
        ("--cert-file=c --key-file=k --trusted-ca-file=t", True),
    ):
        assert required == parse(line.split(), {}).client_cert_required, line


def test_networks_are_read() -> None:
    """IPv4 and IPv6, with and without their bits; none means from anywhere."""
    config = parse(["--allow-client-cidrs=10.0.0.0/8,fd00::/8,::1"], {})

    assert ["10.0.0.0/8", "fd00::/8", "::1/128"] == list(map(str, config.client_networks))
    assert () == parse([], {}).client_networks


GIVEN = [flag for flag in FLAGS.values() if flag.status in {Status.REFUSED, Status.REMOVED}]


@pytest.mark.parametrize("flag", GIVEN, ids=[flag.name for flag in GIVEN])
def test_refused_flags_are_refused_but_not_at_their_default(flag: Flag) -> None:
    """Leaving such a flag out and giving its default are the same; anything else is not."""
    text = {Kind.BOOL: "true", Kind.DURATION: "1h", Kind.UINT: "9"}.get(flag.kind, "x")
    with pytest.raises(ConfigError, match=re.escape(flag.reason)):
        parse([f"--{flag.name}={text}"], {})

    parse([f"--{flag.name}={flag.default}"], {})

"""Whether settings make sense together: etcd's rules, and the rules of a secure member.

Pure: values in; a `ConfigError` or warnings out. No file is read and no name is resolved.
"""

from __future__ import annotations

import ipaddress
import shlex
from collections.abc import Iterator
from typing import Final

from trioetcd.auth import COST_MAX, COST_MIN, parse_token_option
from trioetcd.node.compacting import parse_retention
from trioetcd.node.flag_table import FEATURE_GATES, HONOURED_GATES
from trioetcd.node.flags import FLAGS, ConfigError, Status
from trioetcd.node.settings import Config, Members
from trioetcd.pki import parse_naming
from trioetcd.url import Url

__all__ = ["check_initial_cluster", "validate"]

_ELECTION_MS_MAX: Final = 50_000
_ELECTION_PER_HEARTBEAT: Final = 5
_TIMEOUT_SECONDS_MIN: Final = 5
_YEARS_MAX: Final = 10
_BCRYPT_COSTS: Final = range(COST_MIN, COST_MAX + 1)
_PEER_PORT: Final = 2380
_FALLBACKS: Final = frozenset({"exit"})


def validate(config: Config) -> tuple[str, ...]:
    """Check settings and give the sentences to warn of.

    Raises:
        ConfigError: the member must not start with them; the message says what to type.
    """
    warnings = [*_given_without_effect(config)]
    _check_numbers(config)
    _check_words(config)
    _check_compaction(config)
    _check_urls(config)
    warnings += _check_plaintext(config)
    _check_certificates(config)
    warnings += _check_client_tls(config)
    warnings += _check_peer_tls(config)
    if 0 < config.watch_progress_notify_interval < config.progress_seconds:
        warnings.append("--watch-progress-notify-interval is raised to its minimum, 100ms")
    if config.name == FLAGS["name"].default and len(config.members) > 1:
        warnings.append("--name is left at its default; give every member a name of its own")
    return tuple(warnings)


def _given_without_effect(config: Config) -> Iterator[str]:
    for name in sorted(config.explicit):
        flag = FLAGS[name]
        if flag.status is Status.WORKS:
            continue
        at_default = getattr(config, flag.field) == flag.value
        if flag.status is Status.REFUSED and not at_default:
            raise ConfigError(f"--{name} is refused: {flag.reason}")
        if flag.status is Status.REMOVED and not at_default:
            raise ConfigError(f"--{name} is gone: {flag.reason}")
        if not at_default or flag.status is Status.REMOVED:
            yield f"--{name} has no effect: {flag.reason}"
    for gate, is_on in config.gates:
        if gate not in HONOURED_GATES and is_on != FEATURE_GATES[gate]:
            yield f"--feature-gates={gate}={str(is_on).lower()} has no effect"


def _check_numbers(config: Config) -> None:
    heartbeat, election = config.heartbeat_interval, config.election_timeout
    if heartbeat == 0:
        raise ConfigError("--heartbeat-interval must be more than 0 ms")
    if election == 0:
        raise ConfigError("--election-timeout must be more than 0 ms")
    if _ELECTION_PER_HEARTBEAT * heartbeat > election:
        raise ConfigError(
            f"--election-timeout={election} must be at least five times "
            f"--heartbeat-interval={heartbeat}, or one late heartbeat costs an election",
        )
    if election > _ELECTION_MS_MAX:
        raise ConfigError(
            f"--election-timeout={election} is more than {_ELECTION_MS_MAX} ms: nobody would "
            f"notice a dead leader",
        )
    if config.compact_hash_check_time <= 0:
        raise ConfigError("--compact-hash-check-time must be more than 0s")
    if config.auth_token_ttl < 1:
        raise ConfigError("--auth-token-ttl must be at least 1 second")
    if config.bcrypt_cost not in _BCRYPT_COSTS:
        raise ConfigError(f"--bcrypt-cost={config.bcrypt_cost} is not between 4 and 31")
    if not 1 <= config.self_signed_cert_validity <= _YEARS_MAX:
        raise ConfigError(
            f"--self-signed-cert-validity={config.self_signed_cert_validity} is not between "
            f"1 and {_YEARS_MAX} years, and a CA made here lasts {_YEARS_MAX}",
        )
    for name in ("max_txn_ops", "max_request_bytes", "max_concurrent_streams", "snapshot_count"):
        if getattr(config, name) < 1:
            raise ConfigError(f"--{name.replace('_', '-')} must be at least 1")
    for flag in FLAGS.values():
        value = getattr(config, flag.field, None)
        if isinstance(value, float) and value < 0:
            raise ConfigError(f"--{flag.name} must not be negative")


def _check_words(config: Config) -> None:
    if not config.name or set(config.name) & set(",=\0\n"):
        raise ConfigError(f"--name={config.name!r} must have letters, and neither ',' nor '='")
    if config.discovery_fallback not in _FALLBACKS:
        raise ConfigError("--discovery-fallback knows one word: exit; v2 proxies are gone")
    try:
        parse_token_option(config.auth_token)
        parse_naming(config.cert_identity)
    except ValueError as error:
        raise ConfigError(str(error)) from None
    if config.tls_max_version and config.tls_min_version > config.tls_max_version:
        raise ConfigError(
            f"--tls-min-version={config.tls_min_version} is newer than "
            f"--tls-max-version={config.tls_max_version}",
        )
    if config.tls_min_version == "TLS1.3" and config.cipher_suites:
        raise ConfigError("--cipher-suites is for TLS 1.2, which --tls-min-version rules out")


def _check_compaction(config: Config) -> None:
    try:
        parse_retention(config.auto_compaction_mode, config.auto_compaction_retention)
    except ValueError as error:
        raise ConfigError(f"--auto-compaction-retention: {error}") from None
    if config.compaction_batch_limit < 0:
        raise ConfigError("--compaction-batch-limit must not be negative")


def _check_urls(config: Config) -> None:
    for name in ("listen-peer-urls", "listen-client-urls"):
        if not getattr(config, FLAGS[name].field):
            raise ConfigError(f"--{name} must name at least one URL")
    for name in (
        "listen-peer-urls",
        "listen-client-urls",
        "listen-client-http-urls",
        "listen-metrics-urls",
    ):
        urls: tuple[Url, ...] = getattr(config, FLAGS[name].field)
        for url in urls:
            if not url.unix and url.host != "localhost" and not _is_address(url.host):
                raise ConfigError(
                    f"--{name}: {url} must hold an IP address or localhost; names are for the "
                    f"advertised URLs",
                )
    if "listen-client-urls" in config.explicit and not config.advertise_client_urls:
        raise ConfigError(
            "--advertise-client-urls is needed with --listen-client-urls: where clients find the "
            "member",
        )
    for name in ("initial-advertise-peer-urls", "advertise-client-urls"):
        urls = getattr(config, FLAGS[name].field)
        if not urls:
            raise ConfigError(f"--{name} must name at least one URL")
        for url in urls:
            if not url.unix and not url.host:
                raise ConfigError(f"--{name}: {url} must name the host that others dial")


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return host == ""  # ":2379" means every address, as in Go
    return True


def _check_plaintext(config: Config) -> Iterator[str]:
    for name in ("listen-client-urls", "listen-client-http-urls", "listen-metrics-urls"):
        urls: tuple[Url, ...] = getattr(config, FLAGS[name].field)
        for url in urls:
            if url.secure:
                continue
            if not url.local and not config.allow_plaintext:
                raise ConfigError(
                    f"--{name}: {url} would send keys and values over the network unencrypted; "
                    f"write https://{url.address}, or add --allow-plaintext if that is what "
                    f"you want",
                )
            yield f"--{name}: {url} serves without encryption and without client certificates"
    http = [url for url in config.advertise_client_urls if not url.secure]
    if http and all(url.secure for url in config.listen_client_urls):
        yield (
            f"--advertise-client-urls: clients are told {http[0]}, but every client listener "
            f"speaks TLS"
        )


def _check_certificates(config: Config) -> None:
    """Check what is the same of clients and peers: pairs of files, lists of names, networks."""
    for side in ("", "client-", "peer-client-"):
        certificate, key = f"{side}cert-file", f"{side}key-file"
        given = [bool(getattr(config, FLAGS[name].field)) for name in (certificate, key)]
        if any(given) and not all(given):
            raise ConfigError(f"--{certificate} and --{key} must both be given, or neither")
    for side in ("client", "peer"):
        lists = [f"{side}-cert-allowed-{what}" for what in ("cn", "hostname")]
        if all(getattr(config, FLAGS[name].field) for name in lists):
            raise ConfigError(f"--{lists[0]} and --{lists[1]} exclude each other; give one of them")
    try:
        _ = config.client_networks
    except ValueError as error:
        raise ConfigError(
            f"--allow-client-cidrs: {error}; write a network as 10.1.0.0/16 or fd00:1::/32"
        ) from None


def _check_client_tls(config: Config) -> Iterator[str]:
    if not config.client_cert_required and (
        config.client_cert_allowed_cn or config.client_cert_allowed_hostname
    ):
        raise ConfigError(
            "--client-cert-allowed-cn and --client-cert-allowed-hostname need certificates to look "
            "at; give --cert-file, --key-file and --trusted-ca-file"
        )
    if config.client_crl_file and not config.client_cert_required:
        raise ConfigError(
            "--client-crl-file needs --trusted-ca-file: without it no client shows a certificate"
        )
    if not config.cert_file:
        if config.trusted_ca_file:
            raise ConfigError(
                "--trusted-ca-file needs --cert-file and --key-file; leave out all three and "
                "the member makes its own certificates",
            )
        if not config.client_cert_required:
            yield (
                "--auto-tls: clients without a certificate may come in, as in etcd; leave it "
                "out, and every client needs a certificate of the member's own CA"
            )
        return
    if config.auto_tls:
        yield "--auto-tls has no effect, since --cert-file is given"
    if not config.trusted_ca_file:
        if config.client_cert_auth:
            raise ConfigError("--client-cert-auth needs --trusted-ca-file: the clients' CA")
        yield (
            "--trusted-ca-file is not given, so clients without a certificate may come in; "
            "give it to let in none but those with a certificate of that CA"
        )


def _check_peer_tls(config: Config) -> Iterator[str]:
    given = {
        "--peer-cert-file": config.peer_cert_file,
        "--peer-key-file": config.peer_key_file,
        "--peer-trusted-ca-file": config.peer_trusted_ca_file,
    }
    missing = [name for name, value in given.items() if not value]
    if missing and len(missing) < len(given):
        raise ConfigError(
            f"{' and '.join(missing)} must be given, too: members verify each other by "
            f"certificate, key and CA",
        )
    if config.peer_client_cert_file and missing:
        raise ConfigError(
            "--peer-client-cert-file needs --peer-cert-file, --peer-key-file and "
            "--peer-trusted-ca-file"
        )
    several = len(config.members) > 1
    if several and missing:
        asked = "--peer-auto-tls" if config.peer_auto_tls else "--initial-cluster"
        raise ConfigError(
            f"{asked}: members that make their own CA cannot trust each other; make the "
            f"certificates of all members first: {_certs_init(config.members)} and start each "
            f"member by the --config-file which that writes, or give it its --peer-cert-file, "
            f"--peer-key-file and --peer-trusted-ca-file",
        )
    if config.peer_auto_tls and not missing:
        yield "--peer-auto-tls has no effect, since --peer-cert-file is given"
    if not config.peer_client_cert_auth:
        yield "--peer-client-cert-auth=false has no effect: peers always verify each other"


def _certs_init(members: Members) -> str:
    hosts = " ".join(shlex.quote(f"{name}={_place(urls[0])}") for name, urls in members)
    return f"`trioetcd certs init --out certs {hosts}`"


def _place(url: Url) -> str:
    """Spell a member's peer URL as `certs init` takes it; clients usually get the port below."""
    host = url.host or "localhost"
    if url.port in {0, _PEER_PORT}:
        return host
    if ":" in host:
        host = f"[{host}]"
    return f"{host}:{url.port - 1 or _PEER_PORT}:{url.port}"


def check_initial_cluster(config: Config) -> None:
    """Check what --initial-cluster says of a member that starts for the first time.

    Later starts go by what the cluster has agreed on since, so that nothing here matters then.

    Raises:
        ConfigError: the member must not begin with it.
    """
    names = dict(config.members)
    if config.name not in names:
        raise ConfigError(
            f"--initial-cluster does not hold this member, whose --name is {config.name!r}",
        )
    every = [url.address for _, urls in config.members for url in urls]
    if len(set(every)) < len(every):
        raise ConfigError("--initial-cluster has a URL twice; every member needs its own")
    # Peers speak TLS whatever the scheme says, so the scheme takes no part in the comparison.
    ours = {url.address for url in names[config.name]}
    told = {url.address for url in config.initial_advertise_peer_urls}
    if ours != told:
        here = ",".join(f"{config.name}={url}" for url in names[config.name])
        there = ",".join(map(str, config.initial_advertise_peer_urls))
        raise ConfigError(
            f"--initial-cluster has {here}, but --initial-advertise-peer-urls={there}; the two "
            f"must name the same URLs",
        )

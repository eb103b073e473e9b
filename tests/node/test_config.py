"""Tests of `trioetcd.node.config`: from everything that was given to one value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from trioetcd.node.config import ConfigError, parse
from trioetcd.url import Url


def test_without_anything_a_member_is_secure_and_alone() -> None:
    """The defaults: TLS on loopback, certificates required and made, one member, no warnings."""
    config = parse([], {})

    assert config.data_dir == "default.etcd"
    assert (Url("https", "localhost", 2379),) == config.listen_client_urls
    assert (("default", (Url("https", "localhost", 2380),)),) == config.members
    assert config.client_tls_generated
    assert config.peer_tls_generated
    assert config.client_cert_required
    assert () == config.warnings
    assert config.quota_bytes == 2 * 1024**3
    assert frozenset() == config.explicit


def test_the_name_goes_into_what_follows_from_it() -> None:
    """Data directory and cluster follow the name when they are not given."""
    config = parse(["--name=m1", "--initial-advertise-peer-urls=https://h:2380"], {})

    assert ("m1.etcd", "m1=https://h:2380") == (config.data_dir, config.initial_cluster)
    assert Path("m1.etcd/pki") == config.pki_path


def test_variables_and_flags_add_up() -> None:
    """A setting may come from either side."""
    config = parse(["--name=m1"], {"ETCD_MAX_TXN_OPS": "7"})

    assert ("m1", 7) == (config.name, config.max_txn_ops)
    assert frozenset({"name", "max-txn-ops"}) == config.explicit


@pytest.mark.parametrize("dump", [json.dumps, yaml.safe_dump])
@pytest.mark.parametrize("by_variable", [False, True])
def test_a_file_replaces_flags_and_variables(
    tmp_path: Path,
    dump: object,
    *,
    by_variable: bool,
) -> None:
    """YAML and JSON both do, wherever the file is named; what it replaces is told."""
    assert callable(dump)
    path = tmp_path / "etcd.yaml"
    path.write_text(dump({"name": "f", "grpc-keepalive-interval": 5_000_000_000}))
    arguments = ["--max-txn-ops=9"] + ([] if by_variable else ["--config-file", str(path)])
    environment = {"ETCD_NAME": "v"} | ({"ETCD_CONFIG_FILE": str(path)} if by_variable else {})
    config = parse(arguments, environment)

    assert ("f", 128, 5.0) == (config.name, config.max_txn_ops, config.grpc_keepalive_interval)
    assert "no effect has --max-txn-ops" in config.warnings[0]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("--name=m1\n", "must be YAML, one setting per line: name: m1"),
        ("name: [", "is no YAML"),
        ("just words", "holds no settings"),
        ("\xff", "is not UTF-8 text"),
    ],
)
def test_a_file_that_is_none_ends_in_a_sentence(tmp_path: Path, text: str, sentence: str) -> None:
    """Flags, broken YAML, prose and bytes are each told apart."""
    path = tmp_path / "etcd.yaml"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigError, match=sentence):
        parse(["--config-file", str(path)], {})
    with pytest.raises(ConfigError, match="cannot read the configuration file"):
        parse(["--config-file", str(tmp_path / "none")], {})


def test_an_empty_file_is_all_defaults(tmp_path: Path) -> None:
    """Nothing but a comment is a member without flags."""
    path = tmp_path / "etcd.yaml"
    path.write_text("# nothing\n")

    assert parse([], {}) == parse(["--config-file", str(path)], {})


def test_the_flags_of_a_common_guide_are_taken() -> None:
    """Guide 3's container line starts a member, once plain text is allowed by name."""
    line = [
        *("--name", "s1", "--data-dir", "D", "--listen-client-urls", "http://0.0.0.0:2379"),
        *("--advertise-client-urls", "http://0.0.0.0:2379"),
        *("--listen-peer-urls", "http://0.0.0.0:2380"),
        *("--initial-advertise-peer-urls", "http://0.0.0.0:2380"),
        *("--initial-cluster", "s1=http://0.0.0.0:2380", "--initial-cluster-token", "tkn"),
        *("--initial-cluster-state", "new", "--log-level", "info", "--logger", "zap"),
        *("--log-outputs", "stderr"),
    ]
    with pytest.raises(ConfigError, match="--allow-plaintext"):
        parse(line, {})
    config = parse([*line, "--allow-plaintext"], {})

    assert len(config.warnings) == 1
    assert "without encryption" in config.warnings[0]


def test_kubeadms_flags_are_taken() -> None:
    """Guide 6's static pod starts with warnings about the old spellings and the one CA only."""
    pki = "/etc/kubernetes/pki/etcd"
    config = parse(
        [
            "--advertise-client-urls=https://10.0.0.5:2379",
            f"--cert-file={pki}/server.crt",
            "--client-cert-auth=true",
            "--data-dir=/var/lib/etcd",
            "--experimental-initial-corrupt-check=true",
            "--experimental-watch-progress-notify-interval=5s",
            "--initial-advertise-peer-urls=https://10.0.0.5:2380",
            "--initial-cluster=cp=https://10.0.0.5:2380",
            f"--key-file={pki}/server.key",
            "--listen-client-urls=https://127.0.0.1:2379,https://10.0.0.5:2379",
            "--listen-metrics-urls=http://127.0.0.1:2381",
            "--listen-peer-urls=https://10.0.0.5:2380",
            "--name=cp",
            f"--peer-cert-file={pki}/peer.crt",
            "--peer-client-cert-auth=true",
            f"--peer-key-file={pki}/peer.key",
            f"--peer-trusted-ca-file={pki}/ca.crt",
            "--snapshot-count=10000",
            f"--trusted-ca-file={pki}/ca.crt",
        ],
        {},
    )

    assert config.watch_progress_notify_interval == 5.0
    assert config.client_cert_required
    assert len(config.warnings) == 3


def test_a_member_in_the_list_advertises_what_the_list_says() -> None:
    """Without --initial-advertise-peer-urls its own entry decides."""
    config = parse(["--name=m1", "--initial-cluster=m1=http://h:2380"], {})

    assert (Url("http", "h", 2380),) == config.initial_advertise_peer_urls


@pytest.mark.parametrize("text", ["m1", "=https://h:1", "m1=h:1"])
def test_a_cluster_that_cannot_be_read_is_refused(text: str) -> None:
    """The sentence names the flag."""
    with pytest.raises(ConfigError, match="--initial-cluster: "):
        parse(["--name=m1", f"--initial-cluster={text}"], {})

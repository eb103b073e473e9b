"""What a member shows to Prometheus, read by a small parser of the text form."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Iterator

import pytest
import trio.testing

from tests.runtime.member import Caller, Disk, put, running
from trioetcd import errors
from trioetcd.errors import Code
from trioetcd.runtime.metrics import CODE_NAMES, Metrics
from trioetcd.runtime.observation import observe
from trioetcd.runtime.prometheus import Counter, Gauge, Histogram, Labelled
from trioetcd.schema import METHODS, messages

_HELP = re.compile(r"# HELP ([a-z_]+) (\S.*)")
_TYPE = re.compile(r"# TYPE ([a-z_]+) (counter|gauge|histogram)")
_SAMPLE = re.compile(r'([a-z_]+)(?:\{((?:[a-zA-Z_]+="(?:[^"\\\n]|\\.)*",?)*)\})? (\S+)')
_LABEL = re.compile(r'([a-zA-Z_]+)="((?:[^"\\\n]|\\.)*)"')

Samples = dict[tuple[tuple[str, str], ...], float]


@dataclasses.dataclass
class Family:
    kind: str
    samples: dict[str, Samples]


def parse(text: str) -> dict[str, Family]:
    """Read the text form, strictly: heading first, no family or series twice."""
    families: dict[str, Family] = {}
    lines = iter(text.split("\n")[:-1])
    family, name = Family("", {}), ""
    for line in lines:
        described = _HELP.fullmatch(line)
        if described:
            name = described[1]
            typed = _TYPE.fullmatch(next(lines))
            assert typed, line
            assert typed[1] == name, line
            assert name not in families, name
            family = families[name] = Family(typed[2], {})
            continue
        sample = _SAMPLE.fullmatch(line)
        assert sample, line
        suffixes = ("_bucket", "_sum", "_count") if family.kind == "histogram" else ("",)
        assert sample[1] in {name + suffix for suffix in suffixes}, line
        labels = tuple(_LABEL.findall(sample[2] or ""))
        series = family.samples.setdefault(sample[1], {})
        assert labels not in series, line
        series[labels] = float(sample[3])
    return families


def every_family(metrics: Metrics) -> Iterator[tuple[str, Counter | Gauge | Histogram]]:
    """Give each attribute's name with a series of it, made if there is none."""
    for attribute in dataclasses.fields(metrics):
        family = getattr(metrics, attribute.name)
        if isinstance(family, Labelled):
            family = family.labels(*(f"<{name}>" for name in family.label_names))
        if attribute.name not in {"calls", "extensive"}:
            yield attribute.name, family


# What dashboards and alerts read: name, type, labels.
NEEDED = """
etcd_server_has_leader gauge
etcd_server_is_leader gauge
etcd_server_leader_changes_seen_total counter
etcd_server_proposals_committed_total gauge
etcd_server_proposals_applied_total gauge
etcd_server_proposals_pending gauge
etcd_server_proposals_failed_total counter
etcd_server_quota_backend_bytes gauge
etcd_server_version gauge server_version
etcd_server_id gauge server_id
etcd_server_health_success counter
etcd_server_health_failures counter
etcd_server_slow_apply_total counter
etcd_server_slow_read_indexes_total counter
etcd_server_heartbeat_send_failures_total counter
etcd_cluster_version gauge cluster_version
etcd_disk_wal_fsync_duration_seconds histogram
etcd_disk_backend_commit_duration_seconds histogram
etcd_disk_backend_defrag_duration_seconds histogram
etcd_disk_backend_snapshot_duration_seconds histogram
etcd_disk_wal_write_bytes_total gauge
etcd_mvcc_db_total_size_in_bytes gauge
etcd_mvcc_db_total_size_in_use_in_bytes gauge
etcd_debugging_mvcc_db_total_size_in_bytes gauge
etcd_debugging_mvcc_keys_total gauge
etcd_debugging_mvcc_watcher_total gauge
etcd_debugging_mvcc_watch_stream_total gauge
etcd_debugging_mvcc_slow_watcher_total gauge
etcd_debugging_mvcc_pending_events_total gauge
etcd_debugging_mvcc_events_total counter
etcd_debugging_mvcc_current_revision gauge
etcd_debugging_mvcc_compact_revision gauge
etcd_mvcc_put_total counter
etcd_mvcc_delete_total counter
etcd_mvcc_range_total counter
etcd_mvcc_txn_total counter
etcd_debugging_mvcc_put_total counter
etcd_network_client_grpc_sent_bytes_total counter
etcd_network_client_grpc_received_bytes_total counter
etcd_network_peer_sent_bytes_total counter To
etcd_network_peer_received_bytes_total counter From
etcd_network_peer_round_trip_time_seconds histogram To
etcd_network_peer_sent_failures_total counter To
etcd_network_active_peers gauge Local Remote
grpc_server_started_total counter grpc_method grpc_service grpc_type
grpc_server_handled_total counter grpc_code grpc_method grpc_service grpc_type
grpc_server_msg_received_total counter grpc_method grpc_service grpc_type
grpc_server_msg_sent_total counter grpc_method grpc_service grpc_type
process_resident_memory_bytes gauge
process_virtual_memory_bytes gauge
process_cpu_seconds_total counter
process_open_fds gauge
process_max_fds gauge
process_start_time_seconds gauge
os_fd_used gauge
os_fd_limit gauge
"""


def test_what_dashboards_read_is_there() -> None:
    """Every name etcd's dashboard and alerts read is there with its type and labels."""
    metrics = Metrics()
    assert len(list(every_family(metrics))) == 123
    families = parse(metrics.render())
    for line in NEEDED.split("\n")[1:-1]:
        name, kind, *labels = line.split()
        assert kind == families[name].kind, name
        for series in families[name].samples.values():
            for given in series:
                assert labels == [label for label, _ in given if label != "le"], name


def test_attributes_are_named_as_the_metrics() -> None:
    """An attribute is its metric's name without etcd_, and no name is used twice."""
    names = {attribute: family.name for attribute, family in every_family(Metrics())}
    assert {a: n.removeprefix("etcd_") for a, n in names.items()} == {a: a for a in names}
    assert len(set(names.values())) == len(names)


@pytest.mark.parametrize(
    ("name", "first", "last", "count"),
    [
        ("disk_wal_fsync_duration_seconds", 0.001, 8.192, 14),
        ("disk_backend_commit_duration_seconds", 0.001, 8.192, 14),
        ("disk_backend_defrag_duration_seconds", 0.1, 409.6, 13),
        ("network_peer_round_trip_time_seconds", 0.0001, 3.2768, 16),
        ("server_apply_duration_seconds", 0.0001, 52.4288, 20),
        ("server_range_duration_seconds", 0.0001, 52.4288, 20),
        ("server_request_duration_seconds", 0.001, 8.192, 14),
        ("debugging_lease_ttl_total", 1, 2**23, 24),
    ],
)
def test_buckets_are_etcds(name: str, first: float, last: float, count: int) -> None:
    """A histogram has etcd's bounds, so that quantiles of both can be compared."""
    histogram = dict(every_family(Metrics()))[name]
    assert isinstance(histogram, Histogram)
    assert (first, count) == (histogram.bounds[0], len(histogram.bounds))
    assert histogram.bounds[-1] == pytest.approx(last)


def test_calls_are_zero_from_the_start() -> None:
    """Every method has every status at zero before it is first called."""
    families = parse(Metrics().render())
    handled = families["grpc_server_handled_total"].samples["grpc_server_handled_total"]
    expected = {
        (code, method.name, method.service, method.grpc_type)
        for code in CODE_NAMES.values()
        for method in METHODS.values()
    }
    assert expected == {tuple(value for _, value in labels) for labels in handled}
    assert set(handled.values()) == {0}
    assert "grpc_server_handling_seconds" not in families


def test_calls_are_counted_by_plain_addition() -> None:
    """What is added to a method's integers is what is shown, time too if asked for."""
    metrics = Metrics(extensive=True)
    calls = metrics.calls["/etcdserverpb.KV/Put"]
    calls.started += 5
    calls.received += 4
    calls.sent += 3
    calls.handled[Code.CANCELLED] += 2
    calls.seconds.observe_many(0.02, 2)
    families = parse(metrics.render())
    put = (
        ("grpc_method", "Put"),
        ("grpc_service", "etcdserverpb.KV"),
        ("grpc_type", "unary"),
    )
    for name, count in (("started", 5), ("msg_received", 4), ("msg_sent", 3)):
        full_name = f"grpc_server_{name}_total"
        assert count == families[full_name].samples[full_name][put]
    handled = families["grpc_server_handled_total"].samples["grpc_server_handled_total"]
    assert handled[("grpc_code", "Canceled"), *put] == 2
    seconds = families["grpc_server_handling_seconds"].samples
    assert seconds["grpc_server_handling_seconds_bucket"][*put, ("le", "0.025")] == 2
    assert len(seconds["grpc_server_handling_seconds_count"]) == len(METHODS)


def test_twins_show_the_same() -> None:
    """The names older dashboards read show what the newer ones show."""
    metrics = Metrics()
    metrics.mvcc_put_total.value += 3
    metrics.mvcc_db_total_size_in_bytes.read = lambda: 4096
    families = parse(metrics.render())
    for twin, value in (("put_total", 3), ("db_total_size_in_bytes", 4096)):
        for name in (f"etcd_mvcc_{twin}", f"etcd_debugging_mvcc_{twin}"):
            assert {(): value} == families[name].samples[name]


def test_process_is_read_at_every_scrape() -> None:
    """The process's figures are the kernel's: nothing is zero that cannot be."""
    metrics = Metrics()
    metrics.render()
    families = parse(metrics.render())
    for name in NEEDED.split():
        if name.startswith(("process_", "os_")):
            assert families[name].samples[name][()] > 0, name
    anonymous = families["trioetcd_resident_anonymous_memory_bytes"].samples
    resident = families["process_resident_memory_bytes"].samples
    assert 0 < next(iter(anonymous.values()))[()] <= next(iter(resident.values()))[()] * 1.05


def test_the_table_is_frozen() -> None:
    """No family can be replaced by accident."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        Metrics().mvcc_put_total = Counter("c", "C.")  # type: ignore[misc] # the point of it


async def test_what_was_in_vain_is_counted(autojump_clock: trio.testing.MockClock) -> None:
    """Proposals that were given up, and leaders that came to be known; one leads a member alone."""
    autojump_clock.autojump_threshold = 0.005  # the writer is a thread
    disk = Disk()
    async with running(disk) as server:
        observe(server, server.metrics)
        failed = server.metrics.server_proposals_failed_total
        assert failed.render().endswith("_failed_total 0\n")
        caller = Caller()
        disk.hold()
        put(server, caller, 1, b"k")
        assert await caller.wait_error(1) == errors.TIMEOUT.text
        assert failed.render().endswith("_failed_total 1\n")
        leaders = server.metrics.server_leader_changes_seen_total
        assert leaders.render().endswith("_seen_total 1\n")


async def test_alarms_are_told_at_every_scrape() -> None:
    """An alarm is 1 under its member and type while it is raised, 0 after it was cleared (etcd)."""
    async with running() as server:
        observe(server, server.metrics)
        alarms = server.metrics.debugging_server_alarms
        assert alarms.render() == ""
        server.alarms.activate(messages.CORRUPT, 0xAB)
        server.alarms.activate(messages.CORRUPT, 0)
        series = 'etcd_debugging_server_alarms{server_id="ab",alarm_type="CORRUPT"} '
        assert f"{series}1\n" in alarms.render()
        assert f"{series}1\n" in alarms.render()
        server.alarms.deactivate(messages.CORRUPT, 0xAB)

        assert f"{series}0\n" in alarms.render()
        assert 'server_id="0",alarm_type="CORRUPT"} 1\n' in alarms.render()

"""What a member shows to Prometheus: the families, its calls, its process.

`Metrics` has one attribute per family (see `trioetcd.runtime.families`). Owners add to
``metrics.mvcc_put_total.value``, keep the series of a labelled family
(``metrics.network_peer_sent_bytes_total.labels(peer)``), or hang a function on a gauge
(``metrics.mvcc_db_total_size_in_bytes.read = backend.size``). Calls are counted in
``metrics.calls[path]``, plain integers by method. `Metrics.render` is one scrape.
"""

from __future__ import annotations

import os
import resource
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Final

from trioetcd.errors import Code
from trioetcd.runtime.families import Families
from trioetcd.runtime.prometheus import (
    Counter,
    Gauge,
    Histogram,
    Labelled,
    heading,
    label_text,
)
from trioetcd.schema import METHODS, Method

__all__ = ["CODE_NAMES", "UNKNOWN_VERSION", "MethodCalls", "Metrics"]

_HANDLING: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

CODE_NAMES: Final[dict[Code, str]] = {
    code: "OK" if code is Code.OK else code.name.title().replace("_", "") for code in Code
} | {Code.CANCELLED: "Canceled"}
"""How the label ``grpc_code`` names a status."""

UNKNOWN_VERSION: Final = "unknown"
"""The label ``client_api_version`` of those who do not say it (etcd)."""

_TWINS: Final[dict[str, str]] = {
    "etcd_debugging_mvcc_range_total": "mvcc_range_total",
    "etcd_debugging_mvcc_put_total": "mvcc_put_total",
    "etcd_debugging_mvcc_delete_total": "mvcc_delete_total",
    "etcd_debugging_mvcc_txn_total": "mvcc_txn_total",
    "etcd_debugging_mvcc_db_total_size_in_bytes": "mvcc_db_total_size_in_bytes",
}
"""Names that older dashboards read, and the attribute that has the value."""


class MethodCalls:
    """What happened to one method's calls: add to the integers, once per turn.

    Attributes:
        started: calls begun.
        received: messages received.
        sent: messages sent.
        handled: calls ended, by status code: ``calls.handled[Code.OK] += 1``.
        seconds: how long calls took; observe only if `Metrics.extensive`.
    """

    __slots__ = ("handled", "labels", "received", "seconds", "sent", "started")

    def __init__(self, method: Method) -> None:
        self.labels = {
            "grpc_method": method.name,
            "grpc_service": method.service,
            "grpc_type": method.grpc_type,
        }
        self.started = 0
        self.received = 0
        self.sent = 0
        self.handled = [0] * len(Code)
        self.seconds = Histogram(
            "grpc_server_handling_seconds",
            "Time from the start of a call to its end.",
            _HANDLING,
            label_text(tuple(self.labels), tuple(self.labels.values())),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metrics(Families):
    """All families of a member; frozen, though its series count.

    Attributes:
        extensive: whether the time of every call is shown too (``--metrics=extensive``).
        calls: counts by gRPC path, zero from the start for every method.
    """

    extensive: bool = False
    calls: dict[str, MethodCalls] = field(
        default_factory=lambda: {path: MethodCalls(method) for path, method in METHODS.items()}
    )

    def render(self) -> str:
        """Write everything in Prometheus' text form 0.0.4; reads the process's own figures."""
        self._read_process()
        self._count_unversioned()
        parts = []
        for attribute in fields(self):
            family = getattr(self, attribute.name)
            if isinstance(family, Counter | Gauge | Histogram | Labelled):
                parts.append(family.render())
        for name, attribute_name in _TWINS.items():
            twin = getattr(self, attribute_name)
            text = heading(name, twin.kind, f"The same as {twin.name}.")
            parts.append(f"{text}{name} {twin.value}\n")
        parts.append(self._render_calls())
        return "".join(parts)

    def _render_calls(self) -> str:
        parts = []
        for name, counted, text in (
            ("started", "started", "Calls begun."),
            ("msg_received", "received", "Messages received from clients."),
            ("msg_sent", "sent", "Messages sent to clients."),
        ):
            parts.append(heading(f"grpc_server_{name}_total", "counter", text))
            for calls in self.calls.values():
                labels = label_text(tuple(calls.labels), tuple(calls.labels.values()))
                parts.append(f"grpc_server_{name}_total{labels} {getattr(calls, counted)}\n")
        parts.append(heading("grpc_server_handled_total", "counter", "Calls ended, by status."))
        for calls in self.calls.values():
            inner = label_text(tuple(calls.labels), tuple(calls.labels.values()))[1:]
            parts += [
                f'grpc_server_handled_total{{grpc_code="{CODE_NAMES[Code(code)]}",{inner} {count}\n'
                for code, count in enumerate(calls.handled)
            ]
        if self.extensive:
            first, *rest = (calls.seconds for calls in self.calls.values())
            parts.append(first.render())
            parts += [seconds.render_samples() for seconds in rest]
        return "".join(parts)

    def _count_unversioned(self) -> None:
        """Count the calls that no version was counted for, so that nobody need count them."""
        requests = self.server_client_requests_total
        rest: dict[str, float] = {"unary": 0, "stream": 0}
        for calls in self.calls.values():
            rest["unary" if calls.labels["grpc_type"] == "unary" else "stream"] += calls.started
        for (kind, version), series in requests.series.items():
            if kind in rest and version != UNKNOWN_VERSION:
                rest[kind] -= series.value
        for kind, count in rest.items():
            if count > 0:  # methods that nobody has are counted by version alone
                requests.labels(kind, UNKNOWN_VERSION).value = count

    def _read_process(self) -> None:
        """Take the process's figures from the kernel."""
        spent = os.times()
        self.process_cpu_seconds_total.value = spent.user + spent.system
        # One less, for the descriptor that lists them.
        descriptors = sum(1 for _ in Path("/proc/self/fd").iterdir()) - 1
        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self.process_open_fds.value = self.os_fd_used.value = descriptors
        self.process_max_fds.value = self.os_fd_limit.value = limit
        unlimited = resource.getrlimit(resource.RLIMIT_AS)[0] % 2**64
        self.process_virtual_memory_max_bytes.value = unlimited
        # The fields of `stat` after the name in brackets, which may hold anything: proc(5).
        stat = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
        self.process_virtual_memory_bytes.value = int(stat[20])
        self.process_resident_memory_bytes.value = int(stat[21]) * resource.getpagesize()
        if not self.process_start_time_seconds.value:  # does not change
            booted = _line("/proc/stat", "btime")
            ticks = os.sysconf("SC_CLK_TCK")
            self.process_start_time_seconds.value = booted + int(stat[19]) / ticks
        anonymous = _line("/proc/self/status", "RssAnon:")
        self.trioetcd_resident_anonymous_memory_bytes.value = anonymous * 1024


def _line(path: str, name: str) -> int:
    """Give the number on the line of a kernel's file that begins with `name`, or 0."""
    for line in Path(path).read_text().splitlines():
        words = line.split()
        if words and words[0] == name:
            return int(words[1])
    return 0

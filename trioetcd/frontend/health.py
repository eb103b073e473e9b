"""What a member says of itself over plain HTTP: /version, /health, /livez, /readyz.

Pure functions from a member's condition to an answer, in etcd's words and etcd's text form;
probes, load balancers and Patroni read them. No check reads the disk, waits or asks a peer: a
frontend that is asked about linearizable reads (`needs_linearizable_read`) waits until the
member is current, or gives up, before it asks for the answer.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from typing import Final, Protocol
from urllib.parse import parse_qs

from trioetcd.cluster.version import CLUSTER_VERSION, SERVER_VERSION
from trioetcd.runtime.metrics import Metrics
from trioetcd.schema import messages

__all__ = [
    "Condition",
    "HttpAnswer",
    "answer",
    "health_body",
    "needs_linearizable_read",
    "not_allowed",
    "not_found",
    "version_body",
]

HttpAnswer = tuple[int, list[tuple[str, str]], bytes]
"""Status, headers (without content-length), body."""

_TEXT: Final = ("content-type", "text/plain; charset=utf-8")
_NO_SNIFF: Final = ("x-content-type-options", "nosniff")
_ALARM_NAMES: Final = {number: name for name, number in messages.AlarmType.items()}


class Condition(Protocol):
    """What is asked of a member."""

    @property
    def metrics(self) -> Metrics:
        """Give the table in which checks are counted."""

    def alarm_types(self) -> Collection[int]:
        """Give the types of the raised alarms (AlarmType), in the order of members."""

    def has_leader(self) -> bool:
        """Whether a leader is known."""

    def is_learner(self) -> bool:
        """Whether this member is a learner."""

    def read_error(self, *, serializable: bool) -> str | None:
        """Say why a read of one key would fail now, or None if it would not."""


def version_body(
    *, server: str = SERVER_VERSION, cluster: str = CLUSTER_VERSION, storage: str = CLUSTER_VERSION
) -> bytes:
    """Make the body of /version; clients read the parts as numbers."""
    return _json({"etcdserver": server, "etcdcluster": cluster, "storage": storage})


def health_body(reason: str) -> bytes:
    """Make the body of /health; no reason is good health."""
    return _json({"health": "false" if reason else "true", "reason": reason})


def _json(content: dict[str, str]) -> bytes:
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    # Go's encoder escapes what HTML would take for markup; bodies are compared as bytes.
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text.encode()


def not_found() -> HttpAnswer:
    """Answer a path that does not exist."""
    return _error(404, b"404 page not found")


def no_profiler() -> HttpAnswer:
    """Answer whoever looks for Go's profiler."""
    return _error(404, b"trioetcd has no pprof; py-spy shows what a running member does")


def not_allowed() -> HttpAnswer:
    """Answer a method other than GET."""
    status, headers, body = _error(405, b"Method Not Allowed")
    return status, [("allow", "GET"), *headers], body


def _error(status: int, body: bytes) -> HttpAnswer:
    return status, [_TEXT, _NO_SNIFF], body + b"\n"


# --------------------------------------------------------------------------------- the checks


def _data_corruption(condition: Condition) -> str | None:
    if messages.CORRUPT in condition.alarm_types():
        return "alarm activated: CORRUPT"
    return None


def _serializable_read(condition: Condition) -> str | None:
    return condition.read_error(serializable=True)


def _linearizable_read(condition: Condition) -> str | None:
    return condition.read_error(serializable=False)


def _non_learner(condition: Condition) -> str | None:
    return "not supported for learner" if condition.is_learner() else None


_Check = Callable[[Condition], str | None]

_CHECKS: Final[dict[str, dict[str, _Check]]] = {
    "livez": {"serializable_read": _serializable_read},
    "readyz": {
        "data_corruption": _data_corruption,
        "serializable_read": _serializable_read,
        "linearizable_read": _linearizable_read,
        "non_learner": _non_learner,
    },
}


def _asked(path: str, query: dict[str, list[str]]) -> tuple[str, dict[str, _Check]] | None:
    """Give the kind and the checks that a path asks for, or None if there is no such path."""
    kind, slash, name = path.removeprefix("/").partition("/")
    checks = _CHECKS.get(kind)
    if checks is None or not path.startswith("/"):
        return None
    if not slash:
        excluded = set(query.get("exclude", ()))
        return kind, {name: check for name, check in checks.items() if name not in excluded}
    if name not in checks:
        return None
    return kind, {name: checks[name]}


def needs_linearizable_read(path: str, query: str) -> bool:
    """Whether the answer depends on a read that the cluster must agree to."""
    options = parse_qs(query, keep_blank_values=True)
    if path == "/health":
        return not _is_serializable(options)
    asked = _asked(path, options)
    return asked is not None and "linearizable_read" in asked[1]


def _is_serializable(options: dict[str, list[str]]) -> bool:
    return options.get("serializable", [""])[0] == "true"


# -------------------------------------------------------------------------------- the answers


def answer(condition: Condition, method: str, path: str, query: str) -> HttpAnswer:
    """Answer a request for one of this module's paths, or for none of them (404)."""
    options = parse_qs(query, keep_blank_values=True)
    if path == "/version":
        if method != "GET":
            return not_allowed()
        return 200, [("content-type", "application/json")], version_body()
    if path == "/health":
        return _health(condition, options) if method == "GET" else not_allowed()
    asked = _asked(path, options)
    if asked is None:
        return no_profiler() if path.startswith("/debug/pprof") else not_found()
    if method != "GET":
        return not_allowed()
    return _checked(condition, *asked, verbose="verbose" in options)


def _health(condition: Condition, options: dict[str, list[str]]) -> HttpAnswer:
    reason = _ill(
        condition, set(options.get("exclude", ())), serializable=_is_serializable(options)
    )
    body = health_body(reason)
    metrics = condition.metrics
    if reason:
        metrics.server_health_failures.value += 1
        return _error(503, body)
    metrics.server_health_success.value += 1
    return 200, [_TEXT], body


def _ill(condition: Condition, excluded: set[str], *, serializable: bool) -> str:
    for alarm in condition.alarm_types():
        name = _ALARM_NAMES.get(alarm, str(alarm))
        if name not in excluded:
            return f"ALARM {name}" if name in {"NOSPACE", "CORRUPT"} else "ALARM UNKNOWN"
    if not serializable and not condition.has_leader():
        return "RAFT NO LEADER"
    error = condition.read_error(serializable=serializable)
    return f"RANGE ERROR:{error}" if error else ""


def _checked(
    condition: Condition, kind: str, checks: dict[str, _Check], *, verbose: bool
) -> HttpAnswer:
    metrics = condition.metrics
    lines = []
    failed = False
    for name, check in checks.items():
        error = check(condition)
        failed |= error is not None
        lines.append(f"[-]{name} failed: {error}\n" if error is not None else f"[+]{name} ok\n")
        status = "error" if error is not None else "success"
        metrics.server_healthcheck.labels(kind, name).value = int(error is None)
        metrics.server_healthchecks_total.labels(kind, name, status).value += 1
    report = "".join(lines).encode()
    if failed:
        return _error(503, report)
    return 200, [_TEXT, _NO_SNIFF], report + b"ok\n" if verbose else b"ok\n"

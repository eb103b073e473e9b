"""The one line in the log about a connection that did not get in, and its place in the metrics."""

from __future__ import annotations

from trioetcd import pki
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.trace import Log

__all__ = ["note_rejected"]


def note_rejected(
    log: Log, metrics: Metrics, endpoint: str, remote: str, reason: str, certificate: bytes = b""
) -> None:
    """Note one refused connection: who it was, as far as it showed that, and why.

    Args:
        log: where it is told.
        metrics: where it is counted.
        endpoint: ``client`` or ``peer``.
        remote: from where it came.
        reason: why it was refused.
        certificate: what it showed (DER), verified or not; empty if nothing is known of it.
    """
    metrics.trioetcd_handshake_failures_total.value += 1
    fields = {"remote-addr": remote, "error": reason}
    if certificate:
        fields["subject"], fields["serial"] = pki.subject_and_serial(certificate)
    message = f"rejected connection on {endpoint} endpoint"
    log.warn(message, **fields)

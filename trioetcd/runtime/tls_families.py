"""The series of certificates, keys and revocation lists; all of them our own."""
# ruff: noqa: RUF009 # each call makes a dataclass field, with a factory of its own

from __future__ import annotations

from dataclasses import dataclass

from trioetcd.runtime.family import counters, gauge, gauges
from trioetcd.runtime.prometheus import Counter, Gauge, Labelled

__all__ = ["TlsFamilies"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFamilies:
    """Families of the credentials, each at zero."""

    trioetcd_tls_certificate_expiry_timestamp_seconds: Labelled[Gauge] = gauges(
        "trioetcd_tls_certificate_expiry_timestamp_seconds",
        "When a certificate in use ends, in seconds since 1970; of CAs the first that ends.",
        "role",
    )
    trioetcd_tls_crl_next_update_timestamp_seconds: Labelled[Gauge] = gauges(
        "trioetcd_tls_crl_next_update_timestamp_seconds",
        "When the first of the revocation lists is outdated, in seconds since 1970.",
        "role",
    )
    trioetcd_tls_generation: Gauge = gauge(
        "trioetcd_tls_generation", "Generation of the credentials in use; the first is 1."
    )
    trioetcd_tls_reload_total: Labelled[Counter] = counters(
        "trioetcd_tls_reload_total",
        "Files of credentials read anew: taken, or refused because a check failed.",
        "files",
        "result",
    )
    trioetcd_tls_reload_failing: Labelled[Gauge] = gauges(
        "trioetcd_tls_reload_failing",
        "Whether the files are such that they were refused, and older ones are in use: 1 or 0.",
        "files",
    )
    trioetcd_tls_renewal_total: Labelled[Counter] = counters(
        "trioetcd_tls_renewal_total",
        "Renewals of the certificates that the member makes for itself.",
        "result",
    )
    trioetcd_tls_connections_ended_total: Labelled[Counter] = counters(
        "trioetcd_tls_connections_ended_total",
        "Connections of a client, to a peer or of a peer that called, ended for its certificate.",
        "side",
        "reason",
    )
    trioetcd_tls_retired_connections: Labelled[Gauge] = gauges(
        "trioetcd_tls_retired_connections",
        "Open connections made with credentials of an older generation, which are asked to move.",
        "side",
    )

"""Tests of `trioetcd.runtime.rejection`: one line for each, and a number."""

from __future__ import annotations

import json
import os
from contextlib import closing

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from tests.pki.material import plain
from trioetcd.runtime.metrics import Metrics
from trioetcd.runtime.rejection import note_rejected
from trioetcd.runtime.trace import Log


@pytest.mark.parametrize("endpoint", ["client", "peer"])
def test_a_refusal_is_a_line_and_a_number(endpoint: str) -> None:
    """Who, from where and why; of a certificate that cannot be read, and of none, less."""
    name = "mallory\n" + "x" * 300
    subject = x509.Name([x509.NameAttribute(x509.NameOID.ORGANIZATION_NAME, name)])
    pair = plain("", subject=subject)
    der = x509.load_pem_x509_certificate(pair.certificate).public_bytes(Encoding.DER)
    metrics = Metrics(extensive=False)
    reading, writing = os.pipe()
    with closing(os.fdopen(reading, "rb")) as pipe, closing(os.fdopen(writing, "wb")):
        with closing(Log(outputs=(writing,))) as log:
            for shown in (der, b"\x30\x03", b""):
                note_rejected(log, metrics, endpoint, "10.0.0.1:5", "because", shown)
        lines = [json.loads(line) for line in os.read(pipe.fileno(), 65_536).splitlines()]
    told = [(line.get("subject"), line.get("serial")) for line in lines]

    assert metrics.trioetcd_handshake_failures_total.value == 3
    assert {("10.0.0.1:5", "because")} == {(line["remote-addr"], line["error"]) for line in lines}
    assert {f"rejected connection on {endpoint} endpoint"} == {line["msg"] for line in lines}
    assert told[0][0].startswith("O=mallory")
    assert len(told[0][0]) == 200
    assert len(told[0][1]) % 2 == 0
    assert [("", ""), (None, None)] == told[1:]

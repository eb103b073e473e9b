"""Tests of `tests.scan.scan`: what scanners report becomes findings, and only known ones stay."""

from __future__ import annotations

import pytest

from tests.scan.scan import (
    Accepted,
    Finding,
    findings_of_sslyze,
    findings_of_testssl,
    judge,
    read_accepted,
)

GOOD = {
    "complete": True,
    "issues": {},
    "early_data": False,
    "resumed": {"by session": 0, "by ticket": 0},
    "trusted": True,
}
END = [
    {"id": "cipherlist_aNULL", "severity": "OK", "finding": "not offered"},
    {"id": "scanTime", "severity": "INFO", "finding": "60"},
]


@pytest.mark.parametrize(
    ("changes", "ids"),
    [
        ({}, []),
        ({"complete": False}, ["incomplete"]),
        ({"issues": {"ciphers": "weak", "tls_versions": "old"}}, ["ciphers", "tls_versions"]),
        ({"early_data": True}, ["early_data"]),
        ({"trusted": False}, ["chain"]),
        ({"resumed": {"by session": 0, "by ticket": 5}}, ["resumption"]),
        ({"resumed": {"by session": None, "by ticket": 0}}, ["resumption"]),
    ],
)
def test_what_sslyze_says(changes: dict[str, object], ids: list[str]) -> None:
    """Everything that is not good is a finding; what it could not find out is none of good."""
    assert ids == [each.id for each in findings_of_sslyze({**GOOD, **changes}, "here")]


def test_what_testssl_says() -> None:
    """From LOW on it is a finding, a warning of the scanner too; so is a scan without an end."""
    report = [
        {"id": "a", "severity": severity, "finding": severity.lower()}
        for severity in ("OK", "INFO", "LOW", "WARN", "MEDIUM", "HIGH", "CRITICAL", "FATAL")
    ]
    found = [each.finding for each in findings_of_testssl(report + END, "here")]

    assert ["low", "warn", "medium", "high", "critical", "fatal"] == found
    assert ["incomplete"] == [each.id for each in findings_of_testssl(END[:1], "here")]
    assert [] == list(findings_of_testssl(END, "here"))


def test_only_what_is_accepted_stays() -> None:
    """Tool, name and the whole sentence must be those of the list."""
    known = [Accepted("a", "id", "so \\d+", "because")]
    found = [
        Finding("a", "id", "so 12", "x"),
        Finding("a", "id", "so 12 and more", "x"),
        Finding("b", "id", "so 12", "x"),
        Finding("a", "other", "so 12", "x"),
    ]

    assert ["because", "", "", ""] == [reason for _, reason in judge(found, known)]


def test_the_list_gives_reasons() -> None:
    """Every entry of accepted.toml has one, and a pattern that is one."""
    accepted = read_accepted()

    assert all(each.reason.strip() for each in accepted)
    curves = "TLS curves {'X448', 'secp521r1'} are supported, but should be rejected."
    weak = curves.replace("X448", "secp192r1")
    found = [Finding("sslyze", "tls_curves", each, "") for each in (curves, weak)]
    assert [True, False] == [bool(reason) for _, reason in judge(found, accepted)]

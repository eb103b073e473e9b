"""Tests of `trioetcd.url`: which URLs a member can use."""

from __future__ import annotations

import pytest

from trioetcd.url import Url, parse_url, parse_urls


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("https://localhost:2379", Url("https", "localhost", 2379)),
        ("http://10.0.0.1:80", Url("http", "10.0.0.1", 80)),
        ("https://[::1]:2379", Url("https", "::1", 2379)),
        ("https://:2379", Url("https", "", 2379)),
        ("unix:///run/etcd.sock", Url("unix", "", 0, "/run/etcd.sock")),
        ("unixs://localhost:2379", Url("unixs", "", 0, "localhost:2379")),
    ],
)
def test_urls_are_read_and_written_back(text: str, url: Url) -> None:
    """Every form gives its parts, and its text again."""
    assert url == parse_url(f" {text} ")
    assert text == str(url)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("localhost:2379", "write https://localhost:2379"),
        ("ftp://h:1", "is no URL of http"),
        ("https://h", "must have the form https://host:port"),
        ("https://h:x", "host:port"),
        ("https://h:70000", "host:port"),
        ("https://::1:2379", "host:port"),
        ("https://[zz]:1", "no IPv6 address"),
        ("https://h:1/path", "must end after the port"),
        ("https://u:p@h:1", "no user name or password"),
        ("unix://", "path of its socket"),
        ("", "is no URL of http"),
    ],
)
def test_what_cannot_be_used_is_refused(text: str, sentence: str) -> None:
    """The sentence says why."""
    with pytest.raises(ValueError, match=sentence):
        parse_url(text)


@pytest.mark.parametrize(
    ("text", "local", "secure"),
    [
        ("http://localhost:1", True, False),
        ("http://127.8.8.8:1", True, False),
        ("https://[::1]:1", True, True),
        ("unix://x", True, False),
        ("unixs://x", True, True),
        ("http://0.0.0.0:1", False, False),
        ("https://example.org:1", False, True),
        ("https://:1", False, True),
    ],
)
def test_reach_and_safety_follow_from_the_url(text: str, *, local: bool, secure: bool) -> None:
    """Loopback and sockets are local; https and unixs speak TLS."""
    url = parse_url(text)

    assert (local, secure) == (url.local, url.secure)


def test_lists_are_sorted_and_hold_each_url_once() -> None:
    """As etcd does it, so that two orders make one cluster."""
    urls = parse_urls("https://b:1, https://a:1,https://b:1")

    assert ["https://a:1", "https://b:1"] == [str(url) for url in urls]

"""The value of ``--auth-token``, taken apart; what cannot be meant gets one clear sentence."""

from __future__ import annotations

import pytest

from trioetcd.auth import SIGN_METHODS, TokenOption, parse_token_option


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("simple", TokenOption("simple")),
        (
            "jwt,pub-key=app.rsa.pub,priv-key=app.rsa,sign-method=RS256,ttl=10m",
            TokenOption("jwt", "RS256", ("app.rsa.pub",), "app.rsa", "10m"),
        ),
        ("jwt,pub-key=a,sign-method=ES256", TokenOption("jwt", "ES256", ("a",), "", "5m")),
        ("jwt,sign-method=HS512,priv-key=s", TokenOption("jwt", "HS512", (), "s", "5m")),
        (
            "jwt,pub-key=new,pub-key=old,sign-method=EdDSA,ttl=1h",
            TokenOption("jwt", "EdDSA", ("new", "old"), "", "1h"),
        ),
        (
            "jwt,pub-key=/a=b/c,sign-method=PS384",
            TokenOption("jwt", "PS384", ("/a=b/c",), "", "5m"),
        ),
    ],
)
def test_read(text: str, expected: TokenOption) -> None:
    """Every option is etcd's, and pub-key may be there more than once."""
    assert expected == parse_token_option(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "'' is none of 'simple', 'jwt'"),
        ("JWT", "'JWT' is none of 'simple', 'jwt'"),
        ("simple,ttl=5m", "takes no options such as 'ttl=5m'"),
        ("jwt", "sign-method= is missing; give one of RS256,"),
        ("jwt,sign-method=none,pub-key=a", "sign-method=none is none of RS256,"),
        ("jwt,sign-method=rs256,pub-key=a", "sign-method=rs256 is none of RS256,"),
        ("jwt,sign-method=RS256", "RS256 needs priv-key= to sign tokens, or pub-key= to verify"),
        ("jwt,sign-method=HS256,pub-key=a", "HS256 needs priv-key=, a file with its secret"),
        ("jwt,sign-method=RS256,pubkey=a", "no option 'pubkey'; it has sign-method=, pub-key=,"),
        ("jwt,sign-method=RS256,", "no option ''"),
        ("jwt,sign-method=RS256,pub-key", "pub-key needs a value: pub-key=..."),
        ("jwt,sign-method=RS256,pub-key=", "pub-key needs a value"),
        ("jwt,sign-method=RS256,sign-method=RS256", "sign-method is given twice; only pub-key may"),
        ("jwt,sign-method=RS256,priv-key=a,priv-key=b", "priv-key is given twice"),
        ("jwt,sign-method=RS256,priv-key=a,ttl=1m,ttl=1m", "ttl is given twice"),
    ],
)
def test_refused(text: str, said: str) -> None:
    """The sentence names what is wrong and what could be right."""
    with pytest.raises(ValueError, match="--auth-token") as caught:
        parse_token_option(text)
    assert said in str(caught.value)


@pytest.mark.parametrize("method", SIGN_METHODS)
def test_every_method(method: str) -> None:
    """Each of etcd's methods can be asked for."""
    assert method == parse_token_option(f"jwt,priv-key=a,sign-method={method}").sign_method

"""Signed tokens: every algorithm, and everything that must not be believed."""

from __future__ import annotations

import hmac
import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import jwt
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from trioetcd.auth import SIGN_METHODS, signed_token
from trioetcd.auth.signed_token import Claims, KeyFile, SignedTokens, TokenError

NOW = 1_800_000_000.0
TTL = 300.0
SECRET = bytes(range(64))
CURVES = {"ES256": ec.SECP256R1(), "ES384": ec.SECP384R1(), "ES512": ec.SECP521R1()}

Private = rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey | ed25519.Ed25519PrivateKey


@cache
def private(method: str, which: int = 0, bits: int = 2048) -> Private:
    """Make a key for a method, the same one each time for the same `which`."""
    if method == "EdDSA":
        return ed25519.Ed25519PrivateKey.generate()
    if method in CURVES:
        return ec.generate_private_key(CURVES[method])
    return rsa.generate_private_key(65537, bits) if method == "RSA" else private("RSA", which, bits)


def pem(key: Private) -> KeyFile:
    return KeyFile(
        "priv.pem",
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ),
    )


def public_pem(key: Private) -> KeyFile:
    return KeyFile(
        "pub.pem",
        key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        ),
    )


def certificate(key: Private) -> KeyFile:
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "signer")])
    begin = datetime(2026, 1, 1, tzinfo=UTC)
    made = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .sign(key, None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256())
    )
    return KeyFile("cert.pem", made.public_bytes(serialization.Encoding.PEM))


def signer(method: str) -> SignedTokens:
    secret = method.startswith("HS")
    key = KeyFile("secret", SECRET) if secret else pem(private(method))
    return SignedTokens(method, private_key=key, ttl_seconds=TTL)


def verifier(method: str) -> SignedTokens:
    if method.startswith("HS"):
        return signer(method)
    keys = [public_pem(private(method))]
    return SignedTokens(method, private_key=None, public_keys=keys, ttl_seconds=TTL)


def forged(header: Mapping[str, object], payload: bytes, signature: bytes = b"") -> str:
    parts = [json.dumps(header).encode(), payload, signature]
    return ".".join(urlsafe_b64encode(part).rstrip(b"=").decode() for part in parts)


def claims(**changes: object) -> bytes:
    made = {"username": "a", "revision": 7, "exp": NOW + TTL} | changes
    return json.dumps({name: value for name, value in made.items() if value is not None}).encode()


def signed(payload: bytes, method: str = "HS256", key: bytes = SECRET) -> str:
    return jwt.PyJWS().encode(payload, key, method)


def refusal(tokens: SignedTokens, token: str, now: float = NOW) -> str:
    with pytest.raises(TokenError) as caught:
        tokens.verify(token, now)
    for part in token.split("."):
        assert not part or part not in str(caught.value), "no error tells a token"
    return str(caught.value)


@pytest.mark.parametrize("method", SIGN_METHODS)
def test_what_is_signed_is_verified(method: str) -> None:
    """Whoever has the public key alone reads the claims, which are etcd's, up to their end."""
    token = signer(method).sign("José", 7, NOW + 0.7)
    header, payload, _ = (urlsafe_b64decode(part + "==") for part in token.split("."))
    assert {"alg": method, "typ": "JWT"} == json.loads(header)
    assert {"username": "José", "revision": 7, "exp": NOW + TTL} == json.loads(payload)
    tokens = verifier(method)
    assert tokens.can_sign == method.startswith("HS")
    expected = Claims("José", 7, NOW + TTL)
    assert expected == tokens.verify(token, NOW)
    assert expected == tokens.verify(token, NOW + TTL - 0.1)
    for now in (NOW + TTL, NOW + TTL + 1):
        assert "it has expired" == refusal(tokens, token, now)
        assert "it has expired" == refusal(verifier(method), token, now)


@pytest.mark.parametrize("method", SIGN_METHODS)
@pytest.mark.parametrize("other", SIGN_METHODS)
def test_another_algorithm_is_refused(method: str, other: str) -> None:
    """What is set is what counts, not what a token says, though its key would fit."""
    if method == other:
        return
    expected = f"it is not signed by {method}"
    assert expected == refusal(verifier(method), signer(other).sign("root", 7, NOW))


@pytest.mark.parametrize("method", [each for each in SIGN_METHODS if not each.startswith("HS")])
def test_a_public_key_is_no_secret(method: str) -> None:
    """The oldest trick: the public key as an HMAC secret, under either algorithm's name."""
    key = public_pem(private(method)).data
    for name in ("HS256", method):
        head = urlsafe_b64encode(json.dumps({"alg": name}).encode()).rstrip(b"=")
        signing = head + b"." + urlsafe_b64encode(claims()).rstrip(b"=")
        mac = urlsafe_b64encode(hmac.digest(key, signing, sha256)).rstrip(b"=")
        refusal(verifier(method), (signing + b"." + mac).decode())


@pytest.mark.parametrize("method", SIGN_METHODS)
@pytest.mark.parametrize("name", ["none", "None", "NONE", "nOnE", "", None, 1])
def test_none_is_no_algorithm(method: str, name: object) -> None:
    """A token without a signature is never believed."""
    header = {"typ": "JWT"} if name is None else {"typ": "JWT", "alg": name}
    refusal(verifier(method), forged(header, claims()))


@pytest.mark.parametrize("method", SIGN_METHODS)
def test_another_key_is_refused(method: str) -> None:
    """A signature must be of a key that is known, and of these very bytes."""
    token = signer(method).sign("a", 7, NOW)
    if method.startswith("HS"):
        key = KeyFile("other", SECRET[::-1])
        other = SignedTokens(method, private_key=key, ttl_seconds=TTL)
    else:
        keys = [public_pem(private(method, 1))]
        other = SignedTokens(method, private_key=None, public_keys=keys, ttl_seconds=TTL)
    assert "its signature is of none of the keys" == refusal(other, token)
    head, body, signature = token.split(".")
    changed = urlsafe_b64encode(claims(username="root")).rstrip(b"=").decode()
    refusal(verifier(method), f"{head}.{changed}.{signature}")
    refusal(verifier(method), f"{head}.{body}.")
    refusal(verifier(method), f"{head}.{body}.{signature[4:]}")


@pytest.mark.parametrize("method", ["RS256", "PS512", "ES384", "EdDSA"])
def test_several_keys_verify(method: str) -> None:
    """While keys are changed, tokens of both are good; what signs is told by its private key."""
    old, new, stranger = (private(method, which) for which in range(3))
    tokens = SignedTokens(
        method,
        private_key=pem(new),
        public_keys=[public_pem(old), certificate(new)],
        ttl_seconds=TTL,
    )
    for key in (old, new):
        made = SignedTokens(method, private_key=pem(key), ttl_seconds=TTL).sign("a", 1, NOW)
        assert "a" == tokens.verify(made, NOW).user
    made = SignedTokens(method, private_key=pem(stranger), ttl_seconds=TTL).sign("a", 1, NOW)
    refusal(tokens, made)
    only_new = SignedTokens(
        method, private_key=None, public_keys=[public_pem(new)], ttl_seconds=TTL
    )
    assert "a" == only_new.verify(tokens.sign("a", 1, NOW), NOW).user


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        (b"", "what is signed are no claims"),
        (b"[]", "what is signed are no claims"),
        (b"\xff", "what is signed are no claims"),
        (b"[" * 100_000, "what is signed are no claims"),
        (claims(username=None), "it has no username"),
        (claims(username=""), "it has no username"),
        (claims(username=7), "it has no username"),
        (claims(revision=None), "it has no revision"),
        (claims(revision="7"), "it has no revision"),
        (claims(revision=True), "it has no revision"),
        (claims(revision=-1), "it has no revision"),
        (claims(revision=10**30), "it has no revision"),
        (claims(exp=None), "it has no exp: tokens that never end are not taken"),
        (claims(exp="never"), "it has no exp: tokens that never end are not taken"),
        (claims(exp=float("nan")), "it has no exp: tokens that never end are not taken"),
        (claims(exp=float("inf")), "it has no exp: tokens that never end are not taken"),
        (b'{"username":"a","revision":7,"exp":1e999}', "it has no exp"),
        (b'{"username":"a","revision":7,"exp":1' + b"0" * 999 + b"}", "it has no exp"),
        (claims(exp=NOW), "it has expired"),
        (claims(exp=0), "it has expired"),
        (claims(nbf=NOW + 1), "it is not valid yet"),
        (claims(nbf="soon"), "it is not valid yet"),
    ],
)
def test_claims_that_are_not_taken(payload: bytes, said: str) -> None:
    """A good signature is not enough: the claims must be there, and the time be theirs."""
    assert refusal(signer("HS256"), signed(payload)).startswith(said)


def test_claims_of_others() -> None:
    """Whoever else signs may write numbers with a fraction and claims of its own (Go's JSON)."""
    made = claims(revision=7.0, exp=NOW + 1.5, nbf=NOW, iat=NOW + 99, sub=5, aud="x", iss="y")
    assert Claims("a", 7, NOW + 1.5) == signer("HS256").verify(signed(made), NOW)


@pytest.mark.parametrize(
    "shown",
    [
        "",
        ".",
        "..",
        "a.b.c",
        "abcdefghijklmnopqrstuvw.42",
        "é.é.é",
        "\ud800.\ud800.\ud800",
        forged({"alg": "HS256", "crit": ["x"], "x": 1}, claims()),
        forged({"alg": "HS256", "b64": False, "crit": ["b64"]}, claims()),
        forged({"alg": "HS256", "kid": 5}, claims()),
        urlsafe_b64encode(b"[" * 100_000).decode() + ".a.a",
        "x" * 100_000,
    ],
)
def test_anything_may_be_shown(shown: str) -> None:
    """Whatever a client sends is refused, and never an error of another kind."""
    with pytest.raises(TokenError):
        signer("HS256").verify(shown, NOW)


def test_a_signature_is_checked_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was verified is remembered, in bounds; what was not is never remembered."""
    monkeypatch.setattr(signed_token, "_VERIFIED_MAX", 2)
    tokens = verifier("ES256")
    made = [signer("ES256").sign(user, 1, NOW) for user in "abc"]
    for token in made:
        tokens.verify(token, NOW)
        with pytest.raises(TokenError):
            tokens.verify(token[:-8], NOW)
    assert 2 == len(tokens._verified)
    monkeypatch.setattr(tokens, "_verifying", [])
    assert "c" == tokens.verify(made[2], NOW).user
    refusal(tokens, made[0])
    assert "it has expired" == refusal(tokens, made[2], NOW + TTL)
    assert 1 == len(tokens._verified)


JUNK = KeyFile("junk.pem", b"junk")
ENCRYPTED = KeyFile(
    "priv.pem",
    private("RSA").private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.BestAvailableEncryption(b"x"),
    ),
)


@pytest.mark.parametrize(
    ("method", "private_key", "public_keys", "said"),
    [
        ("RS256", None, [], "RS256 needs priv-key= or pub-key="),
        ("HS256", None, [], "HS256 needs priv-key="),
        ("HS256", KeyFile("s", SECRET), [JUNK], "HS256 has one secret and no public keys"),
        ("HS256", KeyFile("s", SECRET[:31]), [], "s holds 31 bytes; HS256 needs a secret of at"),
        ("HS384", KeyFile("s", SECRET[:47]), [], "s holds 47 bytes; HS384"),
        ("HS512", KeyFile("s", SECRET[:63]), [], "s holds 63 bytes; HS512"),
        ("HS256", public_pem(private("RSA")), [], "pub.pem holds no secret, but a key"),
        ("HS256", pem(private("RSA")), [], "priv.pem holds no secret, but a key"),
        ("RS256", JUNK, [], "junk.pem holds no private key for RS256 in PEM form"),
        ("RS256", ENCRYPTED, [], "priv.pem holds no private key for RS256"),
        ("RS256", None, [JUNK], "junk.pem holds no public key for RS256 in PEM form"),
        ("EdDSA", KeyFile("bad", b"\xff"), [], "bad holds no private key for EdDSA"),
        ("ES256", None, [JUNK], "junk.pem holds no public key for ES256"),
        ("RS256", pem(private("ES256")), [], "priv.pem holds no private key for RS256"),
        ("ES256", pem(private("RSA")), [], "priv.pem holds no private key for ES256"),
        ("ES256", pem(private("ES384")), [], "priv.pem holds no private key for ES256"),
        ("ES384", None, [public_pem(private("ES256"))], "pub.pem holds no public key for ES384"),
        ("PS256", public_pem(private("RSA")), [], "pub.pem holds a public key; priv-key= needs a"),
        ("PS256", None, [pem(private("RSA"))], "priv.pem holds a private key; pub-key= needs the"),
        ("RS256", pem(private("RSA", 0, 1024)), [], "priv.pem holds a key too short to be safe"),
        ("RS256", None, [certificate(private("ES256"))], "cert.pem holds no public key for RS256"),
        (
            "RS256",
            None,
            [KeyFile("cert.pem", b"-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n")],
            "cert.pem holds a damaged certificate",
        ),
        (
            "RS256",
            pem(private("RSA")),
            [public_pem(private("RSA", 1)), certificate(private("RSA", 2))],
            "pub.pem, cert.pem: no public key belongs to priv.pem",
        ),
    ],
)
def test_keys_that_are_of_no_use(
    method: str, private_key: KeyFile | None, public_keys: list[KeyFile], said: str
) -> None:
    """One sentence names the file and what it should hold, and nothing of what it holds."""
    with pytest.raises(ValueError, match=r".") as caught:
        SignedTokens(method, private_key=private_key, public_keys=public_keys, ttl_seconds=TTL)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seconds", [0.0, -5.0, 0.9])
def test_a_token_lasts_a_second_at_least(seconds: float) -> None:
    """The end of a token is in whole seconds, so a shorter one would be over when it is made."""
    with pytest.raises(ValueError, match="ttl must be at least 1s"):
        SignedTokens("HS256", private_key=KeyFile("s", SECRET), ttl_seconds=seconds)


def test_keys_are_not_shown() -> None:
    """A key's bytes and a token's claims are in nothing that could be printed by accident."""
    tokens = signer("HS256")
    assert repr(SECRET) not in repr(tokens)
    assert "\\x01" not in repr(KeyFile("s", SECRET))

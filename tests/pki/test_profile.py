"""Tests of `trioetcd.pki.profile`: lifetimes, and where they come from."""

from __future__ import annotations

import tomllib
from datetime import timedelta
from pathlib import Path

import pytest

from trioetcd.pki import PkiError, Profile, Role

ROOT = Path(__file__).parents[2]


def test_the_shipped_profile_holds_the_defaults() -> None:
    """certs/profile.toml says what happens without it."""
    values = tomllib.loads((ROOT / "certs" / "profile.toml").read_text())

    assert Profile() == Profile.read(values)
    assert set(Profile.__slots__) == set(values)


def test_each_role_has_its_lifetime() -> None:
    """The days of a role are those of its line."""
    profile = Profile(server_days=1, peer_days=2, client_days=3)

    assert [timedelta(days=days) for days in (1, 2, 3)] == [profile.lifetime(role) for role in Role]


@pytest.mark.parametrize("values", [{"days": 3}, {"peer_days": "x"}, {"peer_days": 0}])
def test_a_profile_that_makes_no_sense_is_refused(values: dict[str, object]) -> None:
    """Unknown names and impossible lifetimes end in a sentence."""
    with pytest.raises(PkiError, match="the profile"):
        Profile.read(values)

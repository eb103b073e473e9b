"""A wheel gives out each lease once its time has come, and never before."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from trioetcd.lease.wheel import MOMENTS_PER_SECOND, Wheel

acts = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(1, 9), st.floats(0, 30)),
        st.tuples(st.just("drop"), st.integers(1, 9), st.just(0.0)),
        st.tuples(st.just("take"), st.just(0), st.floats(0, 5)),
    ),
    max_size=40,
)


@given(acts)
def test_against_a_dict(done: list[tuple[str, int, float]]) -> None:
    """Whatever is put, moved, let go of and taken: as a dict of times would have it."""
    wheel = Wheel()
    times: dict[int, float] = {}
    now = 0.0
    for act, lease, number in done:
        if act == "put":
            wheel.put(lease, number)
            times[lease] = number
        elif act == "drop":
            wheel.drop(lease)
            times.pop(lease, None)
        else:
            now += number
            while (taken := wheel.take(now)) is not None:
                assert times.pop(taken) <= now
            assert all(at >= now - 1 / MOMENTS_PER_SECOND for at in times.values())
        assert times.keys() == {each for each in range(1, 10) if each in wheel}
        assert len(times) == len(wheel)
        following = wheel.next
        if not times:
            assert following is None
        else:
            assert following is not None
            assert 0 <= following - min(times.values()) <= 1 / MOMENTS_PER_SECOND


def test_nothing_is_left_of_what_is_let_go() -> None:
    """Leases granted for long and revoked at once leave no trace, however many they are."""
    wheel = Wheel()
    for lease in range(10_000):
        wheel.put(lease, 1e9 + lease)
        wheel.drop(lease)
    assert len(wheel._order) < 2_000
    assert (wheel._moments, wheel._at) == ({}, {})

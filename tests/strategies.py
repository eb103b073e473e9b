"""The one home of Hypothesis strategies that more than one test file draws from."""

from __future__ import annotations

from hypothesis import strategies as st

# -- wire ------------------------------------------------------------------------------------


def header_lists() -> st.SearchStrategy[list[tuple[bytes, bytes]]]:
    """Header lists as encoders meet them: known names, repeated fields, long values."""
    names = st.sampled_from(
        [b":method", b":path", b":scheme", b"content-type", b"te", b"token", b"x-trace", b"accept"]
    )
    values = st.sampled_from([b"", b"POST", b"/a.B/C", b"https", b"application/grpc", b"x" * 300])
    return st.lists(
        st.tuples(
            st.one_of(names, st.binary(min_size=1, max_size=12)),
            st.one_of(values, st.binary(max_size=40)),
        ),
        max_size=10,
    )


def chunk_sizes() -> st.SearchStrategy[int]:
    """How bytes arrive: whole (0), one by one, or anything between."""
    return st.one_of(st.just(0), st.just(1), st.integers(2, 200))

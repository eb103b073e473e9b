"""The series and their text form."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from trioetcd.runtime.prometheus import (
    Counter,
    Gauge,
    Histogram,
    Labelled,
    exponential_buckets,
    label_text,
    number_text,
)


def test_numbers_are_written_as_etcd_does() -> None:
    """Bounds look as they do in etcd's answers."""
    expected = ["0.0001", "0.001", "8.192", "52.4288", "524288", "1.048576e+06", "1e-05", "-1.5"]
    assert expected == [number_text(float(text)) for text in expected]
    assert [number_text(0), number_text(1), number_text(1e21)] == ["0", "1", "1e+21"]


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_number_text_is_exact(value: float) -> None:
    """A number that is written is read as the same."""
    assert value == float(number_text(value))


def test_buckets_grow_by_the_factor() -> None:
    """Each bound is the factor times the one before."""
    assert exponential_buckets(0.1, 2, 3) == (0.1, 0.2, 0.4)


def test_labels_are_escaped() -> None:
    """A label's value may hold anything."""
    assert label_text(("a", "b"), ('q"\\', "\n")) == '{a="q\\"\\\\",b="\\n"}'
    assert label_text((), ()) == ""


def test_counter_and_gauge_are_one_line() -> None:
    """A series is its heading and one line; a gauge may ask a function."""
    counter = Counter("c_total", "Some\nthings.")
    counter.value += 3
    expected = "# HELP c_total Some\\nthings.\n# TYPE c_total counter\nc_total 3\n"
    assert expected == counter.render()
    gauge = Gauge("g", "A thing.")
    gauge.value = 1.5
    assert gauge.render().endswith("\ng 1.5\n")
    gauge.read = lambda: 7
    assert gauge.render().endswith("\ng 7\n")
    assert gauge.value == 7


@given(st.lists(st.tuples(st.floats(0, 9), st.integers(1, 5)), max_size=20))
def test_histogram_counts_up_to_each_bound(observed: list[tuple[float, int]]) -> None:
    """A bucket holds everything up to and with its bound, however it was observed."""
    bounds = (1.0, 2.0, 4.0)
    many, single = Histogram("h", "H.", bounds), Histogram("h", "H.", bounds)
    for value, count in observed:
        many.observe_many(value, count)
        for _ in range(count):
            single.observe(value)
    assert many.counts == single.counts
    assert many.sum == pytest.approx(single.sum)
    everything = [value for value, count in observed for _ in range(count)]
    expected = [
        *(f'h_bucket{{le="{b:.0f}"}} {sum(value <= b for value in everything)}' for b in bounds),
        f'h_bucket{{le="+Inf"}} {len(everything)}',
        f"h_sum {single.sum}",
        f"h_count {len(everything)}",
    ]
    assert expected == single.render().splitlines()[2:]


def test_histogram_with_labels() -> None:
    """The bound comes after the other labels, on the bucket's line only."""
    histogram = Histogram("h", "H.", (1,), '{To="x"}')
    histogram.observe(1)
    expected = [
        'h_bucket{To="x",le="1"} 1',
        'h_bucket{To="x",le="+Inf"} 1',
        'h_sum{To="x"} 1',
        'h_count{To="x"} 1',
    ]
    assert expected == histogram.render_samples().splitlines()


def test_labelled_series_come_and_go() -> None:
    """A family is silent without series, makes them once, and forgets them when told."""
    family = Labelled("g", "gauge", "G.", ("id",), lambda labels: Gauge("g", "G.", labels))
    assert family.render() == ""
    family.labels("a").value = 1
    family.labels("b").value = 2
    assert family.labels("a") is family.labels("a")
    assert family.render() == '# HELP g G.\n# TYPE g gauge\ng{id="a"} 1\ng{id="b"} 2\n'
    family.forget("a")
    family.forget("never there")
    assert family.render().endswith('gauge\ng{id="b"} 2\n')
    family.only("c").value = 3
    assert family.render().endswith('gauge\ng{id="c"} 3\n')

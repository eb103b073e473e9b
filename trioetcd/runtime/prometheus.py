"""Counters, gauges and histograms, and Prometheus' text form 0.0.4 of them.

Made for a loop that counts thousands of things per turn: a series is a slotted object whose
`value` is added to by hand, once per turn where that is possible; nothing is looked up by label
on the way (keep the series), nothing is locked (one thread counts), and rendering is a walk.
Which series a member has is not decided here but in `trioetcd.runtime.metrics`.

A registry of our own because etcd's names break the habits that client libraries enforce:
counters without ``_total`` and gauges with it.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Sequence
from decimal import Decimal
from itertools import accumulate
from typing import ClassVar, Final, Generic, TypeVar

__all__ = [
    "CONTENT_TYPE",
    "Counter",
    "Gauge",
    "Histogram",
    "Labelled",
    "exponential_buckets",
    "heading",
    "label_text",
    "number_text",
]

CONTENT_TYPE: Final = "text/plain; version=0.0.4; charset=utf-8"


def exponential_buckets(start: float, factor: float, count: int) -> tuple[float, ...]:
    """Give `count` upper bounds, the first `start`, each `factor` times the one before."""
    return tuple(start * factor**power for power in range(count))


def number_text(value: float) -> str:
    """Write a number as etcd does: six digits before the point, then an exponent."""
    number = Decimal(repr(float(value))).normalize()
    exponent = number.adjusted()
    if -4 <= exponent < 6 or not number:
        return f"{number:f}"
    sign, digits, _ = number.as_tuple()
    first, *rest = map(str, digits)
    mantissa = first + ("." + "".join(rest) if rest else "")
    return f"{'-' * sign}{mantissa}e{exponent:+03d}"


def label_text(names: Sequence[str], values: Sequence[str]) -> str:
    """Write labels with their braces, or nothing if there are none."""
    assert len(names) == len(values), (names, values)
    if not names:
        return ""
    pairs = []
    for name, value in zip(names, values, strict=True):
        escaped = value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        pairs.append(f'{name}="{escaped}"')
    return "{" + ",".join(pairs) + "}"


def heading(name: str, kind: str, text: str) -> str:
    """Write the two lines above a family's samples."""
    escaped = text.replace("\\", r"\\").replace("\n", r"\n")
    return f"# HELP {name} {escaped}\n# TYPE {name} {kind}\n"


class _Number:
    """A family of one number: set `value`, or let `read` say it at every scrape."""

    kind: ClassVar[str]
    __slots__ = ("name", "read", "sample", "text", "value")

    def __init__(self, name: str, text: str, labels: str = "") -> None:
        self.name = name
        self.text = text
        self.sample = f"{name}{labels} "
        self.value: float = 0
        self.read: Callable[[], float] | None = None

    def render_samples(self) -> str:
        """Write the series' line."""
        if self.read is not None:
            self.value = self.read()
        return f"{self.sample}{self.value}\n"

    def render(self) -> str:
        """Write the family of this one series."""
        return heading(self.name, self.kind, self.text) + self.render_samples()


class Counter(_Number):
    """A number that only grows: add to `value`."""

    kind = "counter"
    __slots__ = ()


class Gauge(_Number):
    """A number that goes up and down."""

    kind = "gauge"
    __slots__ = ()


class Histogram:
    """How often values fell under each of some bounds, and their sum."""

    kind: Final = "histogram"
    __slots__ = ("bounds", "counts", "name", "samples", "sum", "tail", "text")

    def __init__(self, name: str, text: str, bounds: tuple[float, ...], labels: str = "") -> None:
        assert list(bounds) == sorted(set(bounds)), "bounds must ascend"
        self.name = name
        self.text = text
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.sum: float = 0
        inner = labels[1:-1] + "," if labels else ""
        self.samples = [f'{name}_bucket{{{inner}le="{number_text(bound)}"}} ' for bound in bounds]
        self.samples.append(f'{name}_bucket{{{inner}le="+Inf"}} ')
        self.tail = (f"{name}_sum{labels} ", f"{name}_count{labels} ")

    def observe(self, value: float) -> None:
        """Count one value."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.sum += value

    def observe_many(self, value: float, count: int) -> None:
        """Count `count` things that share one value, such as the calls of one turn."""
        self.counts[bisect_left(self.bounds, value)] += count
        self.sum += value * count

    def render_samples(self) -> str:
        """Write the series' lines; a bucket counts everything up to its bound."""
        lines = [
            f"{sample}{count}\n"
            for sample, count in zip(self.samples, accumulate(self.counts), strict=True)
        ]
        of_sum, of_count = self.tail
        lines.append(f"{of_sum}{self.sum}\n{of_count}{sum(self.counts)}\n")
        return "".join(lines)

    def render(self) -> str:
        """Write the family of this one series."""
        return heading(self.name, self.kind, self.text) + self.render_samples()


_S = TypeVar("_S", bound=Counter | Gauge | Histogram)


class Labelled(Generic[_S]):
    """Series of one name that differ in their labels; without a series nothing is written.

    Attributes:
        refresh: called at every scrape, to set what there is.
    """

    __slots__ = ("kind", "label_names", "make", "name", "refresh", "series", "text")

    def __init__(
        self,
        name: str,
        kind: str,
        text: str,
        label_names: tuple[str, ...],
        make: Callable[[str], _S],
    ) -> None:
        self.name = name
        self.kind = kind
        self.text = text
        self.label_names = label_names
        self.make = make
        self.series: dict[tuple[str, ...], _S] = {}
        self.refresh: Callable[[], None] | None = None

    def labels(self, *values: str) -> _S:
        """Give the series with these label values, made when it is first asked for."""
        series = self.series.get(values)
        if series is None:
            series = self.series[values] = self.make(label_text(self.label_names, values))
        return series

    def only(self, *values: str) -> _S:
        """Give the series with these label values and forget all others."""
        series = self.labels(*values)
        self.series = {values: series}
        return series

    def forget(self, *values: str) -> None:
        """Drop a series, such as that of a peer that was removed."""
        self.series.pop(values, None)

    def render(self) -> str:
        """Write the family."""
        if self.refresh is not None:
            self.refresh()
        if not self.series:
            return ""
        lines = [series.render_samples() for series in self.series.values()]
        return heading(self.name, self.kind, self.text) + "".join(lines)

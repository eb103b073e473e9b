"""Fields of a table of families: each makes the family, at zero, with a factory of its own."""

from __future__ import annotations

from dataclasses import field

from trioetcd.runtime.prometheus import Counter, Gauge, Histogram, Labelled

__all__ = ["counter", "counters", "gauge", "gauges", "histogram", "histograms"]


def counter(name: str, text: str) -> Counter:
    """Make the field of a counter."""
    return field(default_factory=lambda: Counter(name, text))


def gauge(name: str, text: str) -> Gauge:
    """Make the field of a gauge."""
    return field(default_factory=lambda: Gauge(name, text))


def histogram(name: str, text: str, bounds: tuple[float, ...]) -> Histogram:
    """Make the field of a histogram with the upper bounds of its buckets."""
    return field(default_factory=lambda: Histogram(name, text, bounds))


def counters(name: str, text: str, *label_names: str) -> Labelled[Counter]:
    """Make the field of counters told apart by labels."""
    return field(
        default_factory=lambda: Labelled(
            name, "counter", text, label_names, lambda labels: Counter(name, text, labels)
        )
    )


def gauges(name: str, text: str, *label_names: str) -> Labelled[Gauge]:
    """Make the field of gauges told apart by labels."""
    return field(
        default_factory=lambda: Labelled(
            name, "gauge", text, label_names, lambda labels: Gauge(name, text, labels)
        )
    )


def histograms(
    name: str, text: str, bounds: tuple[float, ...], *label_names: str
) -> Labelled[Histogram]:
    """Make the field of histograms told apart by labels."""
    return field(
        default_factory=lambda: Labelled(
            name,
            "histogram",
            text,
            label_names,
            lambda labels: Histogram(name, text, bounds, labels),
        )
    )

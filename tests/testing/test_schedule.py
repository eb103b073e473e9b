"""Simulated time."""

from __future__ import annotations

from io import StringIO

from trioetcd.testing.schedule import Schedule, Trace


def test_things_happen_in_the_order_of_time_and_then_of_asking() -> None:
    """Earlier things come first; of equal times, what was asked for first."""
    schedule = Schedule()
    seen: list[tuple[int, str]] = []

    def note(name: str) -> None:
        seen.append((schedule.now, name))

    schedule.after(20, lambda: note("c"))
    schedule.at(10, lambda: note("a"))
    schedule.after(10, lambda: note("b"))
    schedule.after(5, lambda: schedule.at(1, lambda: note("now")))
    schedule.run(15)
    assert seen == [(5, "now"), (10, "a"), (10, "b")]
    assert schedule.now == 15
    schedule.run(100, enough=lambda: len(seen) == 4)
    assert schedule.now == 20


def test_a_trace_is_its_events() -> None:
    """Equal events have equal hashes, other events others; a file has them all."""
    traces = []
    files = [StringIO(), StringIO(), StringIO()]
    for count, file in zip((1000, 1000, 999), files, strict=True):
        schedule = Schedule()
        trace = Trace(schedule, file)
        for number in range(count):
            trace.event("tick", number, b"data")
        traces.append(trace)
    digests = [trace.digest() for trace in traces]

    assert digests[0] == digests[1] != digests[2]
    assert len(files[0].getvalue().splitlines()) == traces[0].events == 1000
    assert traces[0].recent[-1] == (0, "tick", (999, b"data"))

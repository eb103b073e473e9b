"""What a seed draws."""

from __future__ import annotations

from pathlib import Path

import pytest

from trioetcd.testing.scenario import FAULTS, draw, load_regression


def test_equal_seeds_draw_equal_scenarios() -> None:
    """A scenario depends on its seed and on nothing else."""
    assert draw(7) == draw(7)
    assert len({draw(seed) for seed in range(50)}) == 50


def test_one_fault_less_changes_nothing_else() -> None:
    """Leaving a fault out leaves every other option and fault as it was."""
    seed = next(seed for seed in range(100) if len(draw(seed).faults) > 5)
    whole = draw(seed)
    for fault in whole.faults:
        if fault in {"small", "members"}:
            continue  # these decide about sizes, too
        part = draw(seed, without=(fault,))
        assert tuple(each for each in whole.faults if each != fault) == part.faults
        assert (whole.clients, whole.members, whole.mix) == (part.clients, part.members, part.mix)


def test_every_fault_and_size_is_drawn() -> None:
    """Among some hundred seeds there is every fault, every size, and a run without faults."""
    scenarios = [draw(seed) for seed in range(300)]

    assert set(FAULTS) == {fault for scenario in scenarios for fault in scenario.faults}
    assert {1, 3, 5} == {scenario.members for scenario in scenarios}
    assert any(not scenario.faults for scenario in scenarios)


def test_an_unknown_fault_is_refused() -> None:
    """A misspelt fault is an error, not a fault left on."""
    with pytest.raises(ValueError, match="unknown faults: crahs"):
        draw(1, without=("crahs",))


def test_the_line_names_every_option() -> None:
    """The one line of a scenario names its seed, its faults and its settings."""
    line = draw(3).describe()

    assert "seed=3 " in line
    assert "faults=" in line
    assert "snapshot_count=" in line


def test_a_regression_is_read_from_a_file(tmp_path: Path) -> None:
    """A regression file gives the scenario it names."""
    path = tmp_path / "one.toml"
    path.write_text('why = "because"\nseed = 5\nseconds = 20.0\nwithout = ["crash"]\n')
    regression = load_regression(path)

    assert regression.why == "because"
    assert draw(5, seconds=20.0, without=("crash",)) == regression.scenario()


def test_a_damaged_regression_is_refused(tmp_path: Path) -> None:
    """A regression file without a seed, or with something unknown, is refused."""
    path = tmp_path / "one.toml"
    for text in ('why = "because"\n', 'why = "x"\nseed = 1\nhorizon = 3\n'):
        path.write_text(text)
        with pytest.raises(ValueError, match="needs why and seed"):
            load_regression(path)

"""etcd to the letter: every procedure answers, and every error has etcd's code and words.

The cases are the rows of `cases.CASES`. The closing tests look at the table alone, so they mean the
same however the run is cut up.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import pytest

from tests.letter import auth_cases
from tests.letter.caller import OK, Said, path_of, said_by
from tests.letter.cases import (
    CASES,
    REFUSED,
    Case,
)
from tests.letter.injected import INJECTIONS
from tests.letter.stages import Stage
from trioetcd import errors
from trioetcd.errors import ROWS, ErrorRow
from trioetcd.schema import messages
from trioetcd.schema.services import METHODS

assert auth_cases.__doc__, "they are in the table"
SOURCE = Path(errors.__file__).parent
INJECTIONS_MAX = 8


DEAR = ("behind", "learning", "stopped", "troubled", "unheard")
"""Stages that take seconds to set: all cases of one are one test, set by one worker alone."""


def complaint(case: Case, said: Said) -> str:
    """Compare what was said with the table."""
    return "" if said == case.said else f"{case.name}: {case.said} expected, {said} was said"


@pytest.mark.slow
@pytest.mark.parametrize(
    "case", [case for case in CASES if case.stage not in DEAR], ids=lambda case: case.name
)
def test_what_is_said(case: Case, request: pytest.FixtureRequest) -> None:
    """Code and sentence are those of the table."""
    stage = request.getfixturevalue(case.stage)
    assert isinstance(stage, Stage)

    assert complaint(case, case.provoke(stage)) == ""


@pytest.mark.slow
@pytest.mark.parametrize("name", DEAR)
def test_what_is_said_on_a_stage(name: str, request: pytest.FixtureRequest) -> None:
    """Likewise, for all cases of a stage in the order of the table."""
    stage = request.getfixturevalue(name)
    assert isinstance(stage, Stage)
    complaints = [complaint(case, case.provoke(stage)) for case in CASES if case.stage == name]

    assert complaints
    assert [] == [each for each in complaints if each]


# -- The table alone --------------------------------------------------------------------------


def described() -> set[str]:
    """Give the path of every procedure that the descriptors know."""
    services = {method.service for method in METHODS.values()}
    return {
        f"/{name}/{method.name}"
        for name in services
        for method in messages.POOL.FindServiceByName(name).methods
    }


def provoked() -> set[str]:
    return {row.name for row in ROWS.values() for case in CASES if case.said == said_by(row)}


def names(rows: Iterable[ErrorRow]) -> set[str]:
    return {row.name for row in rows}


def test_every_procedure_is_answered_well_once() -> None:
    """For each procedure of the descriptors a case is answered OK.

    One may always refuse, if it says so and why.
    """
    answered = {path_of(case.rpc) for case in CASES if case.said == OK}
    refused = {path_of(case.rpc) for case in CASES if case.rpc in REFUSED and case.said != OK}

    assert described() == METHODS.keys()
    assert set() == described() - answered - refused
    assert set() == answered & refused
    assert all(REFUSED.values())


def test_every_error_is_provoked() -> None:
    """For each row of the table of errors there is a case, or a state is injected for a reason."""
    injected = names(INJECTIONS)

    assert set() == ROWS.keys() - provoked() - injected
    assert set() == provoked() & injected
    assert len(INJECTIONS) <= INJECTIONS_MAX
    assert all(each.reason for each in INJECTIONS.values())


@pytest.mark.parametrize("row", sorted(INJECTIONS), ids=lambda r: r.name)
def test_what_cannot_be_provoked_is_nowhere_raised(row: ErrorRow) -> None:
    """No module but the table names a row that a member is said to send never."""
    assert ROWS[row.name] is row
    (constant,) = [name for name, value in vars(errors).items() if value is row]
    raises = re.compile(rf"\b{constant}\b")
    allowed = {"errors.py", *ALLOWED.get(row.name, ())}
    found = {path.name for path in SOURCE.rglob("*.py") if raises.search(path.read_text())}

    assert set() == found - allowed


ALLOWED = {
    errors.CANCELED.name: {"audit.py"},  # noted of a call whose client went away
    errors.NOT_PRIMARY_LESSOR.name: {"lessor.py"},  # raised where the lease desk catches it
}

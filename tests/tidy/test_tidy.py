"""The house rules that a machine can check, as tests over the repository's own text."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "trioetcd"

FILE_LINES_MAX = 500
FUNCTION_LINES_MAX = 70

MODULES = sorted(PACKAGE.rglob("*.py"))
ALL_PYTHON = sorted(
    path
    for folder in ("trioetcd", "tests", "examples", "benchmarks")
    for path in (ROOT / folder).rglob("*.py")
    if "node_modules" not in path.parts
)


def identify(path: Path) -> str:
    return str(path.relative_to(ROOT))


def functions(tree: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_files_and_functions_stay_small(path: Path) -> None:
    """No file passes 500 lines and no function 70 without its docstring."""
    text = path.read_text()
    tree = ast.parse(text)
    long = []
    for function in functions(tree):
        body = function.body
        start = function.lineno
        if ast.get_docstring(function) is not None and len(body) > 1:
            start = body[1].lineno - 1
        if (function.end_lineno or start) - start > FUNCTION_LINES_MAX:
            long.append(function.name)

    assert len(text.splitlines()) <= FILE_LINES_MAX
    assert [] == long


@pytest.mark.parametrize("path", MODULES, ids=identify)
def test_every_module_says_what_lives_there(path: Path) -> None:
    """Every module of the package has a docstring."""
    assert ast.get_docstring(ast.parse(path.read_text()))


def test_one_place_catches_everything() -> None:
    """`except Exception` stands in one place; a handler of BaseException raises again."""
    catching = []
    swallowing = []
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.ExceptHandler):
                continue
            names = ast.unparse(node.type) if node.type is not None else "BaseException"
            if names == "Exception":
                catching.append(identify(path))
            elif "BaseException" in names and not isinstance(node.body[-1], ast.Raise):
                swallowing.append(f"{identify(path)}:{node.lineno}")

    assert ["trioetcd/frontend/admission.py"] == catching
    assert [] == swallowing


def test_no_module_has_a_name_that_says_nothing() -> None:
    """No module is called utils, helpers, common, misc, manager, impl or base."""
    empty = {"utils", "helpers", "common", "misc", "manager", "impl", "base", "util", "helper"}

    assert [] == [identify(path) for path in ALL_PYTHON if path.stem in empty]


def test_no_note_to_self_is_left() -> None:
    """No unfinished business hides in comments."""
    words = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b")
    found = [
        f"{identify(path)}:{number}"
        for path in ALL_PYTHON
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if words.search(line)
    ]

    assert [] == found


def test_suppressions_give_a_reason() -> None:
    """Every noqa, type: ignore and no cover has words beside it."""
    mark = re.compile(r"#\s*(noqa|type:\s*ignore|pragma:\s*no cover)(?P<rest>.*)$")
    bare = []
    for path in ALL_PYTHON:
        for number, line in enumerate(path.read_text().splitlines(), 1):
            found = mark.search(line)
            if found is None:
                continue
            reason = re.sub(r"^[:\s]*(\[[\w, -]+\]|[A-Z]+\d+(,\s*[A-Z]+\d+)*)?", "", found["rest"])
            if not re.search(r"[a-z]{3}", reason):
                bare.append(f"{identify(path)}:{number}")

    assert [] == bare


def test_tests_do_not_sleep() -> None:
    """No test waits for time to pass: events, deadlines and mock clocks do that better."""
    found = []
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        found += [
            f"{identify(path)}:{node.lineno}"
            for node in ast.walk(ast.parse(path.read_text()))
            if isinstance(node, ast.Call) and ast.unparse(node.func) in {"time.sleep", "sleep"}
        ]

    assert [] == found


def test_no_private_key_is_committed() -> None:
    """No file of the repository holds a private key."""
    begin = "-----BEGIN "
    folders = ("trioetcd", "certs", "tests", "examples", "docs", "benchmarks")
    found = [
        identify(path)
        for folder in folders
        for path in (ROOT / folder).rglob("*")
        if path.is_file()
        and path.suffix in {".pem", ".key", ".crt", ".p12", ".md", ".toml"}
        and begin in path.read_text(errors="replace")
    ]

    assert [] == found


def test_every_module_is_used() -> None:
    """Every module of the package is imported by another one, or is a door of its own."""
    doors = {
        "trioetcd.__main__",
        "trioetcd.cli.main",
        "trioetcd.cli.utl",
        "trioetcd.client",
        "trioetcd.testing",
    }
    texts = {path: path.read_text() for path in ALL_PYTHON}
    unused = []
    for path in MODULES:
        parts = path.relative_to(ROOT).with_suffix("").parts
        name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
        if name in doors or path.name == "__init__.py":
            continue
        package, _, last = name.rpartition(".")
        imported = re.compile(
            rf"(from {re.escape(name)} import|import {re.escape(name)}\b"
            rf"|from {re.escape(package)} import[^\n]*(\([^)]*)?\b{last}\b)"
        )
        if not any(imported.search(text) for other, text in texts.items() if other != path):
            unused.append(name)

    assert [] == unused

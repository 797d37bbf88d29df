"""House rules: maximum lengths, beginnings of docstrings and comments, imports without cycles."""

import ast
import re
import subprocess
import tokenize
import tomllib
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
from helpers.support import PROJECT

MAX_FILE_LINES = 330
MAX_FUNCTION_LINES = 50
MAX_LAYERS = 15

SUFFIXES = (".py", ".js", ".mjs")
FILES = [
    Path(name)
    for name in subprocess.check_output(["git", "ls-files", "-co", "--exclude-standard"], cwd=PROJECT, text=True).split()
    if name.endswith(SUFFIXES) and Path(PROJECT, name).exists()
]
PYTHON = [path for path in FILES if path.suffix == ".py"]
SOURCES = [path for path in PYTHON if path.parts[0] in {"src", "alembic"}]

UNCLEAR_BEGINNING = re.compile(r"(What|Whether|Who|Whose|Whoever|How|Where|Those|That)\b")
"""Beginnings of docstrings and comments that do not name their subject."""


@pytest.mark.parametrize("path", FILES, ids=str)
def test_files_have_a_maximum_length(path: Path):
    assert len(Path(PROJECT, path).read_text().splitlines()) <= MAX_FILE_LINES


@pytest.mark.parametrize("path", SOURCES, ids=str)
def test_functions_have_a_maximum_length(path: Path):
    functions = [node for node in ast.walk(parsed(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
    assert {name: length for name, length in lengths.items() if length > MAX_FUNCTION_LINES} == {}


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_docstrings_and_comments_begin_with_their_subject(path: Path):
    assert [text for text in (*docstrings(path), *comments(path)) if UNCLEAR_BEGINNING.match(text)] == []


def test_imports_have_no_cycle():
    """Imports inside functions count as well, because they can hide a cycle."""
    modules = {module_name(path): path for path in SOURCES if path.parts[0] == "src"}
    graph = {name: imports(path, modules) - {name} for name, path in modules.items()}
    list(TopologicalSorter(graph).static_order())


def test_layers_have_a_maximum_number():
    configuration = tomllib.loads(Path(PROJECT, "pyproject.toml").read_text())
    (contract,) = configuration["tool"]["importlinter"]["contracts"]
    assert 10 <= len(contract["layers"]) <= MAX_LAYERS


def parsed(path: Path) -> ast.Module:
    return ast.parse(Path(PROJECT, path).read_text())


def docstrings(path: Path) -> Iterator[str]:
    """Docstrings of modules, classes and functions, and the strings that describe attributes."""
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            yield node.value.value.strip()


def comments(path: Path) -> Iterator[str]:
    """First lines of comment blocks."""
    last = 0
    with Path(PROJECT, path).open("rb") as file:
        for token in tokenize.tokenize(file.readline):
            if token.type == tokenize.COMMENT:
                if token.start[0] != last + 1:
                    yield token.string.lstrip("# ")
                last = token.start[0]


def module_name(path: Path) -> str:
    parts = path.with_suffix("").parts[1:]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path, modules: dict[str, Path]) -> set[str]:
    """Return the modules of the project that a module imports; a package counts if a name that it defines is imported."""
    found: set[str] = set()
    for node in ast.walk(parsed(path)):
        if isinstance(node, ast.ImportFrom) and node.module:
            submodules = {f"{node.module}.{alias.name}" for alias in node.names} & set(modules)
            found |= submodules
            if len(submodules) < len(node.names):
                found.add(node.module)
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found & set(modules)

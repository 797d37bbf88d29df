"""READMEs: maximum lengths, and links and file names that resolve."""

import re
from pathlib import Path

import pytest
from helpers.support import PROJECT

MAX_ROOT_LINES = 250
MAX_LINES = 300

READMES = [
    PROJECT / "README.md",
    *(
        path
        for folder in (".kubernetes", "alembic", "src", "tests")
        for path in sorted((PROJECT / folder).rglob("README.md"))
        if "node_modules" not in path.parts
    ),
]

SUBJECTS = (
    ".kubernetes",
    "alembic",
    "src/market_data",
    "src/market_data/api",
    "src/market_data/api/compat",
    "src/market_data/api/mcp",
    "src/market_data/auth",
    "src/market_data/calendars",
    "src/market_data/cli",
    "src/market_data/cli/data",
    "src/market_data/dashboard",
    "src/market_data/embedded",
    "src/market_data/proof",
    "src/market_data/queries",
    "src/market_data/server",
    "src/market_data/streaming",
    "tests",
    "tests/benchmarks",
    "tests/examples",
)
"""Folders with a README."""

FENCED = re.compile(r"^```.*?^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FILE = re.compile(r"`([\w./-]+\.(?:py|js|mjs|css|yml|yaml|toml))`")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)

named = pytest.mark.parametrize("readme", READMES, ids=lambda path: path.relative_to(PROJECT).as_posix())


def prose(readme: Path) -> str:
    """Return the text without code blocks."""
    return FENCED.sub("", readme.read_text())


def anchors(readme: Path) -> set[str]:
    """Return the URL fragments of the headings, as GitHub generates them."""
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in HEADING.findall(prose(readme))}


@pytest.mark.parametrize("folder", SUBJECTS)
def test_each_subject_has_a_readme_that_the_root_readme_links_to(folder: str):
    readme = PROJECT / folder / "README.md"
    assert readme.exists()
    root = PROJECT / "README.md"
    assert readme in {(root.parent / link.partition("#")[0]).resolve() for link in LINK.findall(prose(root))}


@named
def test_readme_has_a_maximum_length(readme: Path):
    lines = len(readme.read_text().splitlines())
    if readme == PROJECT / "README.md":
        assert lines <= MAX_ROOT_LINES
    else:
        assert lines < MAX_LINES


@named
def test_links_between_files_resolve(readme: Path):
    for link in LINK.findall(prose(readme)):
        if "://" in link:
            continue
        path, _, fragment = link.partition("#")
        target = (readme.parent / path).resolve() if path else readme
        assert target.exists(), link
        if fragment:
            assert fragment in anchors(target), link


@named
def test_files_named_in_readmes_exist(readme: Path):
    for name in FILE.findall(prose(readme)):
        folders = (readme.parent, PROJECT, PROJECT / "src/market_data")
        beside = "/" not in name and next(readme.parent.rglob(name), None)
        assert beside or any((folder / name).exists() for folder in folders), name


def test_the_patterns_match_links_and_files():
    assert FILE.findall(prose(PROJECT / "src/market_data/README.md"))
    assert len(LINK.findall(prose(PROJECT / "README.md"))) > len(SUBJECTS)

"""One engine per module, and a separate home for each test that kills an engine."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, LiteralString, cast

import psycopg
import pytest

from market_data.embedded import owned_engine

Connect = Callable[..., psycopg.Connection]


@pytest.fixture
def home(seed: Path, tmp_path: Path) -> Path:
    return shutil.copytree(seed, tmp_path / "home")


@pytest.fixture(scope="module")
def engine(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """DSN of an engine that the module's tests share."""
    home = shutil.copytree(seed, tmp_path_factory.mktemp("engine") / "home")
    messages: list[str] = []
    with owned_engine(home, report=messages.append) as dsn:
        yield dsn
    assert messages == [], "the engine died during the tests"


@pytest.fixture
def connect(engine: str) -> Iterator[Connect]:
    """Open autocommit connections, which are closed after the test."""
    opened: list[psycopg.Connection] = []

    def open_connection(**options: Any) -> psycopg.Connection:
        opened.append(psycopg.connect(engine, autocommit=True, **options))
        return opened[-1]

    yield open_connection
    for connection in opened:
        connection.close()


@pytest.fixture
def table(connect: Connect, request: pytest.FixtureRequest) -> Iterator[LiteralString]:
    """Name of an empty table (a integer primary key, b text)."""
    name = cast("LiteralString", request.node.name.split("[")[0])
    connection = connect()
    connection.execute(f'CREATE TABLE "{name}" (a integer PRIMARY KEY, b text)')
    yield f'"{name}"'
    connection.execute(f'DROP TABLE IF EXISTS "{name}"')

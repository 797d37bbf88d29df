"""Databases for the tests: on the embedded engine, or on the server in TEST_DATABASE_URL (a superuser's DSN).

`database_url` is the session's migrated database, emptied, whose candles are never materialized; `new_migrated_database`,
`stopped_database` and `new_database` create databases for one test. No test mocks a database.
"""

import fcntl
import os
import shutil
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest
from helpers.service import eventually
from helpers.support import RUNNING_JOBS, SERVER, Connection, changed_url, one

from market_data import embedded
from market_data.database import migrations


def pytest_report_header() -> str:
    return f"database: {'the server in TEST_DATABASE_URL' if SERVER else 'the embedded engine'}"


def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """Run the whole suite three files at a time, because most tests wait more than they compute, and named files in turn.

    The files keep their order: the last ones are short, so that all workers end at about the same time.
    """
    return 0 if config.option.file_or_dir else 3


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """With FORBID_SKIPS, fail skipped tests: their tools should be installed."""
    report = yield
    if report.skipped and os.environ.get("FORBID_SKIPS"):
        report.outcome = "failed"
        report.longrepr = f"skipped, which FORBID_SKIPS forbids: {report.longreprtext}"
    return report


def write_engine_message(line: str) -> None:
    """Write the engine's messages into the captured output of the test."""
    sys.stderr.write(f"{line}\n")


@contextmanager
def _on_server(server: str) -> Iterator[str]:
    name = f"market_data_test_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}"'.encode())
    try:
        yield changed_url(server, database=name)
    finally:
        with psycopg.connect(server, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE "{name}" WITH (FORCE)'.encode())


@contextmanager
def _on_engine(seed: Path, folder: Path) -> Iterator[str]:
    with embedded.owned_engine(shutil.copytree(seed, folder / "home"), report=write_engine_message) as url:
        yield url


def _make_once(temporary: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """Return a folder that the first pytest-xdist worker creates while the others wait."""
    own = temporary.getbasetemp()
    made = (own.parent if "PYTEST_XDIST_WORKER" in os.environ else own) / name
    with made.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not made.exists():
            draft = made.with_suffix(".draft")
            make(draft)
            draft.rename(made)
    return made


@pytest.fixture(scope="session")
def seed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a stopped embedded engine with an empty database: copying it is faster than initdb."""

    def make(home: Path) -> None:
        with embedded.owned_engine(home, report=write_engine_message):
            pass

    return _make_once(tmp_path_factory, "engine-seed", make)


@pytest.fixture(scope="session")
def migrated_seed(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the home of a stopped embedded engine with a migrated database."""

    def make(home: Path) -> None:
        with embedded.owned_engine(shutil.copytree(seed, home), report=write_engine_message) as url:
            migrations.upgrade(url)

    return _make_once(tmp_path_factory, "engine-migrated", make)


@pytest.fixture(scope="session")
def new_database(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], AbstractContextManager[str]]:
    """Return a context manager that creates an empty database and yields its URL."""

    def make() -> AbstractContextManager[str]:
        if SERVER:
            return _on_server(SERVER)
        return _on_engine(request.getfixturevalue("seed"), tmp_path_factory.mktemp("engine"))

    return make


@pytest.fixture(scope="session")
def new_migrated_database(
    tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest
) -> Callable[[], AbstractContextManager[str]]:
    """Return a context manager that creates a migrated database and yields its URL."""

    @contextmanager
    def on_server(server: str) -> Iterator[str]:
        with _on_server(server) as url:
            migrations.upgrade(url)
            yield url

    def make() -> AbstractContextManager[str]:
        if SERVER:
            return on_server(SERVER)
        return _on_engine(request.getfixturevalue("migrated_seed"), tmp_path_factory.mktemp("engine"))

    return make


@pytest.fixture
def stopped_database(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    """URL of a new migrated database whose jobs run only when a test calls them."""
    with new_migrated_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        yield url


@pytest.fixture(scope="session")
def session_database(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[str]:
    with new_migrated_database() as url:
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
            eventually(lambda: one(connection, RUNNING_JOBS) == 0)  # one that has begun would deadlock with a TRUNCATE
        yield url


TRUNCATE = """
    TRUNCATE
        trades, latest_trades, symbols, stale_ranges, leases, trade_changes, stream_events, stream_late_candles,
        calendar_sessions, symbol_calendars, symbol_names, corporate_actions, reloads
"""


def _truncated(connection: psycopg.Connection) -> bool:
    """Empty the tables. False after a deadlock: a service of the tests may read several of them in another order."""
    try:
        connection.execute(TRUNCATE)
    except psycopg.errors.DeadlockDetected:
        return False
    return True


@pytest.fixture
def database_url(session_database: str) -> str:
    """URL of a migrated database without rows. Tests that refresh candles need `new_migrated_database`: candles can't be
    emptied again on both engines."""
    with psycopg.connect(session_database, autocommit=True) as connection:
        eventually(lambda: _truncated(connection))
        connection.execute("DELETE FROM calendars WHERE code <> '24/7'")
        # In a later transaction, because the first TRUNCATE adds a commit.
        connection.execute("TRUNCATE commits, commit_blocks, data_version")
        connection.execute("INSERT INTO data_version (version, trade_count, main) VALUES (0, 0, true)")
        connection.execute("UPDATE stream_progress SET trimmed_before = 0")
        connection.execute("UPDATE retention SET dropped_version = 0, truncated_version = 0")
        connection.execute("SELECT setval('commit_clock', 1), setval('refreshed_until', 1)")
        connection.execute("UPDATE candle_refresh SET pid = NULL")
    return session_database


@pytest.fixture
def connection(database_url: str) -> Iterator[Connection]:
    """Connect to `database_url` in autocommit mode and UTC."""
    with psycopg.connect(database_url, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


@pytest.fixture
def known(connection: Connection) -> Connection:
    """Connect to a database with the symbols AAPL and MSFT, both without trades."""
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
    return connection

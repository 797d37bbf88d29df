"""Entries of many candles: read while others write, they are those of one snapshot."""

import asyncio
import random
from collections.abc import AsyncGenerator, Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.histories import History
from helpers.service import command
from helpers.support import Connection, one
from helpers.transparency import Log
from psycopg.pq import TransactionStatus

from market_data.database.connection import connect
from market_data.proof.entries import parse_entry
from market_data.proof.merkle import leaf_hash, root_of
from market_data.proof.notes import encode64
from market_data.queries import log_appends, log_candle_leaves, log_candles
from market_data.queries.log_candle_leaves import read_candle_leaves
from market_data.transparency import candle_entries
from market_data.transparency.candle_entries import Candles, read_candles

NEWEST = "SELECT newest_version()"


@pytest.fixture
def writer(stopped_database: str) -> Iterator[Connection]:
    with psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection:
        yield connection


@pytest.fixture(autouse=True)
def _small(monkeypatch: pytest.MonkeyPatch):
    """Make few candles many; an entry does not wait for their refresh."""
    monkeypatch.setattr(candle_entries, "MAX_SNAPSHOT_TRADES", 5)
    monkeypatch.setattr(log_candle_leaves, "PAGE", 100)
    monkeypatch.setattr(log_candle_leaves, "STALE_PAGE", 100)
    monkeypatch.setattr(log_candles, "MAX_STALE", timedelta(days=9999))


def read(url: str, since: int) -> Candles | None:
    async def run() -> Candles | None:
        async with await connect(url, 60) as connection:
            return await read_candles(connection, since)

    return asyncio.run(run())


def between_pages(monkeypatch: pytest.MonkeyPatch, action: Callable[[], None]) -> None:
    """Call a function after each page that is read outside a transaction."""

    async def leaves(connection: Any, *arguments: Any) -> AsyncGenerator[list[str]]:
        async for page in read_candle_leaves(connection, *arguments):
            if connection.info.transaction_status == TransactionStatus.IDLE:
                action()
            yield page

    monkeypatch.setattr(candle_entries, "read_candle_leaves", leaves)


def in_one_snapshot(monkeypatch: pytest.MonkeyPatch, url: str, since: int) -> Candles | None:
    with monkeypatch.context() as patch:
        patch.setattr(candle_entries, "MAX_SNAPSHOT_TRADES", 1 << 40)
        return read(url, since)


@pytest.mark.parametrize("number", [0, 1, *(pytest.param(number, marks=pytest.mark.slow) for number in range(2, 6))])
def test_candles_read_while_others_write_are_those_of_one_snapshot(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch, number: int
):
    choose = random.Random(number)
    history = History(writer, number, truncates=False)

    def write() -> None:
        if choose.random() < 0.3:
            history.write()
        if choose.random() < 0.1:
            writer.execute("CALL refresh_candles()")

    for _ in range(20):
        history.write()
    writer.execute("CALL refresh_candles()")
    since = one(writer, NEWEST) if number % 2 else 0
    for _ in range(30):
        history.write()
        write()
    between_pages(monkeypatch, write)
    before = one(writer, NEWEST)
    found = read(stopped_database, since)
    assert found
    assert found.version > before
    assert found.leaf_count > 100
    assert found == in_one_snapshot(monkeypatch, stopped_database, since)


STORE: Any = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT 'AAPL', '2026-02-08T10:00:00Z'::timestamptz + number * INTERVAL '1 minute', number, 100, 1
    FROM generate_series(1, %s) AS number
"""


def store(connection: Connection) -> None:
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    connection.execute(STORE, (1000,))
    connection.execute("CALL refresh_candles()")


def test_statements_of_others_run_between_pages(stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch):
    store(writer)
    counts: list[int] = []
    between_pages(monkeypatch, lambda: counts.append(one(writer, "SELECT count(*) FROM trades")))
    assert read(stopped_database, 0)
    assert len(counts) > 10
    assert set(counts) == {1000}


def test_entry_waits_if_trades_are_truncated_meanwhile(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch
):
    store(writer)
    between_pages(monkeypatch, lambda: writer.execute("TRUNCATE trades") and None)
    assert read(stopped_database, 0) is None


def test_writers_that_never_pause_do_not_hold_back_an_entry(
    stopped_database: str, writer: Connection, monkeypatch: pytest.MonkeyPatch
):
    store(writer)
    prices = iter(range(1, 10_000))
    between_pages(
        monkeypatch,
        lambda: writer.execute("UPDATE trades SET price = %s WHERE trade_id <= 50", (next(prices),)) and None,
    )
    found = read(stopped_database, 0)
    assert found == in_one_snapshot(monkeypatch, stopped_database, 0)


DRAFTS = "SELECT count(*) FROM log_parts WHERE entry = -1"


@pytest.fixture
def parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make parts of few leaves, which are stored one by one."""
    monkeypatch.setattr(candle_entries, "PART", 64)
    monkeypatch.setattr(log_appends, "MAX_PARTS_PER_TRANSACTION", 1)


@pytest.fixture
def interrupted(
    stopped_database: str, writer: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, parts: None
) -> Log:
    """Return a log whose writer has ended after it had stored some parts of an entry of candles."""
    store(writer)
    log = Log(stopped_database, tmp_path)
    log.write()

    insert_parts = log_appends.insert_parts

    async def insert_or_end(connection: Any, index: int, start: int, parts: Any) -> None:
        if start == 3:
            raise RuntimeError("the process has ended")
        await insert_parts(connection, index, start, parts)

    with monkeypatch.context() as patch:
        patch.setattr(log_appends, "insert_parts", insert_or_end)
        with pytest.raises(RuntimeError, match="has ended"):
            log.write(candles=True)
    assert one(writer, DRAFTS) == 3
    assert one(writer, "SELECT count(*) FROM log_entries WHERE kind = 'candles'") == 0
    return log


def test_entry_that_was_interrupted_is_written_again(writer: Connection, interrupted: Log):
    writer.execute("UPDATE trades SET price = 7 WHERE trade_id = 1")  # in the first part of the next one
    interrupted.write(candles=True)
    assert one(writer, DRAFTS) == 0
    stored = writer.execute("SELECT part, leaves FROM log_parts WHERE leaves IS NOT NULL ORDER BY part").fetchall()
    assert [part for part, _ in stored] == list(range(len(stored)))
    entry = parse_entry(one(writer, "SELECT entry FROM log_entries WHERE kind = 'candles'"))
    leaves = [leaf for _, text in stored for leaf in text.split("\n")]
    assert len(leaves) == int(entry["candles"])
    assert encode64(root_of(leaf_hash(leaf.encode()) for leaf in leaves)) == entry["root"]


def test_drafts_of_an_interrupted_entry_are_in_no_other(stopped_database: str, writer: Connection, interrupted: Log):
    writer.execute("UPDATE trades SET price = 8 WHERE trade_id = 2")
    interrupted.write()
    ended = command("verify", DATABASE_URL=stopped_database, LOG_KEY_FILE=interrupted.settings.log_key_file)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert one(writer, DRAFTS) == 3


def test_only_drafts_of_parts_can_be_changed(writer: Connection, interrupted: Log):
    interrupted.write(candles=True)
    for statement in ("DELETE FROM log_parts", "UPDATE log_parts SET part = part + 1", "TRUNCATE log_parts"):
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            writer.execute(statement.encode())
    with pytest.raises(psycopg.errors.ForeignKeyViolation):
        writer.execute("INSERT INTO log_parts (entry, part, hash) VALUES (1000, 0, sha256(''))")
    writer.execute("INSERT INTO log_parts (entry, part, hash) VALUES (-1, 0, sha256(''))")
    writer.execute("DELETE FROM log_parts WHERE entry = -1")

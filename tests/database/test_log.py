"""The transparency log: entries of commits and candles, what may change it, and what `market-data verify` finds."""

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.service import command, eventually
from helpers.support import Connection, one
from helpers.trade_leaves import LoggedTrade, root_of_trades
from helpers.transparency import Log

from market_data.errors import SettingsError
from market_data.proof.entries import CommitEntry, parse_entry
from market_data.proof.merkle import Range, leaf_hash, root_of
from market_data.proof.notes import encode64
from market_data.queries.log import compute_entries, read_entry
from market_data.queries.log_leaves import read_commits
from market_data.queries.log_tree import read_consistency, read_root

STORE: Any = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT symbol, %s::timestamptz + number * %s::interval, number, 100 + number %% 7, 1
    FROM generate_series(1, %s) AS number CROSS JOIN unnest(%s::text[]) AS symbol
"""
ENTRIES = "SELECT index, kind, version, convert_from(entry, 'UTF8') FROM log_entries ORDER BY index"
TRADES: Any = """
    SELECT symbol, time, trade_id, price, volume
    FROM trades
    WHERE write_id = %s
    ORDER BY symbol COLLATE "C", time, trade_id
"""
STALE = "SELECT count(*) FROM stale_ranges"
PARTS = "SELECT leaves FROM log_parts AS p WHERE leaves IS NOT NULL ORDER BY p.entry, part"


@pytest.fixture
def url(stopped_database: str) -> str:
    """URL of a database with two symbols."""
    with psycopg.connect(stopped_database, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
    return stopped_database


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SET timezone = 'UTC'")
        yield connection


@pytest.fixture
def log(url: str, tmp_path: Path) -> Log:
    return Log(url, tmp_path)


def store(connection: Connection, start: str, count: int = 1, step: str = "1 second", symbols: str = "AAPL,MSFT") -> None:
    connection.execute(STORE, (start, step, count, symbols.split(",")))


def commits(connection: Connection) -> dict[int, dict[str, str]]:
    return {
        version: parse_entry(text.encode()) for _, kind, version, text in connection.execute(ENTRIES) if kind == "commit"
    }


def in_database(url: str, function: Any, *arguments: Any) -> Any:
    async def call() -> Any:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
            return await function(connection, *arguments)

    return asyncio.run(call())


async def compute_version(connection: Any, version: int) -> CommitEntry:
    """Return the entry of a version as the trades are now."""
    commits = await read_commits(connection, version - 1, 1, version)
    (computed,) = [each async for each in compute_entries(connection, commits)]
    return computed.entry


def test_each_commit_becomes_an_entry_with_the_root_of_its_trades(connection: Connection, log: Log, url: str):
    store(connection, "2026-02-08T10:00:00Z", 3)
    log.write()
    (entry,) = commits(connection).values()
    trades = [LoggedTrade(*row) for row in connection.execute(TRADES, (one(connection, "SELECT write_id FROM commits"),))]
    assert entry["root"] == encode64(root_of_trades(trades))
    assert (entry["kind"], entry["trades"], entry["changes"]) == ("store", "6", "0")
    assert parse_entry(in_database(url, read_entry, 1).entry) == entry
    assert in_database(url, read_entry, 2) is None


def test_entries_stay_what_they_were_when_trades_change_later(connection: Connection, log: Log, url: str):
    store(connection, "2026-02-08T10:00:00Z", 3)
    log.write()
    before = commits(connection)
    connection.execute("UPDATE trades SET price = 5 WHERE symbol = 'AAPL' AND trade_id = 1")
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT' AND trade_id = 2")
    connection.execute("UPDATE trades SET time = time + INTERVAL '1 day' WHERE symbol = 'MSFT' AND trade_id = 3")
    log.write()
    entries = commits(connection)
    assert {version: entries[version] for version in before} == before
    assert [(each["kind"], each["trades"], each["changes"]) for each in entries.values()] == [
        ("store", "6", "0"),
        ("correct", "1", "1"),
        ("cancel", "0", "1"),
        ("correct", "1", "1"),
    ]
    for version, entry in entries.items():
        computed = in_database(url, compute_version, version)
        assert parse_entry(bytes(computed)) == entry


@pytest.mark.parametrize("step", ["1 second", "1 hour"])
def test_commit_of_many_trades_has_parts_and_the_same_root(connection: Connection, log: Log, step: str):
    store(connection, "2026-02-08T10:00:00Z", 2000, step)
    log.write()
    trades = [LoggedTrade(*row) for row in connection.execute(TRADES, (one(connection, "SELECT write_id FROM commits"),))]
    assert commits(connection)[1]["root"] == encode64(root_of_trades(trades))
    assert one(connection, "SELECT count(*) FROM log_parts") == 4


def test_few_trades_in_a_long_range_are_found(connection: Connection, log: Log):
    store(connection, "2025-02-08T10:00:00Z", 50, "8 days")
    connection.execute("CALL refresh_candles()")
    store(connection, "2025-02-08T10:00:30Z", 3, "100 days")
    log.write()
    assert [entry["trades"] for entry in commits(connection).values() if entry["kind"] == "store"] == ["100", "6"]


def test_candles_of_an_entry_are_those_of_that_version(connection: Connection, log: Log):
    store(connection, "2026-02-08T10:00:00Z", 90)
    log.write(candles=True)
    connection.execute(
        "UPDATE trades SET price = 50 WHERE symbol = 'AAPL' AND time < '2026-02-08T10:01:00Z' AND trade_id > 50"
    )
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
    log.write(candles=True)
    log.write(candles=True)
    first, second = (leaves.split("\n") for (leaves,) in connection.execute(PARTS).fetchall())
    assert len(first) == 2 * (2 + 7)
    assert '["candle", "AAPL", "1m", 1770544800000000, "101", "106", "100", "103", "59", "6074", 59]' in first
    changed = [leaf for leaf in second if '"AAPL", "1m"' in leaf]
    assert [leaf.split(", ")[3:8] for leaf in changed] == [["1770544800000000", '"101"', '"106"', '"50"', '"50"']]
    assert '["candle", "MSFT", "1d", 1770508800000000, null, null, null, null, null, null, 0]' in second
    assert not [leaf for leaf in second if '"AAPL", "1m", 1770544860000000' in leaf]
    entries = [text for _, kind, _, text in connection.execute(ENTRIES) if kind == "candles"]
    root = root_of(leaf_hash(leaf.encode()) for leaf in second)
    assert parse_entry(entries[1].encode())["root"] == encode64(root)


def test_candles_of_an_entry_have_a_late_trade_at_the_start_of_their_bucket(connection: Connection, log: Log):
    store(connection, "2026-02-08T12:00:29Z", symbols="AAPL")
    connection.execute("CALL refresh_candles()")
    log.write(candles=True)
    store(connection, "2026-02-08T11:59:59Z", symbols="AAPL")
    assert one(connection, STALE)
    log.write(candles=True)
    _, leaves = (leaves.split("\n") for (leaves,) in connection.execute(PARTS).fetchall())
    assert [leaf.rpartition(", ")[2] for leaf in leaves] == ["2]"] * 8


def test_log_can_not_be_changed_by_statements(connection: Connection, log: Log):
    store(connection, "2026-02-08T10:00:00Z")
    log.write(candles=True)
    for statement in (
        "UPDATE log_entries SET version = 5 WHERE index = 1",
        "DELETE FROM log_entries WHERE index = 1",
        "TRUNCATE log_entries CASCADE",
        "INSERT INTO log_entries (index, kind, version, entry) VALUES (7, 'commit', 7, 'x')",
        "DELETE FROM log_parts",
        "UPDATE log_nodes SET level = 5",
    ):
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.IntegrityConstraintViolation)):
            connection.execute(statement.encode())


def test_tiles_lead_to_the_same_roots_as_the_entries(connection: Connection, log: Log, url: str):
    for _ in range(300):
        connection.execute("UPDATE symbols SET name = name")
        store(connection, "2026-02-08T10:00:00Z", 1, f"{_ + 1} seconds", "AAPL")
    log.write()
    hashes = [leaf_hash(text.encode()) for *_, text in connection.execute(ENTRIES)]
    assert len(hashes) == 301
    for size in (1, 2, 255, 256, 257, 300, 301):
        assert in_database(url, read_root, Range(0, size)) == root_of(hashes[:size])
    assert one(connection, "SELECT count(*) FROM log_nodes") == 1
    assert len(in_database(url, read_consistency, 200, 301)) > 1


def test_key_is_created_once_for_its_owner_only(connection: Connection, log: Log, url: str, tmp_path: Path):
    log.write()
    path = Path(log.settings.log_key_file)
    assert path.stat().st_mode & 0o777 == 0o600
    key = path.read_bytes()
    store(connection, "2026-02-08T10:00:00Z")
    log.write()
    assert path.read_bytes() == key
    other = Log(url, tmp_path / "other")
    connection.execute("DELETE FROM leases")
    with pytest.raises(SettingsError, match=r"LOG_KEY_FILE=.* has no private key of the log"):
        other.write()
    assert one(connection, "SELECT count(*) FROM log_keys") == 1


@pytest.fixture
def verify(url: str, log: Log) -> Callable[..., tuple[int, str]]:
    """Run `market-data verify`; return its exit status and output."""

    def run(*arguments: str) -> tuple[int, str]:
        ended = command("verify", *arguments, DATABASE_URL=url, LOG_KEY_FILE=log.settings.log_key_file)
        return ended.returncode, ended.stdout + ended.stderr

    return run


def without_triggers(connection: Connection, *statements: str) -> None:
    """Execute statements as a superuser who hides them."""
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        for statement in statements:
            connection.execute(statement.encode())


def test_verify_accepts_a_true_database(connection: Connection, log: Log, verify: Any):
    store(connection, "2026-02-08T10:00:00Z", 90)
    log.write(candles=True)
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT' AND trade_id < 20")
    connection.execute("UPDATE trades SET price = 50 WHERE symbol = 'AAPL' AND trade_id = 7")
    log.write(candles=True)
    status, text = verify()
    assert status == 0, text
    assert "the trades of 3 commits and the candles of 2 entries fit" in text


@pytest.mark.parametrize(
    ("damage", "found"),
    [
        (
            "UPDATE trades SET price = price + 1 WHERE symbol = 'AAPL' AND trade_id = 5",
            "Entry 1 of the log (version 1) does not",
        ),
        ("DELETE FROM trades WHERE symbol = 'AAPL' AND trade_id = 5", "does not fit the trades: trades 180 in the log, 179"),
        ("UPDATE trade_changes SET reason = 'better'", "Entry 2 of the log (version 2) does not fit the trades: root"),
        ("UPDATE commits SET committed_at = committed_at - INTERVAL '1 hour' WHERE version = 2", "Entry 2 of the log"),
        ("DELETE FROM commits WHERE version = 2", "Entry 2 of the log (version 2) is about a version"),
        ("UPDATE log_entries SET entry = entry || 'x' WHERE index = 1", "one of the entries 0 to"),
        ("UPDATE log_parts SET leaves = replace(leaves, '106', '107')", "does not fit its receipts"),
    ],
    ids=["trade", "deletion", "reason", "time", "commit", "entry", "receipt"],
)
def test_verify_names_what_somebody_has_rewritten(connection: Connection, log: Log, verify: Any, damage: str, found: str):
    store(connection, "2026-02-08T10:00:00Z", 90)
    connection.execute("DELETE FROM trades WHERE symbol = 'MSFT' AND trade_id = 2")
    log.write(candles=True)
    status, text = verify()
    assert status == 0, text
    without_triggers(connection, damage)
    status, text = verify()
    assert status == 1
    assert found in text


def test_verify_compares_a_checkpoint_that_was_kept(connection: Connection, log: Log, verify: Any, tmp_path: Path):
    store(connection, "2026-02-08T10:00:00Z", 9)
    log.write()
    kept = tmp_path / "checkpoint"
    kept.write_text(one(connection, "SELECT note FROM log_checkpoints"))
    store(connection, "2026-02-08T11:00:00Z", 9)
    log.write()
    assert verify("--checkpoint", str(kept))[0] == 0
    without_triggers(
        connection,
        "DELETE FROM log_checkpoints",
        "DELETE FROM log_entries WHERE index > 0",
        "UPDATE trades SET price = 1 WHERE trade_id = 3",
    )
    connection.execute("DELETE FROM leases")
    log.write()
    assert verify()[0] == 0  # the whole log was written again, by somebody who has the key
    status, text = verify("--checkpoint", str(kept))
    assert status == 1
    assert "another root" in text or "not the one that was signed" in text


def test_dropped_trades_are_verified_by_their_hashes(connection: Connection, log: Log, verify: Any):
    store(connection, "2025-02-08T10:00:00Z", 90)
    log.write(candles=True)
    store(connection, "2026-02-08T10:00:00Z", 90)
    eventually(lambda: connection.execute("CALL refresh_candles()") and not one(connection, STALE))
    connection.execute("CALL set_retention(INTERVAL '60 days')")
    connection.execute("CALL drop_old_trades()")
    assert one(connection, "SELECT count(*) FROM trades") == 180
    log.write(candles=True)
    status, text = verify()
    assert status == 0, text
    assert "complete after version" in text


def test_restored_database_gets_a_new_name(connection: Connection, log: Log):
    store(connection, "2026-02-08T10:00:00Z")
    log.write()
    connection.execute(
        "INSERT INTO pending_commits (write_id, kind, trade_count) VALUES (nextval('write_ids'), 'restore', 0)"
    )
    log.write()
    first, second = (origin for (origin,) in connection.execute("SELECT origin FROM log_keys ORDER BY id"))
    assert second.startswith(f"{first}/restored-")
    notes = [note for (note,) in connection.execute("SELECT note FROM log_checkpoints ORDER BY size")]
    assert [note.partition("\n")[0] for note in notes] == [first, second]


def test_log_says_from_which_version_it_begins(connection: Connection):
    assert connection.execute(ENTRIES).fetchall() == [(0, "begin", 0, "market-data/begin@v1\nversion 0\n")]

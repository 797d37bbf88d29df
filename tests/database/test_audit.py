"""The audit: it finds damage that no trigger has seen, repairs candles and prices, and names trades that were changed."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest
from helpers.histories import History
from helpers.support import Connection, one
from helpers.transparency import Log
from psycopg.sql import SQL, Identifier

from market_data.database.connection import connect
from market_data.queries.audit_record import AuditProgress, read_progress
from market_data.settings import Settings
from market_data.transparency.auditor import Auditor

STORE: Any = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES (%s, %s, %s, %s, 1)"
DIFFERENCES: Any = """
    SELECT kind, symbol, "interval", version, repaired_at IS NOT NULL
    FROM audit_differences
    ORDER BY kind, symbol, "interval"
"""
AGGREGATE: Any = """
    SELECT materialization_hypertable_schema, materialization_hypertable_name
    FROM timescaledb_information.continuous_aggregates
    WHERE view_name = %s
"""
LEVELS = ("1m", "5m", "15m", "30m", "1h", "4h", "1d")


@pytest.fixture
def url(stopped_database: str) -> str:
    return stopped_database


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    """Connection of a superuser to a database with trades of several days."""
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
        for days in (40, 39, 2, 1, 0.01):
            for number in range(3):
                time = datetime.now(UTC) - timedelta(days=days, seconds=number)
                connection.execute(STORE, ("AAPL", time, number, 10 + number))
        connection.execute("CALL refresh_candles()")
        yield connection


@pytest.fixture
def log(url: str, connection: Connection, tmp_path: Path) -> Log:
    log = Log(url, tmp_path)
    log.write()
    return log


def audit(url: str) -> AuditProgress:
    """Compare everything once and return the progress."""

    async def run() -> AuditProgress:
        auditor = Auditor(url, Settings(database_url=url))
        async with await connect(url, 0) as connection:
            await connection.execute("DELETE FROM audit_days")
            await connection.execute("DELETE FROM audit_versions")
            steps = 1
            while steps:
                steps = 0
                async for _ in auditor.turn(connection, timedelta(hours=1)):
                    steps += 1
            await auditor.compare_latest_prices(connection)
            return await read_progress(connection)

    return asyncio.run(run())


def differences(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(DIFFERENCES).fetchall()


def silently(connection: Connection, statement: str) -> None:
    """Execute a statement that no trigger sees."""
    connection.execute("SET session_replication_role = replica")
    connection.execute(statement)  # pyright: ignore[reportArgumentType, reportCallIssue]
    connection.execute("RESET session_replication_role")


def damage_candles(connection: Connection, view: str, change: str) -> None:
    (table,) = connection.execute(AGGREGATE, (view,)).fetchall()
    connection.execute(SQL("UPDATE {} SET ").format(Identifier(*table)) + SQL(change))  # pyright: ignore[reportArgumentType]


def test_right_data_has_no_differences(url: str, connection: Connection, log: Log):
    progress = audit(url)
    assert (progress.differences, progress.open_differences) == (0, 0)
    assert progress.candles > 30
    assert progress.commits == one(connection, "SELECT count(*) FROM log_entries WHERE kind = 'commit'")
    assert progress.verified_since is not None
    oldest = one(connection, "SELECT min(time) FROM trades")
    assert progress.verified_since <= oldest
    assert progress.candles_verified_at is not None


@pytest.mark.parametrize("number", [0, pytest.param(1, marks=pytest.mark.slow)])
def test_random_histories_have_no_differences(url: str, tmp_path: Path, number: int):
    log = Log(url, tmp_path)
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        history = History(connection, number)
        for turn in range(30):
            history.write()
            if turn % 10 == 9:
                log.write()
                connection.execute("CALL refresh_candles()")
                assert audit(url).differences == 0, differences(connection)


@pytest.mark.parametrize(
    ("view", "interval"), [("candles_1m", "1m"), ("candles_4h", "4h"), ("candles_1d", "1d"), ("candles_1w", "1w")]
)
def test_damaged_candle_is_repaired_from_trades(
    url: str, connection: Connection, log: Log, view: str, interval: str, caplog: pytest.LogCaptureFixture
):
    highs = connection.execute("SELECT interval, bucket, high FROM candles WHERE symbol = 'AAPL'").fetchall()
    damage_candles(connection, view, "high = 99")
    progress = audit(url)
    assert progress.open_differences >= 1
    assert interval in {row[2] for row in differences(connection)}  # coarser ones may be computed from it at read time
    assert "differ from the trades" in caplog.text
    connection.execute("CALL refresh_candles()")
    progress = audit(url)
    assert progress.differences >= 1
    assert progress.open_differences == 0
    repaired = connection.execute("SELECT interval, bucket, high FROM candles WHERE symbol = 'AAPL'").fetchall()
    assert sorted(repaired) == sorted(highs)


def test_missing_and_superfluous_candles_are_repaired(url: str, connection: Connection, log: Log):
    before = connection.execute("SELECT symbol, bucket FROM candles_5m ORDER BY 1, 2").fetchall()
    (table,) = connection.execute(AGGREGATE, ("candles_5m",)).fetchall()
    name = Identifier(*table)
    connection.execute(SQL("DELETE FROM {} WHERE bucket = (SELECT min(bucket) FROM {})").format(name, name))
    connection.execute(
        SQL("INSERT INTO {} SELECT 'MSFT', bucket, 1, 1, 1, 1, 1, 1, 1, 1 FROM {} LIMIT 1").format(name, name)
    )
    assert audit(url).open_differences == 2
    connection.execute("CALL refresh_candles()")
    assert audit(url).open_differences == 0
    assert connection.execute("SELECT symbol, bucket FROM candles_5m ORDER BY 1, 2").fetchall() == before


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE latest_trades SET price = 99",
        "UPDATE latest_trades SET time = time - INTERVAL '1 hour'",
        "DELETE FROM latest_trades",
        "INSERT INTO latest_trades VALUES ('MSFT', now(), 0, 1, 1)",
    ],
)
def test_damaged_latest_price_is_repaired_from_trades(url: str, connection: Connection, log: Log, damage: str):
    before = connection.execute("SELECT * FROM latest_trades").fetchall()
    connection.execute(damage)  # pyright: ignore[reportArgumentType, reportCallIssue]
    audit(url)
    assert connection.execute("SELECT * FROM latest_trades").fetchall() == before
    assert audit(url).open_differences == 0
    assert [row[0] for row in differences(connection)] == ["latest_price"]


@pytest.mark.parametrize("damage", ["UPDATE trades SET price = 99 WHERE price = 12", "DELETE FROM trades WHERE price = 12"])
def test_damaged_trade_is_named_and_nothing_is_repaired_from_it(
    url: str, connection: Connection, log: Log, damage: str, caplog: pytest.LogCaptureFixture
):
    latest = connection.execute("SELECT * FROM latest_trades").fetchall()
    before = connection.execute("SELECT * FROM candles_1m ORDER BY bucket").fetchall()
    version = one(
        connection, "SELECT min(version) FROM trades JOIN commits USING (write_id) WHERE price = 12 AND kind = 'store'"
    )
    silently(connection, damage)
    audit(url)
    connection.execute("CALL refresh_candles()")
    assert connection.execute("SELECT * FROM candles_1m ORDER BY bucket").fetchall() == before
    assert connection.execute("SELECT * FROM latest_trades").fetchall() == latest
    found = {row[3] for row in differences(connection) if row[0] == "trades"}
    assert version in found
    assert len(found) == 5
    assert f"the trades of version {version} are not those of the transparency log" in caplog.text
    stored, expected = connection.execute(
        "SELECT stored, expected FROM audit_differences WHERE version = %s", (version,)
    ).fetchall()[0]
    assert stored["entry"] != expected["entry"]
    if "UPDATE" in damage:
        assert stored["trades"][0]["price"] == 99


def test_without_the_log_candles_are_repaired(url: str, connection: Connection):
    damage_candles(connection, "candles_1h", "low = 1")
    assert audit(url).open_differences > 0
    connection.execute("CALL refresh_candles()")
    assert audit(url).open_differences == 0


def test_candles_of_dropped_trades_are_compared_with_finer_ones(url: str, connection: Connection):
    connection.execute("UPDATE retention SET drop_after = INTERVAL '20 days'")
    connection.execute("CALL drop_old_trades()")
    dropped = one(connection, "SELECT dropped_before FROM retention")
    assert audit(url).differences == 0
    # Without a refresh, which would roll the damage up.
    damage_candles(connection, "candles_5m", f"high = 99 WHERE bucket < '{dropped.isoformat()}'")
    audit(url)
    assert {row[2:] for row in differences(connection)} == {("5m", None, False)}


def faulty(connection: Connection, function: str, right: str, wrong: str) -> None:
    """Replace a part of a function."""
    text = one(connection, "SELECT pg_get_functiondef(%s::regproc)", function)
    assert text.count(right) == 1
    connection.execute(text.replace(right, wrong))  # pyright: ignore[reportArgumentType, reportCallIssue]


def test_fault_late_trades_left_no_stale_range(url: str, connection: Connection):
    faulty(connection, "trades_stored", "IF oldest < fresh THEN", "IF false THEN")
    connection.execute(STORE, ("AAPL", datetime.now(UTC) - timedelta(days=2), 9, 50))
    connection.execute("CALL refresh_candles()")
    audit(url)
    assert {row[2] for row in differences(connection)} >= set(LEVELS)


def test_fault_changes_left_no_stale_range(url: str, connection: Connection):
    faulty(connection, "trades_recorded", "WHERE time < fresh", "WHERE false")
    connection.execute("UPDATE trades SET price = 50 WHERE price = 12 AND time < now() - INTERVAL '1 day'")
    connection.execute("CALL refresh_candles()")
    audit(url)
    assert {row[2] for row in differences(connection)} >= set(LEVELS)


def test_fault_coarser_candles_were_not_refreshed(url: str, connection: Connection):
    faulty(connection, "refresh_candles", "IF step < array_length(buckets, 1) THEN", "IF step < 3 THEN")
    faulty(connection, "refresh_candles", "step := 2;", "step := 9;")
    connection.execute(STORE, ("AAPL", datetime.now(UTC) - timedelta(days=2), 9, 50))
    connection.execute("CALL refresh_candles()")
    audit(url)
    assert {"30m", "1h", "4h", "1d"} <= {row[2] for row in differences(connection)}


def test_fault_a_refresh_deleted_candles_of_dropped_trades(url: str, connection: Connection):
    connection.execute("UPDATE retention SET drop_after = INTERVAL '20 days'")
    connection.execute("CALL drop_old_trades()")
    connection.execute("CALL refresh_continuous_aggregate('candles_1m', NULL, now() - INTERVAL '20 days', force => true)")
    audit(url)
    assert {"5m", "15m", "30m", "1h", "4h", "1d"} <= {row[2] for row in differences(connection)}


def test_fault_the_latest_price_followed_the_arrival(url: str, connection: Connection):
    faulty(
        connection,
        "trades_stored",
        "(SELECT latest_trades.time FROM latest_trades WHERE latest_trades.symbol = newest.symbol)",
        "NULL::timestamptz",
    )
    faulty(connection, "trades_stored", "WHERE (excluded.time, excluded.trade_id) > (known.time, known.trade_id)", "")
    connection.execute(STORE, ("AAPL", datetime.now(UTC) - timedelta(days=2), 9, 50))
    assert one(connection, "SELECT price FROM latest_trades") == 50
    audit(url)
    assert [row[0] for row in differences(connection) if row[0] == "latest_price"] == ["latest_price"]
    assert one(connection, "SELECT price FROM latest_trades") == 10


def test_fault_a_cancelled_trade_stayed_the_latest_price(url: str, connection: Connection):
    connection.execute("DROP TRIGGER trades_changed ON trades")
    connection.execute("DELETE FROM trades WHERE time > now() - INTERVAL '1 hour'")
    audit(url)
    assert [row[0] for row in differences(connection) if row[0] == "latest_price"] == ["latest_price"]

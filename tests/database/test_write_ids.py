"""Write ids: the statement that wrote each trade, change and candle."""

import random
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from decimal import Decimal
from typing import Any, LiteralString

import pytest
from helpers.candle_scenarios import INTERVALS, connected_to_migrated
from helpers.support import PROJECT, SERVER, Connection, Databases, one, store, trade
from helpers.versions import INSERT, at, commits, trade_count_is_correct
from psycopg import errors


def test_each_execution_of_a_prepared_statement_gets_a_new_write_id(known: Connection):
    for second in range(12):
        known.execute(INSERT, trade(second, "1"), prepare=True)
    assert one(known, "SELECT count(DISTINCT write_id) FROM trades") == 12
    assert one(known, "SELECT count(*) FROM trades JOIN commits USING (write_id)") == 12


def test_trades_of_one_statement_share_a_write_id_even_if_several_parts_of_it_write(known: Connection):
    known.execute("""
        WITH first AS (INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'AAPL', 1, 1) RETURNING true),
            second AS (INSERT INTO trades (time, symbol, price, volume) VALUES (now(), 'MSFT', 1, 1) RETURNING true)
        SELECT FROM first, second
    """)
    assert one(known, "SELECT count(DISTINCT write_id) FROM trades") == 1
    known.execute("""
        INSERT INTO trades (time, symbol, price, volume) SELECT time, symbol, 3, 3 FROM trades WHERE symbol = 'AAPL'
        UNION ALL SELECT time + INTERVAL '1 second', symbol, 3, 3 FROM trades WHERE symbol = 'AAPL'
        ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = excluded.price
    """)
    assert "correct" in {kind for kind, *_ in commits(known)}
    assert trade_count_is_correct(known)
    written = "SELECT count(*) FROM (SELECT write_id FROM trades EXCEPT SELECT write_id FROM commits) AS unknown"
    assert one(known, written) == 0


def test_corrections_and_cancels_have_the_previous_write_id_and_their_own(known: Connection):
    store(known, trade(0, "1"), trade(1, "1"))
    stored = dict(known.execute("SELECT time, write_id FROM trades").fetchall())
    known.execute("UPDATE trades SET price = 2 WHERE time = %s", (at(0),))
    corrected = one(known, "SELECT write_id FROM trades WHERE time = %s", at(0))
    assert corrected > stored[at(1)] == one(known, "SELECT write_id FROM trades WHERE time = %s", at(1))
    assert known.execute("SELECT DISTINCT write_id FROM candles").fetchall() == [(corrected,)]
    known.execute("DELETE FROM trades WHERE time = %s", (at(0),))
    changes = known.execute("SELECT action, write_id, write_id_before FROM trade_changes ORDER BY id").fetchall()
    cancelled = changes[1][1]
    assert changes == [("correct", corrected, stored[at(0)]), ("cancel", cancelled, corrected)]
    assert cancelled > corrected
    kinds = known.execute("SELECT kind FROM commits WHERE write_id IN (%s, %s) ORDER BY version", (corrected, cancelled))
    assert kinds.fetchall() == [("correct",), ("cancel",)]


def test_write_id_set_by_a_client_is_rejected_or_overwritten(known: Connection):
    with pytest.raises(errors.GeneratedAlways, match="set by the database"):
        known.execute("INSERT INTO trades (time, symbol, price, volume, write_id) VALUES (now(), 'AAPL', 1, 1, 1)")
    store(known, trade(0, "1"))
    before = one(known, "SELECT write_id FROM trades")
    known.execute("UPDATE trades SET write_id = 0")
    assert one(known, "SELECT write_id FROM trades") == before
    known.execute("UPDATE trades SET write_id = 0, price = 2")
    assert one(known, "SELECT write_id FROM trades") == one(known, "SELECT currval('write_ids')")


@contextmanager
def writer(connection: Connection, columns: tuple[LiteralString, LiteralString]) -> Iterator[Connection]:
    """Connect as a role that may insert, update (these columns) and delete trades."""
    insert, update = columns
    connection.execute("CREATE ROLE writer_of_test")
    try:
        connection.execute(f"GRANT SELECT, DELETE, INSERT{insert}, UPDATE{update} ON trades TO writer_of_test")
        connection.execute("SET SESSION AUTHORIZATION writer_of_test")
        try:
            yield connection
        finally:
            connection.execute("SET SESSION AUTHORIZATION postgres")
    finally:
        connection.execute("DROP OWNED BY writer_of_test")
        connection.execute("DROP ROLE writer_of_test")


def store_correct_and_cancel(connection: Connection) -> None:
    connection.execute(INSERT, trade(0, "1"))
    with connection.cursor().copy("COPY trades (time, symbol, price, volume) FROM STDIN") as copy:
        copy.write("2026-02-08T10:30:05Z\tAAPL\t1\t1\n")
    connection.execute("UPDATE trades SET price = 2 WHERE time = %s", (at(0),))
    connection.execute("DELETE FROM trades WHERE time = %s", (at(5),))


WITH_WRITE_ID: LiteralString = "INSERT INTO trades (time, symbol, price, volume, write_id) VALUES (now(), 'AAPL', 1, 1, 1)"


def test_role_that_may_write_trades_can_not_write_write_ids_or_versions(known: Connection):
    with writer(known, ("", "")) as connection:
        store_correct_and_cancel(connection)
        refused: list[LiteralString] = [
            "SELECT nextval('write_ids')",
            "SELECT setval('versions', 1)",
            "UPDATE data_version SET version = 1",
            "DELETE FROM commits",
            "INSERT INTO pending_commits (write_id, kind, trade_count) VALUES (1, 'store', 1)",
            "SELECT update_data_version(1, 1)",
        ]
        for statement in refused:
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(statement)
        with pytest.raises(errors.GeneratedAlways):
            connection.execute(WITH_WRITE_ID)
        connection.execute("UPDATE trades SET write_id = 1")
    assert one(known, "SELECT write_id FROM trades") > 1
    assert [kind for kind, *_ in commits(known)] == ["store", "store", "correct", "cancel"]
    assert trade_count_is_correct(known)


if SERVER:  # TimescaleDB 2.23 has no privileges on columns of a hypertable with a columnstore

    def test_privileges_on_the_other_columns_are_enough_to_write_trades(known: Connection):
        with writer(known, (" (time, symbol, trade_id, price, volume)", " (price, volume)")) as connection:
            store_correct_and_cancel(connection)
            for statement in (WITH_WRITE_ID, "UPDATE trades SET write_id = 1"):
                with pytest.raises(errors.InsufficientPrivilege):
                    connection.execute(statement)


def test_candles_of_every_interval_have_the_greatest_write_id_of_their_trades(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        start = one(connection, "SELECT time_bucket(INTERVAL '7 days', now()) - INTERVAL '21 days'")
        numbers = random.Random(7)
        trades = [
            (start + timedelta(minutes=numbers.randrange(14 * 1440)), f"S{number % 3}", number, Decimal(1), Decimal(1))
            for number in range(120)
        ]
        numbers.shuffle(trades)
        store(connection, *trades[:80])
        assert differing_write_ids(connection) == [], "before a refresh"
        connection.execute("CALL refresh_candles()")
        store(connection, *trades[80:])
        connection.execute("UPDATE trades SET price = 5 WHERE trade_id % 7 = 0")
        connection.execute("DELETE FROM trades WHERE trade_id % 11 = 0")
        connection.execute("CALL refresh_candles()")
        assert differing_write_ids(connection) == [], "after a refresh"
        for relation in ("trades", "candles_1m", "candles_5m"):
            connection.execute("SELECT compress_chunk(chunk, true) FROM show_chunks(%s::regclass) AS chunk", (relation,))
        connection.execute("UPDATE trades SET price = 6 WHERE trade_id % 7 = 1")
        connection.execute("CALL refresh_candles()")
        assert differing_write_ids(connection) == [], "with chunks in the columnstore"


def differing_write_ids(connection: Connection) -> list[Any]:
    """Return interval, symbol and bucket of each candle whose write_id is not the greatest of its trades."""
    return connection.execute(
        """
        SELECT level.interval, symbol, bucket, candle.write_id, expected.write_id
        FROM unnest(%s::text[], %s::interval[]) AS level ("interval", length)
        CROSS JOIN LATERAL (
            SELECT symbol, time_bucket(length, time) AS bucket, max(write_id) AS write_id FROM trades GROUP BY 1, 2
        ) AS expected
        LEFT JOIN candles AS candle USING ("interval", symbol, bucket)
        WHERE candle.write_id IS DISTINCT FROM expected.write_id
        """,
        (list(INTERVALS), list(INTERVALS.values())),
    ).fetchall()


def test_no_statement_compares_a_column_with_currval():
    """A comparison with a volatile function uses no index: a variable holds its value."""
    texts = [path.read_text() for path in (PROJECT / "alembic" / "sql").glob("*.sql")]
    assert texts
    assert not [text for text in texts if re.search(r"(?<!:)= currval\(", text)]

"""Versions: the order of commits, and the number of stored trades."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from decimal import Decimal

import psycopg
import pytest
from helpers.candle_scenarios import connected_to_migrated
from helpers.support import SERVER, T0, Connection, Databases, one, store, trade
from helpers.versions import INSERT, TRADE_COUNT, at, commits, trade_count_is_correct

from market_data.cli.data.statements import NOT_STREAMED

DELETE = "DELETE FROM trades WHERE symbol = %s AND time = %s"


def test_commits_have_kind_count_and_time_range_of_their_trades(known: Connection):
    known.execute(INSERT.replace("VALUES", "VALUES (%s, %s, %s, %s, %s), "), (*trade(9, "1"), *trade(3, "1", symbol="MSFT")))
    with known.cursor().copy("COPY trades (time, symbol, price, volume) FROM STDIN") as copy:
        copy.write("2026-02-08T10:30:00Z\tAAPL\t1\t1\n2026-02-08T10:30:01Z\tAAPL\t1\t1\n2026-02-08T10:31:00Z\tAAPL\t1\t1\n")
    known.execute("UPDATE trades SET price = 2 WHERE time <= %s", (at(3),))
    known.execute("DELETE FROM trades WHERE time >= %s", (at(9),))
    assert commits(known) == [
        ("store", 2, at(3), at(9)),
        ("store", 3, at(0), at(60)),
        ("correct", 3, at(0), at(3)),
        ("cancel", 2, at(9), at(60)),
    ]
    assert one(known, "SELECT newest_version() = max(version) FROM commits")
    assert trade_count_is_correct(known)
    assert one(known, "SELECT count(*) FROM pending_commits") == 0


def test_statements_that_change_nothing_get_no_version(known: Connection):
    store(known, trade(0, "1.10"))
    before = commits(known), one(known, "SELECT write_id FROM trades")
    known.execute(f"{INSERT} ON CONFLICT DO NOTHING", trade(0, "2"))
    known.execute("UPDATE trades SET price = 1.1, volume = volume")
    known.execute("UPDATE trades SET price = 5 WHERE symbol = 'MSFT'")
    known.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
    assert (commits(known), one(known, "SELECT write_id FROM trades")) == before


def test_a_moved_trade_counts_once_and_its_commit_has_both_times(known: Connection):
    store(known, trade(0, "1"))
    known.execute("UPDATE trades SET time = time + INTERVAL '1 minute', price = 3")
    assert commits(known)[-1] == ("correct", 1, at(0), at(60))
    assert trade_count_is_correct(known)
    assert known.execute("SELECT action, moved_to FROM trade_changes").fetchall() == [("cancel", at(60))]


def test_truncate_gets_a_version_with_the_count_and_range_of_all_trades(known: Connection):
    store(known, trade(0, "1"), trade(-86_400 * 30, "1"))
    with known.transaction():
        known.execute(INSERT, trade(1, "1"))
        known.execute("TRUNCATE trades")
        known.execute(INSERT, trade(2, "1"))
        known.execute(INSERT, trade(3, "1"))
    *_, (kind, count, first, last), after, _ = commits(known)
    assert (kind, count, after[0]) == ("truncate", 3, "store")
    assert first <= at(-86_400 * 30) < at(1) <= last
    assert one(known, TRADE_COUNT) == 2


def test_each_statement_of_a_transaction_has_a_version_and_rolled_back_ones_have_none(known: Connection, other: Connection):
    with known.transaction():
        known.execute(INSERT, trade(0, "1"))
        with known.transaction() as inner:
            known.execute(INSERT, trade(1, "1"))
            raise psycopg.Rollback(inner)
        known.execute(INSERT, trade(2, "1"))
    other.execute(INSERT, trade(3, "1"))
    other.rollback()
    assert commits(known) == [("store", 1, at(0), at(0)), ("store", 1, at(2), at(2))]
    joined = "SELECT count(*) FROM trades JOIN commits USING (write_id) WHERE time = first_time"
    assert one(known, joined) == 2
    assert trade_count_is_correct(known)


def test_trades_that_are_not_streamed_get_versions_too(known: Connection):
    with known.transaction():
        known.execute(NOT_STREAMED)
        known.execute(INSERT, trade(0, "1"))
        known.execute("UPDATE trades SET price = 2")
        known.execute("DELETE FROM trades")
    assert [kind for kind, *_ in commits(known)] == ["store", "correct", "cancel"]
    assert one(known, "SELECT count(*) FROM stream_events") == 0


def test_closed_and_revised_candles_get_versions_with_their_buckets(known: Connection):
    known.execute("UPDATE stream_progress SET closed_until = date_trunc('minute', now()) - INTERVAL '3 minutes'")
    minute = one(known, "SELECT closed_until FROM stream_progress")
    store(known, (minute, "AAPL", 0, Decimal(1), Decimal(1)))
    known.execute("SELECT advance_stream()")
    store(known, trade(0, "1"))
    known.execute("DELETE FROM stale_ranges")
    known.execute("SELECT advance_stream()")
    found = commits(known)
    assert [kind for kind, *_ in found] == ["store", "close", "store", "revise"]
    assert found[1][3] == minute
    assert found[3][1:] == (0, T0, minute)


def test_commit_times_do_not_decrease_after_the_clock_was_set_back(known: Connection):
    store(known, trade(0, "1"))
    ahead = one(known, "SELECT setval('commit_clock', (extract(epoch FROM now() + INTERVAL '1 hour') * 1000000)::bigint)")
    store(known, trade(1, "1"), trade(2, "1"))
    times = [time for (time,) in known.execute("SELECT committed_at FROM commits ORDER BY version")]
    assert times == sorted(times)
    assert [round(time.timestamp() * 1_000_000) for time in times[1:]] == [ahead, ahead]


def test_commit_blocks_have_the_smallest_write_id_of_each_block(known: Connection):
    known.execute("SELECT setval('versions', 19990)")
    for second in range(30):
        with known.transaction():
            known.execute("SELECT setval('write_ids', %s)", (1000 + (second * 7) % 30,))
            known.execute(INSERT, trade(second, "1"))
    known.execute("SELECT setval('write_ids', 5000)")
    smallest = known.execute("SELECT version / 10000, min(write_id) FROM commits GROUP BY 1 ORDER BY 1").fetchall()
    assert known.execute("SELECT block, min(write_id) FROM commit_blocks GROUP BY 1 ORDER BY 1").fetchall() == smallest
    assert [block for block, _ in smallest] == [1, 2]


def drop_by_policy(connection: Connection) -> None:
    connection.execute("CALL set_retention('30 days')")
    connection.execute("CALL drop_old_trades()")


def drop_by_hand(connection: Connection) -> None:
    connection.execute("SELECT drop_chunks('trades', older_than => INTERVAL '30 days')")
    connection.execute("CALL refresh_candles()")


def drop_all_by_hand(connection: Connection) -> None:
    connection.execute("SELECT drop_chunks('trades', older_than => now() + INTERVAL '30 days')")
    connection.execute("CALL refresh_candles()")


@pytest.mark.parametrize("drop", [drop_by_policy, drop_by_hand, drop_all_by_hand])
def test_dropped_chunks_get_no_version_and_the_trade_count_stays_correct(
    new_migrated_database: Databases, drop: Callable[[Connection], None]
):
    with connected_to_migrated(new_migrated_database) as connection:
        now = one(connection, "SELECT now()")
        store(connection, *((now - timedelta(days=days), "AAPL", 0, Decimal(1), Decimal(1)) for days in range(0, 80, 4)))
        connection.execute("CALL refresh_candles()")
        connection.execute(
            "SELECT compress_chunk(chunk) FROM show_chunks('trades', older_than => INTERVAL '50 days') AS chunk"
        )
        before = commits(connection), one(connection, "SELECT newest_version()")
        drop(connection)
        assert one(connection, "SELECT count(*) FROM trades") < 13
        assert trade_count_is_correct(connection)
        connection.execute("CALL refresh_candles()")
        assert trade_count_is_correct(connection)
        assert (commits(connection), one(connection, "SELECT newest_version()")) == before
        store(connection, (now + timedelta(seconds=1), "AAPL", 0, Decimal(1), Decimal(1)))
        assert trade_count_is_correct(connection)


def test_commits_are_compressed_and_kept(new_migrated_database: Databases):
    with connected_to_migrated(new_migrated_database) as connection:
        store(connection, trade(0, "1"))
        connection.execute("SELECT setval('versions', 1500000)")
        store(connection, trade(1, "1"), trade(2, "1"))
        job = one(connection, "SELECT job_id FROM timescaledb_information.jobs WHERE hypertable_name = 'commits'")
        connection.execute("CALL run_job(%s)", (job,))
        chunks = """
            SELECT is_compressed FROM timescaledb_information.chunks
            WHERE hypertable_name = 'commits' ORDER BY range_start_integer
        """
        assert connection.execute(chunks).fetchall() == [(True,), (False,)]
        assert [kind for kind, *_ in commits(connection)] == ["store"] * 3
        connection.execute("CALL trim_stream()")
        assert len(commits(connection)) == 3


if SERVER:  # the embedded engine has one session, so one open transaction

    def test_versions_follow_the_order_of_commits_and_each_commit_is_whole(known: Connection, database_url: str):
        """A reader beside eight writers that sees a version sees all lower ones, and counts the trades that it sees."""
        store(known, *(trade(0, "1", symbol=f"S{number}") for number in range(8)))

        def write(number: int) -> list[int]:
            mine: list[int] = []
            with psycopg.connect(database_url, autocommit=True) as connection:
                for second in range(1, 100):
                    with connection.transaction():
                        if second % 10 == 0:
                            connection.execute(NOT_STREAMED)
                        if number == 7 and second % 5 == 0:
                            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
                        row = connection.execute(f"{INSERT} RETURNING write_id", trade(second, "1", symbol=f"S{number}"))
                        mine += [write_id for (write_id,) in row]
                        if second % 9 == 0:
                            connection.execute(DELETE, (f"S{number}", at(second)))
            return mine

        seen: list[int] = []

        def read() -> None:
            last = seen[-1] if seen else 0
            found = known.execute("SELECT version FROM commits WHERE version > %s ORDER BY 1", (last,))
            seen.extend(version for (version,) in found)

        with ThreadPoolExecutor(8) as writers:
            writing = [writers.submit(write, number) for number in range(8)]
            while not all(each.done() for each in writing):
                read()
                ((newest, greatest, counted, stored),) = known.execute("""
                    SELECT newest_version(), (SELECT max(version) FROM commits),
                        (SELECT sum(trade_count) FROM data_version), (SELECT count(*) FROM trades)
                """).fetchall()
                assert (newest, counted) == (greatest, stored)
            written = [each.result() for each in writing]
        read()
        rows = known.execute("SELECT version, write_id, committed_at FROM commits ORDER BY version").fetchall()
        assert seen == [version for version, *_ in rows], "no version appeared after a higher one"
        assert [time for *_, time in rows] == sorted(time for *_, time in rows)
        order = {write_id: version for version, write_id, _ in rows}
        for mine in written:  # each session commits in the order of its writes
            assert [order[write_id] for write_id in mine] == sorted(order[write_id] for write_id in mine)
        assert trade_count_is_correct(known)

    @pytest.mark.parametrize("isolation", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
    def test_count_and_version_are_correct_after_commits_of_every_isolation_level(
        known: Connection, other: Connection, isolation: str
    ):
        store(known, trade(-1, "1"))
        other.execute(f"SET TRANSACTION ISOLATION LEVEL {isolation}".encode())
        other.execute(INSERT, trade(0, "1", symbol="MSFT"))
        known.execute(INSERT, trade(1, "1"))
        other.commit()
        assert one(known, "SELECT newest_version() = max(version) FROM commits")
        assert trade_count_is_correct(known)
        known.execute("DELETE FROM trades WHERE symbol = 'MSFT'")
        assert one(known, "SELECT count(*) FROM data_version") == 1
        assert trade_count_is_correct(known)

    def test_recount_during_concurrent_writes_is_exact(known: Connection, database_url: str):
        store(known, trade(0, "1", symbol="S0"), trade(0, "1", symbol="S1"))
        known.execute("UPDATE data_version SET trade_count = trade_count + 100")

        def write(number: int) -> None:
            with psycopg.connect(database_url, autocommit=True) as connection:
                for second in range(1, 200):
                    connection.execute(INSERT, trade(second, "1", symbol=f"S{number}"))

        with ThreadPoolExecutor(2) as writers:
            writing = [writers.submit(write, number) for number in range(2)]
            known.execute("SELECT recount_trades()")
            for each in writing:
                each.result()
        assert trade_count_is_correct(known)

"""The role of analysts: reads everything but API keys, writes nothing."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

import psycopg
import pytest
from helpers.support import SERVER, Connection, store, trade
from psycopg import sql
from psycopg.conninfo import make_conninfo

RELATIONS = """
    SELECT relname
    FROM pg_class
    WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'v', 'm')
"""


@pytest.fixture(scope="module")
def owner(new_migrated_database: Callable[[], AbstractContextManager[str]]) -> Iterator[Connection]:
    """Connect as the owner of the tables to a new database with trades, some of them in the columnstore."""
    with new_migrated_database() as url, psycopg.connect(url, autocommit=True) as connection:
        connection.execute("SELECT alter_job(job_id, scheduled => false) FROM timescaledb_information.jobs")
        store(connection, trade(0, "5"), trade(30, "6"))
        connection.execute("CALL refresh_candles()")
        connection.execute("SELECT compress_chunk(chunk) FROM show_chunks('trades') AS chunk")
        yield connection


@pytest.fixture
def analyst(owner: Connection) -> Iterator[Connection]:
    """Connect as the analyst. The password of the embedded engine is the same for all roles."""
    owner.execute("ALTER ROLE analyst PASSWORD 'for the test'")
    url = make_conninfo(owner.info.dsn, user="analyst", **({"password": "for the test"} if SERVER else {}))
    with psycopg.connect(url, autocommit=True) as mine:
        yield mine
    owner.execute("ALTER ROLE analyst PASSWORD NULL")


def test_analyst_reads_every_table_and_view(owner: Connection, analyst: Connection):
    names = [name for (name,) in owner.execute(RELATIONS) if name != "api_keys"]
    assert {"trades", "candles", "candles_1w", "latest_prices"} <= set(names)
    for name in names:
        analyst.execute(sql.SQL("SELECT count(*) FROM {}").format(sql.Identifier(name)))
    assert analyst.execute("SELECT count(*) FROM trades").fetchone() == (2,)
    assert analyst.execute("SELECT sum(trade_count) FROM candles").fetchone() == (16,)
    assert analyst.execute("SELECT price FROM latest_prices").fetchone() == (6,)


def test_analyst_can_not_read_api_keys(analyst: Connection):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute("SELECT count(*) FROM api_keys")


def test_analyst_reads_tables_and_chunks_added_later(owner: Connection, analyst: Connection):
    owner.execute("CREATE TABLE added_later AS SELECT 1 AS one")
    owner.execute("CREATE VIEW seen_later AS SELECT one FROM added_later")
    store(owner, trade(86_400 * 30, "7"))  # a new chunk
    try:
        assert analyst.execute("SELECT one FROM added_later").fetchone() == (1,)
        assert analyst.execute("SELECT one FROM seen_later").fetchone() == (1,)
        assert analyst.execute("SELECT count(*) FROM trades").fetchone() == (3,)
    finally:
        owner.execute("DROP VIEW seen_later")
        owner.execute("DROP TABLE added_later")
        owner.execute("DELETE FROM trades WHERE price = 7")


def test_transactions_of_the_analyst_are_read_only_with_a_time_out(analyst: Connection):
    assert analyst.execute("SHOW transaction_read_only").fetchone() == ("on",)
    assert analyst.execute("SHOW statement_timeout").fetchone() == ("1min",)
    assert analyst.execute("SHOW timezone").fetchone() == ("UTC",)


@pytest.mark.parametrize(
    "statement",
    [
        "INSERT INTO symbols (symbol, name) VALUES ('X', 'X')",
        "UPDATE trades SET price = 1",
        "DELETE FROM stale_ranges",
        "TRUNCATE latest_trades",
        "DROP VIEW candles",
        "CREATE TABLE mine (one integer)",
        "CREATE TEMPORARY TABLE mine (one integer)",
        "CALL refresh_candles()",
        "CALL set_retention('30 days')",
        "SELECT drop_chunks('trades', older_than => now())",
        "SELECT add_job('refresh_candles', '1 second')",
        "SELECT delete_job(job_id) FROM timescaledb_information.jobs",
        "SELECT lo_from_bytea(0, 'x')",
        "SELECT pg_advisory_lock(1)",
        "SELECT pg_try_advisory_xact_lock_shared(1, 1)",
        "SELECT lo_creat(-1)",
        "SELECT lo_put(1, 0, 'x')",
        "CALL limit_roles()",
        "SET temp_file_limit = -1",
    ],
)
def test_analyst_in_a_read_write_transaction_still_can_not_write(analyst: Connection, statement: str):
    analyst.execute("SET default_transaction_read_only = off")
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        analyst.execute(statement.encode())

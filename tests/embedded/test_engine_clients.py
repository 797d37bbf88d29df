"""Common clients work on the engine unchanged: psql, psycopg and its pools, SQLAlchemy."""

import asyncio
import random
import shutil
import subprocess
import threading
import time
from typing import LiteralString

import psycopg
import pytest
import sqlalchemy
from psycopg import errors
from psycopg.rows import scalar_row
from psycopg_pool import AsyncConnectionPool, ConnectionPool
from sqlalchemy.exc import DBAPIError

PSQL = shutil.which("psql")
needs_psql = pytest.mark.skipif(PSQL is None, reason="psql is not installed")
CLIENTS = 8


def psql(dsn: str, *arguments: str, stdin: str = "", code: int = 0) -> str:
    assert PSQL
    done = subprocess.run(
        [PSQL, "-X", "-v", "ON_ERROR_STOP=1", *arguments, dsn],
        input=stdin,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == code, done.stderr
    return done.stdout + done.stderr


@needs_psql
def test_psql_describes_a_table(engine, table):
    described = psql(engine, "-c", rf"\d {table}", "-c", r"\dt", "-c", r"\dx", "-c", r"\du")
    assert "integer" in described
    assert "btree (a)" in described
    assert "timescaledb" in described


@needs_psql
def test_psql_copies_both_ways(engine, table):
    out = psql(
        engine,
        "-c",
        rf"\copy {table} FROM STDIN",
        "-c",
        rf"\copy (SELECT * FROM {table} ORDER BY a) TO STDOUT (FORMAT csv, HEADER)",
        stdin="1\tone\n2\t\\N\n",
    )
    assert out == "COPY 2\na,b\n1,one\n2,\n"


@needs_psql
def test_psql_runs_a_script_with_copy_data_and_a_transaction(engine, table):
    script = f"""
        BEGIN;
        COPY {table} FROM STDIN;
1\tone
2\ttwo
\\.
        SAVEPOINT s;
        INSERT INTO {table} VALUES (3, 'three');
        ROLLBACK TO s;
        COMMIT;
        PREPARE q(integer) AS SELECT b FROM {table} WHERE a = $1;
        EXECUTE q(2);
    """
    assert "two" in psql(engine, "-qAt", stdin=script)
    assert psql(engine, "-qAt", "-c", f"SELECT count(*) FROM {table}") == "2\n"


@needs_psql
def test_psql_receives_every_result_of_one_query_string(engine):
    assert psql(engine, "-qAt", "-c", "SELECT 1; SELECT 'a' || ';'; SELECT 3") == "1\na;\n3\n"


@needs_psql
def test_psql_reports_that_copy_must_be_the_sole_statement(engine, table):
    output = psql(engine, "-c", f"SELECT 1; COPY {table} FROM STDIN", stdin="1\tone\n", code=1)
    assert "only as the sole statement" in output
    assert psql(engine, "-qAt", "-c", f"SELECT count(*) FROM {table}") == "0\n"


def work(connection: psycopg.Connection, table: LiteralString, client: int, rounds: int) -> None:
    """Run reads and transactions; each client must find exactly the rows that it has kept."""
    chance = random.Random(client)
    kept = 0
    for at in range(rounds):
        key = client * 1000 + at
        with connection.transaction():
            connection.execute(f"INSERT INTO {table} VALUES (%s, %s)", (key, f"client {client}"))
            if chance.random() < 0.3:
                connection.execute(f"DELETE FROM {table} WHERE a = %s", (key,))
            else:
                kept += 1
        row = connection.execute(f"SELECT count(*) FROM {table} WHERE b = %s", (f"client {client}",)).fetchone()
        assert row == (kept,)


def test_a_pool_of_eight_threads_mixes_reads_and_transactions(engine, table):
    with ConnectionPool(engine, min_size=CLIENTS, max_size=CLIENTS, kwargs={"autocommit": True}) as pool:
        failures: list[BaseException] = []

        def run(client: int) -> None:
            try:
                with pool.connection() as connection:
                    work(connection, table, client, 40)
            except BaseException as error:
                failures.append(error)

        threads = [threading.Thread(target=run, args=(client,)) for client in range(CLIENTS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
        assert not failures


def test_an_async_pool_of_eight_keeps_prepared_statements_apart(engine):
    async def run() -> None:
        options = {"autocommit": True, "prepare_threshold": 0, "row_factory": scalar_row}
        async with AsyncConnectionPool(engine, min_size=CLIENTS, max_size=CLIENTS, kwargs=options, open=False) as pool:

            async def client(number: int) -> None:
                # Every connection names its statements _pg3_0, _pg3_1, …, for different queries.
                async with pool.connection() as connection:
                    for at in range(30):
                        text = f"SELECT %s::integer + {(number + at) % 7}"
                        cursor = await connection.execute(text.encode(), (number,))
                        assert await cursor.fetchone() == number + (number + at) % 7

            await asyncio.gather(*(client(number) for number in range(CLIENTS)))

    asyncio.run(run())


def test_a_pipeline_returns_its_results_in_order(connect, table):
    connection = connect()
    with connection.pipeline() as pipeline:
        cursors = [connection.execute("SELECT %s::integer", (at,)) for at in range(50)]
        pipeline.sync()
        connection.execute(f"INSERT INTO {table} VALUES (1, 'x')")
        # Requests a result before the Sync: libpq sends a Flush.
        assert connection.execute(f"SELECT count(*) FROM {table}").fetchone() == (1,)
    assert [cursor.fetchone() for cursor in cursors] == [(at,) for at in range(50)]


def test_an_error_aborts_a_pipeline_up_to_its_sync(connect, table):
    connection = connect()
    with pytest.raises(errors.DivisionByZero), connection.pipeline() as pipeline:  # noqa: PT012 - the exception leaves the whole block
        connection.execute(f"INSERT INTO {table} VALUES (1, 'x')")
        connection.execute("SELECT 1/0")
        connection.execute(f"INSERT INTO {table} VALUES (2, 'x')")
        pipeline.sync()
    assert connection.execute(f"SELECT a FROM {table}").fetchall() == []
    with connection.pipeline():
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_unfinished_pipeline_blocks_others_and_is_rolled_back_with_its_client(connect, table):
    unfinished, other = connect(), connect()
    unfinished.pgconn.enter_pipeline_mode()
    unfinished.pgconn.send_query_params(f"INSERT INTO {table} VALUES (1, 'x')".encode(), None)
    unfinished.pgconn.send_flush_request()
    unfinished.pgconn.flush()
    time.sleep(0.2)
    unfinished.pgconn.finish()
    assert other.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)


def test_a_result_of_fifty_megabytes_arrives_whole(connect):
    connection = connect()
    rows = connection.execute("SELECT i, repeat(chr(65 + i % 26), 10000) FROM generate_series(1, 5000) i").fetchall()
    assert len(rows) == 5000
    assert all(text == chr(65 + i % 26) * 10000 for i, text in rows)


def test_a_client_that_does_not_read_does_not_block_others(connect):
    slow, other = connect(), connect()
    slow.pgconn.send_query(b"SELECT repeat('x', 10000) FROM generate_series(1, 5000)")
    slow.pgconn.flush()
    time.sleep(0.5)
    started = time.monotonic()
    assert other.execute("SELECT 1").fetchone() == (1,)
    assert time.monotonic() - started < 3
    slow.close()
    assert other.execute("SELECT 1").fetchone() == (1,)


def test_a_server_side_cursor_fetches_in_steps(connect):
    with (
        connect().transaction() as transaction,
        transaction.connection.cursor("steps") as cursor,
    ):
        cursor.itersize = 100
        cursor.execute("SELECT * FROM generate_series(1, 1000)")
        assert sum(row[0] for row in cursor) == 500500


def test_sqlalchemy_core_works(engine):
    database = sqlalchemy.create_engine(engine.replace("postgresql:", "postgresql+psycopg:"))
    things = sqlalchemy.Table(
        "things",
        sqlalchemy.MetaData(),
        sqlalchemy.Column("id", sqlalchemy.Integer, primary_key=True),
        sqlalchemy.Column("price", sqlalchemy.Numeric(10, 2)),
    )
    try:
        things.create(database)
        with database.begin() as connection:
            connection.execute(things.insert(), [{"price": 1.25}, {"price": 2.5}])
        with database.connect() as connection, pytest.raises(DBAPIError):
            connection.execute(sqlalchemy.text("SELECT 1/0"))
        with database.connect() as connection:
            total = connection.execute(sqlalchemy.select(sqlalchemy.func.sum(things.c.price))).scalar_one()
        assert str(total) == "3.75"
        assert sqlalchemy.inspect(database).get_pk_constraint("things")["constrained_columns"] == ["id"]
        things.drop(database)
    finally:
        database.dispose()


def test_more_than_a_hundred_connections_are_refused(engine):
    opened: list[psycopg.Connection] = []
    try:
        with pytest.raises(psycopg.OperationalError, match="too many clients"):
            opened.extend(psycopg.connect(engine) for _ in range(120))
        assert opened[0].execute("SELECT 1").fetchone() == (1,)
    finally:
        for connection in opened:
            connection.close()
    with psycopg.connect(engine) as connection:
        assert connection.execute("SELECT 1").fetchone() == (1,)


def test_deep_expressions_do_not_overwrite_the_engine(connect):
    connection = connect()
    for depth in (500, 2000):
        assert connection.execute(b"SELECT " + b"+".join([b"1"] * depth)).fetchone() == (depth,)
    with pytest.raises(errors.Error, match="memory exhausted"):
        connection.execute(b"SELECT " + b"(" * 20000 + b"1" + b")" * 20000)
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_settings_and_statements_of_a_flushed_pipeline_are_applied_at_its_sync(connect):
    connection, other = connect(), connect()
    connection.execute("PREPARE mine AS SELECT 1")
    with connection.pipeline():
        connection.execute("SET TimeZone = 'Asia/Tokyo'")
        connection.execute("DEALLOCATE ALL")
        connection.execute("LISTEN flushed")
        # Requests a result before the Sync, so the engine executes the above as a part of a pipeline.
        assert connection.execute("SELECT 1").fetchone() == (1,)
    assert other.execute("SHOW TimeZone").fetchone() == ("UTC",)
    assert connection.execute("SHOW TimeZone").fetchone() == ("Asia/Tokyo",)
    with pytest.raises(errors.InvalidSqlStatementName):
        connection.execute("EXECUTE mine")
    other.execute("NOTIFY flushed")
    assert len(list(connection.notifies(timeout=2, stop_after=1))) == 1

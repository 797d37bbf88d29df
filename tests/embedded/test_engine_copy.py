"""COPY in all formats, and its failures."""

from typing import LiteralString

import psycopg
import pytest
from psycopg import errors


def count(connection: psycopg.Connection, table: LiteralString) -> int:
    row = connection.execute(f"SELECT count(*) FROM {table}").fetchone()
    assert row
    return row[0]


@pytest.mark.parametrize("options", ["", "(FORMAT csv)", "(FORMAT binary)"])
def test_copy_from_stdin_and_to_stdout(connect, table, options):
    connection = connect()
    rows = [(at, f'"row", {at}\t') for at in range(1000)]
    with connection.cursor().copy(f"COPY {table} (a, b) FROM STDIN {options}") as copy:
        if "csv" in options:
            for a, b in rows:
                quoted = b.replace('"', '""')
                copy.write(f'{a},"{quoted}"\n')
        else:
            if "binary" in options:
                copy.set_types(["int4", "text"])
            for row in rows:
                copy.write_row(row)
    assert connection.execute(f"SELECT a, b FROM {table} ORDER BY a").fetchall() == rows
    with connection.cursor().copy(f"COPY {table} TO STDOUT {options}") as copy:
        out = b"".join(bytes(part) for part in copy)
    connection.execute(f"TRUNCATE {table}")
    with connection.cursor().copy(f"COPY {table} FROM STDIN {options}") as copy:
        copy.write(out)
    assert count(connection, table) == 1000


def test_the_client_receives_columns_and_format_before_it_sends(connect, table):
    result = connect().pgconn.exec_(f"COPY {table} FROM STDIN (FORMAT binary)".encode())
    assert result.status == psycopg.pq.ExecStatus.COPY_IN
    assert (result.nfields, result.fformat(0)) == (2, 1)


@pytest.mark.parametrize(
    ("data", "error"),
    [
        ("x\tone\n", errors.InvalidTextRepresentation),
        ("1\tone\ttoo many\n", errors.BadCopyFileFormat),
        ("1\tone\n1\ttwice\n", errors.UniqueViolation),
    ],
)
def test_bad_data_is_an_error_and_nothing_is_copied(connect, table, data, error):
    connection = connect()
    with pytest.raises(error), connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("5\tgood\n" * 1 + data + "6\tgood\n" * 5000)
    assert count(connection, table) == 0


def test_an_error_in_the_statement_is_reported_before_any_data(connect):
    with pytest.raises(errors.UndefinedTable), connect().cursor().copy("COPY nowhere FROM STDIN"):
        pytest.fail("the engine requested data")


def test_copy_is_part_of_its_transaction(connect, table):
    connection = connect()
    with pytest.raises(ZeroDivisionError), connection.transaction():  # noqa: PT012 - the exception leaves the whole block
        with connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
            copy.write("1\tone\n")
        assert count(connection, table) == 1
        raise ZeroDivisionError
    assert count(connection, table) == 0


def test_an_error_in_copy_fails_its_transaction(connect, table):
    connection = connect()
    connection.execute("BEGIN")
    with pytest.raises(errors.InvalidTextRepresentation), connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("x\tone\n")
    with pytest.raises(errors.InFailedSqlTransaction):
        connection.execute("SELECT 1")
    connection.execute("ROLLBACK")
    assert connection.execute("SELECT 1").fetchone() == (1,)


def test_an_aborted_copy_leaves_no_rows(connect, table):
    connection = connect()
    with pytest.raises(ZeroDivisionError), connection.cursor().copy(f"COPY {table} FROM STDIN") as copy:  # noqa: PT012 - the exception leaves the whole block
        copy.write("1\tone\n")
        raise ZeroDivisionError
    assert count(connection, table) == 0


def test_a_slow_copy_does_not_block_others(connect, table):
    slow, other = connect(), connect()
    with slow.cursor().copy(f"COPY {table} FROM STDIN") as copy:
        copy.write("1\tone\n")
        assert count(other, table) == 0
        other.execute(f"INSERT INTO {table} VALUES (2, 'two')")
        copy.write("3\tthree\n")
    assert count(other, table) == 3


def test_a_client_that_dies_in_a_copy_leaves_no_rows(connect, table):
    dying, other = connect(), connect()
    dying.pgconn.exec_(f"COPY {table} FROM STDIN".encode())
    dying.pgconn.put_copy_data(b"1\tone\n")
    dying.pgconn.finish()
    assert count(other, table) == 0


@pytest.mark.parametrize("in_transaction", [False, True])
def test_copy_through_the_extended_protocol(connect, table, in_transaction):
    connection = connect()
    if in_transaction:
        connection.execute("BEGIN")
    for at in range(3):
        result = connection.pgconn.exec_params(f"COPY {table} FROM STDIN".encode(), None)
        assert result.status == psycopg.pq.ExecStatus.COPY_IN
        connection.pgconn.put_copy_data(f"{at}\tone\n".encode())
        connection.pgconn.put_copy_end()
        done = connection.pgconn.get_result()
        assert done is not None
        assert done.command_status == b"COPY 1"
        assert connection.pgconn.get_result() is None
    if in_transaction:
        connection.execute("COMMIT")
    assert count(connection, table) == 3


def test_a_prepared_copy_can_be_run_twice(connect, table):
    connection = connect()
    connection.pgconn.prepare(b"load", f"COPY {table} FROM STDIN".encode())
    for at in range(2):
        result = connection.pgconn.exec_prepared(b"load", None)
        assert result.status == psycopg.pq.ExecStatus.COPY_IN
        connection.pgconn.put_copy_data(f"{at}\tone\n".encode())
        connection.pgconn.put_copy_end()
        while connection.pgconn.get_result() is not None:
            pass
    assert count(connection, table) == 2


@pytest.mark.parametrize(
    "statement",
    [
        "COPY {} FROM STDOUT",
        "copy/* from nowhere */{} (b, a) -- to\n from stdin with (format csv)",
        "COPY {} FROM STDIN;",
    ],
)
def test_every_spelling_of_copy_from_stdin_is_recognized(connect, table, statement):
    result = connect().pgconn.exec_(statement.format(table).encode())
    assert result.status == psycopg.pq.ExecStatus.COPY_IN


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1; COPY {} FROM STDIN",
        "COPY {} FROM STDIN; COPY {} FROM STDIN",
        "BEGIN; COPY {} FROM STDIN; COMMIT",
    ],
)
def test_copy_among_other_statements_is_refused_and_the_engine_survives(connect, table, statement):
    connection = connect()
    with pytest.raises(errors.QueryCanceled, match="only as the sole statement"):
        connection.execute(statement.replace("{}", table))
    connection.execute("ROLLBACK")
    assert count(connection, table) == 0


def test_copy_into_a_hypertable(connect):
    connection = connect()
    connection.execute("CREATE TABLE copied (time timestamptz NOT NULL, a integer)")
    connection.execute("SELECT create_hypertable('copied', 'time')")
    with connection.cursor().copy("COPY copied FROM STDIN") as copy:
        for at in range(1000):
            copy.write_row((f"2026-01-{1 + at % 28:02} 00:00+00", at))
    assert count(connection, "copied") == 1000
    connection.execute("DROP TABLE copied")


def test_copy_of_a_million_rows(connect):
    connection = connect()
    connection.execute("CREATE TABLE million (a integer, b timestamptz)")
    with connection.cursor().copy("COPY million FROM STDIN") as copy:
        for start in range(0, 1_000_000, 10_000):
            copy.write("".join(f"{at}\t2026-01-01\n" for at in range(start, start + 10_000)))
    assert count(connection, "million") == 1_000_000
    connection.execute("DROP TABLE million")

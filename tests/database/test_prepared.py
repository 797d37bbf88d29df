"""Prepared statements without a cursor."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any, LiteralString

import psycopg
import pytest

from market_data.database.connection import Connection, connect
from market_data.database.pool import Database
from market_data.queries import prepared
from market_data.queries.prepared import MAX_STATEMENTS, fetch
from market_data.settings import Settings

VALUES: LiteralString = """
    SELECT %(text)s::text, %(time)s::timestamptz, %(count)s::bigint, %(texts)s::text[], %(text)s || '!', NULL::text
    FROM generate_series(1, %(count)s)
"""
PARAMETERS = {"text": "a%b", "time": datetime(2026, 2, 8, 10, 30, tzinfo=UTC), "count": 3, "texts": ["x", "y"], "more": 1}


def with_connection(database_url: str, use: Callable[[Connection], Awaitable[Any]]) -> Any:
    async def run() -> Any:
        async with await connect(database_url, 5) as connection:
            return await use(connection)

    return asyncio.run(run())


async def roll_back(connection: Connection) -> None:
    """Fail in a transaction, after psycopg has prepared a statement, so that it deallocates all statements."""
    await connection.execute("SELECT 1", prepare=True)
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with connection.transaction():
            await connection.execute("SELECT 1 / 0")


@pytest.mark.parametrize("prepare", [True, False])
def test_rows_are_those_of_a_cursor(database_url: str, prepare: bool):
    async def read(connection: Connection) -> tuple[Any, Any]:
        rows = [await fetch(connection, VALUES, PARAMETERS | {"count": count}, prepare=prepare) for count in (3, 100_000, 0)]
        cursor = connection.cursor(binary=True)
        others = [
            await (await cursor.execute(VALUES, PARAMETERS | {"count": count})).fetchall() for count in (3, 100_000, 0)
        ]
        return rows, others

    rows, others = with_connection(database_url, read)
    assert rows == others
    assert [len(each) for each in rows] == [3, 100_000, 0]


@pytest.mark.parametrize(
    ("value", "type_name"),
    [
        (-(2**63), "bigint"),
        (2**63 - 1, "bigint"),
        (Decimal("-1.50"), "numeric"),
        ("it's \\ a '' %(text)s", "text"),
        (["a,b", 'c"d\\', "{e}", "NULL"], "text[]"),
        ([], "text[]"),
        (None, "text[]"),
        (datetime(1, 1, 1, microsecond=1, tzinfo=UTC), "timestamptz"),
        (timedelta(days=-3, microseconds=7), "interval"),
        (date(2026, 2, 8), "date"),
        (True, "boolean"),
    ],
)
def test_literals_of_statements_that_are_not_prepared_are_the_values(database_url: str, value: object, type_name: str):
    statement: Any = f"SELECT %(value)s::{type_name}"

    async def read(connection: Connection) -> list[Any]:
        return await fetch(connection, statement, {"value": value}, prepare=False)

    assert with_connection(database_url, read) == [(value,)]


def test_an_error_leaves_the_connection_usable(database_url: str):
    async def read(connection: Connection) -> list[Any]:
        for number in range(3):  # the first time not prepared
            for statement in ("SELECT 1 / %(number)s::int", "SELECT nothing"):
                with pytest.raises((psycopg.errors.DivisionByZero, psycopg.errors.UndefinedColumn)):
                    await fetch(connection, statement, {"number": 0})
                connection.wanted_name = f"reader {number // 2}"
        return await fetch(connection, "SELECT 1 / %(number)s::int", {"number": 1})

    assert with_connection(database_url, read) == [(1,)]


def test_a_statement_whose_first_run_failed_is_prepared(database_url: str):
    async def read(connection: Connection) -> list[Any]:
        with pytest.raises(psycopg.errors.DivisionByZero):
            await fetch(connection, "SELECT 6 / %(number)s::int", {"number": 0})
        return await fetch(connection, "SELECT 6 / %(number)s::int", {"number": 2})

    assert with_connection(database_url, read) == [(3,)]


@pytest.mark.parametrize("prepare", [True, False])
def test_the_statement_runs_under_the_wanted_name(database_url: str, prepare: bool):
    async def read(connection: Connection) -> list[str]:
        shown: list[str] = []
        for name in ("first", "second", "second"):
            connection.wanted_name = name
            ((found,),) = await fetch(connection, "SELECT current_setting('application_name')", {}, prepare=prepare)
            shown.append(found)
        connection.wanted_name = "with a cursor"
        cursor = await connection.execute("SELECT current_setting('application_name')")
        return [*shown, (await cursor.fetchall())[0][0]]

    assert with_connection(database_url, read) == ["first", "second", "second", "with a cursor"]


@pytest.mark.parametrize("is_named", [True, False])
def test_statements_that_a_rollback_has_deallocated_are_prepared_again(database_url: str, is_named: bool):
    async def read(connection: Connection) -> list[Any]:
        found: list[Any] = []
        for number in range(4):
            if is_named:
                connection.wanted_name = f"reader {number // 2}"
            found += await fetch(connection, "SELECT %(number)s::int", {"number": number})
            await roll_back(connection)
        connection.wanted_name = "with a cursor"
        cursor = await connection.execute("SELECT 4, current_setting('application_name')")
        return [*found, *await cursor.fetchall()]

    assert with_connection(database_url, read) == [(0,), (1,), (2,), (3,), (4, "with a cursor")]


def test_a_statement_in_a_transaction_takes_a_cursor(database_url: str):
    async def read(connection: Connection) -> list[Any]:
        await fetch(connection, "SELECT %(number)s::int", {"number": 1})
        async with connection.transaction():
            await roll_back(connection)
            return await fetch(connection, "SELECT %(number)s::int", {"number": 2})

    assert with_connection(database_url, read) == [(2,)]


def test_a_statement_whose_columns_have_changed_is_prepared_again(database_url: str):
    async def read(connection: Connection) -> list[Any]:
        await connection.execute("CREATE TABLE changed AS SELECT 1 AS number")
        try:
            found = [row for _ in range(2) for row in await fetch(connection, "SELECT number FROM changed", {})]
            await connection.execute("ALTER TABLE changed ALTER number TYPE text")
            return [*found, *await fetch(connection, "SELECT number FROM changed", {})]
        finally:
            await connection.execute("DROP TABLE changed")

    assert with_connection(database_url, read) == [(1,), (1,), ("1",)]


def test_the_name_after_a_failed_read_is_that_of_the_next_one(database_url: str):
    async def read(connection: Connection) -> list[Any]:
        await fetch(connection, "SELECT 1 / %(number)s::int", {"number": 1})
        for name in ("first", "second"):
            connection.wanted_name = name
            with pytest.raises(psycopg.errors.DivisionByZero):
                await fetch(connection, "SELECT 1 / %(number)s::int", {"number": 0})
        return await fetch(connection, "SELECT current_setting('application_name')", {})

    assert with_connection(database_url, read) == [("second",)]


def test_only_prepared_statements_change_the_mode_of_plans(database_url: str):
    statement = "SELECT current_setting('plan_cache_mode')"

    async def read(connection: Connection) -> list[str]:
        found = [await fetch(connection, statement, {}) for _ in range(2)]
        found.append(await fetch(connection, statement, {}, prepare=False))
        found.append(await (await connection.execute(statement)).fetchall())
        found.append(await fetch(connection, statement, {}, prepare=False))
        for _ in range(2):
            with pytest.raises(psycopg.errors.DivisionByZero):
                await fetch(connection, "SELECT 1 / %(number)s::int", {"number": 0})
        async with connection.transaction():
            found.append(await fetch(connection, statement, {}))
        return [mode for ((mode,),) in found]

    modes = ["auto", "force_generic_plan", "force_generic_plan", "auto", "auto", "auto"]
    assert with_connection(database_url, read) == modes


def test_a_statement_that_is_not_repeated_soon_is_not_prepared(database_url: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(prepared, "REPEATED_SECONDS", 0)
    statement = "SELECT current_setting('plan_cache_mode')"

    async def read(connection: Connection) -> list[Any]:
        return [row for _ in range(3) for row in await fetch(connection, statement, {})]

    assert with_connection(database_url, read) == [("auto",)] * 3


@pytest.mark.parametrize(("ratio", "runs"), [(0, 1), (1_000_000, 3)])
def test_a_statement_whose_kept_plan_takes_long_is_planned_each_time(
    database_url: str, monkeypatch: pytest.MonkeyPatch, ratio: int, runs: int
):
    monkeypatch.setattr(prepared, "MAX_PLANNING_RATIO", ratio)

    async def read(connection: Connection) -> list[Any]:
        for number in range(4):
            assert await fetch(connection, "SELECT %(number)s::int AS slow_to_plan", {"number": number}) == [(number,)]
        counted = "SELECT generic_plans FROM pg_prepared_statements WHERE statement LIKE '%slow_to_plan'"
        return await (await connection.execute(counted)).fetchall()

    assert with_connection(database_url, read) == [(runs,)]


def test_statements_beyond_a_maximum_are_not_prepared(database_url: str):
    async def read(connection: Connection) -> tuple[list[Any], int]:
        names = [f"c{number}" for number in range(MAX_STATEMENTS + 2)]
        statements: Any = [f"SELECT %(number)s::int AS {name}" for name in names]
        for number, statement in enumerate(statements):
            await fetch(connection, statement, {"number": number})
        found = [await fetch(connection, statement, {"number": number}) for number, statement in enumerate(statements)]
        return found, len(connection._statements)

    found, prepared_count = with_connection(database_url, read)
    assert found == [[(number,)] for number in range(MAX_STATEMENTS + 2)]
    assert prepared_count == MAX_STATEMENTS


def test_a_cancelled_read_leaves_its_connection(database_url: str):
    async def run() -> bool:
        async with await connect(database_url, 5) as connection:
            task = asyncio.create_task(fetch(connection, "SELECT pg_sleep(%(seconds)s::float8)", {"seconds": 0.5}))
            await asyncio.sleep(0.1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            return connection.closed

    assert asyncio.run(run())


async def _session(connection: Connection) -> int:
    return id(connection)


def test_the_pool_lends_the_connection_used_last(database_url: str):
    async def run() -> tuple[set[int], tuple[int, int, int]]:
        settings = Settings(database_url=database_url, pool_size=3)
        async with Database(database_url, settings) as database:
            used = {await database.read(_session) for _ in range(20)}
            await asyncio.gather(*(database.read(_session) for _ in range(20)))
            return used, database.occupancy()

    used, (in_use, idle, waiting) = asyncio.run(run())
    assert len(used) == 1
    assert (in_use, waiting) == (0, 0)
    assert 1 <= idle <= 3

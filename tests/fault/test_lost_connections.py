"""Writes and reads whose connection to the database is lost at any of their messages."""

import asyncio
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

import pytest
from helpers.support import SERVER, T0, store, trade
from helpers.support import Connection as SyncConnection
from helpers.tcp_proxy import Proxy

from market_data.database.connection import Connection
from market_data.database.pool import OUTCOME_UNKNOWN, Database
from market_data.errors import DatabaseUnavailable
from market_data.models_writes import SymbolIn, TradeIn
from market_data.queries.symbols import insert_symbol, read_symbols
from market_data.queries.trade_changes import delete_trade, read_unchanged_trade, update_trade
from market_data.queries.trade_writes import Outcome, write_trades
from market_data.queries.trades import TradeKey
from market_data.settings import Settings

MAX_MESSAGES = 30

STORED = TradeKey("AAPL", T0, 0)


def incoming(price: int, trade_id: int) -> TradeIn:
    return TradeIn(symbol="AAPL", timestamp=T0, price=Decimal(price), volume=Decimal(1), trade_id=trade_id)


NEW_AND_CONFLICT: Mapping[int, TradeIn] = {0: incoming(1, 1), 1: incoming(2, 0)}
"""A new trade, and one that is stored with another price."""


async def store_new(database: Database) -> Any:
    return summary(await database.write(write_trades, {0: incoming(1, 1)}, 60, partial=False))


async def store_all_or_nothing(database: Database) -> Any:
    return summary(await database.write(write_trades, NEW_AND_CONFLICT, 60, partial=False))


async def store_valid(database: Database) -> Any:
    return summary(await database.write(write_trades, NEW_AND_CONFLICT, 60, partial=True))


def summary(outcome: Outcome) -> Any:
    """Return an outcome in a form that can be compared."""
    return outcome.stored, outcome.existing, {index: str(reason) for index, reason in outcome.rejected.items()}


async def cancel(database: Database) -> Any:
    return (await database.write(delete_trade, STORED, "desk", "reported twice")).by_this


async def correct(database: Database) -> Any:
    return (await database.write(update_trade, STORED, Decimal(3), None, "desk", "fat finger")).by_this


async def correct_nothing(database: Database) -> Any:
    return await database.write(read_unchanged_trade, STORED)


async def add_symbol(database: Database) -> Any:
    return (await database.write(insert_symbol, SymbolIn(symbol="MSFT", name="Microsoft"))).is_new


async def read(database: Database) -> Any:
    return len(await database.read(read_symbols))


CALLS = [store_new, store_all_or_nothing, store_valid, cancel, correct, correct_nothing, add_symbol, read]


async def _cut_at_each_message(
    call: Callable[[Database], Any], settings: Settings, proxy: Proxy, prepare: Callable[[], None], *, forward: bool
) -> list[Any]:
    """Call with a cut at the first message, at the second, and so on, until the call ends before. Return the results."""
    results: list[Any] = []
    async with Database(str(settings.database_url), settings) as database:
        for number in range(1, MAX_MESSAGES):
            prepare()
            await _wait_until_reachable(database)
            proxy.cut_at_message(number, forward=forward)
            try:
                results.append(await call(database))
            except DatabaseUnavailable as error:
                results.append(error)
            if not proxy.is_cut:
                return results
            proxy.restore()
    raise AssertionError("the call sends messages without an end")


async def _wait_until_reachable(database: Database) -> None:
    async with asyncio.timeout(20):
        while True:
            try:
                await database.read(read_symbols)
            except DatabaseUnavailable:
                await asyncio.sleep(0.02)
            else:
                return


@pytest.mark.parametrize("pgbouncer", [False, True], ids=["direct", "as through PgBouncer"])
@pytest.mark.parametrize("forward", [False, True], ids=["lost before", "lost after"])
@pytest.mark.parametrize("call", CALLS, ids=[call.__name__ for call in CALLS])
def test_a_lost_connection_is_a_missing_database_or_the_right_result(
    call: Callable[[Database], Any], proxy: Proxy, proxied: str, known: SyncConnection, *, forward: bool, pgbouncer: bool
):
    def prepare() -> None:
        known.execute("DELETE FROM trades")
        known.execute("DELETE FROM trade_changes")
        known.execute("DELETE FROM symbols WHERE symbol = 'MSFT'")
        store(known, trade(0, "1"))

    settings = Settings(
        database_url=proxied,
        database_direct_url=proxied if pgbouncer else None,
        database_read_url=proxied,  # a write then reads the position of the log after its commit
        pool_size=1,
    )
    *interrupted, result = asyncio.run(_cut_at_each_message(call, settings, proxy, prepare, forward=forward))
    assert not isinstance(result, DatabaseUnavailable)
    unavailable = [each for each in interrupted if isinstance(each, DatabaseUnavailable)]
    assert all(each == result for each in interrupted if each not in unavailable)
    if call is read:
        assert unavailable == []
    else:
        assert {str(error) for error in unavailable} == {OUTCOME_UNKNOWN}
    if call is store_all_or_nothing:
        assert known.execute("SELECT count(*) FROM trades").fetchone() == (1,)


if SERVER:

    @pytest.mark.parametrize("setting", ["idle_in_transaction_session_timeout", "transaction_timeout"])
    def test_a_session_that_the_server_ends_is_a_missing_database(setting: str, database_url: str):
        """The server reports these as errors of the transaction, not of the connection."""

        async def outlast(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute("SELECT set_config(%s, '50ms', true)", (setting,))
                await asyncio.sleep(0.5)
                await connection.execute("SELECT 1")

        async def work() -> None:
            async with Database(database_url, Settings(database_url=database_url)) as database:
                with pytest.raises(DatabaseUnavailable):
                    await database.write(outlast)
                assert await database.read(read_symbols) == []

        asyncio.run(work())

"""Lease of the feed: one holder at a time, whose trades are stored once."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta
from decimal import Decimal
from random import Random
from typing import Any, TypeVar

import psycopg
from helpers.simulation.connection import Network, SimulatedConnection
from helpers.simulation.lease_table import LeaseTable
from helpers.support import T0, Connection, store, trade

from market_data.feed.random_walk import FeedTrade, Listing
from market_data.queries.latest_prices import read_last_prices
from market_data.queries.leases import acquire_lease, release_lease
from market_data.queries.symbols import insert_symbols
from market_data.queries.trade_writes import store_feed_trades

T = TypeVar("T")

APPLE = Listing("AAPL", "Apple Inc.", 270_00, 0.28)
BATCH = [FeedTrade(T0, "AAPL", 0, Decimal("1.50"), Decimal("2.25"))]


def run(database_url: str, query: Callable[..., Awaitable[T]], *arguments: Any) -> T:
    """Return the result of a function of `queries`."""

    async def once() -> T:
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            return await query(connection, *arguments)

    return asyncio.run(once())


def test_a_lease_has_one_holder_until_it_is_released(database_url: str):
    def acquire(holder: str) -> bool:
        return run(database_url, acquire_lease, "feed", holder, 60)

    assert [acquire("one"), acquire("two"), acquire("one")] == [True, False, True]
    run(database_url, release_lease, "feed", "two")
    assert not acquire("two"), "only the holder can release it"
    run(database_url, release_lease, "feed", "one")
    assert acquire("two")


def test_an_expired_lease_is_free(database_url: str, connection: Connection):
    run(database_url, acquire_lease, "feed", "one", 60)
    connection.execute("UPDATE leases SET expires_at = clock_timestamp() - INTERVAL '1 second'")
    assert run(database_url, acquire_lease, "feed", "two", 60)
    assert not run(database_url, acquire_lease, "feed", "one", 60)


def test_a_lease_from_before_the_clock_was_set_back_is_free(database_url: str, connection: Connection):
    run(database_url, acquire_lease, "feed", "one", 60)
    connection.execute("UPDATE leases SET expires_at = expires_at + INTERVAL '1 hour'")
    assert run(database_url, acquire_lease, "feed", "two", 60)
    assert not run(database_url, acquire_lease, "feed", "one", 60)


def test_only_the_holder_stores_trades_which_extends_the_lease(database_url: str, connection: Connection):
    run(database_url, insert_symbols, [APPLE])
    assert not run(database_url, store_feed_trades, "one", 60, BATCH)
    run(database_url, acquire_lease, "feed", "one", 1)
    assert not run(database_url, store_feed_trades, "two", 60, BATCH)
    assert connection.execute("SELECT count(*) FROM trades").fetchone() == (0,)

    assert run(database_url, store_feed_trades, "one", 60, BATCH)
    ((left,),) = connection.execute("SELECT expires_at - clock_timestamp() FROM leases").fetchall()
    assert left > timedelta(seconds=50)


def test_a_batch_stored_twice_exists_once(database_url: str, connection: Connection):
    run(database_url, insert_symbols, [APPLE])
    run(database_url, acquire_lease, "feed", "one", 60)
    for _ in range(2):
        assert run(database_url, store_feed_trades, "one", 60, BATCH)
    rows = connection.execute("SELECT time, symbol, trade_id, price, volume FROM trades").fetchall()
    assert rows == [tuple(BATCH[0])]


def test_an_existing_symbol_keeps_its_name(database_url: str, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apples')")
    run(database_url, insert_symbols, [APPLE, Listing("MSFT", "Microsoft", 1, 0.1)])
    rows = connection.execute("SELECT symbol, name FROM symbols ORDER BY symbol").fetchall()
    assert rows == [("AAPL", "Apples"), ("MSFT", "Microsoft")]


def test_last_prices_are_those_of_the_latest_trades(database_url: str, connection: Connection):
    store(connection, trade(1, "1.10"), trade(2, "2.20"), trade(2, "3.30", trade_id=1), trade(9, "9", symbol="ACME"))
    prices = run(database_url, read_last_prices, [APPLE, Listing("MSFT", "Microsoft", 1, 0.1)])
    assert prices == {"AAPL": Decimal("3.30")}


def test_an_inactive_symbol_gets_no_trades(database_url: str, connection: Connection):
    run(database_url, insert_symbols, [APPLE, Listing("MSFT", "Microsoft", 500_00, 0.2)])
    connection.execute("UPDATE symbols SET active = false WHERE symbol = 'AAPL'")
    run(database_url, acquire_lease, "feed", "one", 60)
    batch = [*BATCH, FeedTrade(T0, "MSFT", 0, Decimal(1), Decimal(1))]
    assert run(database_url, store_feed_trades, "one", 60, batch)
    assert connection.execute("SELECT symbol FROM trades").fetchall() == [("MSFT",)]


def test_the_simulated_leases_behave_like_those_of_the_database(database_url: str):
    """`tests/simulation` relies on them."""
    random = Random(1)
    run(database_url, insert_symbols, [APPLE])

    async def compare() -> None:
        now = 0.0
        table = LeaseTable(lambda: now)
        simulated: Any = SimulatedConnection(Network(random, 0), table)
        async with await psycopg.AsyncConnection.connect(database_url, autocommit=True) as connection:
            for _ in range(300):
                holder, seconds = random.choice(["one", "two"]), random.choice([5.5, 30.5])
                match random.randrange(4):
                    case 0:
                        results = [await acquire_lease(each, "feed", holder, seconds) for each in (connection, simulated)]
                    case 1:
                        results = [await release_lease(each, "feed", holder) for each in (connection, simulated)]
                    case 2:
                        results = [await store_feed_trades(each, holder, seconds, BATCH) for each in (connection, simulated)]
                    case _:
                        passed = random.choice([2, 11, 3600, -3600])
                        now += passed
                        shift = "UPDATE leases SET expires_at = expires_at - make_interval(secs => %s)"
                        await connection.execute(shift, (passed,))
                        continue
                assert len(set(results)) == 1, results

    asyncio.run(compare())

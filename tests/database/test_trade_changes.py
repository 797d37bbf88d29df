"""Cancelled and corrected trades: their effect on candles, latest trades and the audit trail."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from helpers.candle_scenarios import CANDLES, CANDLES_VIEW, TRADES, Scenario, connected_to_migrated
from helpers.support import T0, Connection, Databases, Trade, store, trade
from hypothesis import given, settings
from hypothesis import strategies as st

from market_data.queries.trade_changes import CANCEL_TRADE, CORRECT_TRADE


@pytest.fixture(scope="module")
def database(new_migrated_database: Databases) -> Iterator[Connection]:
    """Connect to one database for all scenarios, each of which has its own four weeks."""
    with connected_to_migrated(new_migrated_database) as connection:
        yield connection


def cancel(connection: Connection, *trades: Trade) -> None:
    for time, symbol, number, *_ in trades:
        assert connection.execute(CANCEL_TRADE, (symbol, time, number), prepare=False).rowcount == 1


def correct(connection: Connection, trade: Trade, price: str) -> Trade:
    """Return the corrected trade."""
    time, symbol, number, _, volume = trade
    values = {"symbol": symbol, "time": time, "trade_id": number, "price": price, "volume": None}
    connection.execute(CORRECT_TRADE, values, prepare=False)
    return (time, symbol, number, Decimal(price), volume)


def change_some(scenario: Scenario, choices: st.DataObject) -> None:
    """Cancel one trade and correct another, if possible."""
    if scenario.trades:
        number = choices.draw(st.integers(0, len(scenario.trades) - 1))
        cancel(scenario.connection, scenario.trades.pop(number))
    if scenario.trades:
        number = choices.draw(st.integers(0, len(scenario.trades) - 1))
        price = str(choices.draw(st.decimals("0.01", "9999.99", places=2)))
        scenario.trades[number] = correct(scenario.connection, scenario.trades[number], price)


@settings(max_examples=4, derandomize=True, deadline=None, database=None)
@given(trades=TRADES, choices=st.data())
def test_candles_of_every_interval_follow_changes_materialized_or_not(
    database: Connection, trades: list[Trade], choices: st.DataObject
):
    scenario = Scenario(database)
    scenario.store(trades)
    change_some(scenario, choices)
    assert scenario.differing_intervals == [], "before a refresh"
    scenario.refresh()
    change_some(scenario, choices)
    scenario.refresh()
    assert scenario.differing_intervals == [], "after a refresh"
    scenario.compress()
    change_some(scenario, choices)
    scenario.refresh()
    assert scenario.differing_intervals == [], "with chunks in the columnstore"


@pytest.mark.parametrize("state", ["fresh", "materialized", "columnstore"])
def test_a_bucket_without_trades_has_no_candle(database: Connection, state: str):
    scenario = Scenario(database)
    scenario.store([trade(30, "5", symbol="LONELY")])
    if state != "fresh":
        scenario.refresh()
    if state == "columnstore":
        scenario.compress()
    cancel(database, *scenario.trades)
    if state != "fresh":
        scenario.refresh()
    for interval, query in CANDLES.items():
        assert database.execute(query, (scenario.start,)).fetchall() == []
        assert database.execute(CANDLES_VIEW, (interval, scenario.start)).fetchall() == []
    assert database.execute("SELECT FROM latest_trades WHERE symbol = 'LONELY'").fetchall() == []


NEWEST = "SELECT time, trade_id, price FROM latest_trades WHERE symbol = 'AAPL'"


def test_the_latest_trade_follows_cancels_and_corrections(connection: Connection):
    first, second, third = trade(0, "1"), trade(1, "2"), trade(1, "3", trade_id=5)
    store(connection, first, second, third)
    cancel(connection, third)
    assert connection.execute(NEWEST).fetchall() == [(second[0], 0, 2)]
    correct(connection, second, "9")
    correct(connection, first, "8")
    assert connection.execute(NEWEST).fetchall() == [(second[0], 0, 9)]
    cancel(connection, second)
    assert connection.execute(NEWEST).fetchall() == [(first[0], 0, 8)]
    # An UPDATE in psql may also change the time of a trade.
    connection.execute("UPDATE trades SET time = time - INTERVAL '1 second'")
    store(connection, trade(-0.5, "7"))
    assert connection.execute(NEWEST).fetchall() == [(trade(-0.5, "7")[0], 0, 7)]
    connection.execute("DELETE FROM trades")
    assert connection.execute(NEWEST).fetchall() == []


def test_a_rolled_back_change_leaves_no_audit_entry(connection: Connection):
    store(connection, trade(0, "1"))
    with connection.transaction() as block:
        cancel(connection, trade(0, "1"))
        raise psycopg.Rollback(block)
    assert connection.execute("SELECT count(*) FROM trade_changes").fetchone() == (0,)


def test_the_actor_is_the_setting_or_the_connected_role(connection: Connection):
    store(connection, trade(0, "1"), trade(1, "1"))
    with connection.transaction():
        connection.execute("SELECT set_config('market_data.actor', 'desk', true)")
        cancel(connection, trade(0, "1"))
    cancel(connection, trade(1, "1"))
    found = connection.execute("SELECT time, actor = session_user, actor FROM trade_changes ORDER BY id").fetchall()
    assert [(time, by_user) for time, by_user, _ in found] == [(T0, False), (trade(1, "1")[0], True)]
    assert found[0][2] == "desk"

"""Trades that are cancelled and corrected, as the service does it: what candles, newest trades and the trail make of it."""

from collections.abc import Iterator
from decimal import Decimal

import psycopg
import pytest
from helpers.candle_scenarios import CANDLES, THE_VIEW, TRADES, Databases, Scene, migrated
from helpers.support import T0, Connection, Trade, store, trade
from hypothesis import given, settings
from hypothesis import strategies as st

from market_data.queries.trade_changes import CANCEL_TRADE, CORRECT_TRADE


@pytest.fixture(scope="module")
def stage(new_migrated_database: Databases) -> Iterator[Connection]:
    """A database for scenes that each have four weeks of their own, later than the scenes before."""
    with migrated(new_migrated_database) as connection:
        yield connection


def cancel(connection: Connection, *trades: Trade) -> None:
    for time, symbol, number, *_ in trades:
        assert connection.execute(CANCEL_TRADE, (symbol, time, number), prepare=False).rowcount == 1


def correct(connection: Connection, trade: Trade, price: str) -> Trade:
    """The trade as it is then."""
    time, symbol, number, _, volume = trade
    values = {"symbol": symbol, "time": time, "trade_id": number, "price": price, "volume": None}
    connection.execute(CORRECT_TRADE, values, prepare=False)
    return (time, symbol, number, Decimal(price), volume)


def change_some(scene: Scene, choices: st.DataObject) -> None:
    """Cancel one trade and correct another, if there are any."""
    if scene.trades:
        number = choices.draw(st.integers(0, len(scene.trades) - 1))
        cancel(scene.connection, scene.trades.pop(number))
    if scene.trades:
        number = choices.draw(st.integers(0, len(scene.trades) - 1))
        price = str(choices.draw(st.decimals("0.01", "9999.99", places=2)))
        scene.trades[number] = correct(scene.connection, scene.trades[number], price)


@settings(max_examples=4, derandomize=True, deadline=None, database=None)
@given(trades=TRADES, choices=st.data())
def test_candles_of_every_interval_follow_materialized_or_not(
    stage: Connection, trades: list[Trade], choices: st.DataObject
):
    scene = Scene(stage)
    scene.store(trades)
    change_some(scene, choices)
    assert scene.differing == [], "nothing is materialized yet"
    scene.refresh()
    change_some(scene, choices)
    scene.refresh()
    assert scene.differing == [], "all was materialized"
    scene.compress()
    change_some(scene, choices)
    scene.refresh()
    assert scene.differing == [], "all was in the columnstore"


@pytest.mark.parametrize("state", ["fresh", "materialized", "columnstore"])
def test_a_bucket_that_loses_its_only_trade_has_no_candle_any_more(stage: Connection, state: str):
    scene = Scene(stage)
    scene.store([trade(30, "5", symbol="LONELY")])
    if state != "fresh":
        scene.refresh()
    if state == "columnstore":
        scene.compress()
    cancel(stage, *scene.trades)
    if state != "fresh":
        scene.refresh()
    for interval, query in CANDLES.items():
        assert stage.execute(query, (scene.start,)).fetchall() == []
        assert stage.execute(THE_VIEW, (interval, scene.start)).fetchall() == []
    assert stage.execute("SELECT FROM newest_trades WHERE symbol = 'LONELY'").fetchall() == []


NEWEST = "SELECT time, trade_id, price FROM newest_trades WHERE symbol = 'AAPL'"


def test_the_newest_trade_follows_backwards_and_in_place(connection: Connection):
    first, second, third = trade(0, "1"), trade(1, "2"), trade(1, "3", trade_id=5)
    store(connection, first, second, third)
    cancel(connection, third)
    assert connection.execute(NEWEST).fetchall() == [(second[0], 0, 2)]
    correct(connection, second, "9")
    correct(connection, first, "8")
    assert connection.execute(NEWEST).fetchall() == [(second[0], 0, 9)]
    cancel(connection, second)
    assert connection.execute(NEWEST).fetchall() == [(first[0], 0, 8)]
    # In psql, a trade may also get another time.
    connection.execute("UPDATE trades SET time = time - INTERVAL '1 second'")
    store(connection, trade(-0.5, "7"))
    assert connection.execute(NEWEST).fetchall() == [(trade(-0.5, "7")[0], 0, 7)]
    connection.execute("DELETE FROM trades")
    assert connection.execute(NEWEST).fetchall() == []


def test_a_change_that_is_undone_leaves_no_trail(connection: Connection):
    store(connection, trade(0, "1"))
    with connection.transaction() as block:
        cancel(connection, trade(0, "1"))
        raise psycopg.Rollback(block)
    assert connection.execute("SELECT count(*) FROM trade_changes").fetchone() == (0,)


def test_the_actor_is_who_said_so_or_who_was_connected(connection: Connection):
    store(connection, trade(0, "1"), trade(1, "1"))
    with connection.transaction():
        connection.execute("SELECT set_config('market_data.actor', 'desk', true)")
        cancel(connection, trade(0, "1"))
    cancel(connection, trade(1, "1"))
    found = connection.execute("SELECT time, actor = session_user, actor FROM trade_changes ORDER BY id").fetchall()
    assert [(time, by_user) for time, by_user, _ in found] == [(T0, False), (trade(1, "1")[0], True)]
    assert found[0][2] == "desk"

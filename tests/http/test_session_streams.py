"""`/stream` and `/ws` with `session`."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import httpx
import pytest
from helpers.calendars import store_own_calendar
from helpers.candle_scenarios import INTERVALS
from helpers.sse_client import Events, listening
from helpers.support import Connection, Trade, current_trade, store
from helpers.websocket_client import command, open_websocket, receive

from market_data.queries.schedules import TradingSession

ALL = ",".join(["trades", *(f"candles_{interval}" for interval in INTERVALS)])

Candles = dict[tuple[str, str], dict[str, Any]]
"""Candles by interval and timestamp."""

ADD_SYMBOL = "INSERT INTO symbols (symbol, name, calendar) VALUES ('DESK1', 'Shares', 'DESK')"


class Market:
    """A session that has closed some minutes ago, with a lunch break; its post-market goes on."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.minute = datetime.now(UTC).replace(second=0, microsecond=0)
        opens_at, *times = [self.at(minutes) for minutes in (-180, -4, -90, -60, -240, 60, -2)]
        store_own_calendar(connection, TradingSession(opens_at.date(), opens_at, *times))
        connection.execute(ADD_SYMBOL)

    def at(self, minutes: float) -> datetime:
        return self.minute + timedelta(minutes=minutes)

    def store(self, *trades: tuple[float, str]) -> None:
        """Store trades by their minute and price, and the candles that they changed."""
        rows: list[Trade] = [(self.at(minutes), "DESK1", 0, Decimal(price), Decimal(1)) for minutes, price in trades]
        store(self._connection, *rows)
        self._connection.execute("DELETE FROM stale_ranges")  # as at the end of refresh_candles


@pytest.fixture
def market(connection: Connection) -> Market:
    return Market(connection)


def read_candles(address: str, session: str) -> Candles:
    """Return the candles of /candles."""
    found: Candles = {}
    start, end = ((datetime.now(UTC) + timedelta(days=days)).isoformat() for days in (-15, 1))
    for interval in INTERVALS:
        parameters = {"symbol": "DESK1", "interval": interval, "session": session, "start": start, "end": end}
        for candle in httpx.get(f"{address}/candles", params=parameters).raise_for_status().json()["candles"]:
            found[interval, candle["timestamp"]] = {"symbol": "DESK1", "interval": interval, **candle}
    return found


def follow(events: Events, is_done: Callable[[Candles], bool]) -> tuple[list[float], Candles]:
    """Return the prices of trades, and the newest candles."""
    prices: list[float] = []
    candles: Candles = {}
    while not is_done(candles):
        _, name, data = events.next()
        if name == "trade":
            prices.append(data["price"])
            continue
        del data["revised"]
        data.pop("version", None)
        candles[data["interval"], data["timestamp"]] = data
    return prices, candles


TRADES = (-230, "1"), (-179, "2"), (-100, "3"), (-89.5, "4"), (-75, "5"), (-50, "6"), (-3.5, "7"), (-1.5, "8")
"""Before the open, in the morning, in the closing auction of the morning, in the break, after it, in the auction, after."""


@pytest.mark.parametrize(("session", "prices"), [("regular", [2, 3, 4, 6, 7]), ("extended", [1, 2, 3, 4, 6, 7, 8])])
def test_trades_and_candles_are_those_of_the_sessions(address: str, market: Market, session: str, prices: list[float]):
    with listening(address, symbols="DESK1", channels=ALL, session=session) as events:
        market.store(*TRADES)
        expected = read_candles(address, session)
        followed = follow(events, lambda candles: candles == expected)
    assert followed == (prices, expected)


def test_bucket_of_a_session_is_closed_when_the_auction_ends(address: str, market: Market, connection: Connection):
    market.store((-50, "6"))
    with listening(address, symbols="DESK1", channels="candles_4h,candles_1d,candles_1w", session="regular") as events:
        # The hub closes what has ended since then.
        connection.execute("UPDATE stream_progress SET closed_until = %s", (market.at(-4),))
        _, candles = follow(events, lambda found: len(found) == 3 and all(each["closed"] for each in found.values()))
    assert {(interval, each["close"]) for (interval, _), each in candles.items()} == {("4h", 6), ("1d", 6), ("1w", 6)}


def test_missed_events_of_sessions_are_sent_after_the_last_id(address: str, market: Market):
    with listening(address, symbols="DESK1", channels=ALL, session="regular") as events:
        last = events.any().id
    market.store(*TRADES)
    expected = read_candles(address, "regular")
    with listening(address, last, symbols="DESK1", channels=ALL, session="regular") as events:
        prices, candles = follow(events, lambda found: found == expected)
    assert (prices, candles) == ([2, 3, 4, 6, 7], expected)


def test_removed_trade_removes_the_candle_of_its_session(address: str, market: Market, connection: Connection):
    market.store((-50, "6"))
    with listening(address, symbols="DESK1", channels="candles_1d", session="regular") as events:
        connection.execute("DELETE FROM trades")
        connection.execute("DELETE FROM stale_ranges")
        event = events.next()
    assert (event.data["removed"], event.data["timestamp"][11:]) == (True, "00:00:00Z")


def test_symbol_that_is_always_traded_has_the_usual_events(address: str, connection: Connection):
    with listening(address, symbols="AAPL", channels="trades,candles_1m", session="regular") as events:
        store(connection, current_trade("5"))
        assert [events.next().name for _ in range(2)] == ["trade", "candle"]


def test_commands_of_a_websocket_have_the_session_of_the_connection(address: str, market: Market):
    with open_websocket(address, session="regular") as client:
        reply = command(client, "subscribe", symbols=["DESK1"], channels=["trades", "candles_1d"])
        assert reply == {"channels": {"candles_1d": ["DESK1"], "trades": ["DESK1"]}, "session": "regular"}
        market.store((-230, "1"), (-50, "6"))
        seen = [receive(client)["data"] for _ in range(2)]
        assert [each.get("price", each.get("close")) for each in seen] == [6, 6]
        reply = command(client, "unsubscribe", channels=["trades"])
        assert reply["channels"] == {"candles_1d": ["DESK1"]}
        assert "revisions can't" in command(client, "subscribe", channels=["revisions"])["detail"]


@pytest.mark.parametrize(
    ("parameters", "name"),
    [
        ({"session": "night"}, "session"),
        ({"session": "regular", "from": "now-1h"}, "session"),
        ({"session": "extended", "channels": "trades,revisions"}, "channels"),
    ],
)
def test_wrong_session_is_rejected(address: str, parameters: dict[str, str], name: str):
    response = httpx.get(f"{address}/stream", params=parameters)
    assert (response.status_code, response.json()["errors"][0]["name"]) == (400, name)

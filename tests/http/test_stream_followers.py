"""Clients that keep a copy of the market by the events of a stream have what the API has."""

import random
import time
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta

import httpx
import psycopg
import pytest
from helpers.candle_scenarios import INTERVALS
from helpers.follower import Follower, Market, Transport, read_market
from helpers.histories import History
from helpers.service import eventually
from helpers.support import SERVER, Connection, Databases, create_patient_app, one, serving

from market_data.settings import Settings
from market_data.streaming import hub

WRITES = 120 if SERVER else 40
"""The embedded engine takes its single session for each."""
TRANSPORTS: tuple[Transport, ...] = ("sse", "websocket")

WAITING = "SELECT (SELECT count(*) FROM stale_ranges) + (SELECT count(*) FROM stream_late_candles)"


def refresh_all(connection: Connection) -> None:
    """Refresh all candles, and wait until their events are written."""

    def refreshed() -> bool:
        connection.execute("CALL refresh_candles()")
        return one(connection, WAITING) == 0

    eventually(refreshed, 60)


def expect_same(follower: Follower, market: Market, newest: int) -> None:
    """Wait until a follower has all events, and compare it with the API."""
    eventually(lambda: follower.position > (newest + 1,), 120)
    copy = follower.copy
    assert copy.market.differences(market) == []
    assert copy.unsettled == set()
    ended = datetime.now(UTC) - timedelta(seconds=10)
    assert [key for key in copy.open if key.start + INTERVALS[key.interval] < ended] == []


@pytest.mark.timeout(300)
@pytest.mark.parametrize("history_seed", range(2))
def test_followers_have_the_trades_candles_and_prices_of_the_api(
    new_migrated_database: Databases, monkeypatch: pytest.MonkeyPatch, history_seed: int
):
    """Each transport is followed on one connection, and on connections that are dropped again and again."""
    monkeypatch.setattr(hub, "HEARTBEAT_SECONDS", 0.5)
    with ExitStack() as stack:
        url = stack.enter_context(new_migrated_database())
        connection = stack.enter_context(psycopg.connect(url, autocommit=True, options="-c timezone=UTC"))
        history = History(connection, history_seed)
        for _ in range(10):
            history.write()
        address = stack.enter_context(serving(create_patient_app(Settings(database_url=url, feed_enabled=False))))
        followers: list[Follower] = []
        for drops in (None, None, random.Random(history_seed), random.Random(history_seed + 9)):
            followers.append(Follower(lambda: address, TRANSPORTS[len(followers) % 2], drops))
            stack.callback(followers[-1].end)
        eventually(lambda: all(follower.last_id for follower in followers))
        for number in range(WRITES):
            history.write()
            if number % 10 == 9:
                time.sleep(0.5)
        refresh_all(connection)
        newest = one(connection, "SELECT newest_version()")
        market = read_market(stack.enter_context(httpx.Client(base_url=address)))
        for follower in followers:
            expect_same(follower, market, newest)
        assert [follower.connections for follower in followers[:2]] == [1, 1]
        assert all(follower.connections >= 3 for follower in followers[2:])

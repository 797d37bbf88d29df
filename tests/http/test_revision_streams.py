"""Revisions on `/stream` and `/ws`, and a copy of candles that follows them."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import psycopg
import pytest
from helpers.histories import SYMBOLS, History
from helpers.mirror import Mirror
from helpers.service import eventually
from helpers.sse_client import Events, listening
from helpers.support import Connection, create_patient_app, one, serving, store, trade
from helpers.websocket_client import open_websocket, receive

from market_data.settings import Settings

LATE: Any = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', '2026-02-08T10:30:01Z', %s, %s, 1)"


def test_revisions_of_a_version_are_one_event(address: str, connection: Connection):
    store(connection, trade(0, "10"), trade(60, "20"))
    with (
        listening(address, channels="revisions", symbols="AAPL") as events,
        open_websocket(address, channels="revisions") as socket,
    ):
        store(connection, trade(5, "12"), trade(5, "12", symbol="MSFT"))
        event = events.next()
        assert event.name == "revision"
        assert (event.data["symbol"], event.data["version"]) == ("AAPL", event.key[0])
        revisions = event.data["revisions"]
        assert [each["interval"] for each in revisions] == ["1m", "5m", "15m", "30m", "1h", "4h", "1d", "1w"]
        for each in revisions:
            listed = httpx.get(
                f"{address}/revisions",
                params={"symbol": "AAPL", "interval": each["interval"], "since_version": event.key[0] - 1},
            )
            assert each == listed.json()["revisions"][0]
        message = receive(socket)
        assert (message["event"], message["id"], message["data"]) == ("revision", event.id, event.data)
        assert receive(socket)["data"]["symbol"] == "MSFT"
        # A correction that changes nothing in the candles of one interval is none there.
        connection.execute("UPDATE trades SET price = 11.5 WHERE price = 12 AND symbol = 'AAPL'")
        event = events.next()
        assert [(each["interval"], each["cause"]) for each in event.data["revisions"][:1]] == [("1m", "correct")]
        connection.execute("DELETE FROM trades WHERE symbol = 'AAPL'")
        event = events.next()
        assert [each["after"] for each in event.data["revisions"]] == [None] * 9


def test_open_candles_are_not_revised(address: str, connection: Connection):
    with listening(address, channels="revisions,trades") as events:
        connection.execute("INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', now(), 0, 1, 1)")
        connection.execute(LATE, (0, 1))
        assert [events.next().name for _ in range(3)] == ["trade", "trade", "revision"]


def test_client_that_returns_gets_each_missed_revision_once(address: str, connection: Connection):
    store(connection, trade(0, "10"))
    with listening(address, channels="trades,candles_1m,revisions") as events:
        with connection.transaction():
            for number in range(3):
                connection.execute(LATE, (number, 10 + number))
        received = [events.next("trade", "revision") for _ in range(6)]
    expected = [event.id for event in received]
    assert sorted(expected, key=lambda each: tuple(map(int, each.split("-")))) == expected
    for position, event in enumerate(received[:-1], start=1):
        with listening(address, last=event.id, channels="trades,candles_1m,revisions") as events:
            assert [events.next("trade", "revision").id for _ in expected[position:]] == expected[position:]


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 4))])
def test_copy_that_reads_once_and_follows_the_stream_stays_exact(stopped_database: str, number: int):
    choose = random.Random(number)
    start = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    with psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection:
        history = History(connection, number, truncates=number % 2 == 1)
        settings = Settings(database_url=stopped_database, feed_enabled=False)
        with serving(create_patient_app(settings)) as address, httpx.Client(base_url=address, timeout=30) as client:
            for _ in range(10):
                history.write()
            with listening(address, channels="revisions", symbols=",".join(SYMBOLS)) as events:
                mirrors: list[Any] = [Mirror(client, interval, SYMBOLS, start) for interval in ("1m", "1h", "1d")]
                for _ in range(40):
                    history.write()
                    if choose.random() < 0.2:
                        connection.execute("CALL refresh_candles()")
                connection.execute("CALL refresh_candles()")
                eventually(lambda: one(connection, "SELECT count(*) = 0 FROM stream_late_candles"))
                connection.execute(
                    "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES "
                    "('AAPL', now() - INTERVAL '3 days', 77, 1, 1)"
                )
                end = one(connection, "SELECT newest_version()")
                follow(events, mirrors, end)
                assert [mirror.difference(end) for mirror in mirrors] == [{}] * 3


def follow(events: Events, mirrors: list[Mirror], end: int) -> None:
    """Apply the events up to a version, and compare the candles that were closed at the beginning."""
    while True:
        event = events.next("revision", "reload", "gap")
        assert event.name != "gap"
        for mirror in mirrors:
            if event.name == "reload":
                mirror.apply(event.data | {"cause": "reload"})
            else:
                for each in event.data["revisions"]:
                    if each["interval"] == mirror.interval:
                        mirror.apply(each)
        if event.key[0] >= end:
            break

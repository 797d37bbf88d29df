"""`/stream` and `/ws`: corrected, cancelled and moved trades, removed candles, bulk history."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
from helpers.candle_scenarios import INTERVALS
from helpers.sse_client import listening
from helpers.support import Connection, current_trade, store, trade
from helpers.websocket_client import Message, open_websocket, receive

from market_data.cli.data.statements import NOT_STREAMED

CANDLES = ",".join(f"candles_{interval}" for interval in INTERVALS)

Next = Callable[[], tuple[str, dict[str, Any]]]
"""Returns name and data of the next event, without heartbeats."""
Opened = Callable[..., AbstractContextManager[Next]]


@pytest.fixture(params=["stream", "ws"])
def opened(request: pytest.FixtureRequest, address: str) -> Opened:
    """Return a context manager that opens a stream of one transport, with parameters."""

    @contextmanager
    def open_stream(**parameters: Any) -> Iterator[Next]:
        with ExitStack() as stack:
            if request.param == "stream":
                events = stack.enter_context(listening(address, **parameters))
                yield lambda: without_version(*events.next())
            else:
                client = stack.enter_context(open_websocket(address, **parameters))
                yield lambda: without_version(*id_name_and_data(receive(client)))

    return open_stream


def id_name_and_data(message: Message) -> tuple[str, str, dict[str, Any]]:
    return message["id"], message["event"], message["data"]


def without_version(event_id: str, name: str, data: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Return name and data without the version, which is at least that of the event; candles that wait have none."""
    version = data.pop("version", None)
    assert version is None or version >= int(event_id.partition("-")[0])
    assert (version is None) == (data.get("settled") is False)
    return name, data


def latest(address: str) -> dict[str, Any]:
    return httpx.get(f"{address}/price/latest?symbol=AAPL").json()


def test_changed_trades_have_their_values_and_the_latest_price(opened: Opened, address: str, connection: Connection):
    with opened(channels="trades") as following:
        store(connection, trade(0, "100", "2"), trade(1.5, "200.50", "3", trade_id=4))
        stored = [following()[1] for _ in range(2)]
        assert not [key for event in stored for key in ("change", "latest") if key in event]
        connection.execute("UPDATE trades SET price = 150, volume = 7 WHERE price > 200")
        changed = {**stored[1], "price": 150, "volume": 7}
        assert following() == ("trade", {**changed, "change": "corrected", "latest": latest(address)})
        connection.execute("DELETE FROM trades WHERE price = 150")
        assert following() == ("trade", {**changed, "change": "cancelled", "latest": latest(address)})
        assert latest(address)["price"] == 100
        connection.execute("DELETE FROM trades")
        assert following() == ("trade", {**stored[0], "change": "cancelled", "latest": None})


def test_moved_trade_is_cancelled_and_stored(opened: Opened, connection: Connection):
    with opened(channels="trades") as following:
        store(connection, trade(0, "100"))
        assert following()[1]["symbol"] == "AAPL"
        connection.execute("UPDATE trades SET symbol = 'MSFT', trade_id = 3 WHERE symbol = 'AAPL'")
        cancelled, stored = following()[1], following()[1]
    assert (cancelled["symbol"], cancelled["trade_id"], cancelled["latest"]) == ("AAPL", 0, None)
    assert stored == {"symbol": "MSFT", "price": 100, "volume": 1, "timestamp": "2026-02-08T10:30:00Z", "trade_id": 3}


def test_statement_that_stores_and_corrects_is_streamed_once(opened: Opened, connection: Connection):
    with opened(channels="trades") as following:
        store(connection, trade(1, "2"))
        assert following()[1]["price"] == 2
        connection.execute(
            """
            INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', 0, 3, 1), (%s, 'AAPL', 0, 4, 1)
            ON CONFLICT (symbol, time, trade_id) DO UPDATE SET price = excluded.price
            """,
            [trade(1, "3")[0], trade(2, "4")[0]],
        )
        store(connection, trade(3, "5"))
        events = [following()[1] for _ in range(3)]
    assert events.pop()["price"] == 5
    assert {event["price"]: event.get("change") for event in events} == {3: "corrected", 4: None}


def test_changes_in_open_buckets_are_candle_events_of_all_intervals_at_once(opened: Opened, connection: Connection):
    with opened(channels=CANDLES) as following:
        store(connection, current_trade("300"))
        assert {following()[1]["close"] for _ in INTERVALS} == {300}
        connection.execute("UPDATE trades SET price = 250")
        corrected = [following()[1] for _ in INTERVALS]
        connection.execute("DELETE FROM trades")
        removed = [following()[1] for _ in INTERVALS]
    assert [(candle["interval"], candle["high"]) for candle in corrected] == [(interval, 250) for interval in INTERVALS]
    kept = ("symbol", "interval", "timestamp")
    assert [{**candle, "closed": False} for candle in removed] == [
        {key: candle[key] for key in kept} | {"closed": False, "removed": True} for candle in corrected
    ]


def refresh(connection: Connection) -> None:
    """Mark candles as refreshed, as at the end of refresh_candles."""
    connection.execute("DELETE FROM stale_ranges")


def test_closed_candles_are_revised_and_removed_once_they_are_refreshed(opened: Opened, connection: Connection):
    with opened(symbols="AAPL", channels="trades,candles_1m") as following:
        store(connection, trade(0, "100"), trade(1, "200"))
        assert [following()[1]["price"] for _ in range(2)] == [100, 200]
        refresh(connection)
        event = following()
        assert (event[0], event[1]["revised"], event[1]["high"]) == ("candle", True, 200)
        connection.execute("DELETE FROM trades WHERE price = 200")
        assert following()[1]["change"] == "cancelled"
        refresh(connection)
        event = following()
        assert (event[0], event[1]["revised"], event[1]["high"]) == ("candle", True, 100)
        connection.execute("DELETE FROM trades")
        assert following()[1]["latest"] is None
        refresh(connection)
        start = {"timestamp": "2026-02-08T10:30:00Z", "closed": True, "removed": True}
        assert following() == ("candle", {"symbol": "AAPL", "interval": "1m", **start})


def test_candle_is_not_settled_while_another_event_of_it_follows(opened: Opened, connection: Connection):
    minute = datetime.now(UTC).replace(second=0, microsecond=0)
    with opened(channels="candles_1w") as following:
        with connection.transaction():  # as a late trade does
            connection.execute("INSERT INTO stale_ranges (write_id, since, until) VALUES (0, %s, %s)", (minute, minute))
            waiting = "INSERT INTO stream_late_candles (write_id, symbol, bucket) VALUES (0, 'AAPL', %s)"
            connection.execute(waiting, (minute,))
        store(connection, current_trade("7"), current_trade("9", symbol="MSFT"))
        candles = [following()[1] for _ in range(2)]
        assert [(candle["symbol"], candle.get("settled")) for candle in candles] == [("AAPL", False), ("MSFT", None)]
        refresh(connection)
        settled = following()[1]
    assert settled["close"] == candles[0]["close"]
    assert "settled" not in settled


def test_bulk_history_is_one_reload_for_each_client_of_the_symbol(opened: Opened, connection: Connection):
    with ExitStack() as stack:
        subscriptions = ["trades", "candles_1w", CANDLES, f"trades,{CANDLES}"]
        streams = [stack.enter_context(opened(symbols="AAPL", channels=channels)) for channels in subscriptions]
        other = stack.enter_context(opened(symbols="MSFT", channels=f"trades,{CANDLES}"))
        with connection.transaction():
            connection.execute(NOT_STREAMED)
            store(connection, trade(0.5, "1"), trade(7200, "2"))
        refresh(connection)
        expected = {"symbol": "AAPL", "start": "2026-02-08T10:30:00.500000Z", "end": "2026-02-08T12:30:00.000001Z"}
        assert [following() for following in streams] == [("reload", expected)] * 4
        with connection.transaction():
            connection.execute(NOT_STREAMED)
            store(connection, trade(0, "1", symbol="MSFT"))
        refresh(connection)
        assert other()[1]["symbol"] == "MSFT"


def test_missed_changes_are_replayed(address: str, connection: Connection):
    channels: dict[str, Any] = {"channels": "trades,candles_1m"}
    now = datetime.now(UTC)
    with listening(address, **channels) as events:
        store(connection, (now, "AAPL", 0, *current_trade("1")[3:]), (now, "AAPL", 1, *current_trade("2")[3:]))
        first, *_ = events.take(3)
        connection.execute("DELETE FROM trades WHERE trade_id = 1")
        connection.execute("UPDATE trades SET price = 3")
        connection.execute("DELETE FROM trades")
        with connection.transaction():
            connection.execute(NOT_STREAMED)
            store(connection, trade(0, "1"))
        refresh(connection)
        while events.next().name != "reload":
            pass
    with listening(address, first.id, **channels) as events:
        missed = events.take(6)
    assert [(event.name, event.data.get("change")) for event in missed] == [
        ("trade", None),
        ("trade", "cancelled"),
        ("trade", "corrected"),
        ("trade", "cancelled"),
        ("candle", None),
        ("reload", None),
    ]
    assert missed[4].data["removed"]
    assert [event.data["latest"]["price"] for event in missed[1:3]] == [1, 3]
    assert missed[3].data["latest"] is None
    assert [event.key for event in missed] == sorted({event.key for event in missed})

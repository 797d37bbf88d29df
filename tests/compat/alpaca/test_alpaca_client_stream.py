"""The stream of `/alpaca` by alpaca-py, unmodified."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.environments import lasting_port
from helpers.service import Service
from helpers.support import T0, Connection, current_trade, now_within_minute, store, trade

from market_data.api.compat.alpaca.stream import AlpacaStream

PACKAGE = "alpaca-py==0.44.0"
SCRIPT = Path(__file__).parent / "stream_client.py"
FIGURES = ("timestamp", "open", "high", "low", "close", "volume", "vwap", "trade_count")

Lines = Iterator[Any]


@contextmanager
def following(base: str, channels: str, secret: str = "secret", seconds: float = 60) -> Iterator[Lines]:
    """Run the client, and yield the lines of its output. At the end, it must end by itself."""
    environment = "--isolated", "--no-project", "--python", sys.executable, "--with", PACKAGE
    address = f"{base.replace('http', 'ws')}/alpaca/stream"
    command = [os.environ.get("UV", "uv"), "run", *environment, "python", str(SCRIPT), address, secret, channels]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as client:
        assert client.stdout
        try:
            yield map(json.loads, client.stdout)
            assert client.wait(seconds) == 0
        finally:
            client.kill()


def refresh(connection: Connection) -> None:
    """Mark candles as refreshed, as at the end of refresh_candles."""
    connection.execute("DELETE FROM stale_ranges")


def of_channel(events: list[Any], channel: str, symbol: str = "AAPL") -> list[Any]:
    return [event for name, event in events if name == channel and event["symbol"] == symbol]


def candle_of(base: str, interval: str, secret: str = "", **parameters: str) -> dict[str, Any]:
    """Return the newest candle of the service's own API."""
    headers = {"Authorization": f"Bearer {secret}"} if secret else {}
    wanted = {"symbol": "AAPL", "interval": interval, "limit": "1", **parameters}
    (candle,) = httpx.get(f"{base}/candles", params=wanted, headers=headers).json()["candles"]
    return {name: candle[name] for name in FIGURES}


def figures_of(bar: dict[str, Any]) -> dict[str, Any]:
    return {name: bar[name] for name in FIGURES}


def test_the_client_receives_trades_and_their_changes(
    serve: Any, database_url: str, known: Connection, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(AlpacaStream, "tick_seconds", 0.5)
    secret = store_key(database_url, "read")
    channels = "trades,updated_bars,daily_bars=AAPL,bars,corrections,cancels"
    with serve(auth="required") as base, following(base, channels, secret) as lines:
        subscription = next(lines)
        assert (subscription["trades"], subscription["corrections"]) == (["*"], ["*"])
        store(known, trade(0, "10.25", "2"), trade(1, "11", "3", trade_id=7))
        known.execute("UPDATE trades SET price = 12.5 WHERE trade_id = 7")
        known.execute("UPDATE trades SET volume = 4 WHERE trade_id = 7")
        known.execute("DELETE FROM trades WHERE time = %s", (T0,))
        refresh(known)
        time.sleep(3)
        store(known, current_trade("1", symbol="LAST"))
        events = next(lines)
        minute, day = candle_of(base, "1m", secret), candle_of(base, "1d", secret)
    trades = [(each["price"], each["size"], each["id"]) for each in of_channel(events, "trades")]
    assert trades == [(10.25, 2, 0), (11, 3, 7)]
    names = "original_price", "original_size", "corrected_price", "corrected_size", "original_id", "corrected_id"
    assert [tuple(each[name] for name in names) for each in of_channel(events, "corrections")] == [
        (11, 3, 12.5, 3, 7, 7),
        (12.5, 3, 12.5, 4, 7, 7),
    ]
    (cancelled,) = of_channel(events, "cancels")
    assert (cancelled["price"], cancelled["size"], cancelled["id"], cancelled["action"]) == (10.25, 2, 0, "C")
    assert figures_of(of_channel(events, "updated_bars")[-1]) == minute
    assert figures_of(of_channel(events, "daily_bars")[-1]) == day


def test_the_client_tries_again_after_a_wrong_key(serve: Any):
    with serve(auth="required") as base, following(base, "trades,errors", "wrong") as lines:
        errors = next(lines)
    assert len(errors) == 2
    assert all(name == "errors" and "auth failed" in text for name, text in errors)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_the_client_receives_minutes_and_returns_after_a_restart(database_url: str, known: Connection, tmp_path: Path):
    """For two minutes. Trades of the time without a connection can only be read over REST: the protocol has no ids."""
    port = str(lasting_port())
    settings = {"DATABASE_URL": database_url, "FEED_ENABLED": "false"}
    store(known, trade(0, "5", symbol="LAST"))
    service = Service(tmp_path, "--port", port, **settings)
    try:
        base = service.wait_until_ready()
        with following(base, "trades,bars,updated_bars") as lines:
            next(lines)
            candles: list[dict[str, Any]] = []
            for price in ("10.5", "20.5"):
                minute = now_within_minute(30).replace(second=0, microsecond=0)
                store(known, current_trade(price))
                time.sleep(63 - time.time() % 60)  # until the minute has ended
                candles.append(candle_of(base, "1m", start=minute.isoformat()))
                if price == "10.5":
                    service.end()
                    service = Service(tmp_path, "--port", port, **settings)
                    service.wait_until_ready()
                    next(lines)  # subscribed again
            store(known, current_trade("1", symbol="LAST"))
            events = next(lines)
    finally:
        service.end()
    assert [each["price"] for each in of_channel(events, "trades")] == [10.5, 20.5]
    assert list(map(figures_of, of_channel(events, "bars"))) == candles
    assert of_channel(events, "updated_bars") == []
    assert "Traceback" not in service.text

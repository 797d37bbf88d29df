"""Streams during failures of services and databases."""

import asyncio
import signal
import subprocess
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import partial
from pathlib import Path

import httpx
import psycopg
import pytest
from helpers.service import Service, eventually, running
from helpers.sse_client import Listener, listening, next_trade, open_raw
from helpers.support import Connection, one, store, trade
from helpers.tcp_proxy import Proxy

QUIET = {"FEED_ENABLED": "false", "POOL_TIMEOUT_SECONDS": "1", "QUERY_TIMEOUT_SECONDS": "1"}

INSERT = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    VALUES ('2026-02-08T10:30:00Z', 'AAPL', 0, 1, 1), ('2026-02-08T10:30:01Z', 'MSFT', 0, 2, 1)
"""


@pytest.mark.usefixtures("known")
def test_trades_inserted_by_psql_are_streamed_by_two_services(database_url: str, tmp_path: Path):
    with ExitStack() as stack:
        services = [stack.enter_context(running(tmp_path, DATABASE_URL=database_url, **QUIET)) for _ in range(2)]
        streams = [stack.enter_context(listening(str(client.base_url))) for _, client in services]
        subprocess.run(["psql", "-qX", database_url, "-c", INSERT], check=True, timeout=20)
        received = [stream.take(2) for stream in streams]
    assert received[0] == received[1]
    assert [event.data["symbol"] for event in received[0]] == ["AAPL", "MSFT"]


@pytest.mark.parametrize("fault", [Proxy.cut, Proxy.stall])
def test_outage_of_the_database_delays_events_and_loses_none(
    proxy: Proxy, proxied: str, known: Connection, tmp_path: Path, fault: Callable[[Proxy], None]
):
    with (
        running(tmp_path, DATABASE_URL=proxied, **QUIET) as (service, client),
        listening(str(client.base_url), timeout=60, channels="trades,candles_1m") as events,
    ):
        for outage in range(2):
            store(known, now(3 * outage))
            received = [events.next("trade").data["trade_id"]]
            fault(proxy)
            eventually(lambda outage=outage: service.text.count("streams lost the database") == outage + 1)
            refused = client.get("/stream")
            assert refused.status_code == 503
            assert refused.headers["Retry-After"] == "1"
            store(known, now(3 * outage + 1))
            store(known, now(3 * outage + 2))
            proxy.restore()
            received += [events.next("trade").data["trade_id"] for _ in range(2)]
            assert received == [3 * outage, 3 * outage + 1, 3 * outage + 2]
        store(known, now(6))
        assert events.next("trade").data["trade_id"] == 6
    assert "Traceback" not in service.text


def now(trade_id: int) -> tuple[datetime, str, int, Decimal, Decimal]:
    return datetime.now(UTC), "AAPL", trade_id, Decimal(1), Decimal(1)


def test_client_that_reconnects_to_another_service_after_an_outage_misses_nothing(
    proxy: Proxy, proxied: str, database_url: str, known: Connection, tmp_path: Path
):
    with (
        running(tmp_path, DATABASE_URL=proxied, **QUIET) as (_, first),
        running(tmp_path, DATABASE_URL=database_url, **QUIET) as (_, second),
    ):
        with listening(str(first.base_url)) as events:
            store(known, trade(0, "1"))
            last = events.next().id
            proxy.cut()
            for second_of_minute in range(1, 6):
                store(known, trade(second_of_minute, "1"))
        with listening(str(second.base_url), last) as events:
            received = [event.data["timestamp"] for event in events.take(5)]
            store(known, trade(6, "1"))
            received.append(events.next().data["timestamp"])
    assert received == [f"2026-02-08T10:30:0{second_of_minute}Z" for second_of_minute in range(1, 7)]


def test_streams_end_if_an_older_database_replaces_this_one(proxy: Proxy, proxied: str, known: Connection, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=proxied, **QUIET) as (service, client):
        address = str(client.base_url)
        with listening(address, timeout=60, channels="trades,candles_1m") as events:
            store(known, now(0))
            last = events.next("candle").id
            proxy.cut()
            eventually(lambda: "streams lost the database" in service.text)
            known.execute("TRUNCATE trades")
            known.execute("TRUNCATE stream_events, commits")
            known.execute("ALTER SEQUENCE versions RESTART")
            known.execute("UPDATE data_version SET version = 0")
            proxy.restore()
            assert "lost the newest commits" in events.next("bye").data["reason"]
        with listening(address, last, channels="trades,candles_1m") as events:
            assert "have been deleted" in events.next("gap").data["reason"]
            store(known, now(0))
            assert [event.name for event in events.take(2)] == ["trade", "candle"]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_streams_end_with_a_reason_when_the_service_stops(database_url: str, tmp_path: Path, workers: str):
    with running(tmp_path, "--workers", workers, DATABASE_URL=database_url, **QUIET) as (service, client):
        with ExitStack() as stack:
            streams = [stack.enter_context(listening(str(client.base_url))) for _ in range(4)]
            service.signal(signal.SIGTERM)
            for events in streams:
                *_, bye = events
                assert bye.name == "bye"
                assert "stopping" in bye.data["reason"]
        assert service.wait(5) == 0
    assert "Traceback" not in service.text


def test_events_are_neither_lost_nor_duplicated_when_a_service_is_killed_under_load(
    database_url: str, known: Connection, tmp_path: Path
):
    with ExitStack() as stack:
        services: list[tuple[Service, httpx.Client]] = []

        def start() -> None:
            services.append(stack.enter_context(running(tmp_path, DATABASE_URL=database_url, **QUIET)))

        start()
        listener = Listener(lambda: str(services[-1][1].base_url))
        try:
            eventually(lambda: listener.events)  # the first heartbeat
            writing = threading.Event()
            stored: list[int] = []
            writer = threading.Thread(target=_write, args=(database_url, writing, stored))
            writer.start()
            eventually(partial(_is_longer_than, stored, 50))
            services[-1][0].signal(signal.SIGKILL)
            start()
            eventually(partial(_is_longer_than, stored, len(stored) + 50))
            writing.set()
            writer.join()
            store(known, trade(1, "1", symbol="MSFT"))
            eventually(lambda: any(event.data.get("symbol") == "MSFT" for event in listener.events))
        finally:
            listener.end()
    received = [event.data["trade_id"] for event in listener.events if event.data.get("symbol") == "AAPL"]
    assert received == stored
    assert not [event for event in listener.events if event.name == "gap"]


def _is_longer_than(stored: list[int], size: int) -> bool:
    return len(stored) > size


def _write(database_url: str, over: threading.Event, stored: list[int]) -> None:
    with psycopg.connect(database_url, autocommit=True) as connection:
        while not over.is_set():
            store(connection, now(len(stored)))
            stored.append(len(stored))
            over.wait(0.005)


def test_late_trade_is_streamed_as_a_revision_equal_to_candles(
    new_migrated_database: Callable[[], AbstractContextManager[str]], tmp_path: Path
):
    with (
        new_migrated_database() as database_url,
        psycopg.connect(database_url, autocommit=True) as connection,
        running(tmp_path, DATABASE_URL=database_url, **QUIET) as (_, client),
    ):
        day = datetime.now(UTC) - timedelta(days=2)
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        connection.execute("INSERT INTO trades (time, symbol, price, volume) VALUES (%s, 'AAPL', 1, 1)", (day,))
        connection.execute("CALL refresh_candles()")
        eventually(lambda: not connection.execute("SELECT FROM stream_late_candles").fetchall())
        with listening(str(client.base_url), channels="trades,candles_1m,candles_1d", timeout=30) as events:
            connection.execute(
                "INSERT INTO trades (time, symbol, trade_id, price, volume) VALUES (%s, 'AAPL', 1, 3, 1)", (day,)
            )
            assert events.next().name == "trade"
            received = {event.data["interval"]: event.data for event in events.take(2)}
        for interval, candle in received.items():
            assert candle["trade_count"] == 2
            assert (candle["closed"], candle["revised"]) == (True, True)
            start = datetime.fromisoformat(candle["timestamp"])
            parameters = {"symbol": "AAPL", "interval": interval, "start": start.isoformat()}
            end = (start + timedelta(seconds=1)).isoformat()
            (listed,) = client.get("/candles", params=parameters | {"end": end}).json()["candles"]
            version = candle.pop("version")
            assert candle == {"symbol": "AAPL", "interval": interval, **listed, "revised": True}
            assert version <= one(connection, "SELECT newest_version()")


def test_memory_does_not_grow_as_clients_connect_and_disconnect(database_url: str, known: Connection, tmp_path: Path):
    with running(tmp_path, DATABASE_URL=database_url, **QUIET) as (service, client):
        sizes: list[int] = []

        async def connect_and_disconnect() -> None:
            for number in range(3):
                for turn in range(3):
                    streams = [await open_raw(str(client.base_url), "AAPL") for _ in range(100)]
                    await asyncio.to_thread(store, known, now(3 * number + turn))
                    for stream in streams:
                        assert (await next_trade(stream))["trade_id"] == 3 * number + turn
                        stream[1].close()
                sizes.append(_resident(service.process.pid))

        asyncio.run(connect_and_disconnect())
        assert sizes[-1] < sizes[0] + 8_000_000, sizes


def _resident(pid: int) -> int:
    """Return the resident memory of a process in bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * 4096

"""Measure replays at maximum speed: `uv run python tests/benchmarks/replays.py`.

On the server in TEST_DATABASE_URL (a superuser's DSN), else on the embedded engine: commits of ten symbols, one trade of
each, as the feed stores them. Each case is played inside this process (the messages of `Replays`, without HTTP), and by a
worker of the service to a client that reads `/stream` over loopback as fast as it can. Figures are events a second, the
medians of several rounds; events are trades and candles. `CPU` is events by the processor time of this process, which tells
the rate of the service on a machine that does nothing else.
"""

import argparse
import asyncio
import os
import socket
import statistics
import sys
import time
from contextlib import ExitStack
from datetime import UTC, datetime
from math import inf
from typing import LiteralString

import psycopg
from filled import new_database
from reads import _peak_memory, _serving

from market_data.database import migrations
from market_data.database.pool import Database
from market_data.settings import Settings
from market_data.streaming.clients import Client
from market_data.streaming.connected import ConnectedClients
from market_data.streaming.playback.replays import ReplayOrder, ReplayRequest, Replays
from market_data.streaming.subscriptions import Subscription

SYMBOLS = [f"SYM{number}" for number in range(10)]
STORE: LiteralString = """
    INSERT INTO trades (time, symbol, trade_id, price, volume)
    SELECT clock_timestamp(), symbol, 0, round((100 + 10 * random())::numeric, 2), round((10 * random())::numeric, 2)
    FROM unnest(%s::text[]) AS symbol
"""
CASES: list[tuple[ReplayOrder, str]] = [
    ("known", "trades"),
    ("known", "trades,candles_1m"),
    ("known", "trades,candles_1m,candles_1h,candles_1d"),
    ("time", "trades"),
    ("time", "trades,candles_1m"),
]
READ_BYTES = 1 << 18
REQUEST = "GET /stream?from={start}&to={end}&speed=max&order={order}&channels={channels} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"


def main() -> None:
    parser = argparse.ArgumentParser(description="Measure replays at maximum speed.")
    parser.add_argument("--commits", type=int, default=20_000, help="commits of ten trades (default: %(default)s)")
    parser.add_argument("--rounds", type=int, default=5, help="repetitions (default: %(default)s)")
    options = parser.parse_args()
    with ExitStack() as stack:
        database_url = stack.enter_context(new_database())
        start, end = _fill(database_url, options.commits)
        os.environ.update(DATABASE_URL=database_url, FEED_ENABLED="false", LOG_LEVEL="WARNING")
        service, port = stack.enter_context(_serving("-m", "market_data.cli.main", "serve", "--port"))
        print(f"{os.cpu_count()} processors; {options.commits} commits of {len(SYMBOLS)} trades; events/s\n")
        print(f"{'order':<8}{'channels':<42}{'events':>9}{'in process':>12}{'÷ CPU':>12}{'client':>10}")
        for order, channels in CASES:
            print(_case(database_url, port, ReplayRequest(start, end, inf, order), channels, options.rounds), flush=True)
        print(f"\npeak memory of the service: {_peak_memory(service)}")


def _fill(database_url: str, commits: int) -> tuple[datetime, datetime]:
    migrations.upgrade(database_url)
    with psycopg.connect(database_url, autocommit=True) as connection:
        connection.execute("SET synchronous_commit = off")
        connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", [SYMBOLS])
        start = datetime.now(UTC)
        for _ in range(commits):
            connection.execute(STORE, (SYMBOLS,))
        end = datetime.now(UTC)
        connection.execute("VACUUM ANALYZE trades")
        return start, end


def _case(database_url: str, port: int, request: ReplayRequest, channels: str, rounds: int) -> str:
    played, computed, read = list[float](), list[float](), list[float]()
    events = 0
    for _ in range(rounds):
        since, processor_since = time.perf_counter(), time.process_time()
        events = asyncio.run(_play(database_url, request, channels))
        played.append(events / (time.perf_counter() - since))
        computed.append(events / (time.process_time() - processor_since))
        since = time.perf_counter()
        if _read(port, request, channels) != events:
            sys.exit("a client did not receive all events")
        read.append(events / (time.perf_counter() - since))
    rates = [statistics.median(each) for each in (played, computed, read)]
    return f"{request.order:<8}{channels:<42}{events:>9}{rates[0]:>12,.0f}{rates[1]:>12,.0f}{rates[2]:>10,.0f}"


async def _play(database_url: str, request: ReplayRequest, channels: str) -> int:
    settings = Settings(database_url=database_url)
    events = 0
    async with Database(database_url, settings) as database:
        replays = Replays(database, settings, ConnectedClients())
        client = Client("sse", Subscription.to(channels.split(","), None))
        async for messages in replays.messages(await replays.prepare(client, request)):
            lines = b"".join([message.text for message in messages]).split(b"\n")
            events += lines.count(b"event: trade") + lines.count(b"event: candle")
    return events


def _read(port: int, request: ReplayRequest, channels: str) -> int:
    bounds = {"start": request.start.isoformat()[:26] + "Z", "end": request.end.isoformat()[:26] + "Z"}
    events, rest = 0, b""
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(REQUEST.format(order=request.order, channels=channels, **bounds).encode())
        while data := connection.recv(READ_BYTES):
            lines = (rest + data).split(b"\n")
            rest = lines.pop()
            events += lines.count(b"event: trade") + lines.count(b"event: candle")
            if b"event: end" in lines:
                break
    return events


if __name__ == "__main__":
    main()

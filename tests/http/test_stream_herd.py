"""Many clients of `/stream` that come at once."""

import asyncio
import gc
from typing import Any

import httpx
import pytest
from helpers.service import eventually
from helpers.sse_client import connected_clients, listening
from helpers.support import Connection, create_patient_app, current_trade, serving, store

from market_data.middleware import stream_starts
from market_data.server.http_cycle import RequestCycle
from market_data.server.http_protocol import HttpProtocol
from market_data.settings import Settings
from market_data.streaming import symbol_check
from market_data.streaming.clients import Client


async def begin(address: str, symbol: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """Send a request, and do not wait for the response."""
    url = httpx.URL(address)
    reader, writer = await asyncio.open_connection(url.host, url.port)
    writer.write(f"GET /stream?symbols={symbol} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
    return reader, writer


def test_clients_of_many_symbols_share_the_check_of_their_symbols(
    address: str, connection: Connection, monkeypatch: pytest.MonkeyPatch
):
    """Each with a statement of its own, most were answered 503: a pool has no connections for so many."""
    symbols = [f"S{number}" for number in range(400)]
    connection.execute("INSERT INTO symbols (symbol, name) SELECT s, s FROM unnest(%s::text[]) AS s", [symbols])
    statements = 0
    read = symbol_check.unknown_symbols

    async def counted(*arguments: Any) -> list[str]:
        nonlocal statements
        statements += 1
        return await read(*arguments)

    monkeypatch.setattr(symbol_check, "unknown_symbols", counted)

    async def run() -> list[bytes]:
        streams = await asyncio.gather(*(begin(address, symbol) for symbol in [*symbols, "S1,NOPE"]))
        heads = await asyncio.gather(*(reader.readuntil(b"\r\n\r\n") for reader, _ in streams))
        for _, writer in streams:
            writer.close()
        return heads

    *heads, unknown = asyncio.run(run())
    assert {head[:12] for head in heads} == {b"HTTP/1.1 200"}
    assert unknown[:12] == b"HTTP/1.1 404"
    assert statements < 200


@pytest.mark.usefixtures("no_clients")
def test_clients_that_leave_before_their_stream_starts_are_forgotten_and_the_others_are_served(
    address: str, connection: Connection
):
    async def run() -> None:
        streams = await asyncio.gather(*(begin(address, "AAPL") for _ in range(200)))
        for _, writer in streams[::2]:
            writer.transport.abort()
        staying = streams[1::2]
        await asyncio.gather(*(reader.readuntil(b"event: heartbeat") for reader, _ in staying))
        await asyncio.to_thread(eventually, lambda: connected_clients() == 100)
        await asyncio.to_thread(store, connection, current_trade("7"))
        await asyncio.gather(*(reader.readuntil(b'"price":7,') for reader, _ in staying))
        for _, writer in staying:
            writer.close()

    asyncio.run(asyncio.wait_for(run(), 30))
    eventually(lambda: connected_clients() == 0)


def test_ended_stream_leaves_nothing_to_the_garbage_collection(settings: Settings, monkeypatch: pytest.MonkeyPatch):
    """Objects of streams are exempted from it."""
    monkeypatch.setattr(stream_starts, "FROZEN_TOGETHER", 1_000_000)

    def living() -> int:
        return sum(isinstance(each, Client | RequestCycle | HttpProtocol) for each in gc.get_objects())

    with serving(create_patient_app(settings)) as address:
        gc.collect()
        idle = living()
        with listening(address):
            pass
        eventually(lambda: gc.collect() >= 0 and living() <= idle, 10)
        gc.disable()
        try:
            before = living()
            with listening(address), listening(address, symbols="AAPL"):
                assert living() >= before + 6
            eventually(lambda: living() == before, 5)
        finally:
            gc.enable()

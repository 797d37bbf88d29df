"""`kill -9` of the whole service during writes, including the embedded engine."""

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import httpx
import pytest
from helpers.service import Service, eventually, is_running, running
from helpers.support import SERVER

BUSY = {"INGESTION_INTERVAL_SECONDS": "0.05", "FEED_LEASE_SECONDS": "1"}

Trades = set[tuple[str, str, float]]
"""Symbol, timestamp and price."""


@pytest.fixture
def deployment(
    new_migrated_database: Callable[[], AbstractContextManager[str]], request: pytest.FixtureRequest, tmp_path: Path
) -> Iterator[dict[str, str]]:
    """Environment of a service whose database survives it."""
    if not SERVER:
        home = shutil.copytree(request.getfixturevalue("migrated_seed"), tmp_path / "home")
        yield {"MARKET_DATA_HOME": str(home), "EMBEDDED_PORT": "0", **BUSY}
        return
    with new_migrated_database() as url:
        yield {"DATABASE_URL": url, **BUSY}


def test_every_trade_that_a_response_contained_is_stored_after_the_restart(deployment: dict[str, str], tmp_path: Path):
    answered: Trades = set()
    for crash in range(1, 4):
        with running(tmp_path, **deployment) as (service, client):
            eventually(lambda: client.get("/price?symbol=AAPL").status_code == 200)
            assert not answered - _read_trades(client)
            while len(answered) < crash * 40:
                _remember_prices(client, answered)
            _kill_all(service)
    with running(tmp_path, **deployment) as (_, client):
        assert not answered - _read_trades(client)


def _remember_prices(client: httpx.Client, answered: Trades) -> None:
    for symbol in ("AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"):
        latest = client.get("/price/latest", params={"symbol": symbol}).json()
        answered.add((symbol, latest["timestamp"], latest["price"]))


def _kill_all(service: Service) -> None:
    below = service.descendants()
    for pid in (service.process.pid, *below):
        os.kill(pid, signal.SIGKILL)
    service.wait()
    eventually(lambda: not any(map(is_running, below)))


def _read_trades(client: httpx.Client) -> Trades:
    """Read all trades of the service page by page."""
    found: Trades = set()
    for symbol in ("AAPL", "GOOGL", "MSFT", "TSLA", "AMZN"):
        query = {"symbol": symbol, "start": "2020-01-01T00:00:00Z", "end": "2100-01-01T00:00:00Z", "limit": "1000"}
        while True:
            page = client.get("/trades", params=query).json()
            found |= {(symbol, trade["timestamp"], trade["price"]) for trade in page["trades"]}
            if page["next_page_token"] is None:
                break
            query["page_token"] = page["next_page_token"]
    return found

"""`/candles/revised`: the buckets that a chart marks."""

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from helpers.histories import SYMBOLS, History
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

from market_data.queries.intervals import INTERVALS
from market_data.settings import Settings

HOUR = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
LIST_SYMBOL = "INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')"
STORE = "INSERT INTO trades (symbol, time, trade_id, price, volume) SELECT 'AAPL', time, 900, 100, 1 FROM ({}) AS new (time)"


def revised(client: TestClient, parameters: dict[str, Any]) -> dict[str, dict[str, Any]]:
    response = client.get("/candles/revised", params=parameters)
    assert response.status_code == 200, response.text
    answer = response.json()
    assert answer["count"] == len(answer["buckets"])
    return {bucket["timestamp"]: bucket for bucket in answer["buckets"]}


def test_buckets_with_late_corrected_and_cancelled_trades_are_listed(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(60, "20"), trade(120, "30"))
    connection.execute("UPDATE trades SET price = 21 WHERE symbol = 'AAPL' AND price = 20")
    connection.execute("DELETE FROM trades WHERE symbol = 'AAPL' AND price = 30")
    found = revised(client, HOUR)
    assert [(time[11:16], bucket["change_count"]) for time, bucket in found.items()] == [
        ("10:30", 1),
        ("10:31", 2),
        ("10:32", 2),
    ]
    assert found["2026-02-08T10:32:00Z"]["changed_at"] > found["2026-02-08T10:31:00Z"]["changed_at"]
    assert [*revised(client, HOUR | {"interval": "5m"})] == ["2026-02-08T10:30:00Z"]
    part = {"start": "2026-02-08T10:30:30Z", "end": "2026-02-08T10:31:01Z"}
    assert [*revised(client, HOUR | part)] == ["2026-02-08T10:31:00Z"]


def test_trades_on_time_revise_nothing(client: TestClient, connection: Connection):
    connection.execute(LIST_SYMBOL)
    connection.execute(STORE.format("SELECT now()"))
    day = {"symbol": "AAPL", "interval": "1m", "start": "now-1d"}
    assert revised(client, day) == {}
    connection.execute(STORE.format("SELECT now() - INTERVAL '2 minutes'"))
    assert len(revised(client, day)) == 1
    assert revised(client, day | {"interval": "1w", "start": "now-30d"}) == {}


def test_bulk_history_revises_nothing(client: TestClient, connection: Connection):
    connection.execute(LIST_SYMBOL)
    connection.execute(
        STORE.format(
            "SELECT '2026-02-08T10:00:00Z'::timestamptz + i * INTERVAL '1 second' FROM generate_series(0, 1500) AS i"
        )
    )
    assert revised(client, HOUR) == {}


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 5))])
def test_each_candle_with_a_late_revision_is_listed(
    stopped_database: str, make_client: Callable[[Settings], TestClient], number: int
):
    now = datetime.now(UTC)
    with (
        psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection,
        make_client(Settings(database_url=stopped_database, feed_enabled=False)) as client,
    ):
        history = History(connection, number, truncates=False)
        choose = random.Random(number)
        for _ in range(20):
            history.write()
            if choose.random() < 0.2:
                connection.execute("CALL refresh_candles()")
        for symbol in SYMBOLS:
            for interval in ("1m", "1h", "1d"):
                start = max(now - timedelta(days=40), now - 9000 * INTERVALS[interval]).isoformat()
                wanted = {"symbol": symbol, "interval": interval, "start": start}
                listed = client.get("/revisions", params=wanted | {"limit": 1000}).json()["revisions"]
                late = {
                    each["timestamp"]
                    for each in listed
                    if each["cause"] != "reload" and is_late(each["timestamp"], interval, each["changed_at"])
                }
                assert late <= revised(client, wanted).keys()


def is_late(timestamp: str, interval: str, changed_at: str) -> bool:
    grace = timedelta(seconds=30)
    return datetime.fromisoformat(changed_at) > datetime.fromisoformat(timestamp) + INTERVALS[interval] + grace


@pytest.mark.parametrize(
    ("parameters", "detail"),
    [
        ({"start": "2026-02-08T11:00:00Z"}, "must be before end"),
        ({"start": "2026-01-01"}, "more than 10,000 buckets of 1m"),
        ({"interval": "3m"}, "interval"),
        ({"start": ""}, "start"),
    ],
)
def test_wrong_parameters_are_explained(client: TestClient, parameters: dict[str, str], detail: str):
    response = client.get("/candles/revised", params=HOUR | parameters)
    assert response.status_code == 400
    assert detail in response.text


def test_unknown_symbol_is_404(client: TestClient):
    assert client.get("/candles/revised", params=HOUR | {"symbol": "NONE"}).status_code == 404

"""`/revisions`: changes of closed candles, and a copy of candles that follows them."""

import csv
import io
import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import psycopg
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from helpers.histories import SYMBOLS, History
from helpers.mirror import Mirror
from helpers.support import Connection, one, store, trade
from litestar.testing import TestClient

from market_data.settings import Settings

MINUTES = {"symbol": "AAPL", "interval": "1m"}
COMPRESS = "SELECT compress_chunk(chunk, true) FROM show_chunks('trades', now() - INTERVAL '8 days') AS chunk"


@pytest.fixture
def stopped(stopped_database: str, make_client: Callable[[Settings], TestClient]) -> Iterator[tuple[TestClient, Connection]]:
    """Client of a service, and a connection to its database."""
    with (
        psycopg.connect(stopped_database, autocommit=True, options="-c timezone=UTC") as connection,
        make_client(Settings(database_url=stopped_database, feed_enabled=False)) as client,
    ):
        yield client, connection


def listed(client: TestClient, parameters: dict[str, Any]) -> list[dict[str, Any]]:
    response = client.get("/revisions", params=parameters)
    assert response.status_code == 200, response.text
    return response.json()["revisions"]


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 4))])
def test_copy_that_reads_once_and_follows_revisions_stays_exact(stopped: tuple[TestClient, Connection], number: int):
    client, connection = stopped
    choose = random.Random(number)
    history = History(connection, number, truncates=number % 2 == 1)
    start = (datetime.now(UTC) - timedelta(days=40)).isoformat()
    mirrors: list[Mirror] = []
    for _ in range(50):
        history.write()
        if choose.random() < 0.2:
            connection.execute("CALL refresh_candles()")
        if choose.random() < 0.05:
            connection.execute(COMPRESS)
        if choose.random() < 0.1:
            mirrors.append(Mirror(client, choose.choice(["1m", "5m", "1h", "4h", "1d", "1w"]), SYMBOLS, start))
        if mirrors and choose.random() < 0.2:
            choose.choice(mirrors).poll(limit=choose.choice([1, 3, 1000]))
    assert mirrors
    for mirror in mirrors:
        mirror.poll(limit=choose.choice([2, 1000]))
        assert mirror.candles == mirror.expected(), mirror.interval


def test_late_corrected_and_cancelled_trades_revise_closed_candles(client: TestClient, connection: Connection):
    store(connection, trade(0, "10", "2"), trade(60, "20"))
    version = one(connection, "SELECT newest_version()")
    store(connection, trade(5, "12.50", "2"))
    with connection.transaction():
        connection.execute(
            "SELECT set_config('market_data.actor', 'ada', true), set_config('market_data.reason', 'a, \"b\"', true)"
        )
        connection.execute("UPDATE trades SET price = 11 WHERE price = 10")
        connection.execute("DELETE FROM trades WHERE price = 20")
    connection.execute("UPDATE trades SET price = price")
    response = client.get("/revisions", params=MINUTES | {"since_version": version})
    assert response.headers["cache-control"] == "no-store"
    body = response.json()
    assert (body["count"], body["version"], body["next_page_token"]) == (3, version + 3, None)
    late, correct, cancel = body["revisions"]
    minute = {"timestamp": "2026-02-08T10:30:00Z", "closed": True}
    before = minute | {"open": 10, "high": 10, "low": 10, "close": 10, "volume": 2, "vwap": 10, "trade_count": 1}
    after = minute | {"open": 10, "high": 12.5, "low": 10, "close": 12.5, "volume": 4, "vwap": 11.25, "trade_count": 2}
    assert late.pop("changed_at").endswith("Z")
    assert late == {
        "symbol": "AAPL",
        "interval": "1m",
        "timestamp": "2026-02-08T10:30:00Z",
        "version": version + 1,
        "cause": "late",
        "before": before,
        "after": after,
        "actor": None,
        "reason": None,
    }
    assert (correct["cause"], correct["before"], correct["after"]["open"]) == ("correct", after, 11)
    assert (cancel["cause"], cancel["timestamp"], cancel["after"]) == ("cancel", "2026-02-08T10:31:00Z", None)
    assert (cancel["actor"], cancel["reason"]) == ("ada", 'a, "b"')
    hours = listed(client, MINUTES | {"interval": "1h", "since_version": version})
    assert [(each["cause"], each["after"]["trade_count"]) for each in hours] == [("late", 3), ("correct", 3), ("cancel", 2)]


def test_candle_that_is_open_at_the_change_has_no_revision(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    version = one(connection, "SELECT newest_version()")
    connection.execute("INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', now(), 1, 5, 1)")
    connection.execute("UPDATE trades SET price = 6 WHERE price = 5")
    for interval in ("1d", "1w"):
        assert listed(client, {"symbol": "AAPL", "interval": interval, "since_version": version}) == []


def test_bulk_history_is_one_reload(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(0, "10", symbol="MSFT"))
    version = one(connection, "SELECT newest_version()")
    connection.execute(
        """
        INSERT INTO trades (symbol, time, trade_id, price, volume)
        SELECT 'AAPL', '2026-02-08T10:00:30Z'::timestamptz + number * INTERVAL '1 second', 1, 5, 1
        FROM generate_series(0, 1000) AS number
        """
    )
    with connection.transaction():
        connection.execute("SET LOCAL market_data.stream = 'off'")
        connection.execute("UPDATE trades SET price = 6 WHERE price = 5 AND time < '2026-02-08T10:02Z'")
        connection.execute("DELETE FROM trades WHERE time = '2026-02-08T10:30Z'")
    connection.execute("TRUNCATE trades")
    found = listed(client, {"symbols": "AAPL,MSFT", "interval": "5m", "since_version": version})
    assert [(each["symbol"], each["version"] - version) for each in found] == [("AAPL", 4), ("MSFT", 4)]
    assert all(each["start"] <= "2026-02-08T10:00:00Z" < each["end"] for each in found)
    for each in found:
        assert each["cause"] == "reload"
        assert each.keys().isdisjoint({"timestamp", "before", "after"})


def test_reloads_of_statements_have_their_range_in_whole_buckets(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    version = one(connection, "SELECT newest_version()")
    with connection.transaction():
        connection.execute("SET LOCAL market_data.stream = 'off'")
        store(connection, trade(59, "5"), trade(130, "5"))
        connection.execute("UPDATE trades SET price = 6 WHERE price = 5")
    found = listed(client, MINUTES | {"since_version": version})
    assert [(each["start"][11:16], each["end"][11:16]) for each in found] == [
        ("10:30", "10:31"),
        ("10:32", "10:33"),
        ("10:30", "10:33"),
    ]


def test_pages_follow_each_other_and_trades_may_arrive_in_between(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(60, "10"), trade(0, "10", symbol="MSFT"))
    version = one(connection, "SELECT newest_version()")
    connection.execute("UPDATE trades SET price = 11")
    connection.execute("UPDATE trades SET price = 12")
    wanted = {"symbols": "AAPL,MSFT", "interval": "1m", "since_version": version}
    expected = listed(client, wanted)
    keys = [(each["symbol"], each["version"] - version, each["timestamp"][14:16]) for each in expected]
    assert keys == [
        ("AAPL", 1, "30"),
        ("AAPL", 1, "31"),
        ("AAPL", 2, "30"),
        ("AAPL", 2, "31"),
        ("MSFT", 1, "30"),
        ("MSFT", 2, "30"),
    ]
    found: list[Any] = []
    pages = 0
    more: dict[str, Any] = {"limit": 1}
    while more:
        body = client.get("/revisions", params=wanted | more).json()
        assert body["version"] == version + 2
        found += body["revisions"]
        pages += 1
        connection.execute("UPDATE trades SET price = price + 1")
        more = {"limit": 1, "page_token": body["next_page_token"]} if body["next_page_token"] else {}
    assert (found, pages) == (expected, 6)


def test_range_selects_buckets(client: TestClient, connection: Connection):
    store(connection, *(trade(60 * minute, "10") for minute in range(5)))
    connection.execute("UPDATE trades SET price = 11")
    wanted = MINUTES | {"start": "2026-02-08T10:31:00Z", "end": "2026-02-08T10:32:30Z"}
    found = [(each["timestamp"][14:16], each["cause"]) for each in listed(client, wanted)]
    assert found == [("31", "late"), ("32", "late"), ("31", "correct"), ("32", "correct")]


def test_every_format_has_the_same_rows(client: TestClient, connection: Connection):
    store(connection, trade(0, "10.10"))
    with connection.transaction():
        connection.execute("SELECT set_config('market_data.reason', 'a, \"b\"', true)")
        connection.execute("UPDATE trades SET price = 0.00001234")
    wanted = MINUTES | {"since_version": 0}
    expected = listed(client, wanted)
    lines = client.get("/revisions", params=wanted | {"format": "ndjson"}).text.splitlines()
    assert [msgspec.json.decode(line) for line in lines] == expected
    response = client.get("/revisions", params=wanted | {"format": "csv"})
    assert response.headers["content-type"] == "text/csv; charset=utf-8"
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert [(row["cause"], row["before_open"], row["after_close"], row["reason"]) for row in rows] == [
        ("late", "", "10.1", ""),
        ("correct", "10.1", "0.00001234", 'a, "b"'),
    ]
    assert rows[0]["timestamp"] == "2026-02-08T10:30:00Z"
    arrow = pa.ipc.open_stream(
        client.get("/revisions", headers={"Accept": "application/vnd.apache.arrow.stream"}, params=wanted).content
    )
    parquet = pq.read_table(io.BytesIO(client.get("/revisions", params=wanted | {"format": "parquet"}).content))
    for table in (arrow.read_all(), parquet):
        assert table.column_names == list(rows[0])
        assert table["before_open"].to_pylist() == [None, 10.1]
        assert table["after_trade_count"].to_pylist() == [1, 1]
        assert table["timestamp"].to_pylist()[0] == datetime(2026, 2, 8, 10, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("parameters", "name", "detail"),
    [
        ({}, "since_version", "is required without start"),
        ({"since_version": "999999999999999999"}, "since_version", "is in the future. The newest version is"),
        ({"since_version": "-1"}, "since_version", "must be a version such as 412"),
        ({"since_version": "0", "interval": "3m"}, "interval", "must be one of 1m, 5m"),
        ({"since_version": "0", "symbols": "MSFT"}, "symbols", "can't be given together"),
        ({"start": "2026-02-08", "end": "2026-02-08"}, "start", "must be before end"),
        ({"since_version": "0", "page_token": "x"}, "page_token", "is not a page token"),
    ],
)
def test_wrong_parameters_are_explained(
    client: TestClient, connection: Connection, parameters: dict[str, str], name: str, detail: str
):
    store(connection, trade(0, "10"))
    response = client.get("/revisions", params=MINUTES | parameters)
    assert response.status_code == 400
    (problem,) = response.json()["errors"]
    assert (problem["name"], problem["detail"][: len(detail)]) == (name, detail)


def test_unknown_symbol_is_404(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    assert client.get("/revisions", params=MINUTES | {"since_version": 0, "symbol": "ACME"}).status_code == 404


def test_dropped_trades_are_gone_with_the_earliest_version(stopped: tuple[TestClient, Connection]):
    client, connection = stopped
    old, new = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC) - timedelta(days=1)
    insert: Any = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', %s, %s, 5, 1)"
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
    connection.execute(insert, (old, 0))
    connection.execute(insert, (new, 0))
    connection.execute("CALL refresh_candles()")
    connection.execute("UPDATE retention SET drop_after = INTERVAL '20 days'")
    connection.execute("CALL drop_old_trades()")
    dropped = one(connection, "SELECT dropped_version FROM retention")
    connection.execute(insert, (new, 1))
    response = client.get("/revisions", params=MINUTES | {"since_version": 0})
    assert response.status_code == 410
    assert response.json()["detail"].endswith(f"The earliest version that can be answered is {dropped}.")
    assert len(listed(client, MINUTES | {"since_version": dropped})) == 1
    assert len(listed(client, MINUTES | {"start": (new - timedelta(hours=1)).isoformat()})) == 2

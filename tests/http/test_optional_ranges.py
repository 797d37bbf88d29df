"""Ranges without `start` or `end`: the newest rows, and pages that go back in time."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from helpers.support import T0, Connection, store, trade
from litestar.testing import TestClient

END = "2026-02-08T11:00:00Z"
PATHS = pytest.mark.parametrize(
    ("path", "more"),
    [
        ("/trades", {}),
        ("/candles", {"interval": "1m"}),
        ("/candles", {"interval": "3m"}),
        ("/candles", {"interval": "1m", "fill": "null"}),
        ("/candles", {"interval": "3m", "fill": "previous"}),
    ],
)


def rows(body: dict[str, Any]) -> list[Any]:
    return body["trades"] if "trades" in body else body["candles"]


def pages(client: TestClient, path: str, parameters: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the pages, whose parameters stay the same."""
    token = None
    for _ in range(60):
        body = client.get(path, params=parameters | ({"page_token": token} if token else {})).json()
        yield body
        token = body["next_page_token"]
        if token is None:
            return
    pytest.fail("the pages have no end")


@pytest.fixture
def filled(connection: Connection) -> Connection:
    """Trades in 25 of 29 minutes, and of another symbol."""
    store(
        connection,
        *(
            trade(60 * minute + second, str(minute + 1), trade_id=second)
            for minute in range(29)
            for second in (0, 7)
            if minute % 7
        ),
        trade(0, "77", symbol="MSFT"),
    )
    return connection


@PATHS
@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 4, 7, 1000])
@pytest.mark.usefixtures("filled")
def test_newest_rows_come_first_and_pages_go_back_in_time(
    client: TestClient, path: str, more: dict[str, str], order: str, limit: int
):
    parameters = {"symbol": "AAPL", "end": END, "order": order, **more}
    start = {"start": "2026-02-08T10:30:00Z"} if "fill" in more else {"start": "2020-01-01"}
    whole = rows(client.get(path, params=parameters | start | {"limit": 1000}).json())
    if "fill" in more:  # nothing is before the first candle
        first = next(number for number, row in enumerate(whole[:: 1 if order == "asc" else -1]) if not row["filled"])
        whole = whole[first:] if order == "asc" else whole[: len(whole) - first]
    found = list(pages(client, path, parameters | {"limit": limit}))
    together = [row for page in (found[::-1] if order == "asc" else found) for row in rows(page)]
    assert together == whole
    assert {page["end"] for page in found} == {END}
    for page in found:
        assert page["start"] == min(row["timestamp"] for row in rows(page))
        assert page["count"] == len(rows(page)) <= limit


@PATHS
def test_symbol_without_rows_has_none(client: TestClient, connection: Connection, path: str, more: dict[str, str]):
    store(connection, trade(0, "1", symbol="MSFT"))
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple') ON CONFLICT DO NOTHING")
    body = client.get(path, params={"symbol": "AAPL", "end": END, **more}).json()
    assert (body["start"], body["end"], body["count"]) == (END, END, 0)
    assert client.get(path, params={"symbol": "ACME", **more}).status_code == 404


def test_end_is_now_by_default(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    store(connection, (now - timedelta(seconds=2), "AAPL", 0, trade(0, "5")[3], trade(0, "5")[4]))
    for path, more in (("/trades", {}), ("/candles", {"interval": "1m"})):
        body = client.get(path, params={"symbol": "AAPL", "limit": 1, **more}).json()
        assert body["count"] == 1
        assert now <= datetime.fromisoformat(body["end"]) <= datetime.now(UTC)


def test_relative_bounds_stay_between_pages(client: TestClient, connection: Connection):
    now = datetime.now(UTC)
    price, volume = trade(0, "5")[3:]
    store(connection, *((now - timedelta(minutes=minute), "AAPL", 0, price, volume) for minute in range(1, 6)))
    parameters = {"symbol": "AAPL", "start": "now-1h", "end": "now", "limit": 2}
    found = list(pages(client, "/trades", parameters))
    assert [page["count"] for page in found] == [2, 2, 1]
    assert len({(page["start"], page["end"]) for page in found}) == 1
    token = found[0]["next_page_token"]
    other = client.get("/trades", params=parameters | {"start": "now-2h", "page_token": token})
    assert other.json()["errors"][0]["name"] == "page_token"


@pytest.mark.usefixtures("filled")
def test_newer_trades_do_not_change_later_pages(client: TestClient, filled: Connection):
    parameters = {"symbol": "AAPL", "limit": 10}
    whole = rows(client.get("/trades", params=parameters | {"limit": 1000}).json())
    found = []
    for number, page in enumerate(pages(client, "/trades", parameters)):
        found += rows(page)
        store(filled, trade(5000 + number, "99"))
    assert found == whole


@pytest.mark.parametrize("form", ["csv", "ndjson"])
@pytest.mark.usefixtures("filled")
def test_other_formats_have_the_whole_history(client: TestClient, form: str):
    for path, more, count in (("/trades", {}, 48), ("/candles", {"interval": "1m"}, 24)):
        body = client.get(path, params={"symbol": "AAPL", "format": form, **more}).text
        assert len(body.splitlines()) == count + (form == "csv")
    refused = client.get("/candles", params={"symbol": "AAPL", "interval": "1m", "fill": "null", "format": form})
    assert refused.json()["errors"][0]["name"] == "start"


@pytest.mark.parametrize("date", ["2026-02-08", "1770508800", "1770508800000", "2026-02-08T01:00+01:00"])
@pytest.mark.usefixtures("filled")
def test_dates_and_epochs_are_bounds(client: TestClient, date: str):
    body = client.get("/trades", params={"symbol": "AAPL", "start": date, "end": str(int(T0.timestamp()) + 120)}).json()
    assert (body["start"], body["end"], body["count"]) == ("2026-02-08T00:00:00Z", "2026-02-08T10:32:00Z", 2)

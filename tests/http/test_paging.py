"""Pages of `/trades` and `/candles`."""

from collections.abc import Callable, Iterator
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from helpers.support import T0, Connection, store, trade
from litestar.testing import TestClient

Body = dict[str, Any]
Follow = Callable[[TestClient, str, dict[str, Any]], Iterator[Body]]

MAX_PAGES = 50
PARAMETERS = {"symbol": "aapl", "start": "2026-02-08T10:00:00 00:00", "end": "2026-02-08T11:00:00Z"}
CANDLES = PARAMETERS | {"interval": "1m"}
BOTH = pytest.mark.parametrize(("path", "parameters"), [("/trades", PARAMETERS), ("/candles", CANDLES)])


def by_token(client: TestClient, path: str, parameters: dict[str, Any]) -> Iterator[Body]:
    """Yield the pages by `next_page_token`."""
    token = None
    for _ in range(MAX_PAGES):
        yield (body := client.get(path, params=parameters | ({"page_token": token} if token else {})).json())
        token = body["next_page_token"]
        if token is None:
            return
    pytest.fail("the pages have no end")


def by_link(client: TestClient, path: str, parameters: dict[str, Any]) -> Iterator[Body]:
    """Yield the pages by the Link header."""
    response = client.get(path, params=parameters)
    for _ in range(MAX_PAGES):
        yield response.json()
        if "next" not in response.links:
            return
        response = client.get(response.links["next"]["url"])
    pytest.fail("the pages have no end")


def rows(body: Body) -> list[Any]:
    return body["trades"] if "trades" in body else body["candles"]


@pytest.fixture
def filled(connection: Connection) -> Connection:
    """Ten minutes with two trades each, several at one instant, and other trades before, after and of another symbol."""
    store(
        connection,
        *(trade(60 * minute, str(minute + 1), trade_id=number) for minute in range(10) for number in (0, 7)),
        *(trade(30, "5", trade_id=number) for number in (-(2**63), -1, 0, 1, 2**63 - 1)),
        trade(-86_400, "6"),
        trade(86_400, "6"),
        *(trade(60 * minute, "77", symbol="MSFT") for minute in range(10)),
    )
    return connection


@BOTH
@pytest.mark.parametrize("follow", [by_token, by_link])
@pytest.mark.parametrize("order", [{}, {"order": "asc"}, {"order": "desc"}])
@pytest.mark.parametrize("limit", [1, 2, 3, 7, 1000])
@pytest.mark.usefixtures("filled")
def test_pages_together_are_the_whole_response(
    client: TestClient, path: str, parameters: dict[str, Any], follow: Follow, order: dict[str, str], limit: int
):
    parameters = parameters | order
    whole = client.get(path, params=parameters).json()
    assert whole["next_page_token"] is None
    pages = list(follow(client, path, parameters | {"limit": limit}))
    assert [row for page in pages for row in rows(page)] == rows(whole)
    assert [page["count"] for page in pages[:-1]] == [limit] * (len(pages) - 1)
    assert 0 < pages[-1]["count"] <= limit
    assert {(page["start"], page["end"]) for page in pages} == {("2026-02-08T10:00:00Z", "2026-02-08T11:00:00Z")}


@BOTH
@pytest.mark.usefixtures("filled")
def test_ascending_order_is_descending_order_reversed(client: TestClient, path: str, parameters: dict[str, Any]):
    upwards, downwards = (rows(client.get(path, params=parameters | {"order": order}).json()) for order in ("asc", "desc"))
    assert upwards == downwards[::-1]
    assert upwards == sorted(upwards, key=lambda row: (row["timestamp"], row.get("trade_id")))


@pytest.mark.parametrize("follow", [by_token, by_link])
def test_newer_trades_do_not_change_later_pages_of_trades(client: TestClient, filled: Connection, follow: Follow):
    expected = rows(client.get("/trades", params=PARAMETERS).json())
    found = []
    for number, page in enumerate(follow(client, "/trades", PARAMETERS | {"limit": 4})):
        found += rows(page)
        store(filled, trade(1000 + number, "99"), trade(540, "99", trade_id=100 + number))
    assert found == expected


@pytest.mark.parametrize("follow", [by_token, by_link])
def test_newer_trades_appear_in_later_pages_of_candles(client: TestClient, filled: Connection, follow: Follow):
    found = []
    for number, page in enumerate(follow(client, "/candles", CANDLES | {"limit": 4})):
        found += rows(page)
        if number < 2:
            store(filled, trade(600 + 60 * number, "99"))
    assert found == rows(client.get("/candles", params=CANDLES).json())
    assert len(found) == 12


def test_trade_deleted_between_pages_skips_no_other(client: TestClient, filled: Connection):
    pages = by_token(client, "/trades", PARAMETERS | {"limit": 4})
    first = rows(next(pages))
    filled.execute("DELETE FROM trades WHERE symbol = 'AAPL' AND time = %s", (T0.replace(minute=38),))
    rest = [row for page in pages for row in rows(page)]
    assert [row["price"] for row in first] == [10, 10, 9, 9]
    assert [row["price"] for row in rest[:2]] == [8, 8]
    assert len(rest) == 21


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("minutes", [1, 5], ids=["every bucket", "most buckets empty"])
def test_as_many_rows_as_the_limit_have_no_further_page(
    client: TestClient, connection: Connection, order: str, minutes: int
):
    """The neighbours of the range, at its end and a bucket before its start, do not count."""
    store(connection, *(trade(60 * minutes * number, "1") for number in range(-1, 5)))
    end = (T0 + timedelta(minutes=4 * minutes)).isoformat()
    parameters = {"symbol": "AAPL", "start": T0.isoformat(), "end": end, "order": order, "limit": 4}
    for path, more in (("/trades", {}), ("/candles", {"interval": "1m"})):
        body = client.get(path, params=parameters | more).json()
        assert (body["count"], body["next_page_token"]) == (4, None), path
        body = client.get(path, params=parameters | more | {"limit": 3}).json()
        body = client.get(path, params=parameters | more | {"limit": 3, "page_token": body["next_page_token"]}).json()
        assert (body["count"], body["next_page_token"]) == (1, None), path


@pytest.mark.usefixtures("filled")
def test_limit_may_change_between_pages(client: TestClient):
    whole = rows(client.get("/trades", params=PARAMETERS).json())
    first = client.get("/trades", params=PARAMETERS | {"limit": 3}).json()
    rest = client.get("/trades", params=PARAMETERS | {"page_token": first["next_page_token"]}).json()
    assert rows(first) + rows(rest) == whole


@BOTH
@pytest.mark.parametrize(
    "change", [{"symbol": "MSFT"}, {"start": "2026-02-08T10:00:01Z"}, {"end": "2026-02-08T11:00:01Z"}, {"order": "other"}]
)
@pytest.mark.usefixtures("filled")
def test_token_of_other_parameters_is_refused(
    client: TestClient, path: str, parameters: dict[str, Any], change: dict[str, Any]
):
    token = client.get(path, params=parameters | {"limit": 1}).json()["next_page_token"]
    if "order" in change:
        change = {"order": "asc" if path == "/trades" else "desc"}
    response = client.get(path, params=parameters | change | {"page_token": token})
    assert response.status_code == 400
    assert [error["name"] for error in response.json()["errors"]] == ["page_token"]


@pytest.mark.usefixtures("filled")
def test_token_is_valid_for_the_same_range_in_another_notation(client: TestClient):
    token = client.get("/trades", params=PARAMETERS | {"limit": 1}).json()["next_page_token"]
    otherwise = {"symbol": "AAPL", "start": "2026-02-08T12:00:00+02:00", "end": "2026-02-08t11:00:00.000z"}
    assert client.get("/trades", params=otherwise | {"page_token": token}).status_code == 200


def test_trades_one_microsecond_apart_are_on_separate_pages(client: TestClient, connection: Connection):
    store(connection, *(trade(number / 1_000_000, str(Decimal(number) + 1)) for number in range(5)))
    found = [row["price"] for page in by_token(client, "/trades", PARAMETERS | {"limit": 1}) for row in rows(page)]
    assert found == [5, 4, 3, 2, 1]

"""Versions of answers, and reads as of a version: the same request returns what it returned then."""

import random
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from helpers.histories import SYMBOLS, History
from helpers.service import eventually
from helpers.support import Connection, one, store, trade
from litestar.testing import TestClient

from market_data.settings import Settings

INTERVALS = ("1s", "1m", "3m", "5m", "1h", "12h", "1d", "1w", "1M")
STORE: Any = "INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES (%s, %s, %s, %s, 1)"
HOUR = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}
DAY = {"symbol": "AAPL", "start": "2026-02-08", "end": "2026-02-09"}
NEWEST = "SELECT newest_version()"
ROUGH = ("closed", "settled", "end", "next_page_token")
"""Members that depend on the time of the request."""


def without_times(value: Any) -> Any:
    """Return an answer without the members that depend on the time of the request."""
    if isinstance(value, list):
        return [without_times(each) for each in value]
    if isinstance(value, dict):
        return {name: without_times(each) for name, each in value.items() if name not in ROUGH}
    return value


@pytest.fixture
def past(stopped_database: str, make_client: Callable[[Settings], TestClient]) -> Iterator[tuple[TestClient, str]]:
    """Client of a service, and the URL of its database."""
    with make_client(Settings(database_url=stopped_database, feed_enabled=False)) as client:
        yield client, stopped_database


class Questions:
    """Random requests whose rows lie in a fixed range, so that the time of the request does not matter."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)
        self._begun = datetime.now(UTC)
        self._end = self._begun + timedelta(days=1)

    def ask(self) -> tuple[str, dict[str, Any]]:
        """Return a path and its parameters."""
        choose = self._random
        kind = choose.choice(["price", "prices", "trades", "candles", "candles"])
        if kind == "price":
            return "/price/latest", {"symbol": choose.choice(SYMBOLS)}
        if kind == "prices":
            return "/prices/latest", choose.choice([{}, {"symbols": "AAPL,MSFT"}])
        days = choose.choice([1, 6, 30])
        start = self._end - timedelta(days=1 + days)
        parameters: dict[str, Any] = {
            "start": start.isoformat(),
            "end": self._end.isoformat(),
            "order": choose.choice(["asc", "desc"]),
            "format": choose.choice(["json", "json", "csv", "ndjson"]),
        }
        parameters |= choose.choice([{"symbol": choose.choice(SYMBOLS)}, {"symbols": ",".join(SYMBOLS)}])
        if choose.random() < 0.6:
            parameters["limit"] = choose.choice([2, 7, 100])
        if kind == "trades":
            return "/trades", parameters
        interval = choose.choice(INTERVALS)
        if interval == "1s":
            parameters["start"] = (self._end - timedelta(days=3)).isoformat()
        if interval in ("1d", "1M") and choose.random() < 0.5:
            parameters["tz"] = choose.choice(["Europe/Berlin", "Asia/Kolkata"])
        if interval != "1s" and choose.random() < 0.3:
            # Later buckets would have begun or not by the time of the request.
            parameters |= {"fill": choose.choice(["previous", "null"]), "end": self._begun.isoformat(), "limit": 50}
        return "/candles", parameters | {"interval": interval}


def answer(client: TestClient, path: str, parameters: dict[str, Any]) -> tuple[int, str | None, Any]:
    """Return status, version and body."""
    response = client.get(path, params=parameters)
    version = response.headers.get("data-version")
    if response.headers["content-type"].startswith("application/json"):
        return response.status_code, version, without_times(response.json())
    if response.headers["content-type"].startswith("application/problem"):
        return response.status_code, version, None
    closed = (",true", ",false", '"closed":true', '"closed":false')
    text = response.text
    for each in closed:
        text = text.replace(each, "")
    return response.status_code, version, text


@pytest.mark.parametrize("number", [0, *(pytest.param(number, marks=pytest.mark.slow) for number in range(1, 3))])
def test_answers_are_the_same_as_of_their_version(past: tuple[TestClient, str], number: int):
    client, url = past
    choose, questions = random.Random(number), Questions(number)
    answers: list[tuple[str, dict[str, Any], str, Any]] = []
    with psycopg.connect(url, autocommit=True, options="-c timezone=UTC") as connection:
        history = History(connection, number, truncates=False)
        for _ in range(50):
            history.write()
            if choose.random() < 0.2:
                connection.execute("CALL refresh_candles()")
            for _ in range(2):
                path, parameters = questions.ask()
                status, version, body = answer(client, path, parameters)
                assert status in (200, 404)
                if version and version != "0":  # nobody knows the time of version 0, up to which `fill` fills
                    answers.append((path, parameters, version, body))
        connection.execute("CALL refresh_candles()")
    assert len(answers) > 50
    for path, parameters, version, body in answers:
        assert answer(client, path, parameters | {"as_of": version}) == (200, version, body), (path, parameters)


@pytest.mark.parametrize("choice", [{"interval": "1h", "fill": "previous"}, {"interval": "1M", "tz": "Europe/Berlin"}])
def test_answer_that_depends_on_an_earlier_candle_has_no_version_until_that_is_settled(
    past: tuple[TestClient, str], choice: dict[str, str]
):
    client, url = past
    now = datetime.now(UTC)
    parameters = {"symbol": "AAPL", "start": (now - timedelta(hours=2)).isoformat(), "end": now.isoformat(), **choice}
    if "fill" not in choice:
        parameters["start"] = (now - timedelta(days=40)).isoformat()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        connection.execute(STORE, ("AAPL", now - timedelta(hours=1), 0, 6))
        connection.execute("CALL refresh_candles()")
        connection.execute("UPDATE candle_refresh SET pid = pg_backend_pid()")  # the service refreshes nothing
        connection.execute(STORE, ("AAPL", now - timedelta(days=60), 0, 5))
        assert "data-version" not in client.get("/candles", params=parameters).headers
        connection.execute("CALL refresh_candles()")
        first = one(connection, NEWEST)
        # Without one, too, if a minute was closed between its statements, which is a version.
        found = eventually(lambda: client.get("/candles", params=parameters).headers.get("data-version"))
        assert first <= int(found) <= one(connection, NEWEST)  # a closing is a version as well


@pytest.mark.parametrize(
    ("path", "parameters", "rows"),
    [
        ("/snapshots", {"symbols": "AAPL"}, "snapshots"),
        ("/prices/latest", {}, "prices"),
        ("/trades", {"symbol": "AAPL"}, "trades"),
        *(("/candles", {"symbol": "AAPL", "interval": interval}, "candles") for interval in INTERVALS),
        ("/candles", {"symbol": "AAPL", "interval": "1h", "fill": "previous"}, "candles"),
    ],
)
def test_nothing_is_there_before_the_first_version(
    client: TestClient, connection: Connection, path: str, parameters: dict[str, str], rows: str
):
    store(connection, trade(0, "10"))
    response = client.get(path, params=parameters | {"as_of": "0"})
    assert (response.status_code, response.headers["data-version"], response.json()[rows]) == (200, "0", [])


@pytest.mark.parametrize(("path", "wanted"), [("/trades", DAY), ("/candles", HOUR)])
def test_pages_of_a_relative_time_have_the_version_of_the_first_one(
    client: TestClient, connection: Connection, path: str, wanted: dict[str, str]
):
    store(connection, trade(0, "10"), trade(60, "20"), trade(120, "30"))
    parameters = wanted | {"limit": "1", "as_of": "now-0s"}
    first = client.get(path, params=parameters)
    store(connection, trade(121, "40"))
    following = client.get(path, params=parameters | {"page_token": first.json()["next_page_token"]})
    assert following.status_code == 200, following.text
    last = client.get(following.links["next"]["url"])
    assert {each.headers["data-version"] for each in (first, following, last)} == {first.headers["data-version"]}
    rows = [row for page in (first, following, last) for row in page.json()[path[1:]]]
    assert [row.get("close", row.get("price")) for row in sorted(rows, key=lambda row: row["timestamp"])] == [10, 20, 30]
    changed = parameters | {"as_of": "now-1s", "page_token": first.json()["next_page_token"]}
    assert client.get(path, params=changed).status_code == 400


def test_late_corrected_and_cancelled_trades_are_as_they_were(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(10, "12"), trade(20, "11"))
    before = client.get("/candles", params=HOUR)
    version = before.headers["data-version"]
    store(connection, trade(5, "99"))
    connection.execute("UPDATE trades SET price = 1 WHERE price = 12")
    connection.execute("DELETE FROM trades WHERE price = 11")
    after = client.get("/candles", params=HOUR)
    assert int(after.headers["data-version"]) == int(version) + 3
    assert after.json()["candles"][0]["high"] == 99
    past = client.get("/candles", params=HOUR | {"as_of": version})
    assert past.json()["candles"] == before.json()["candles"]
    assert past.headers["data-version"] == version
    assert client.get("/price/latest", params={"symbol": "AAPL", "as_of": version}).json()["price"] == 11
    prices = [each["price"] for each in client.get("/trades", params=DAY | {"as_of": version}).json()["trades"]]
    assert prices == [11, 12, 10]


def test_trade_at_the_start_of_a_bucket_is_as_it_was(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"), trade(60, "20"))
    before = client.get("/candles", params=HOUR)
    connection.execute("UPDATE trades SET price = 1 WHERE price = 10")
    connection.execute("DELETE FROM trades WHERE price = 20")
    past = client.get("/candles", params=HOUR | {"as_of": before.headers["data-version"]})
    assert past.json()["candles"] == before.json()["candles"]


def test_answer_as_of_a_version_never_changes(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    version = client.get("/price/latest", params={"symbol": "AAPL"}).headers["data-version"]
    for path, parameters in (
        ("/price/latest", {"symbol": "AAPL"}),
        ("/prices/latest", {}),
        ("/snapshots", {}),
        ("/trades", DAY),
    ):
        response = client.get(path, params=parameters | {"as_of": version})
        assert response.headers["cache-control"] == "public, max-age=31536000, immutable"
        assert response.headers["data-version"] == version
    tag = response.headers["etag"]
    assert client.get("/trades", params=DAY | {"as_of": version}, headers={"If-None-Match": tag}).status_code == 304
    relative = client.get("/trades", params=DAY | {"as_of": "now"})
    assert (relative.headers["cache-control"], relative.headers["data-version"]) == ("no-store", version)


def test_time_names_the_newest_version_of_then(client: TestClient, connection: Connection):
    store(connection, trade(0, "10"))
    between = one(connection, "SELECT clock_timestamp()")
    store(connection, trade(1, "11"))
    response = client.get("/price/latest", params={"symbol": "AAPL", "as_of": between.isoformat()})
    assert (response.json()["price"], response.headers["cache-control"]) == (10, "no-store")
    version = int(response.headers["data-version"])
    assert one(connection, "SELECT version_at(%s)", between) == version
    connection.execute("UPDATE commits SET committed_at = committed_at - INTERVAL '2 minutes'")
    early = (between - timedelta(minutes=2)).isoformat()
    response = client.get("/price/latest", params={"symbol": "AAPL", "as_of": early})
    assert response.headers["data-version"] == str(version)
    assert "immutable" in response.headers["cache-control"]
    assert client.get("/price/latest", params={"symbol": "AAPL", "as_of": "2000-01-01"}).status_code == 404


@pytest.mark.parametrize(
    ("as_of", "detail"),
    [
        ("999999999999999999", "is in the future. The newest version is"),
        ("2999-01-01", "is in the future."),
        ("-1", "must be a version such as 412, or a time"),
        ("yesterday", "must be a version such as 412, or a time"),
        ("2026-02-08T10:30:00", "has no time zone"),
    ],
)
def test_bad_version_is_explained(client: TestClient, connection: Connection, as_of: str, detail: str):
    store(connection, trade(0, "10"))
    for path, parameters in (
        ("/candles", HOUR),
        ("/trades", DAY),
        ("/snapshots", {}),
        ("/price/latest", {"symbol": "AAPL"}),
    ):
        response = client.get(path, params=parameters | {"as_of": as_of})
        assert response.status_code == 400
        (problem,) = response.json()["errors"]
        assert (problem["name"], problem["detail"][: len(detail)]) == ("as_of", detail)


def test_dropped_trades_are_gone_with_the_earliest_version(past: tuple[TestClient, str]):
    client, url = past
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple')")
        old, new = datetime.now(UTC) - timedelta(days=40), datetime.now(UTC) - timedelta(days=1)
        connection.execute(STORE, ("AAPL", old, 0, 5))
        connection.execute(STORE, ("AAPL", new, 0, 6))
        first = one(connection, "SELECT newest_version()")
        connection.execute("CALL refresh_candles()")
        connection.execute("UPDATE retention SET drop_after = INTERVAL '20 days'")
        connection.execute(STORE, ("AAPL", new, 1, 7))
        connection.execute("CALL drop_old_trades()")
        dropped = one(connection, "SELECT dropped_version FROM retention")
        whole = {"symbol": "AAPL", "start": "2020-01-01", "as_of": first}
        response = client.get("/trades", params=whole)
        assert response.status_code == 410
        assert response.json()["detail"].endswith(f"The earliest version that can be answered is {dropped}.")
        assert client.get("/trades", params=whole | {"as_of": dropped}).json()["count"] == 2
        recent = whole | {"start": (new - timedelta(hours=1)).isoformat()}
        assert client.get("/trades", params=recent).json()["count"] == 1
        # The candle of the dropped trade has not changed since.
        candles = client.get("/candles", params=whole | {"interval": "1d"}).json()["candles"]
        assert [(candle["close"], candle["trade_count"]) for candle in candles] == [(5, 1), (6, 1)]
        assert client.get("/price/latest", params={"symbol": "AAPL", "as_of": first}).json()["price"] == 6
        connection.execute("TRUNCATE trades")
        response = client.get("/candles", params=whole | {"interval": "1d"})
        assert response.status_code == 410
        emptied = one(connection, "SELECT truncated_version FROM retention")
        assert response.json()["detail"].endswith(f"The earliest version that can be answered is {emptied}.")
        assert client.get("/trades", params=whole | {"as_of": emptied}).json()["count"] == 0

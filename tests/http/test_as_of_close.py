"""`as_of=close`: each candle as it stood when a grace period had passed since the end of its bucket."""

import pytest
from helpers.support import Connection, one, store, trade
from litestar.testing import TestClient

HOUR = {"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}


@pytest.fixture
def history(connection: Connection) -> Connection:
    """Connection to a database with a trade in each of three minutes, and a late one 15 seconds after its end."""
    for minute in range(3):
        store(connection, trade(300 * minute, "10"))
        store(connection, trade(300 * minute + 1, "99"))
    first = one(connection, "SELECT newest_version()") - 5
    # Times follow the versions.
    connection.execute("UPDATE commits SET committed_at = '2026-02-08T10:00Z' WHERE version < %s", (first,))
    for minute in range(3):
        for version, seconds in ((first + 2 * minute, 1), (first + 2 * minute + 1, 75)):
            connection.execute(
                "UPDATE commits SET committed_at = '2026-02-08T10:30Z'::timestamptz + %s * INTERVAL '1 second' "
                "WHERE version = %s",
                (300 * minute + seconds, version),
            )
    return connection


def test_candle_stays_as_it_was_at_its_close(client: TestClient, history: Connection):
    assert history
    close = client.get("/candles", params=HOUR | {"as_of": "close"})
    assert close.headers["cache-control"] == "no-store"
    assert [(each["timestamp"][14:16], each["high"]) for each in close.json()["candles"]] == [
        ("30", 10),
        ("35", 10),
        ("40", 10),
    ]
    late = client.get("/candles", params=HOUR | {"as_of": "close", "grace": "30s"})
    assert [each["high"] for each in late.json()["candles"]] == [99, 99, 99]


def test_pages_and_formats_of_candles_at_their_close(client: TestClient, history: Connection):
    assert history
    wanted = HOUR | {"as_of": "close", "grace": "10s"}
    whole = client.get("/candles", params=wanted).json()["candles"]
    pages = []
    more = {"limit": 1}
    while more:
        body = client.get("/candles", params=wanted | more).json()
        pages += body["candles"]
        more = {"limit": 1, "page_token": body["next_page_token"]} if body["next_page_token"] else {}
    assert pages == whole
    lines = client.get("/candles", params=wanted | {"format": "csv"}).text.splitlines()
    assert [line.split(",")[3] for line in lines[1:]] == ["10", "10", "10"]


def test_candle_that_has_not_closed_is_left_out(client: TestClient, connection: Connection):
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple') ON CONFLICT DO NOTHING")
    connection.execute("INSERT INTO trades (symbol, time, trade_id, price, volume) VALUES ('AAPL', now(), 0, 1, 1)")
    parameters = {"symbol": "AAPL", "interval": "1w", "start": "now-30d"}
    assert len(client.get("/candles", params=parameters).json()["candles"]) == 1
    assert client.get("/candles", params=parameters | {"as_of": "close"}).json()["candles"] == []


@pytest.mark.parametrize(
    ("parameters", "name", "detail"),
    [
        ({"grace": "30s"}, "grace", "needs as_of=close"),
        ({"as_of": "close", "grace": "30"}, "grace", "must be a time such as 30s"),
        ({"as_of": "close", "interval": "3m"}, "as_of", "close needs one of the intervals 1m, 5m"),
        ({"as_of": "close", "fill": "null"}, "as_of", "close needs one of the intervals 1m, 5m"),
        ({"as_of": "closed"}, "as_of", "must be a version such as 412, or a time"),
    ],
)
def test_wrong_parameters_are_explained(
    client: TestClient, connection: Connection, parameters: dict[str, str], name: str, detail: str
):
    store(connection, trade(0, "10"))
    response = client.get("/candles", params=HOUR | parameters)
    assert response.status_code == 400
    (problem,) = response.json()["errors"]
    assert (problem["name"], problem["detail"][: len(detail)]) == (name, detail)

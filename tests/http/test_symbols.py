"""`GET /symbols` and `GET /`."""

from litestar.testing import TestClient
from support import Connection

from market_data import __version__


def test_symbols_are_listed_in_alphabetical_order_with_their_names(client: TestClient, connection: Connection):
    connection.execute("""
        INSERT INTO symbols (symbol, name, created_at)
        VALUES ('MSFT', 'Microsoft', '2026-02-08T10:00:00.25Z'), ('AAPL', 'Äpfel "&" Söhne', '2026-02-08T12:00:00+02:00')
    """)
    response = client.get("/symbols")
    assert response.headers["content-type"] == "application/json"
    assert response.text == (
        '{"symbols":[{"symbol":"AAPL","name":"Äpfel \\"&\\" Söhne","created_at":"2026-02-08T10:00:00Z"},'
        '{"symbol":"MSFT","name":"Microsoft","created_at":"2026-02-08T10:00:00.250000Z"}],"count":2}'
    )


def test_there_may_be_no_symbol(client: TestClient):
    assert client.get("/symbols").text == '{"symbols":[],"count":0}'


def test_front_door_leads_to_every_path(client: TestClient):
    body = client.get("/").json()
    assert (body["service"], body["version"]) == ("market-data-platform", __version__)
    parameters = {"symbol": "ACME", "start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z", "interval": "1m"}
    for path in body["links"].values():
        problem = client.get(path, params=parameters)
        assert problem.status_code == 200 or "no symbol ACME" in problem.json()["detail"], path
    assert {"/health", "/symbols", "/price/latest", "/trades", "/candles", "/docs", "/redoc"} < set(body["links"].values())

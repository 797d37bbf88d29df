"""Request ids: in response headers, error bodies, the log and the database."""

import logging
import re
import threading
import time
from typing import Any

import psycopg
import pytest
from helpers.support import Connection, store, trade
from litestar.testing import TestClient

NEW = re.compile(r"[0-9a-f]{16}")
RANGE = {"start": "2026-02-08T10:00:00Z", "end": "2026-02-08T11:00:00Z"}


@pytest.mark.parametrize(
    ("method", "path"),
    [("GET", "/"), ("GET", "/symbols"), ("GET", "/nothing"), ("POST", "/symbols"), ("GET", "/trades"), ("GET", "/metrics")],
)
def test_every_response_has_the_clients_id_or_a_new_one(client: TestClient, method: str, path: str):
    first, second = (client.request(method, path) for _ in range(2))
    assert NEW.fullmatch(first.headers["x-request-id"])
    assert first.headers["x-request-id"] != second.headers["x-request-id"]
    for given in ("a", "7f0c-Order_12.b", "x" * 128):
        assert client.request(method, path, headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "<script>", "a;b", "é".encode()])
def test_an_invalid_id_is_replaced(client: TestClient, given: Any):
    answer = client.get("/nothing", headers={"X-Request-ID": given})
    assert NEW.fullmatch(answer.headers["x-request-id"])


@pytest.mark.parametrize(("path", "status"), [("/nothing", 404), ("/trades", 400), ("/price/latest?symbol=ACME", 404)])
def test_error_bodies_have_the_id(client: TestClient, path: str, status: int):
    answer = client.get(path, headers={"X-Request-ID": "this-one"})
    assert answer.status_code == status
    assert answer.json()["request_id"] == "this-one"


def test_each_request_has_one_log_line_without_its_query(client: TestClient, caplog: pytest.LogCaptureFixture):
    client.app.state.services.flush_access_log()  # lines of other tests
    with caplog.at_level(logging.INFO, "market_data.requests"):
        client.get("/symbols?key=s3cret", headers={"X-Request-ID": "this-one", "Authorization": "Bearer s3cret"})
        client.get("/health")
        client.app.state.services.flush_access_log()
    (line,) = [record for record in caplog.records if record.name == "market_data.requests"]
    fields = line.__dict__
    assert (fields["method"], fields["path"], fields["status"], fields["request_id"]) == ("GET", "/symbols", 401, "this-one")
    assert 0 < fields["duration_ms"] < 10_000
    assert "s3cret" not in str(fields)


def test_the_application_name_has_the_id(client: TestClient, connection: Connection):
    """Not on the embedded engine: no other session could see the name, and setting it is expensive there."""
    store(connection, trade(0, "1"))
    visible = _names_are_visible(connection)
    before = set(_names(connection))  # includes those of other tests
    for number in range(8):  # at least one for each connection of the pool
        answer = client.get("/trades", params={"symbol": "AAPL", **RANGE}, headers={"X-Request-ID": f"n{number}"})
        assert answer.json()["count"] == 1
    names = _names(connection)
    if not visible:
        assert names == []
        return
    assert {name for name in names if "/" in name} - before <= {f"market-data/n{number}" for number in range(8)}
    assert "market-data/n7" in names
    # A long id is truncated. A rolled back transaction restores the name.
    client.get("/trades", params={"symbol": "AAPL", **RANGE}, headers={"X-Request-ID": "y" * 128})
    assert "market-data/" + "y" * 51 in _names(connection)
    for _ in range(8):  # shared queries have the name of the service only
        assert client.get("/price/latest?symbol=AAPL").status_code == 200
    assert not [name for name in _names(connection) if "/" in name and _active(connection, name)]


def test_the_application_name_is_set_while_the_statement_runs(client: TestClient, database_url: str, connection: Connection):
    if not _names_are_visible(connection):
        return
    request = threading.Thread(target=client.get, args=("/symbols",), kwargs={"headers": {"X-Request-ID": "waits"}})
    with psycopg.connect(database_url) as locking:
        locking.execute("LOCK TABLE symbols")
        request.start()
        deadline = time.monotonic() + 4
        while not _active(connection, "market-data/waits"):
            assert time.monotonic() < deadline
            time.sleep(0.02)
    request.join()


def _names_are_visible(connection: Connection) -> bool:
    found = connection.execute("SELECT count(*) FROM pg_stat_activity WHERE pid = pg_backend_pid()").fetchall()
    return found != [(0,)]


def _names(connection: Connection) -> list[str]:
    found = connection.execute(
        "SELECT application_name FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name LIKE 'market-data%' ORDER BY 1"
    )
    return [name for (name,) in found.fetchall()]


def _active(connection: Connection, name: str) -> bool:
    (active,) = connection.execute(
        "SELECT count(*) > 0 FROM pg_stat_activity"
        " WHERE datname = current_database() AND application_name = %s AND state = 'active'",
        (name,),
    ).fetchone() or (False,)
    return bool(active)

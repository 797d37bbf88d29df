"""The data feed of TradingView's Advanced Charts, requested as its adapter does: the adapter itself is not published."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from helpers.api_keys import store_key
from helpers.service import eventually, running
from helpers.support import T0, Connection, now_within_minute, one, store, trade

START = int(T0.timestamp())

RESOLUTIONS = {
    "1S": "1s",
    "1": "1m",
    "3": "3m",
    "60": "1h",
    "240": "4h",
    "1D": "1d",
    "D": "1d",
    "3D": "3d",
    "1W": "1w",
    "W": "1w",
    "1M": "1M",
    "M": "1M",
}


@pytest.fixture
def client(base: str, connection: Connection) -> Iterator[httpx.Client]:
    """Client of `/udf`; AAPL has trades in minutes 0, 1, 2, 10, 11 and of another day, MSFT none."""
    seconds = (0, 20, 61, 125.25, 600, 601, 670, 90_000)
    store(connection, *(trade(at, f"{100 + number / 8}", "2.5") for number, at in enumerate(seconds)))
    connection.execute("UPDATE symbols SET name = 'Apple Inc.' WHERE symbol = 'AAPL'")
    connection.execute("INSERT INTO symbols (symbol, name) VALUES ('MSFT', 'Microsoft'), ('EUR/USD', 'Euro')")
    with httpx.Client(base_url=f"{base}/udf", timeout=60) as client:
        yield client


def history(client: httpx.Client, resolution: str, parameters: dict[str, Any]) -> dict[str, Any]:
    return client.get("/history", params={"symbol": "AAPL", "resolution": resolution, **parameters}).json()


def candles(client: httpx.Client, interval: str, **parameters: Any) -> dict[str, list[Any]]:
    """Return the candles of our own API as columns."""
    own = httpx.get(
        str(client.base_url.join("/candles")), params={"symbol": "AAPL", "interval": interval, **parameters}, timeout=60
    ).json()["candles"]
    names = {"o": "open", "h": "high", "l": "low", "c": "close", "v": "volume"}
    return {
        "t": [int(datetime.fromisoformat(candle["timestamp"]).timestamp()) for candle in own],
        **{short: [candle[name] for candle in own] for short, name in names.items()},
    }


def test_a_chart_starts(client: httpx.Client):
    config = client.get("/config").json()
    assert config["supports_search"] is True
    assert config["supports_group_request"] is False
    symbol = client.get("/symbols", params={"symbol": "MDP:aapl"}).json()
    assert "s" not in symbol  # the adapter takes any `s` for an unknown symbol
    assert (symbol["name"], symbol["ticker"], symbol["description"]) == ("AAPL", "AAPL", "Apple Inc.")
    assert (symbol["minmov"], symbol["pricescale"], symbol["volume_precision"]) == (1, 1000, 1)
    assert set(symbol["supported_resolutions"]) == set(config["supported_resolutions"])
    assert {"1S", "1", "60", "1D", "1W", "1M"} <= set(config["supported_resolutions"])
    bars = history(client, symbol["supported_resolutions"][3], {"from": 0, "to": START + 3600, "countback": 300})
    assert bars == {"s": "ok", **candles(client, "1m", end="2026-02-08T11:30:00Z")}
    assert bars["t"] == [START, START + 60, START + 120, START + 600, START + 660]


@pytest.mark.parametrize("resolution", RESOLUTIONS)
def test_history_of_each_resolution_has_the_candles(client: httpx.Client, resolution: str):
    interval = RESOLUTIONS[resolution]
    end = START + 3 * 86_400
    found = history(client, resolution, {"from": START - 86_400, "to": end, "countback": 5})
    expected = candles(
        client, interval, limit=5, end=str(end), **({"start": str(end - 7 * 86_400)} if "S" in resolution else {})
    )
    assert expected["t"]
    assert found == {"s": "ok", **{name: column[-5:] for name, column in expected.items()}} or "S" in resolution
    assert found["t"] == sorted(found["t"])
    if "S" in resolution:
        assert found["t"][-1] == START + 90_000


def test_bounds_are_half_open(client: httpx.Client):
    assert history(client, "1", {"from": START, "to": START + 120})["t"] == [START, START + 60]
    assert history(client, "1", {"from": START + 1, "to": START + 121})["t"] == [START + 60, START + 120]


def test_countback_reaches_before_the_range(client: httpx.Client):
    assert history(client, "1", {"from": START + 660, "to": START + 661, "countback": 3})["t"] == [
        START + 120,
        START + 600,
        START + 660,
    ]


def test_empty_range_names_the_newest_older_bar(client: httpx.Client):
    assert history(client, "1", {"from": START + 200, "to": START + 400}) == {"s": "no_data", "nextTime": START + 120}
    assert history(client, "1", {"from": 0, "to": START}) == {"s": "no_data"}
    assert history(client, "1", {"from": 0, "to": START, "countback": 10}) == {"s": "no_data"}
    assert history(client, "1", {"symbol": "MSFT", "from": 0, "to": START}) == {"s": "no_data"}
    assert history(client, "1", {"from": START + 60, "to": START + 60}) == {"s": "no_data"}


def test_poll_has_the_open_bar_and_the_one_before(client: httpx.Client, connection: Connection):
    now = now_within_minute()
    minute = now.replace(second=0, microsecond=0)
    for time, price in ((minute - timedelta(minutes=1), "7"), (now, "8")):
        connection.execute("INSERT INTO trades (symbol, time, price, volume) VALUES ('AAPL', %s, %s, 1)", (time, price))
    until = int(now.timestamp()) + 1
    bars = history(client, "1", {"from": until - 600, "to": until, "countback": 2})
    assert bars["t"] == [int(minute.timestamp()) - 60, int(minute.timestamp())]
    assert bars["c"] == [7, 8]


@pytest.mark.parametrize(
    ("query", "limit", "found"),
    [
        ("", None, ["AAPL", "EUR/USD", "MSFT"]),
        ("", 2, ["AAPL", "EUR/USD"]),
        ("micro", None, ["MSFT"]),
        ("USD", None, ["EUR/USD"]),
        ("MDP:MSFT", None, ["MSFT"]),
        ("xyz", None, []),
    ],
)
def test_search_looks_at_symbols_and_names(client: httpx.Client, query: str, limit: int | None, found: list[str]):
    parameters = {"query": query, "type": "", "exchange": "", **({"limit": limit} if limit else {})}
    answer = client.get("/search", params=parameters).json()
    assert [symbol["symbol"] for symbol in answer] == found
    assert all(symbol["ticker"] == symbol["symbol"] for symbol in answer)


def test_quotes_are_those_of_the_snapshots(client: httpx.Client, connection: Connection):
    now = datetime.now(UTC)
    connection.execute("INSERT INTO trades (symbol, time, price, volume) VALUES ('EUR/USD', %s, 1.25, 4)", (now,))
    answer = client.get("/quotes", params={"symbols": "AAPL,eur/usd,MSFT,NOPE,A  B"}).json()
    assert answer["s"] == "ok"
    by_name = {quote["n"]: quote for quote in answer["d"]}
    assert list(by_name) == ["AAPL", "eur/usd", "MSFT", "NOPE", "A  B"]
    assert [quote["s"] for quote in answer["d"]] == ["ok", "ok", "error", "error", "error"]
    assert by_name["AAPL"]["v"]["lp"] == 100.875
    assert (by_name["AAPL"]["v"]["prev_close_price"], by_name["AAPL"]["v"]["ch"]) == (100.875, 0)
    assert by_name["eur/usd"]["v"] | {} == {
        "short_name": "EUR/USD",
        "exchange": "MDP",
        "description": "Euro",
        "lp": 1.25,
        "open_price": 1.25,
        "high_price": 1.25,
        "low_price": 1.25,
        "volume": 4,
    }


def test_time_is_plain_text(client: httpx.Client):
    answer = client.get("/time")
    assert abs(int(answer.text) - datetime.now(UTC).timestamp()) < 60
    assert answer.headers["content-type"].startswith("text/plain")


def test_marks_are_revised_candles_and_changed_trades(client: httpx.Client, connection: Connection):
    connection.execute("UPDATE trades SET price = 99 WHERE symbol = 'AAPL' AND time = %s", (T0 + timedelta(seconds=61),))
    connection.execute("DELETE FROM trades WHERE symbol = 'AAPL' AND time = %s", (T0 + timedelta(seconds=670),))
    given = {"symbol": "AAPL", "from": START, "to": START + 3600, "resolution": "1"}
    changes = client.get("/timescale_marks", params=given).json()
    assert [(mark["time"], mark["label"]) for mark in changes] == [(START + 60, "C"), (START + 660, "X")]
    assert changes[0]["tooltip"][1] == "2.5 at 100.25 became 2.5 at 99"
    own = httpx.get(
        str(client.base_url.join("/candles/revised")),
        params={"symbol": "AAPL", "interval": "1m", "start": "2026-02-08T10:30:00Z", "end": "2026-02-08T11:30:00Z"},
    ).json()["buckets"]
    marks = client.get("/marks", params=given).json()
    assert one(connection, "SELECT count(*) FROM trade_changes") == 2
    assert [mark["time"] for mark in marks] == [
        int(datetime.fromisoformat(bucket["timestamp"]).timestamp()) for bucket in own
    ]
    assert {START + 60, START + 660} <= {mark["time"] for mark in marks}
    assert len({mark["id"] for mark in marks}) == len(marks)
    assert client.get("/marks", params={**given, "resolution": "3"}).json() == []


@pytest.mark.parametrize(
    ("path", "parameters", "message"),
    [
        ("/symbols", {"symbol": "NOPE"}, "unknown_symbol"),
        ("/symbols", {"symbol": "a\x00b"}, "unknown_symbol"),
        ("/symbols", {}, "symbol: is required, for example symbol=AAPL"),
        ("/history", {"symbol": "NOPE", "resolution": "1", "from": 0, "to": 1}, "unknown_symbol"),
        ("/history", {"symbol": "AAPL", "resolution": "7", "from": 0}, "resolution: must be one of"),
        ("/history", {"symbol": "AAPL", "from": 0}, "resolution: must be one of"),
        ("/history", {"symbol": "AAPL", "resolution": "1", "to": 1}, "from: must be a Unix time in seconds, not ''"),
        (
            "/history",
            {"symbol": "AAPL", "resolution": "1", "from": "nan"},
            "from: must be a Unix time in seconds, not 'nan'",
        ),
        ("/history", {"symbol": "AAPL", "resolution": "1", "from": "1e99"}, "from: must be"),
        ("/history", {"symbol": "AAPL", "resolution": "1", "from": 0, "countback": -1}, "countback: must be"),
        ("/history", {"symbol": "AAPL", "resolution": "1", "from": 0, "countback": 10**30}, "countback: must be"),
        ("/history", {"symbol": "AAPL", "resolution": "1S", "from": 0, "to": 10**9}, "start: must be at most 7 days"),
        ("/quotes", {}, "symbols: is required"),
        ("/quotes", {"symbols": ",".join("S" for _ in range(10_000))}, "symbols: has 10000 symbols"),
        ("/search", {"limit": "many"}, "limit: must be a whole number from 1 to 1000"),
        ("/marks", {"symbol": "AAPL", "resolution": "1"}, "from: must be"),
        ("/symbol_info", {"group": "NYSE"}, "group: groups are not supported"),
        ("/nothing", {}, "There is nothing at /udf/nothing"),
    ],
)
def test_bad_input_has_the_error_of_the_protocol(client: httpx.Client, path: str, parameters: Any, message: str):
    answer = client.get(path, params=parameters)
    assert answer.json()["s"] == "error"
    assert answer.json()["errmsg"].startswith(message)
    assert set(answer.json()) == {"s", "errmsg"}
    assert answer.status_code in (400, 404)


@pytest.mark.parametrize("bounds", [(-(10**17), 10**17), (0, 10**12), (-62_135_596_801, 1)])
def test_times_outside_of_the_calendar_are_its_ends(client: httpx.Client, bounds: tuple[int, int]):
    first, last = bounds
    found = history(client, "1D", {"from": first, "to": last})
    assert found["s"] == ("ok" if last > START else "no_data")


def test_base_may_end_with_a_slash(client: httpx.Client):
    assert httpx.get(f"{client.base_url}/config").json() == client.get("/config").json()
    answer = httpx.get(f"{client.base_url}/history", params={"symbol": "AAPL", "resolution": "1", "from": START})
    assert answer.url.path == "/udf//history"
    assert answer.json()["s"] == "ok"


def test_methods_other_than_get_have_the_error_of_the_protocol(client: httpx.Client):
    answer = client.post("/config")
    assert (answer.status_code, answer.json()["s"]) == (405, "error")


def test_rate_limit_has_the_error_of_the_protocol(serve: Any, database_url: str):
    with serve(rate_limit=1, rate_limit_seconds=3600) as base:
        answers = [httpx.get(f"{base}/udf/config") for _ in range(3)]
    assert answers[-1].status_code == 429
    assert answers[-1].json()["s"] == "error"
    assert "rate limit" in answers[-1].json()["errmsg"]


def test_database_that_is_down_has_the_error_of_the_protocol():
    from helpers.support import create_patient_app, serving

    from market_data.settings import Settings

    nowhere = Settings(database_url="postgresql://127.0.0.1:9/none", feed_enabled=False, pool_timeout_seconds=0.2)
    with serving(create_patient_app(nowhere)) as base:
        answer = httpx.get(f"{base}/udf/search", timeout=60)
    assert (answer.status_code, answer.json()["s"]) == (503, "error")


def test_workspace_of_openbb_finds_its_tables(client: httpx.Client, base: str):
    widgets = httpx.get(f"{base}/openbb/widgets.json").json()
    assert set(widgets) == {"watch_list", "chart", "candles", "trades", "status"}
    for name, widget in widgets.items():
        values = {each["paramName"]: each["value"] for each in widget.get("params", [])}
        if "start" in values:
            values["start"] = "2026-02-08"
        path = f"{widget['endpoint'].strip('/')}{'/config' if name == 'chart' else ''}"
        answer = httpx.get(f"{base}/openbb/{path}", params={**values, "theme": "dark"})
        assert answer.status_code == 200, answer.text
        if name != "chart":
            rows = answer.json()
            assert rows, name
            fields = {column["field"] for column in widget["data"]["table"]["columnsDefs"]}
            assert all(fields <= set(row) for row in rows), name
    apps = httpx.get(f"{base}/openbb/apps.json").json()
    placed = [item["i"] for app in apps for tab in app["tabs"].values() for item in tab["layout"]]
    assert set(placed) <= set(widgets)
    assert client.get("/config").json() == httpx.get(f"{base}/openbb/udf/config").json()


def test_tables_of_openbb_are_those_of_the_own_api(client: httpx.Client, base: str):
    assert client
    own = httpx.get(f"{base}/candles", params={"symbol": "AAPL", "interval": "1h", "order": "desc", "start": "2026-02-08"})
    table = httpx.get(f"{base}/openbb/candles", params={"symbol": "AAPL", "start": "2026-02-08"})
    assert table.json() == own.json()["candles"]
    trades = httpx.get(f"{base}/trades", params={"symbol": "AAPL", "limit": 500}).json()["trades"]
    assert httpx.get(f"{base}/openbb/trades", params={"symbol": "AAPL"}).json() == trades
    assert httpx.get(f"{base}/openbb/watch_list").json() == httpx.get(f"{base}/prices/latest").json()["prices"]
    for path in ("candles?symbol=NOPE", "candles?symbol=AAPL&interval=7m", "candles?symbol=AAPL&start=soon", "trades"):
        answer = httpx.get(f"{base}/openbb/{path}")
        assert (answer.json()["s"], answer.status_code in (400, 404)) == ("error", True), path


def test_key_in_the_path_opens_the_feed_and_reaches_no_log(new_migrated_database: Any, tmp_path: Any):
    with new_migrated_database() as url:
        secret = store_key(url, "read")
        with running(tmp_path, DATABASE_URL=url, AUTH="required", FEED_ENABLED="false") as (service, client):
            for path in (f"/udf/{secret}/config", f"/udf/{secret}//config", f"/openbb/{secret}/udf/config"):
                assert client.get(path).status_code == 200
            assert client.get("/udf/config").status_code == 401
            assert client.get(f"/udf/{secret[:-1]}x/config").json()["s"] == "error"
            assert client.get(f"/udf/{secret}/none").status_code == 404
            eventually(lambda: service.text.count('"/udf/config"') >= 4)
            assert secret.split("_", 2)[2][:-1] not in service.text
            assert "/udf/none" in service.text

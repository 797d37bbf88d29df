"""`POST /trades`."""

import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

import pytest
from helpers.support import Connection
from litestar.testing import TestClient

TIME = "2026-02-08T10:30:00Z"
JSON = {"Content-Type": "application/json"}
NOT_SIGNED = "must be greater than 0, not '0'; PATCH /symbols/AAPL with {\"signed\": true} if AAPL has such prices"
STORED = "SELECT trade_id, price::text, volume::text FROM trades ORDER BY symbol, time, trade_id"


def new_trade(trade_id: float | None = 0, price: Any = 1.5, volume: Any = 2, **other: Any) -> dict[str, Any]:
    """Return a trade as a client writes it."""
    number = {} if trade_id is None else {"trade_id": trade_id}
    return {"symbol": "AAPL", "price": price, "volume": volume, "timestamp": TIME, **number, **other}


@pytest.fixture
def aapl(writer: TestClient) -> TestClient:
    assert writer.post("/symbols", json={"symbol": "aapl", "name": "Apple"}).status_code == 201
    return writer


def rejected(client: TestClient, *trades: Any) -> list[tuple[int, str]]:
    """Send trades with `partial`, and return the rejections."""
    answer = client.post("/trades?partial=true", json=trades)
    assert answer.status_code == 200, answer.text
    return [(each["index"], each["reason"]) for each in answer.json()["rejected"]]


def test_one_trade_is_stored_and_can_be_read(aapl: TestClient, connection: Connection):
    answer = aapl.post("/trades", json=new_trade(None))
    assert answer.json() == {"received": 1, "stored": 1, "existing": 0, "rejected": []}
    assert connection.execute(STORED).fetchall() == [(0, "1.5", "2")]
    assert aapl.get("/price/latest?symbol=AAPL").json()["price"] == 1.5


def test_repeated_call_changes_nothing(aapl: TestClient, connection: Connection):
    trades = [new_trade(1), new_trade(2, 3), new_trade(1, "1.50")]
    assert aapl.post("/trades", json=trades).json() == {"received": 3, "stored": 2, "existing": 1, "rejected": []}
    before = connection.execute("SELECT * FROM trades").fetchall()
    assert aapl.post("/trades", json=trades).json() == {"received": 3, "stored": 0, "existing": 3, "rejected": []}
    assert connection.execute("SELECT * FROM trades").fetchall() == before


@pytest.mark.parametrize("media_type", ["application/x-ndjson", "application/ndjson", "application/jsonl; charset=utf-8"])
def test_ndjson_is_a_trade_a_line(aapl: TestClient, media_type: str):
    body = "\n\r\n".join(json.dumps(new_trade(number)) for number in range(3))
    answer = aapl.post("/trades", content=body, headers={"Content-Type": media_type})
    assert answer.json() == {"received": 3, "stored": 3, "existing": 0, "rejected": []}


def test_ten_thousand_trades_are_stored_and_one_more_is_413(aapl: TestClient):
    trades = [new_trade(number) for number in range(10_001)]
    assert aapl.post("/trades", json=trades[1:]).json()["stored"] == 10_000
    problem = aapl.post("/trades", json=trades)
    assert problem.status_code == 413
    assert "more than 10,000 trades" in problem.json()["detail"]
    lines = "\n".join(map(json.dumps, trades))
    assert aapl.post("/trades", content=lines, headers={"Content-Type": "application/x-ndjson"}).status_code == 413


def test_one_invalid_trade_prevents_all_others_without_partial(aapl: TestClient, connection: Connection):
    answer = aapl.post("/trades", json=[new_trade(1), new_trade(2, 0), new_trade(3, symbol="ACME")])
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"name": "trades[1].price", "detail": NOT_SIGNED},
        {"name": "trades[2].symbol", "detail": "there is no symbol ACME; POST /symbols adds it"},
    ]
    answer = aapl.post("/trades", json=[new_trade(1), new_trade(3, symbol="acme")])
    assert answer.status_code == 400
    assert answer.json()["errors"] == [
        {"name": "trades[1].symbol", "detail": "there is no symbol ACME; POST /symbols adds it"}
    ]
    assert "1 of 2 trades can't be stored, and so none was. The first: trades[1].symbol: " in answer.json()["detail"]
    assert connection.execute(STORED).fetchall() == []


def test_conflicts_are_named_once_all_trades_of_a_call_are_valid(aapl: TestClient, connection: Connection):
    aapl.post("/trades", json=new_trade(1))
    conflicting = [new_trade(5), new_trade(1, 9), new_trade(6), new_trade(6, 7)]
    answer = aapl.post("/trades", json=[*conflicting, new_trade(3, symbol="acme")])
    assert (answer.status_code, answer.json()["errors"]) == (
        400,
        [{"name": "trades[4].symbol", "detail": "there is no symbol ACME; POST /symbols adds it"}],
    )
    answer = aapl.post("/trades", json=conflicting)
    assert answer.status_code == 409
    assert [each["name"] for each in answer.json()["errors"]] == ["trades[1].trade_id", "trades[3].trade_id"]
    assert [len(connection.execute(STORED).fetchall()), rejected(aapl, *conflicting)[0][0]] == [1, 1]


def test_partial_stores_the_valid_trades(aapl: TestClient, connection: Connection):
    answer = aapl.post(
        "/trades?partial=true", json=[new_trade(1), new_trade(2, 0), new_trade(3, symbol="ACME"), new_trade(4)]
    )
    assert answer.json() == {
        "received": 4,
        "stored": 2,
        "existing": 0,
        "rejected": [
            {"index": 1, "reason": f"price: {NOT_SIGNED}", "conflict": False},
            {"index": 2, "reason": "symbol: there is no symbol ACME; POST /symbols adds it", "conflict": False},
        ],
    }
    assert [row[0] for row in connection.execute(STORED)] == [1, 4]


def test_stored_trade_with_other_values_is_a_conflict_and_not_overwritten(aapl: TestClient, connection: Connection):
    aapl.post("/trades", json=new_trade(1))
    for other in (new_trade(1, 9), new_trade(1, volume=9)):
        answer = aapl.post("/trades", json=[new_trade(2), other])
        assert answer.status_code == 409
        (error,) = answer.json()["errors"]
        assert error["name"] == "trades[1].trade_id"
        assert "is stored with price 1.5 and volume 2" in error["detail"]
        assert "trade_id" in error["detail"]
    assert connection.execute(STORED).fetchall() == [(1, "1.5", "2")]
    answer = aapl.post("/trades?partial=true", json=[new_trade(2), new_trade(1, 9)]).json()
    assert (answer["stored"], answer["rejected"][0]["conflict"]) == (1, True)


def test_two_trades_with_one_key_in_one_call_are_a_conflict(aapl: TestClient, connection: Connection):
    answer = aapl.post("/trades", json=[new_trade(1), new_trade(1, 9)])
    assert answer.status_code == 409
    assert "an earlier trade of this call has the same identity" in answer.json()["errors"][0]["detail"]
    assert connection.execute(STORED).fetchall() == []
    answer = aapl.post("/trades?partial=true", json=[new_trade(1), new_trade(1, 9)]).json()
    assert (answer["stored"], [each["index"] for each in answer["rejected"]]) == (1, [1])
    # The later one equals the stored trade, so the earlier one is the conflict.
    answer = aapl.post("/trades?partial=true", json=[new_trade(1, 9), new_trade(1)]).json()
    assert (answer["existing"], [each["index"] for each in answer["rejected"]]) == (1, [0])


def test_malformed_trade_and_a_conflict_in_one_call_are_400(aapl: TestClient):
    aapl.post("/trades", json=new_trade(1))
    assert aapl.post("/trades", json=[new_trade(1, 9), new_trade(2, -1)]).status_code == 400
    assert aapl.post("/trades", json=[new_trade(1, 9), new_trade(2, symbol="ACME")]).status_code == 400


@pytest.mark.parametrize(
    ("trade", "expected"),
    [
        (new_trade(price=-1), "price: must be greater than 0, not '-1'; PATCH /symbols/AAPL with"),
        (new_trade(price="-1.5e-3"), "price: must be greater than 0, not '-0.0015'"),
        (new_trade(price=-1e30), "price: must be greater than -1e30"),
        (new_trade(price=None), "price: must be a number, or a string of its digits, not null"),
        (new_trade(price=True), "price: must be a number, or a string of its digits, not 'true'"),
        (new_trade(price=[1]), "price: must be a number, or a string of its digits"),
        (new_trade(price=1e30), "price: must be less than 1e30"),
        (new_trade(price="1e-31"), "price: must have at most 30 decimal places"),
        (new_trade(price="1_000"), "price: must be a number such as 270.15"),
        (new_trade(price="NaN"), "price: must be a number such as 270.15"),
        (new_trade(price="Infinity"), "price: must be a number such as 270.15"),
        (new_trade(price=int("9" * 400)), "price: must be less than 1e30"),
        (new_trade(price="0." + "1" * 31), "price: must have at most 30 decimal places"),
        (new_trade(volume=-1), "volume: must not be negative"),
        (new_trade(volume={}), "volume: must be a number"),
        (new_trade(trade_id=2**63), "trade_id: must be a whole number of 64 bits"),
        (new_trade(trade_id=1.5), "trade_id: must be a whole number of 64 bits"),
        (new_trade(symbol=5), "symbol: must be a string, not '5'"),
        (new_trade(symbol="A  B"), "symbol: must be 1 to 64"),
        (new_trade(timestamp=5), "timestamp: must be a string such as"),
        (new_trade(timestamp="2026-02-08T10:30:00"), "timestamp: has no time zone"),
        (new_trade(trade_ID=1), "trade_ID: is not a known field"),
        ({"symbol": "AAPL", "price": 1, "volume": 1}, "timestamp: is missing"),
        (5, "must be an object with symbol"),
        (new_trade(**{str(number): 1 for number in range(9)}), "has more fields than a trade"),
    ],
)
def test_rejection_names_the_field(aapl: TestClient, trade: Any, expected: str):
    ((index, reason),) = rejected(aapl, trade)
    assert index == 0
    assert reason.startswith(expected)
    alone = aapl.post("/trades", json=trade)
    assert alone.status_code == 400
    assert f"{alone.json()['errors'][0]['name']}: {alone.json()['errors'][0]['detail']}".removeprefix("body: ") == reason


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (b"", "body: is empty"),
        (b"  ", "body: is empty"),
        (b"[]", "body: has no trade"),
        (b"{", "body: is not valid JSON: it ends too early"),
        (b"{}", "symbol: is missing"),
        (b'{"price":NaN}', "price: must be a number such as 270.15, not NaN (at byte 9)"),
        (b'[{"volume": -Infinity}]', "volume: must be a number such as 270.15, not Infinity (at byte 13)"),
        (b'{"price":1.}', "body: is not valid JSON: invalid number at byte 11"),
        (b'{"price":1,}', "body: is not valid JSON: trailing comma in object at byte 11"),
        (b'{"symbol":"\xff"}', "symbol: must be text in UTF-8"),
        (b'{"\xff":1}', "body: is not in UTF-8"),
        (b"[" * 100_000, "body: is nested too deeply"),
        (b"null", "body: must be an object"),
        (b'"\\ud800"', "body: "),
    ],
)
def test_unreadable_body_is_400_with_the_position(writer: TestClient, body: bytes, expected: str):
    answer = writer.post("/trades", content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == 400, answer.text
    assert (
        answer.json()["detail"]
        .removeprefix("1 of 1 trades can't be stored, and so none was. The first: ")
        .startswith(expected)
    )


def test_malformed_line_does_not_reject_the_other_lines(aapl: TestClient):
    body = b"%b\n{broken\n%b\n" % (json.dumps(new_trade(1)).encode(), json.dumps(new_trade(2)).encode())
    answer = aapl.post("/trades?partial=true", content=body, headers={"Content-Type": "application/x-ndjson"})
    assert (answer.json()["stored"], answer.json()["rejected"][0]["index"]) == (2, 1)
    assert "is not valid JSON: " in answer.json()["rejected"][0]["reason"]


@pytest.mark.parametrize(
    "headers", [{}, {"Content-Type": "text/csv"}, {"Content-Type": "application/json", "Content-Encoding": "br"}]
)
def test_other_media_type_or_encoding_is_415(writer: TestClient, headers: dict[str, str]):
    assert writer.post("/trades", content=b"{}", headers=headers).status_code == 415


def test_body_of_too_many_bytes_is_413_with_and_without_content_length(writer: TestClient):
    headers = {"Content-Type": "application/x-ndjson"}
    assert writer.post("/trades", content=b" " * 5_000_001, headers=headers).status_code == 413
    pieces = (b" " * 100_000 for _ in range(51))
    assert writer.post("/trades", content=pieces, headers=headers).status_code == 413
    assert writer.post("/symbols", content=b" " * 20_001, headers={"Content-Type": "application/json"}).status_code == 413


def test_many_elements_that_are_not_trades_are_413(writer: TestClient):
    assert writer.post("/trades", json=[1] * 60_000).status_code == 413


def test_trades_of_100_weeks_are_stored_and_of_more_weeks_are_413(aapl: TestClient):
    monday = datetime(2020, 1, 6, tzinfo=UTC)
    trades = [new_trade(timestamp=(monday + timedelta(weeks=week)).isoformat()) for week in range(101)]
    refused = aapl.post("/trades", json=trades)
    assert refused.status_code == 413
    assert "more than 100 weeks" in refused.json()["detail"]
    assert aapl.post("/trades", json=trades[:100]).json()["stored"] == 100


def test_error_names_100_rejected_trades_and_counts_all(aapl: TestClient):
    answer = aapl.post("/trades", json=[new_trade(number, 0) for number in range(150)]).json()
    assert len(answer["errors"]) == 100
    assert answer["detail"].startswith("150 of 150 trades can't be stored")


def test_time_beyond_the_future_tolerance_is_refused_and_old_times_are_stored(aapl: TestClient):
    now = datetime.now(UTC)
    soon, far = (now + timedelta(seconds=ahead) for ahead in (30, 90))
    ((index, reason),) = rejected(aapl, new_trade(timestamp=soon.isoformat()), new_trade(timestamp=far.isoformat()))
    assert index == 1
    assert reason.startswith("timestamp: is ")
    assert "FUTURE_TOLERANCE_SECONDS is 60" in reason
    assert rejected(aapl, new_trade(timestamp="1990-01-01T00:00:00Z"), new_trade(timestamp="0001-01-01T00:00:00Z")) == []


def test_time_before_the_retention_horizon_is_refused_and_the_horizon_itself_is_stored(
    aapl: TestClient, connection: Connection
):
    horizon, before = new_trade(timestamp="2026-01-01T00:00:00Z"), new_trade(timestamp="2025-12-31T23:59:59.999999Z")
    connection.execute("UPDATE retention SET dropped_before = '2026-01-01T00:00:00Z'")
    try:
        found = rejected(aapl, new_trade(), before)
        alone = aapl.post("/trades", json=before)
        stored = aapl.post("/trades", json=horizon)
    finally:
        connection.execute("UPDATE retention SET dropped_before = '-infinity'")
    assert found == [(1, "timestamp: is before the retention horizon; trades before it are dropped")]
    assert (alone.status_code, stored.json()["stored"]) == (400, 1)


def test_inactive_symbol_is_refused(aapl: TestClient):
    aapl.patch("/symbols/AAPL", json={"active": False})
    assert rejected(aapl, new_trade()) == [(0, "symbol: AAPL is not active; PATCH /symbols/AAPL activates it")]


def test_numbers_are_stored_digit_by_digit(aapl: TestClient, connection: Connection):
    written = ["0.10000000000000000000000000001", "123456789012345678901234567890.123456789012345678901234567891", "1.50"]
    for number, text in enumerate(written):
        body = json.dumps(new_trade(number, 7)).replace("7", text)
        assert aapl.post("/trades", content=body, headers={"Content-Type": "application/json"}).status_code == 200
    assert [row[1] for row in connection.execute(STORED)] == written
    assert [Decimal(text) for text in written] == [
        row[0] for row in connection.execute("SELECT price FROM trades ORDER BY trade_id")
    ]


def test_exponents_are_stored_exactly(aapl: TestClient, connection: Connection):
    numbers = ["1e-8", "6.44e-06", "1.5E3", '"2e-30"', "1E+29"]
    bodies = [json.dumps(new_trade(number, 7)).replace("7", text) for number, text in enumerate(numbers)]
    assert aapl.post("/trades", content=f"[{','.join(bodies)}]", headers=JSON).json()["stored"] == len(numbers)
    assert [Decimal(row[1]) for row in connection.execute(STORED)] == [Decimal(text.strip('"')) for text in numbers]


def test_offsets_and_long_fractions_are_the_same_instant(aapl: TestClient):
    times = ["2026-02-08T10:30:00.1234567Z", "2026-02-08T11:30:00.123456+01:00", "2026-02-08t05:30:00.123456789-05:00"]
    answer = aapl.post("/trades", json=[new_trade(timestamp=time) for time in times]).json()
    assert (answer["stored"], answer["existing"]) == (1, 2)


def test_stored_trades_are_events_of_the_stream(aapl: TestClient, connection: Connection):
    aapl.post("/trades", json=[new_trade(1), new_trade(2)])
    kinds = connection.execute(
        "SELECT stream_events.kind, trade_id FROM stream_events JOIN commits USING (write_id) ORDER BY number"
    )
    assert kinds.fetchall() == [("trade", 1), ("trade", 2)]


def test_random_numbers_are_stored_digit_by_digit(aapl: TestClient, connection: Connection):
    random = Random(5)
    numbers = [f"{random.randrange(10 ** random.randint(0, 30))}.{random.randrange(1, 10**9)}" for _ in range(500)]
    lines = [
        json.dumps(new_trade(number, 7)).replace("7", text) for number, text in enumerate(numbers) if "7" not in str(number)
    ]
    answer = aapl.post("/trades", content="\n".join(lines), headers={"Content-Type": "application/x-ndjson"})
    assert answer.json()["stored"] == len(lines)
    assert [row[1] for row in connection.execute(STORED)] == [
        text for number, text in enumerate(numbers) if "7" not in str(number)
    ]

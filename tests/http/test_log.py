"""The transparency log over HTTP: formats and caching, and that other people's tools verify it."""

import asyncio
import json
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import metamorphic_log
import psycopg
import pytest
from helpers.service import eventually
from helpers.support import Connection, create_patient_app, serving
from helpers.transparency import Log, foreign_tool
from litestar.testing import TestClient

from market_data.proof.merkle import leaf_hash
from market_data.proof.notes import parse_checkpoint, parse_key, parse_note
from market_data.proof.receipts import verify_receipt
from market_data.queries.log_tree import read_consistency, read_inclusion
from market_data.settings import Settings

STORE: Any = """
    INSERT INTO trades (symbol, time, trade_id, price, volume)
    SELECT symbol, '2026-02-08T10:00:00Z'::timestamptz + number * INTERVAL '1 second', number, 100 + number %% 7, 1
    FROM generate_series(%s::integer, %s) AS number CROSS JOIN unnest('{AAPL,MSFT}'::text[]) AS symbol
"""
TRADE = {"symbol": "aapl", "timestamp": "2026-02-08T10:00:05Z", "trade_id": 5}
CANDLE = {"symbol": "AAPL", "interval": "1m", "timestamp": "2026-02-08T10:00:00Z"}


@pytest.fixture
def url(stopped_database: str) -> str:
    """URL of a database with trades of two symbols."""
    with psycopg.connect(stopped_database, autocommit=True) as connection:
        connection.execute("INSERT INTO symbols (symbol, name) VALUES ('AAPL', 'Apple'), ('MSFT', 'Microsoft')")
        connection.execute(STORE, (1, 90))
    return stopped_database


@pytest.fixture
def connection(url: str) -> Iterator[Connection]:
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture
def log(url: str, tmp_path: Path) -> Log:
    return Log(url, tmp_path)


@pytest.fixture
def client(url: str, log: Log, make_client: Callable[[Settings], TestClient]) -> Iterator[TestClient]:
    """Client of a service that writes the log when the test tells it to."""
    log.write(candles=True)
    with make_client(Settings(database_url=url, feed_enabled=False, log_key_file="/dev/null/none")) as client:
        yield client


def test_key_and_checkpoint_are_texts_that_are_revalidated(client: TestClient):
    key, checkpoint = client.get("/log/key"), client.get("/log/checkpoint")
    for response in (key, checkpoint):
        assert response.headers["content-type"] == "text/plain; charset=utf-8"
        assert response.headers["cache-control"] == "no-cache"
    note = parse_note(checkpoint.text)
    assert note.signers([parse_key(key.text)])
    assert parse_checkpoint(note.text).size == 3
    assert parse_checkpoint(note.text).origin == parse_key(key.text).name


def test_tiles_are_immutable_bytes(client: TestClient):
    entries, hashes = client.get("/log/tile/entries/000.p/3"), client.get("/log/tile/0/000.p/3")
    for response in (entries, hashes):
        assert response.headers["content-type"] == "application/octet-stream"
        assert "immutable" in response.headers["cache-control"]
    found: list[bytes] = []
    data = entries.content
    while data:
        length = int.from_bytes(data[:2])
        found.append(data[2 : 2 + length])
        data = data[2 + length :]
    assert [entry.partition(b"\n")[0] for entry in found] == [
        b"market-data/begin@v1",
        b"market-data/commit@v1",
        b"market-data/candles@v1",
    ]
    assert hashes.content == b"".join(leaf_hash(entry) for entry in found)


@pytest.mark.parametrize(
    "tile",
    ["0/000", "0/000.p/4", "0/000.p/0", "0/000.p/01", "0/000.p/256", "0/1", "0/x000/000.p/1", "00/000.p/1",
     "1/000.p/1", "64/000.p/1", "entries/001.p/1", "data/000.p/1", "0/x999/x999/x999/x999/x999/x999/x999/999"],
)  # fmt: skip
def test_tile_that_the_checkpoint_does_not_have_is_not_found(client: TestClient, tile: str):
    assert client.get(f"/log/tile/{tile}").status_code == 404


def test_nothing_is_found_before_the_first_checkpoint(url: str, make_client: Callable[[Settings], TestClient]):
    with make_client(Settings(database_url=url, feed_enabled=False, log_key_file="/dev/null/none")) as client:
        for path in ("key", "checkpoint", "tile/0/000.p/1"):
            assert client.get(f"/log/{path}").status_code == 404
        assert client.get("/log/proof", params=TRADE).status_code == 404


def test_receipt_of_a_trade_is_verified_with_the_key_alone(client: TestClient):
    key = parse_key(client.get("/log/key").text)
    response = client.get("/log/proof", params=TRADE)
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    verified = verify_receipt(response.text, [key])
    assert json.loads(verified.leaf) == ["trade", "AAPL", 1770544805000000, 5, "105", "1"]


def test_receipt_follows_corrections_and_cancellations(client: TestClient, connection: Connection, log: Log):
    key = parse_key(client.get("/log/key").text)
    connection.execute("UPDATE trades SET price = 7 WHERE symbol = 'AAPL' AND trade_id = 5")
    assert client.get("/log/proof", params=TRADE).status_code == 404  # not signed yet
    log.write()
    assert json.loads(verify_receipt(client.get("/log/proof", params=TRADE).text, [key]).leaf)[4] == "7"
    connection.execute("DELETE FROM trades WHERE symbol = 'AAPL' AND trade_id = 5")
    log.write()
    leaf = json.loads(verify_receipt(client.get("/log/proof", params=TRADE).text, [key]).leaf)
    assert leaf[:6] == ["cancel", "AAPL", 1770544805000000, 5, "7", "1"]


def test_receipt_of_a_trade_of_a_large_commit(client: TestClient, connection: Connection, log: Log):
    key = parse_key(client.get("/log/key").text)
    connection.execute(STORE, (100, 3000))
    connection.execute("DELETE FROM trades WHERE trade_id >= 2000")
    log.write()
    for number in (100, 1123, 1124, 1500, 2500, 3000):
        time = f"2026-02-08T10:{number // 60:02}:{number % 60:02}Z"
        text = client.get("/log/proof", params={"symbol": "MSFT", "timestamp": time, "trade_id": number}).text
        assert json.loads(verify_receipt(text, [key]).leaf)[:4:3] == ["cancel" if number >= 2000 else "trade", number]


def test_receipt_of_a_candle_is_as_it_stood_at_a_version(client: TestClient, connection: Connection, log: Log):
    key = parse_key(client.get("/log/key").text)
    connection.execute("UPDATE trades SET price = 500 WHERE symbol = 'AAPL' AND trade_id = 5")
    log.write(candles=True)
    highs = [
        json.loads(verify_receipt(client.get("/log/proof", params=CANDLE | more).text, [key]).leaf)[5]
        for more in ({}, {"version": 2}, {"version": 1})
    ]
    assert highs == ["500", "500", "106"]
    assert client.get("/log/proof", params=CANDLE | {"version": 0}).status_code == 404
    assert client.get("/log/proof", params=CANDLE | {"timestamp": "2026-02-08T11:00:00Z"}).status_code == 404
    for interval in ("5m", "1h", "1d"):
        text = client.get("/log/proof", params=CANDLE | {"interval": interval, "timestamp": "2026-02-08"}).text
        assert interval != "1d" or verify_receipt(text, [key])


def test_no_receipt_of_trades_that_somebody_has_rewritten(client: TestClient, connection: Connection):
    with connection.transaction():
        connection.execute("SET LOCAL session_replication_role = replica")
        connection.execute("UPDATE trades SET price = 99 WHERE symbol = 'MSFT' AND trade_id = 1")
    response = client.get("/log/proof", params=TRADE)
    assert response.status_code == 409
    assert "market-data verify" in response.json()["detail"]


def test_parameters_that_contradict_each_other_are_rejected(client: TestClient):
    assert client.get("/log/proof", params=CANDLE | {"trade_id": 5}).status_code == 400
    assert client.get("/log/proof", params=TRADE | {"version": 5}).status_code == 400
    assert client.get("/log/proof", params=CANDLE | {"interval": "3m"}).status_code == 400
    assert client.get("/log/proof", params=TRADE | {"trade_id": "9" * 19}).status_code == 400


def test_checkpoint_inclusion_and_consistency_are_verified_by_metamorphic_log(
    client: TestClient, connection: Connection, log: Log, url: str
):
    keys = [client.get("/log/key").text.strip()]
    older = client.get("/log/checkpoint").text
    for number in range(300):
        connection.execute(STORE, (100 + number, 100 + number))
    log.write()
    newer = client.get("/log/checkpoint").text
    head = metamorphic_log.checkpoint_verify(newer, keys)
    assert head.size == 303

    async def proofs() -> tuple[list[bytes], list[bytes]]:
        async with await psycopg.AsyncConnection.connect(url, autocommit=True) as each:
            return await read_consistency(each, 3, 303), await read_inclusion(each, 260, 303)

    consistency, inclusion = asyncio.run(proofs())
    metamorphic_log.checkpoint_verify_consistency(older, newer, keys, consistency)
    hashes = client.get("/log/tile/0/001.p/47").content
    metamorphic_log.checkpoint_verify_inclusion(newer, keys, 260, hashes[4 * 32 : 5 * 32], inclusion)


@pytest.fixture
def served(url: str, log: Log) -> Iterator[str]:
    """Base URL of a service on loopback."""
    log.write(candles=True)
    with serving(create_patient_app(Settings(database_url=url, feed_enabled=False, log_key_file="/dev/null/none"))) as base:
        yield base


def test_log_is_verified_by_aics_tlog(served: str, connection: Connection, log: Log, tmp_path: Path):
    tool = foreign_tool("aics-tlog")
    keys = ["--log-key", httpx.get(f"{served}/log/key").text.strip()]
    keys += ["--origin", keys[1].partition("+")[0]]
    older = tmp_path / "older"
    older.write_text(httpx.get(f"{served}/log/checkpoint").text)
    for number in range(300):
        connection.execute(STORE, (100 + number, 100 + number))
    log.write()
    newer = tmp_path / "newer"
    newer.write_text(httpx.get(f"{served}/log/checkpoint").text)
    tiles = ["--tiles", f"{served}/log/"]
    for arguments in (
        ["verify-checkpoint", "--note", newer, *keys],
        ["verify-inclusion", *tiles, "--checkpoint", newer, "--index", "260", *keys],
        ["verify-consistency", *tiles, "--old-checkpoint", older, "--checkpoint", newer, *keys],
    ):
        done = subprocess.run([*tool, *map(str, arguments)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, (arguments, done.stdout, done.stderr)


@pytest.fixture
def witness(tmp_path: Path, log: Log, client: TestClient) -> Iterator[tuple[str, str]]:
    """Address and verifier key of a witness that knows the log."""
    folder = tmp_path / "witness"
    folder.mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    tool = ["env", f"AICS_WITNESS_CONFIG={folder}/witness.json", *foreign_tool("aics-witness")]
    shown = subprocess.run(
        [*tool, "init", "--name", "witness.example/w1"], capture_output=True, text=True, check=True
    ).stdout
    key = next(word for word in shown.split() if word.startswith("witness.example/w1+"))
    verifier = client.get("/log/key").text.strip()
    origin = verifier.partition("+")[0]
    subprocess.run([*tool, "add-log", "--origin", origin, "--vkey", verifier], capture_output=True, check=True)
    with (folder / "log").open("wb") as output:
        process = subprocess.Popen([*tool, "serve", "--listen", f"127.0.0.1:{port}"], stdout=output, stderr=output)
    base = f"http://127.0.0.1:{port}"

    def answers() -> bool:
        try:
            return httpx.get(f"{base}/healthz").is_success
        except httpx.TransportError:
            return False

    try:
        eventually(answers)
        yield base, key
    finally:
        process.terminate()
        process.wait()


def test_witness_signs_checkpoints(
    client: TestClient, connection: Connection, url: str, log: Log, witness: tuple[str, str], tmp_path: Path
):
    base, key = witness
    watched = Log(url, tmp_path, witness_urls=base, witness_keys=key)
    connection.execute("DELETE FROM leases")
    keys = [parse_key(client.get("/log/key").text), parse_key(key)]
    for number in (100, 200, 300):
        connection.execute(STORE, (number, number + 9))
        watched.write()
        assert parse_note(client.get("/log/checkpoint").text).signers(keys) == keys
    assert verify_receipt(client.get("/log/proof", params=TRADE).text, keys).signers == keys
    connection.execute("DELETE FROM log_cosignatures")  # as after a restore: the witness says what it has signed
    connection.execute(STORE, (400, 410))
    watched.write()
    assert parse_note(client.get("/log/checkpoint").text).signers(keys) == keys
    assert len(parse_note(client.get("/log/checkpoint").text).signatures) == 2

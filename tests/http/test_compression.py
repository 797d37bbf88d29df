"""Compressed responses."""

import asyncio
import gzip
import json
import threading
import zlib
from collections.abc import Callable, Iterator
from typing import Any, cast

import httpx
import pyarrow as pa
import pytest
from backports import zstd
from helpers.raw_http import exchange
from helpers.support import Connection, store, trade

from market_data.api.docs import SCRIPTS
from market_data.middleware import compression
from market_data.middleware.compression import Choice, Compression, choose_coding
from market_data.settings import Settings

HOUR = "start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"
TRADES = f"/trades?symbol=AAPL&{HOUR}&limit=1000"
DECODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.decompress,
    "zstd": zstd.decompress,
    "": lambda body: body,
}


@pytest.fixture(scope="module")
def settings(session_database: str, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    assets = tmp_path_factory.mktemp("node_modules")
    for script in SCRIPTS.values():
        (assets / script).parent.mkdir(parents=True, exist_ok=True)
        (assets / script).write_text("// a script\n" * 10_000)
    return Settings(
        database_url=session_database, feed_enabled=False, docs_assets=str(assets), cors_origins="https://a.example"
    )


@pytest.fixture
def hour(connection: Connection) -> Connection:
    """Three hundred trades of AAPL."""
    store(connection, *(trade(n / 10, "189.5", "3", trade_id=n) for n in range(300)))
    return connection


@pytest.fixture
def client(base: str, hour: Connection) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=base, timeout=30) as client:
        yield client


def fetch(client: httpx.Client, path: str, accepted: str | None, **headers: str) -> tuple[httpx.Response, bytes]:
    """Return a response and its body as it was sent."""
    request = client.build_request("GET", path, headers=headers)
    del request.headers["accept-encoding"]
    if accepted is not None:
        request.headers["accept-encoding"] = accepted
    response = client.send(request, stream=True)
    return response, b"".join(response.iter_raw())


@pytest.mark.parametrize("accepted", ["gzip", "zstd", "gzip, deflate, br, zstd"])
@pytest.mark.parametrize(
    "path",
    [
        TRADES,
        f"{TRADES}&format=csv",
        f"{TRADES}&format=arrow",
        f"/candles?symbol=AAPL&interval=1m&{HOUR}&fill=null",
        "/metrics",
        "/schema/openapi.json",
        "/dashboard",
        "/docs",
        "/assets/dashboard/app.js",
        "/assets/swagger-ui.css",
        "/assets/redoc.standalone.js",
    ],
)
def test_large_bodies_are_compressed(client: httpx.Client, path: str, accepted: str):
    plain, expected = fetch(client, path, None)
    response, body = fetch(client, path, accepted)
    coding = response.headers["content-encoding"]
    assert coding == accepted.rpartition(", ")[2]
    assert "content-encoding" not in plain.headers
    assert (plain.status_code, plain.headers["content-type"]) == (response.status_code, response.headers["content-type"])
    if path != "/metrics":
        assert DECODERS[coding](body) == expected
    assert len(body) == int(response.headers["content-length"]) < len(expected) / 1.4
    for each in (plain, response):
        assert each.headers.get_list("vary", split_commas=True).count("Accept-Encoding") == 1


@pytest.mark.parametrize("path", ["/", "/health", "/price?symbol=AAPL", f"{TRADES}&limit=2".replace("&limit=1000", "")])
def test_small_bodies_stay_as_they_are_unless_the_client_refuses_that(client: httpx.Client, path: str):
    response, body = fetch(client, path, "gzip, zstd")
    assert "content-encoding" not in response.headers
    assert len(body) < compression.MIN_BYTES
    assert ("Accept-Encoding" in response.headers["vary"]) == ("etag" in response.headers), "as its 304 says"
    response, body = fetch(client, path, "gzip, identity;q=0")
    assert response.headers["content-encoding"] == "gzip"
    assert json.loads(gzip.decompress(body))


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", Choice(None)),
        ("identity", Choice(None)),
        ("br, deflate", Choice(None)),
        ("gzip", Choice("gzip")),
        ("GZIP", Choice("gzip")),
        ("x-gzip", Choice("gzip")),
        ("zstd", Choice("zstd")),
        ("gzip, deflate, br, zstd", Choice("zstd")),
        ("gzip;q=1.0, zstd;q=0.9", Choice("gzip")),
        ("gzip;q=0.5,zstd ; q=0.6", Choice("zstd")),
        ("gzip;q=0", Choice(None)),
        ("gzip;q=0.0, *", Choice("zstd")),
        ("*", Choice("gzip")),
        ("*;q=0", Choice(None)),
        ("zstd;q=0, *;q=0.1", Choice("gzip")),
        ("br, *;q=0.1", Choice("gzip")),
        ("gzip;q=0.5, identity", Choice(None)),
        ("gzip;q=0.5, identity;q=0.4", Choice("gzip")),
        ("gzip, identity;q=0", Choice("gzip", required=True)),
        ("gzip, *;q=0", Choice("gzip", required=True)),
        ("gzip, *;q=0, identity;q=0.1", Choice("gzip")),
        ("identity;q=0", Choice(None)),
        ("gzip;q=2, zstd;q=-1", Choice(None)),
        ("gzip;q=, ,;,gzip;;", Choice(None)),
    ],
)
def test_the_coding_follows_the_weights(header: str, expected: Choice):
    assert choose_coding(header.encode()) == expected


def test_two_headers_count_as_one(base: str):
    request = b"GET /schema/openapi.json HTTP/1.0\r\nHost: localhost\r\nAccept-Encoding: br\r\nAccept-Encoding: gzip\r\n\r\n"
    assert b"content-encoding: gzip\r\n" in exchange(base, request)


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
def test_a_304_works_for_each_coding(client: httpx.Client, coding: str):
    plain, _ = fetch(client, TRADES, None)
    response, _ = fetch(client, TRADES, coding)
    tag = plain.headers["etag"]
    assert not tag.startswith("W/")
    assert response.headers["etag"] == f"W/{tag}", "weak, because the bytes differ"
    for given in (tag, f"W/{tag}"):
        for accepted in (None, coding):
            for asked in (given, f'"other", {given}', f'W/"other" ,{given}'):
                unchanged, body = fetch(client, TRADES, accepted, **{"If-None-Match": asked})
                assert (unchanged.status_code, body) == (304, b"")
                assert unchanged.headers["etag"] == given, "that of the copy that the client has"
                assert unchanged.headers.get_list("vary", split_commas=True) == ["Accept", "Accept-Encoding", "Origin"]
                assert "content-encoding" not in unchanged.headers


def test_a_small_body_and_its_304_have_the_same_headers(client: httpx.Client):
    path = TRADES.replace("limit=1000", "limit=1")
    whole, _ = fetch(client, path, "gzip")
    unchanged, _ = fetch(client, path, "gzip", **{"If-None-Match": whole.headers["etag"]})
    assert (whole.status_code, unchanged.status_code) == (200, 304)
    for name in ("etag", "vary", "cache-control"):
        assert whole.headers[name] == unchanged.headers[name]


def test_vary_names_each_header_once(client: httpx.Client):
    for accepted in (None, "gzip"):
        response, _ = fetch(client, TRADES, accepted, Origin="https://a.example")
        assert response.headers.get_list("vary", split_commas=True) == ["Accept", "Accept-Encoding", "Origin"]


@pytest.mark.parametrize("coding", ["gzip", "zstd", ""])
@pytest.mark.parametrize("form", ["csv", "arrow"])
def test_a_streamed_range_is_compressed_piece_by_piece(client: httpx.Client, hour: Connection, coding: str, form: str):
    hour.execute("""
        INSERT INTO trades (time, symbol, trade_id, price, volume)
        SELECT '2026-02-08T10:00:00Z'::timestamptz + n * INTERVAL '10 milliseconds', 'AAPL', n, 1, 1
        FROM generate_series(1, 50000) AS n
    """)
    response, body = fetch(client, f"/trades?symbol=AAPL&{HOUR}&format={form}", coding)
    assert response.headers.get("content-encoding", "") == coding
    assert "content-length" not in response.headers
    assert "Accept-Encoding" in response.headers.get_list("vary", split_commas=True)
    if form == "csv":
        assert DECODERS[coding](body).count(b"\n") == 50_301
    else:
        assert pa.ipc.open_stream(DECODERS[coding](body)).read_all().num_rows == 50_300


@pytest.mark.parametrize("accepted", ["gzip", "zstd", "gzip, identity;q=0"])
def test_streams_are_never_compressed(client: httpx.Client, accepted: str):
    with client.stream("GET", "/stream", headers={"Accept-Encoding": accepted}) as response:
        assert "content-encoding" not in response.headers
        assert "no-transform" in response.headers["cache-control"]
        assert b"event: heartbeat" in next(response.iter_raw())


def application(*messages: dict[str, Any]) -> Any:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        for message in messages:
            await send(dict(message))

    return app


def start(status: int = 200, **headers: str) -> dict[str, Any]:
    given = {"content-type": "text/plain", **{name.replace("_", "-"): value for name, value in headers.items()}}
    return {
        "type": "http.response.start",
        "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in given.items()],
    }


def body(content: bytes, *, more: bool = False) -> dict[str, Any]:
    return {"type": "http.response.body", "body": content, "more_body": more}


def sent(app: Any, accepted: str = "gzip") -> list[dict[str, Any]]:
    messages: list[dict[str, Any]] = []

    async def send(message: Any) -> None:
        messages.append(message)

    scope: Any = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", accepted.encode())]}
    asyncio.run(Compression(app)(scope, cast("Any", None), cast("Any", send)))
    return messages


TEXT = b"a line of text\n" * 1000


@pytest.mark.parametrize(
    "headers",
    [
        {"content_encoding": "br", "content_length": "15000"},
        {"cache_control": "no-store, No-Transform", "content_length": "15000"},
        {"content_type": "text/event-stream; charset=utf-8"},
        {"content_type": "application/octet-stream", "content_length": "15000"},
        {"content_type": "application/vnd.apache.parquet", "content_length": "15000"},
        {"content_type": "image/png", "content_length": "15000"},
    ],
)
def test_other_bodies_stay_as_they_are(headers: dict[str, str]):
    messages = start(200, **headers), body(TEXT)
    assert sent(application(*messages)) == [*messages]


def test_a_client_can_decode_each_piece_when_it_arrives():
    for coding, decoder in (("gzip", zlib.decompressobj(31)), ("zstd", zstd.ZstdDecompressor())):
        first, *pieces = sent(application(start(), body(TEXT, more=True), body(b"", more=True), body(b"end")), coding)
        assert dict(first["headers"])[b"content-encoding"] == coding.encode()
        assert decoder.decompress(pieces[0]["body"]) == TEXT
        assert pieces[1]["body"] == b""
        assert decoder.decompress(pieces[2]["body"]) == b"end"
        assert decoder.eof


def test_a_body_in_parts_with_a_known_length_is_compressed_without_it():
    first, *pieces = sent(application(start(content_length="30000"), body(TEXT, more=True), body(TEXT)))
    assert b"content-length" not in dict(first["headers"])
    assert gzip.decompress(b"".join(each["body"] for each in pieces)) == TEXT * 2


def test_large_bodies_are_compressed_outside_the_event_loop(monkeypatch: pytest.MonkeyPatch):
    """A cancellation does not wait for the thread."""
    threads: list[str] = []
    begun, release = threading.Event(), threading.Event()

    def slow() -> compression.Encode:
        def encode(piece: bytes, last: bool) -> bytes:
            threads.append(threading.current_thread().name)
            begun.set()
            release.wait(30)
            return b"compressed"

        return encode

    monkeypatch.setattr(compression, "CODINGS", {"gzip": slow})
    large = b"x" * (compression.MAX_INLINE_BYTES + 1)
    app = application(start(content_length=str(len(large))), body(large))

    async def cancel() -> None:
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        scope: Any = {"type": "http", "method": "GET", "headers": [(b"accept-encoding", b"gzip")]}
        task = asyncio.create_task(Compression(app)(scope, cast("Any", None), send))
        await asyncio.to_thread(begun.wait, 30)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        release.set()
        assert messages == []

    asyncio.run(cancel())
    assert threads != [threading.main_thread().name]
    threads.clear()
    sent(application(start(content_length="1500"), body(TEXT[:1500])))
    assert threads == [threading.main_thread().name]

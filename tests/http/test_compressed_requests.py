"""Compressed bodies of requests."""

import gzip
import json
import zlib
from collections.abc import Iterator

import httpx
import pytest
from helpers.api_keys import bearer, store_key
from helpers.support import Connection, store, trade

pytestmark = pytest.mark.usefixtures("aapl")


@pytest.fixture
def aapl(connection: Connection) -> None:
    store(connection, trade(0, "189.5"))


GIVEN = {"symbol": "AAPL", "price": 1, "volume": 1, "timestamp": "2026-02-08T12:00:00Z"}


NDJSON = {"Content-Type": "application/x-ndjson"}


@pytest.fixture(scope="module")
def writer(session_database: str, base: str) -> Iterator[httpx.Client]:
    headers = {**bearer(store_key(session_database, "write", name="packer")), "Content-Encoding": "gzip"}
    with httpx.Client(base_url=base, timeout=30, headers=headers) as client:
        yield client


def post(writer: httpx.Client, path: str, content: bytes | Iterator[bytes], **headers: str) -> httpx.Response:
    method = "PATCH" if path.startswith("/symbols/") else "POST"
    return writer.request(method, path, content=content, headers={"Content-Type": "application/json", **headers})


def test_bodies_of_requests_may_be_gzipped(writer: httpx.Client):
    many = [GIVEN | {"trade_id": n} for n in range(3000)]
    packed = gzip.compress(json.dumps(many).encode())
    assert post(writer, "/trades", packed).json()["stored"] == 3000
    lines = "\n".join(json.dumps(GIVEN | {"trade_id": n}) for n in range(3000, 4000)).encode()
    parts = gzip.compress(lines[:5000]) + gzip.compress(lines[5000:])
    assert post(writer, "/trades", parts, **NDJSON, **{"Content-Encoding": "x-gzip"}).json()["stored"] == 1000
    chunked = writer.post(
        "/trades", content=iter([packed[:100], packed[100:]]), headers={"Content-Type": "application/json"}
    )
    assert chunked.json()["existing"] == 3000
    for path, given, status in (
        ("/symbols", {"symbol": "NVDA", "name": "Nvidia"}, 201),
        ("/symbols/NVDA", {"name": "NVIDIA"}, 200),
        ("/trades/correct", GIVEN | {"price": 2, "reason": "late"}, 200),
        ("/trades/cancel", {"symbol": "AAPL", "timestamp": GIVEN["timestamp"], "reason": "twice"}, 200),
    ):
        assert post(writer, path, gzip.compress(json.dumps(given).encode())).status_code == status, path


def test_the_decompressed_size_is_limited(writer: httpx.Client):
    bomb = gzip.compress(b"[" + b" " * 5_000_001 + b"]")
    assert len(bomb) < 10_000
    for path in ("/trades", "/trades/cancel", "/symbols"):
        answer = post(writer, path, bomb)
        assert answer.status_code == 413
        assert answer.json()["detail"].startswith("The body has more than ")
    many = gzip.compress(b"") * 200 + bomb
    assert post(writer, "/trades", many).status_code == 413
    assert (
        post(writer, "/trades", gzip.compress(b"\n" * 5_000_001), **{"Content-Type": "application/x-ndjson"}).status_code
        == 413
    )


@pytest.mark.parametrize(
    "content",
    [
        json.dumps(GIVEN).encode(),
        b"",
        gzip.compress(json.dumps(GIVEN).encode())[:-1],
        gzip.compress(json.dumps(GIVEN).encode())[:-4] + b"size",
        gzip.compress(json.dumps(GIVEN).encode()) + b"more",
        zlib.compress(json.dumps(GIVEN).encode()),
    ],
    ids=["plain", "empty", "cut", "wrong size", "more", "zlib"],
)
def test_an_invalid_gzip_body_is_400(writer: httpx.Client, content: bytes):
    for path in ("/trades", "/symbols", "/symbols/AAPL"):
        answer = post(writer, path, content)
        assert answer.status_code == 400
        (problem,) = answer.json()["errors"]
        assert problem["name"] == "body"
        assert "not valid gzip" in problem["detail"]


@pytest.mark.parametrize("coding", ["br", "zstd", "deflate", "gzip, gzip", "gzip, br", "x" * 300])
def test_other_codings_of_a_body_are_415_with_the_supported_one(writer: httpx.Client, coding: str):
    for path in ("/trades", "/symbols", "/symbols/AAPL", "/trades/cancel", "/trades/correct"):
        answer = post(writer, path, b"{}", **{"Content-Encoding": coding})
        assert (answer.status_code, answer.headers["accept-encoding"]) == (415, "gzip")
        assert "gzip" in answer.json()["detail"]
    assert "accept-encoding" not in post(writer, "/trades", b"{}", **{"Content-Type": "text/csv"}).headers

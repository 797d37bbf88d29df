"""Byte ranges of rows that may change between two requests."""

import subprocess
from collections.abc import AsyncGenerator, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from helpers.api_keys import bearer
from helpers.support import Connection, create_patient_app, serving, store, trade
from litestar import Litestar

from market_data import body_store
from market_data.api.http import row_responses
from market_data.body_store import BodyStore
from market_data.errors import DatabaseUnavailable
from market_data.settings import Settings

LIVE = "/trades?symbol=AAPL&order=asc&format=csv"
SETTLED = f"{LIVE}&start=2026-02-08T10:00:00Z&end=2026-02-08T11:00:00Z"
FORMATS = ["csv", "ndjson", "arrow", "parquet", "json"]
PATHS = [
    *(SETTLED.replace("csv", form) for form in FORMATS),
    *(f"/candles?symbol=AAPL&interval=1m&format={form}" for form in FORMATS),
    *("/symbols", "/snapshots", "/prices/latest"),
]
HEAD_SIZE = len("symbol,price,volume,timestamp,trade_id\n")


class Clock:
    """Time of the store of bodies."""

    now = 1_000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def app(settings: Settings) -> Litestar:
    return create_patient_app(settings)


@pytest.fixture(scope="module")
def base(app: Litestar) -> Iterator[str]:
    with serving(app) as address:
        yield address


@pytest.fixture
def bodies(app: Litestar, base: str, monkeypatch: pytest.MonkeyPatch) -> BodyStore:
    assert base
    bodies: BodyStore = app.state.services.bodies
    monkeypatch.setattr(bodies, "clock", Clock())
    return bodies


@pytest.fixture
def clock(bodies: BodyStore) -> Clock:
    assert isinstance(bodies.clock, Clock)
    return bodies.clock


@pytest.fixture
def client(base: str, clock: Clock, connection: Connection, request: pytest.FixtureRequest) -> Iterator[httpx.Client]:
    """Client with its own bodies, of a service with 60 trades."""
    assert clock
    store(connection, *(trade(seconds, "1.25") for seconds in range(60)))
    with httpx.Client(base_url=base, headers={"User-Agent": request.node.name}, timeout=30) as client:
        yield client


def part(client: httpx.Client, path: str, wanted: str, **headers: str) -> httpx.Response:
    return client.get(path, headers={"Range": f"bytes={wanted}", **headers})


def read(client: httpx.Client, path: str, size: int, pieces: int = 3) -> bytes:
    """Read a body of known size in ranges."""
    bounds = [size * number // pieces for number in range(pieces + 1)]
    parts = [part(client, path, f"{start}-{stop - 1}") for start, stop in pairwise(bounds)]
    assert [answer.status_code for answer in parts] == [206] * pieces
    assert [answer.headers["content-range"] for answer in parts] == [
        f"bytes {start}-{stop - 1}/{size}" for start, stop in pairwise(bounds)
    ]
    return b"".join(answer.content for answer in parts)


def size_of(client: httpx.Client, path: str) -> int:
    return int(client.head(path, headers={"Accept-Encoding": "identity"}).headers["content-length"])


@pytest.mark.parametrize("path", PATHS)
def test_ranges_are_parts_of_the_body(client: httpx.Client, path: str):
    whole = client.get(path, headers={"Accept-Encoding": "identity"})
    head = client.head(path, headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.headers["accept-ranges"]) == (200, "bytes")
    assert int(head.headers["content-length"]) == len(whole.content)
    first = part(client, path, "0-99")
    assert {name: first.headers[name] for name in ("content-type", "cache-control", "etag")} == {
        **{name: whole.headers[name] for name in ("content-type", "cache-control")},
        "etag": head.headers["etag"],
    }
    if "etag" in whole.headers:
        assert head.headers["etag"] == whole.headers["etag"]
    assert "content-encoding" not in part(client, path, "0-", **{"Accept-Encoding": "gzip"}).headers
    if "candles" not in path or "json" not in path:  # whose effective `end` is the time of the request
        assert read(client, path, len(whole.content)) == whole.content
        assert part(client, path, "-10").content == whole.content[-10:]


def test_rows_that_arrive_during_a_read_are_not_in_it(client: httpx.Client, connection: Connection, clock: Clock):
    before = client.get(LIVE).content
    size = size_of(client, LIVE)
    store(connection, trade(0.5, "7"))
    assert read(client, LIVE, size) == before
    clock.now += 2
    after = client.get(LIVE).content
    assert len(after) > len(before)
    assert read(client, LIVE, size_of(client, LIVE)) == after


def test_clients_without_head_begin_at_either_end(client: httpx.Client, connection: Connection, clock: Clock):
    for first in ("0-9", "-10"):
        before = client.get(LIVE).content
        assert part(client, LIVE, first).status_code == 206
        store(connection, trade(0.5 + clock.now, "7"))
        assert read(client, LIVE, len(before)) == before
        clock.now += 2


def test_ranges_of_changed_content_are_refused_until_the_next_read(
    client: httpx.Client, connection: Connection, clock: Clock
):
    size = size_of(client, LIVE)
    clock.now += 61
    assert part(client, LIVE, "100-199").status_code == 206  # the body is gone, but the content is the same
    store(connection, trade(0.5, "7"))
    clock.now += 61
    for wanted in ("0-99", "100-199", "-10"):
        refused = part(client, LIVE, wanted)
        assert (refused.status_code, refused.headers["content-type"]) == (412, "application/problem+json")
    assert size_of(client, LIVE) > size
    assert part(client, LIVE, "100-199").status_code == 206


def test_a_body_stays_for_a_read_that_pauses(client: httpx.Client, connection: Connection, clock: Clock):
    before = client.get(LIVE).content
    size = size_of(client, LIVE)
    store(connection, trade(0.5, "7"))
    clock.now += 59
    assert part(client, LIVE, "0-99").content == before[:100]
    clock.now += 59
    assert part(client, LIVE, f"100-{size - 1}").content == before[100:]


def test_ranges_are_refused_for_a_moment_after_a_new_read_replaced_an_unfinished_one(
    client: httpx.Client, connection: Connection, clock: Clock
):
    size = size_of(client, LIVE)
    store(connection, trade(0.5, "7"))
    for _ in range(30):
        assert (part(client, LIVE, "0-9").status_code, size_of(client, LIVE)) == (206, size)
        clock.now += 1
    assert size_of(client, LIVE) > size
    assert [part(client, LIVE, wanted).status_code for wanted in ("0-9", "10-19", "-9")] == [412] * 3
    clock.now += 2
    assert part(client, LIVE, "10-19").status_code == 206


def test_a_download_is_resumed_only_if_its_content_is_settled(client: httpx.Client):
    whole = client.get(LIVE).content
    assert part(client, LIVE, "100-").status_code == 412
    client.head(LIVE)
    assert part(client, LIVE, "100-").status_code == 412  # the first 100 bytes may be those of a GET before
    assert part(client, LIVE, "0-99").status_code == 206
    assert part(client, LIVE, "100-").content == whole[100:]
    assert part(client, SETTLED, "100-").content == client.get(SETTLED).content[100:]


def test_a_settled_response_of_several_pages_can_be_resumed(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_responses, "PAGE_ROWS", 7)
    whole = client.get(SETTLED)
    assert "content-length" not in whole.headers
    resumed = part(client, SETTLED, "1000-")
    assert (resumed.content, resumed.headers["cache-control"]) == (whole.content[1000:], "no-store")


def test_if_range_sends_a_part_only_of_the_same_content(client: httpx.Client, connection: Connection, clock: Clock):
    tag = client.head(LIVE, headers={"Accept-Encoding": "identity"}).headers["etag"]
    before = client.get(LIVE).content
    clock.now += 61
    assert part(client, LIVE, "100-", **{"If-Range": tag}).content == before[100:]
    store(connection, trade(0.5, "7"))
    after = client.get(LIVE).content
    clock.now += 61
    for value in (tag, f"W/{tag}", "Sat, 08 Feb 2026 10:30:00 GMT"):
        answer = part(client, LIVE, "100-", **{"If-Range": value})
        assert (answer.status_code, answer.content) == (200, after)


def test_if_none_match_comes_first(client: httpx.Client):
    tag = client.get(SETTLED).headers["etag"]
    assert part(client, SETTLED, "0-9", **{"If-None-Match": tag}).status_code == 304


@pytest.mark.parametrize("wanted", ["0-9,20-29", "9-0", "x", ""])
def test_other_ranges_are_ignored(client: httpx.Client, wanted: str):
    answer = part(client, SETTLED, wanted)
    assert (answer.status_code, answer.content) == (200, client.get(SETTLED).content)


def test_ranges_behind_the_end_are_not_satisfiable(client: httpx.Client):
    size = len(client.get(SETTLED).content)
    for wanted in (f"{size}-", f"{size}-{size}"):
        answer = part(client, SETTLED, wanted)
        assert (answer.status_code, answer.headers["content-range"]) == (416, f"bytes */{size}")
        assert f"{size:,} bytes" in answer.json()["detail"]
    assert len(part(client, SETTLED, f"{size - 1}-{size + 9}").content) == 1
    empty = "/trades?symbol=AAPL&end=2026-02-08&start=2026-02-07&format=ndjson"
    assert (part(client, empty, "0-9").status_code, part(client, empty, "0-9").content) == (200, b"")


def test_errors_are_those_of_get(client: httpx.Client):
    paths = [LIVE.replace("AAPL", "NONE"), f"{LIVE}&limit=0"]
    assert [part(client, path, "0-9").status_code for path in paths] == [404, 400]
    assert [client.head(path).status_code for path in paths] == [404, 400]


def test_clients_have_their_own_bodies(client: httpx.Client, connection: Connection, keys: dict[str, str]):
    size = size_of(client, LIVE)
    store(connection, trade(0.5, "7"))
    others = {"User-Agent": "another"}, bearer(keys["read"]), bearer(keys["write"]), {"Accept": "text/csv"}
    for headers in others:
        store(connection, trade(100 + len(headers), "7", trade_id=hash(str(headers)) % 2**60))
        assert int(client.head(LIVE, headers=headers | {"Accept-Encoding": "identity"}).headers["content-length"]) > size
    assert len(read(client, LIVE, size)) == size


def test_a_body_above_the_limit_has_no_ranges(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(row_responses, "PAGE_ROWS", 7)
    whole = client.get(LIVE).content
    assert part(client, LIVE, "0-9").status_code == 206
    monkeypatch.setattr(body_store, "MAX_BODY_BYTES", 1_000)
    client.headers["User-Agent"] = "another program"
    for answer in (part(client, LIVE, "0-9"), part(client, LIVE, "-9")):
        assert (answer.status_code, answer.content, answer.headers["accept-ranges"]) == (200, whole, "none")
    head = client.head(LIVE, headers={"Accept-Encoding": "identity"})
    assert (head.status_code, head.headers["accept-ranges"], "content-length" in head.headers) == (200, "none", False)
    assert part(client, LIVE, "10-19").status_code == 412


def test_rows_that_can_not_be_read_completely_are_no_body(client: httpx.Client, monkeypatch: pytest.MonkeyPatch):
    async def fail(*_: Any, **__: Any) -> AsyncGenerator[bytes]:
        yield b"symbol,"
        raise DatabaseUnavailable("lost")

    monkeypatch.setattr(row_responses, "PAGE_ROWS", 7)
    monkeypatch.setattr(row_responses.RowsResponse, "_stream", fail)
    assert [part(client, LIVE, "0-3").status_code, client.head(LIVE).status_code] == [503, 503]


def test_without_a_folder_there_are_no_ranges(
    client: httpx.Client, bodies: BodyStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    (tmp_path / "file").touch()
    monkeypatch.setattr(bodies, "_folder", tmp_path / "file" / "folder")
    assert part(client, LIVE, "0-9").content == client.get(LIVE).content
    assert client.head(LIVE).status_code == 200
    assert part(client, LIVE, "10-19").status_code == 412


def test_workers_share_bodies(
    settings: Settings, client: httpx.Client, connection: Connection, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv(body_store.FOLDER, str(tmp_path))
    before = client.get(LIVE).content
    with serving(create_patient_app(settings)) as first, serving(create_patient_app(settings)) as second:
        assert size_of(client, first + LIVE) == len(before)
        store(connection, trade(0.5, "7"))
        assert read(client, second + LIVE, len(before)) == before
        assert [path.suffix for path in tmp_path.glob("*.body")] == [".body"]


def test_curl_reads_a_range_and_resumes(client: httpx.Client, base: str, tmp_path: Path):
    whole, file = client.get(SETTLED).content, tmp_path / "file"
    curl = ["curl", "-sSf", base + SETTLED]
    assert subprocess.run([*curl, "-r", "0-9"], capture_output=True, check=True).stdout == whole[:10]
    for done in (0, HEAD_SIZE, 1_000):
        file.write_bytes(whole[:done])
        subprocess.run([*curl, "-C", "-", "-o", file], check=True)
        assert file.read_bytes() == whole
    file.write_bytes(b"the beginning of other rows")
    assert subprocess.run(["curl", "-sS", base + LIVE, "-C", "-", "-o", file], check=False, capture_output=True).returncode
    assert file.read_bytes() == b"the beginning of other rows"

"""Clients that send invalid bytes do not affect a healthy client."""

import json
import os
import shutil
import struct
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest
from embedded.raw_client import FLUSH, SYNC, RawClient, bind, execute, message, parse, query, startup
from hypothesis import given, settings
from hypothesis import strategies as st

from market_data.embedded import owned_engine

MAX_SECONDS = 10
"""Maximum time of a healthy client's round: a noisy client may be idle in a transaction for 0.3 s."""

MAX_GROWTH_BYTES = 150_000_000
"""Memory that noise of a few kilobytes a client may cost."""

VALID_STARTUP = startup(options="-c idle_in_transaction_session_timeout=300")


@pytest.fixture(scope="module")
def home(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(seed, tmp_path_factory.mktemp("noise") / "home")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[str]:
    messages: list[str] = []
    with owned_engine(home, report=messages.append) as dsn:
        yield dsn
    assert messages == [], "the engine died because of the noise"


@pytest.fixture(scope="module")
def healthy(engine: str) -> Iterator[psycopg.Connection]:
    """A client with a table, a setting and a prepared statement."""
    with psycopg.connect(engine, autocommit=True, options="-c statement_timeout=7777") as connection:
        connection.execute("CREATE TABLE kept (a integer PRIMARY KEY, b text)")
        connection.execute("PREPARE mine AS SELECT count(*), max(b) FROM kept")
        yield connection


@pytest.fixture(scope="module")
def durations() -> list[float]:
    """Seconds that each round of the healthy client has taken."""
    return [0.0]


def work(healthy: psycopg.Connection, durations: list[float]) -> None:
    """Run a round of the healthy client and check that its rows, statement and setting are unaffected."""
    started = time.monotonic()
    number = len(durations)
    with healthy.transaction():
        healthy.execute("INSERT INTO kept VALUES (%s, %s)", (number, f"{number:09}"))
    assert healthy.execute("EXECUTE mine").fetchone() == (number, f"{number:09}")
    assert healthy.execute("SHOW statement_timeout").fetchone() == ("7777ms",)
    durations.append(time.monotonic() - started)
    assert durations[-1] < MAX_SECONDS


KINDS = st.sampled_from([bytes([kind]) for kind in b"QPBEDCFHSXdcfp!\0Rz"])
BODIES = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode() + b"\0")
WELL_FORMED = st.builds(message, KINDS, BODIES)
WRONG_LENGTH = st.builds(
    lambda kind, length, body: kind + struct.pack("!i", length) + body,
    KINDS,
    st.sampled_from([-(2**31), -1, 0, 3, 4, 5, 9_999, 10_001, 2**20, 2**28, 2**28 + 1, 2**30, 2**31 - 1]),
    BODIES,
)
VALID = st.sampled_from(
    [
        query("SELECT 1"),
        query("BEGIN"),
        query("SELECT 1/0"),
        query("SET statement_timeout = 1; SET search_path = nowhere"),
        query("DEALLOCATE ALL"),
        query("DISCARD ALL"),
        query("CREATE TEMP TABLE IF NOT EXISTS noise (a text)"),  # not a name of another test: all clients share one session
        query("COPY noise FROM STDIN"),
        query("LISTEN x; NOTIFY x, 'y'"),
        parse("mine", "SELECT 0, 'not yours'"),
        parse("", "SELECT $1::text"),
        bind("", ""),
        bind("p", "mine"),
        execute("p"),
        execute(""),
        message(b"d", b"1\n"),
        message(b"c"),
        SYNC,
        FLUSH,
    ]
)
NOISE = st.lists(WELL_FORMED | WRONG_LENGTH | VALID | VALID | st.binary(max_size=20), min_size=1, max_size=6).map(b"".join)
STARTUPS = (
    st.just(VALID_STARTUP)
    | st.binary(max_size=30)
    | st.builds(lambda length: struct.pack("!i", length), st.integers(-9, 10_001))
)


@settings(derandomize=True, deadline=None, database=None, max_examples=80)
@given(st.lists(st.tuples(STARTUPS | st.just(VALID_STARTUP), NOISE, st.integers(0, 200)), min_size=1, max_size=3))
def test_noise_does_not_affect_a_healthy_client(
    engine: str, healthy: psycopg.Connection, durations: list[float], noises: list[tuple[bytes, bytes, int]]
):
    noisy = [RawClient(engine, start=False) for _ in noises]
    try:
        for client, (start, noise, cut) in zip(noisy, noises, strict=True):
            send(client, start)
            send(client, noise[:cut])
        work(healthy, durations)
        for client, (_, noise, cut) in zip(noisy, noises, strict=True):
            send(client, noise[cut:])
        work(healthy, durations)
    finally:
        for client in noisy:
            client.socket.close()
    work(healthy, durations)


def send(client: RawClient, data: bytes) -> None:
    """Send to an engine that may have closed the connection."""
    with suppress(OSError):
        client.send(data)


def resident(home: Path) -> int:
    """Resident memory of the engine's process in bytes."""
    pid = json.loads((home / "engine.json").read_text())["pid"]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_a_declared_length_costs_no_memory_before_the_bytes_arrive(
    engine: str, home: Path, healthy: psycopg.Connection, durations: list[float]
):
    before = resident(home)
    noisy = [RawClient(engine) for _ in range(40)]
    try:
        for client in noisy:
            client.send(b"Q" + struct.pack("!i", 2**28) + b"SELECT 1 -- ")
        for _ in range(20):
            work(healthy, durations)
            for client in noisy:
                client.send(b"x" * 1000)
        assert resident(home) - before < MAX_GROWTH_BYTES
    finally:
        for client in noisy:
            client.socket.close()
    work(healthy, durations)


def test_responses_to_a_client_that_does_not_read_do_not_accumulate(
    engine: str, home: Path, healthy: psycopg.Connection, durations: list[float]
):
    """At most 16 MB and one response are buffered; then the engine reads no more queries of this client."""
    before = resident(home)
    with RawClient(engine) as client:
        client.socket.setblocking(False)
        queries = query("SELECT repeat('x', 1000000)") * 400
        while queries:
            try:
                queries = queries[client.socket.send(queries) :]
            except BlockingIOError:
                break
        for _ in range(20):
            work(healthy, durations)
        assert resident(home) - before < MAX_GROWTH_BYTES
    work(healthy, durations)

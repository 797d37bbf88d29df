"""While some clients send noise, one that does not is served as if it were alone."""

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

MOST_SECONDS = 10
"""How long the healthy client may wait for an answer: a noisy one may sit in a transaction for 0.3 s until it is cut."""

MOST_GROWTH = 150_000_000
"""Bytes of memory that the noise may cost, none of which is more than some kilobytes."""

IDLE = startup(options="-c idle_in_transaction_session_timeout=300")


@pytest.fixture(scope="module")
def home(seed: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return shutil.copytree(seed, tmp_path_factory.mktemp("noise") / "home")


@pytest.fixture(scope="module")
def engine(home: Path) -> Iterator[str]:
    said: list[str] = []
    with owned_engine(home, say=said.append) as dsn:
        yield dsn
    assert said == [], "the engine died of the noise"


@pytest.fixture(scope="module")
def healthy(engine: str) -> Iterator[psycopg.Connection]:
    """A client with a table, a setting and a prepared statement of its own."""
    with psycopg.connect(engine, autocommit=True, options="-c statement_timeout=7777") as connection:
        connection.execute("CREATE TABLE kept (a integer PRIMARY KEY, b text)")
        connection.execute("PREPARE mine AS SELECT count(*), max(b) FROM kept")
        yield connection


@pytest.fixture(scope="module")
def served() -> list[float]:
    """How long the healthy client has waited for each of its answers."""
    return [0.0]


def work(healthy: psycopg.Connection, served: list[float]) -> None:
    """Let the healthy client do what it does, and see to it that it gets what is its own."""
    started = time.monotonic()
    number = len(served)
    with healthy.transaction():
        healthy.execute("INSERT INTO kept VALUES (%s, %s)", (number, f"{number:09}"))
    assert healthy.execute("EXECUTE mine").fetchone() == (number, f"{number:09}")
    assert healthy.execute("SHOW statement_timeout").fetchone() == ("7777ms",)
    served.append(time.monotonic() - started)
    assert served[-1] < MOST_SECONDS


KINDS = st.sampled_from([bytes([kind]) for kind in b"QPBEDCFHSXdcfp!\0Rz"])
BODIES = st.binary(max_size=40) | st.text(max_size=20).map(lambda text: text.encode() + b"\0")
WELL_FORMED = st.builds(message, KINDS, BODIES)
WRONG_LENGTH = st.builds(
    lambda kind, length, body: kind + struct.pack("!i", length) + body,
    KINDS,
    st.sampled_from([-(2**31), -1, 0, 3, 4, 5, 9_999, 10_001, 2**20, 2**28, 2**28 + 1, 2**30, 2**31 - 1]),
    BODIES,
)
SENSE = st.sampled_from(
    [
        query("SELECT 1"),
        query("BEGIN"),
        query("SELECT 1/0"),
        query("SET statement_timeout = 1; SET search_path = nowhere"),
        query("DEALLOCATE ALL"),
        query("DISCARD ALL"),
        query("CREATE TEMP TABLE IF NOT EXISTS noise (a text)"),  # of a name of its own, for all share one session
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
SPEECH = st.lists(WELL_FORMED | WRONG_LENGTH | SENSE | SENSE | st.binary(max_size=20), min_size=1, max_size=6).map(b"".join)
STARTS = (
    st.just(IDLE) | st.binary(max_size=30) | st.builds(lambda length: struct.pack("!i", length), st.integers(-9, 10_001))
)


@settings(derandomize=True, deadline=None, database=None, max_examples=80)
@given(st.lists(st.tuples(STARTS | st.just(IDLE), SPEECH, st.integers(0, 200)), min_size=1, max_size=3))
def test_noise_of_others_is_not_heard(
    engine: str, healthy: psycopg.Connection, served: list[float], speeches: list[tuple[bytes, bytes, int]]
):
    noisy = [RawClient(engine, start=False) for _ in speeches]
    try:
        for client, (start, speech, cut) in zip(noisy, speeches, strict=True):
            send(client, start)
            send(client, speech[:cut])
        work(healthy, served)
        for client, (_, speech, cut) in zip(noisy, speeches, strict=True):
            send(client, speech[cut:])
        work(healthy, served)
    finally:
        for client in noisy:
            client.socket.close()
    work(healthy, served)


def send(client: RawClient, data: bytes) -> None:
    """Send, to an engine that may have hung up."""
    with suppress(OSError):
        client.send(data)


def resident(home: Path) -> int:
    """Bytes of memory of the engine's process."""
    pid = json.loads((home / "engine.json").read_text())["pid"]
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def test_announced_bytes_cost_nothing_until_they_come(
    engine: str, home: Path, healthy: psycopg.Connection, served: list[float]
):
    before = resident(home)
    noisy = [RawClient(engine) for _ in range(40)]
    try:
        for client in noisy:
            client.send(b"Q" + struct.pack("!i", 2**28) + b"SELECT 1 -- ")
        for _ in range(20):
            work(healthy, served)
            for client in noisy:
                client.send(b"x" * 1000)
        assert resident(home) - before < MOST_GROWTH
    finally:
        for client in noisy:
            client.socket.close()
    work(healthy, served)


def test_answers_that_nobody_reads_are_not_piled_up(
    engine: str, home: Path, healthy: psycopg.Connection, served: list[float]
):
    """A client that asks and never reads is not asked for more: 16 MB wait for it at the most, and one answer."""
    before = resident(home)
    with RawClient(engine) as client:
        client.socket.setblocking(False)
        asked = query("SELECT repeat('x', 1000000)") * 400
        while asked:
            try:
                asked = asked[client.socket.send(asked) :]
            except BlockingIOError:
                break
        for _ in range(20):
            work(healthy, served)
        assert resident(home) - before < MOST_GROWTH
    work(healthy, served)

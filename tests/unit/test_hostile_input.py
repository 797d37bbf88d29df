"""Whatever comes from outside: each parser reads it, or says in a sentence what is wrong, and at once."""

import asyncio
import io
import json
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext, redirect_stderr
from decimal import Decimal
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from litestar import Request
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler
from litestar.testing import RequestFactory

from market_data.api.candles import candles
from market_data.api.http.bodies import read_object
from market_data.api.http.parameters import read_parameters
from market_data.api.http.response_formats import MEDIA_TYPES, accepted_format
from market_data.api.http.trade_bodies import TradeBody, read_trades
from market_data.api.stream import stream
from market_data.api.trade_writes import store_trades, trade_changes
from market_data.api.trades import trades
from market_data.app import create_app
from market_data.auth.api_keys import parse_prefix
from market_data.cli import console
from market_data.cli.data.import_trades import validated_batches
from market_data.cli.data.parquet import ParquetSource
from market_data.cli.data.trade_files import CsvSource, NdjsonSource
from market_data.cli.data.trade_source import Source
from market_data.errors import BadParameters, CommandFailed, TooLarge, Unauthorized, UnsupportedMedia
from market_data.middleware.authentication import given_key
from market_data.models import ParameterProblem
from market_data.models_writes import CancelIn, CorrectIn, SymbolChangeIn, SymbolIn
from market_data.settings import Settings
from market_data.streaming.events import EventId
from market_data.telemetry.logging import without_secrets
from market_data.trade_validation import SYMBOL

MAX_MESSAGE_LENGTH = 300
"""Characters of one complaint, however much there is to complain about."""

steady = settings(derandomize=True, deadline=None, database=None, max_examples=200)
unconnected = Settings(database_url="postgresql:///nowhere", max_body_bytes=1000)
factory = RequestFactory(app=create_app(unconnected))
factory.app.state.services = SimpleNamespace(settings=unconnected)

GOOD = b'{"symbol":"AAPL","price":1.5,"volume":2,"timestamp":"2026-02-08T10:30:00Z","trade_id":7}'
PIECES = (
    *(b"{", b"}", b"[", b"]", b",", b":", b'"', b"\\", b"\n", b"\r\n", b" ", b"\0", b"\xff", b"\xef\xbb\xbf"),
    *(b'"price"', b'"symbol":', b'"trade_id":null', b"1e999999999", b"-", b"NaN", b'"\\ud800"', b"9" * 50, GOOD),
)
BYTES = st.binary(max_size=60) | st.lists(st.sampled_from(PIECES), max_size=20).map(b"".join)
"""Noise, and what looks like JSON for a while."""


@st.composite
def damaged(draw: st.DrawFn, good: bytes) -> bytes:
    """Something good in which a few bytes are others."""
    data = bytearray(good)
    for _ in range(draw(st.integers(1, 6))):
        at = draw(st.integers(0, len(data)))
        data[at : at + draw(st.integers(0, 4))] = draw(st.binary(max_size=4))
    return bytes(data)


def assert_problems(problems: Sequence[ParameterProblem]) -> None:
    """Check that each problem has a name and a short, printable text."""
    assert problems
    for problem in problems:
        assert problem.name
        assert problem.detail
        assert_short(problem.name + problem.detail)


def assert_short(text: str) -> None:
    assert len(text) <= MAX_MESSAGE_LENGTH
    assert text.isprintable(), "a terminal would obey it"


def assert_one_line(text: str) -> None:
    """That a command which fails with this tells it in a line that a terminal only shows."""
    said = io.StringIO()
    with redirect_stderr(said):
        console.progress(text)
    line = said.getvalue().removesuffix("\n")
    assert line.isprintable()
    assert len(line) <= MAX_MESSAGE_LENGTH


def request(pieces: Sequence[bytes], media_type: str) -> Request[Any, Any, Any]:
    """Return a request whose body arrives in these pieces."""
    coming = iter(pieces)

    async def receive() -> Any:
        piece = next(coming, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    # Not `post`, which stores an empty body in the scope.
    return Request(factory.get("/trades", headers={"content-type": media_type}).scope, receive)


@st.composite
def cut(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """The same in pieces."""
    ends = sorted(draw(st.lists(st.integers(0, len(data)), max_size=5)))
    return [data[start:end] for start, end in zip([0, *ends], [*ends, len(data)], strict=True)]


def read_body(pieces: Sequence[bytes], media_type: str) -> Any:
    """Return the trades and rejections of a body, or the text of its error."""
    try:
        reader = asyncio.run(read_trades(request(pieces, media_type)))
    except BadParameters as error:
        assert_problems(error.problems)
        return str(error)
    except (TooLarge, UnsupportedMedia, RequestEntityTooLarge) as error:
        assert_short(str(error))
        return str(error)
    assert isinstance(reader, TradeBody)
    assert len(reader.trades) + len(reader.rejected) == reader.count > 0
    if reader.rejected:
        assert_problems(list(reader.problems(reader.rejected)))
    return reader.trades, {index: str(reason) for index, reason in reader.rejected.items()}


TYPES = st.sampled_from(["application/json", "application/x-ndjson", "Application/NDJSON ; charset=x"]) | st.text("a/;=é\0")


@steady
@given(st.data(), BYTES | damaged(GOOD) | damaged(b"[" + GOOD + b"," + GOOD + b"]") | damaged(GOOD + b"\n" + GOOD), TYPES)
def test_body_is_read_the_same_in_any_pieces(data: st.DataObject, body: bytes, media_type: str):
    media_type = quote(media_type, safe=" /;=")
    assert read_body(data.draw(cut(body)), media_type) == read_body([body], media_type)


@steady
@given(BYTES | damaged(GOOD) | st.dictionaries(st.text(max_size=9), st.text(max_size=9)).map(json.dumps).map(str.encode))
@example(b'{"name":"\\u0000","reason":"\\u202e"}')
def test_small_body_is_read_or_refused(body: bytes):
    for kind in (CancelIn, CorrectIn, SymbolIn, SymbolChangeIn):
        try:
            assert isinstance(asyncio.run(read_object(request([body], "application/json"), kind)), kind)
        except BadParameters as error:
            assert_problems(error.problems)
        except RequestEntityTooLarge:
            assert len(body) > unconnected.max_body_bytes


HANDLERS: Sequence[BaseRouteHandler] = (candles, trades, trade_changes, store_trades, stream)
NAMES = (
    *("symbol", "symbols", "interval", "start", "end", "order", "fill", "limit", "page_token", "format"),
    *("partial", "channels", "last_event_id"),
)
VALUES = (
    *("AAPL", "aapl,MSFT", "2026-02-08T10:30:00Z", "2026-02-08T10:30:00 01:00", "1m", "trades,candles_1m", "1-2-3", "10"),
    *("asc", "null", "true", "arrow", "0", "-1", "9" * 30, "\u0661", "\0", "%", "&", "=", ",", "\r\n"),
)


@steady
@given(
    st.lists(st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES) | st.text())).map(urlencode)
    | st.binary(max_size=60).map(lambda noise: noise.decode("latin-1"))
)
def test_query_is_read_or_refused_by_name(query: str):
    made = factory.get("/trades")
    made.scope["query_string"] = query.encode("latin-1", "replace")
    for handler in HANDLERS:
        try:
            read_parameters(made, handler)
        except BadParameters as error:
            assert_problems(error.problems)


IDS = st.tuples(st.integers(0, 10**18 - 1), st.integers(0, 10**10 - 1), st.integers(0, 9))


@steady
@given(IDS)
def test_event_id_round_trip(parts: tuple[int, int, int]):
    assert EventId.parse(str(EventId(*parts))) == parts


@steady
@given(st.text() | st.from_regex(r"\A[-\d]*\Z") | IDS.map(lambda parts: "-".join(map(str, parts)) + "\n"))
def test_invalid_event_id_is_refused(text: str):
    fits = re.fullmatch(r"[0-9]{1,18}-[0-9]{1,10}-[0-9]", text)
    with nullcontext() if fits else pytest.raises(ValueError, match="must be the id of an event, unchanged"):
        EventId.parse(text)


HEADER_VALUES = st.binary(max_size=80) | st.sampled_from(
    [b"Bearer ", b"bearer\t", b"Bearer \xff\xfe", b"Basic x", b" ", b"\0"]
)


@steady
@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"accept"]), HEADER_VALUES), max_size=4))
def test_key_headers_are_read_or_refused(headers: list[tuple[bytes, bytes]]):
    try:
        key = given_key(headers)
    except Unauthorized as error:
        assert_short(str(error))
        return
    assert key != ""
    assert (key is None) == (not {b"authorization", b"x-api-key"} & {name for name, _ in headers})
    if key is not None:
        assert any(key.encode("latin-1") in value for _, value in headers)
        assert parse_prefix(key) is None, "noise never has the form of a key"


@pytest.mark.parametrize("piece", ["a", "a/", "a/a;", " ", ",", ";q=0", '"', "a://b:", "=", "W/", "\\"])
def test_long_header_is_read_quickly(piece: str):
    """A pattern that is tried from each character would take quadratic time: seconds."""
    text = piece * (30_000 // len(piece))
    started = time.process_time()
    made = factory.get("/trades", headers={"accept": text})
    assert accepted_format(made) in MEDIA_TYPES
    assert given_key([(b"x-api-key", f"{text}x".encode())]) == f"{text}x".strip()
    without_secrets(f"{text} @")
    assert time.process_time() - started < 1


LINE = re.compile(r"(\d+)\t([^\t\\]+)\t([^\t\\]+)\t(-?\d+)\t([\d.]+)\t([\d.]+)")
"""A line of COPY data, without characters that COPY would interpret as a separator or an escape."""


def assert_imported(source: Source) -> None:
    """Assert that each row of a file is valid or rejected with a reason, or that the file is rejected in one line."""
    with source:
        try:
            for batch in validated_batches(source):
                lines = batch.data.decode().splitlines(keepends=True)
                assert len(lines) == batch.valid
                assert batch.valid + len(batch.rejected) <= len(batch.block.rows)
                for line in lines:
                    form = LINE.fullmatch(line.removesuffix("\n"))
                    assert form, line
                    assert SYMBOL.fullmatch(form[2])
                    assert -(2**63) <= int(form[4]) < 2**63
                    assert Decimal(form[5]) > 0
                    assert Decimal(form[6]) >= 0
                assert all(len(reason) <= MAX_MESSAGE_LENGTH and "\n" not in reason for reason in batch.rejected.values())
        except CommandFailed as error:
            assert_one_line(str(error))


CSV = b"symbol,timestamp,price,volume,trade_id\nAAPL,2026-02-08T10:30:00.5Z,1.5,2,7\nA,2026-02-08T10:30:00+01:00,1,0,8\n"


@steady
@given(BYTES | damaged(CSV) | damaged(CSV.replace(b",", b"\t")))
@example(CSV + b"A\\N,2026-02-08T10:30:00Z,1,1,1\n")
@example(CSV + b"AAPL\t1,2026-02-08T10:30:00Z,1,1,1\n")
def test_any_csv_has_valid_or_rejected_rows(data: bytes):
    assert_imported(CsvSource("x", io.BytesIO(data)))
    assert_imported(CsvSource("x", io.BytesIO(CSV + data)))


@steady
@given(BYTES | damaged(GOOD + b"\n" + GOOD))
def test_any_ndjson_has_valid_or_rejected_rows(data: bytes):
    assert_imported(NdjsonSource("x", io.BytesIO(data)))


def parquet(**columns: Any) -> bytes:
    file = io.BytesIO()
    pq.write_table(pa.table(columns), file)
    return file.getvalue()


PARQUET = parquet(
    symbol=["AAPL", "MSFT"],
    timestamp=pa.array([0, 1770546600123456], pa.timestamp("us", "UTC")),
    price=[1.5, 1e-7],
    volume=[Decimal("2.50"), Decimal("0.00")],
    trade_id=[1, 2],
)


@steady
@given(st.binary(max_size=60) | damaged(PARQUET) | st.integers(0, len(PARQUET)).map(lambda end: PARQUET[:end]))
def test_any_parquet_file_has_valid_or_rejected_rows(data: bytes):
    assert_imported(ParquetSource("x", io.BytesIO(data)))


@steady
@given(st.text(st.characters(blacklist_categories=[]), max_size=20))
@example("\x1b]0;owned\x07\udcff\u202e")
def test_control_characters_are_escaped_on_the_terminal(text: str):
    assert_one_line(text.replace("\n", ""))


COLUMNS = st.sampled_from(
    [
        pa.array([True, None]),
        pa.array([b"\xff", b"1"]),
        pa.array([[1], None]),
        pa.array([{"a": 1}, None]),
        pa.array([float("inf"), float("nan")]),
        pa.array([2**63, 2**64 - 1], pa.uint64()),
        pa.array([0, 2**62], pa.timestamp("s")),
        pa.array([0, -(2**62)], pa.timestamp("ms", "Europe/Berlin")),
        pa.array([0, 1], pa.date32()),
        pa.array([0, 1], pa.duration("ns")),
        pa.array([0, 1], pa.time64("us")),
        pa.array([None, None]),
        pa.array(["a\tb\nc\\N", "\0"]),
        pa.array(["AAPL", "AAPL"]).dictionary_encode(),
        pa.array([Decimal("1e38"), Decimal(-1)], pa.decimal256(60, 5)),
    ]
)


@steady
@given(COLUMNS, COLUMNS, COLUMNS, COLUMNS, COLUMNS)
def test_parquet_columns_of_any_type_have_valid_or_rejected_rows(
    symbol: Any, timestamp: Any, price: Any, volume: Any, trade_id: Any
):
    data = parquet(symbol=symbol, timestamp=timestamp, price=price, volume=volume, trade_id=trade_id)
    assert_imported(ParquetSource("x", io.BytesIO(data)))

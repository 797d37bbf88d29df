"""Random bodies, queries, event ids and headers: each is parsed, or refused with a short error message, quickly."""

import asyncio
import json
import re
import time
from collections.abc import Sequence
from contextlib import nullcontext
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote, urlencode

import pytest
from helpers.noise import BYTES, TRADE_JSON, assert_short, damaged, steady
from hypothesis import example, given
from hypothesis import strategies as st
from litestar import Request
from litestar.exceptions.http_exceptions import RequestEntityTooLarge
from litestar.handlers import BaseRouteHandler
from litestar.testing import RequestFactory

from market_data.api.candles import candles
from market_data.api.http.bodies import read_object
from market_data.api.http.query_string import read_parameters
from market_data.api.http.response_formats import MEDIA_TYPES, accepted_format
from market_data.api.http.trade_bodies import TradeBody, read_trades
from market_data.api.stream import stream
from market_data.api.trade_writes import store_trades, trade_changes
from market_data.api.trades import trades
from market_data.app import create_app
from market_data.auth.api_keys import parse_prefix
from market_data.errors import BadParameters, TooLarge, Unauthorized, UnsupportedMedia
from market_data.middleware.authentication import given_key
from market_data.models import ParameterProblem
from market_data.models_writes import CancelIn, CorrectIn, SymbolChangeIn, SymbolIn
from market_data.settings import Settings
from market_data.streaming.events import EventId
from market_data.telemetry.logging import without_secrets

unconnected = Settings(database_url="postgresql:///nowhere", max_body_bytes=1000)
factory = RequestFactory(app=create_app(unconnected))
factory.app.state.services = SimpleNamespace(settings=unconnected)


def assert_problems(problems: Sequence[ParameterProblem]) -> None:
    """Assert that each problem has a name and a short, printable text."""
    assert problems
    for problem in problems:
        assert problem.name
        assert problem.detail
        assert_short(problem.name + problem.detail)


def request(pieces: Sequence[bytes], media_type: str) -> Request[Any, Any, Any]:
    """Return a request whose body arrives in these pieces."""
    remaining = iter(pieces)

    async def receive() -> Any:
        piece = next(remaining, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    # Not `post`, which stores an empty body in the scope.
    return Request(factory.get("/trades", headers={"content-type": media_type}).scope, receive)


@st.composite
def split(draw: st.DrawFn, data: bytes) -> list[bytes]:
    """Split data at random places."""
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
@given(
    st.data(),
    BYTES
    | damaged(TRADE_JSON)
    | damaged(b"[" + TRADE_JSON + b"," + TRADE_JSON + b"]")
    | damaged(TRADE_JSON + b"\n" + TRADE_JSON),
    TYPES,
)
def test_trades_are_parsed_the_same_however_the_body_is_split(data: st.DataObject, body: bytes, media_type: str):
    media_type = quote(media_type, safe=" /;=")
    assert read_body(data.draw(split(body)), media_type) == read_body([body], media_type)


@steady
@given(
    BYTES | damaged(TRADE_JSON) | st.dictionaries(st.text(max_size=9), st.text(max_size=9)).map(json.dumps).map(str.encode)
)
@example(b'{"name":"\\u0000","reason":"\\u202e"}')
def test_object_is_parsed_or_refused(body: bytes):
    for model in (CancelIn, CorrectIn, SymbolIn, SymbolChangeIn):
        try:
            assert isinstance(asyncio.run(read_object(request([body], "application/json"), model)), model)
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
    | st.binary(max_size=60).map(lambda query: query.decode("latin-1"))
)
def test_query_is_parsed_or_refused_with_the_parameter_names(query: str):
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
    valid = re.fullmatch(r"[0-9]{1,18}-[0-9]{1,10}-[0-9]", text)
    with nullcontext() if valid else pytest.raises(ValueError, match="must be the id of an event, unchanged"):
        EventId.parse(text)


HEADER_VALUES = st.binary(max_size=80) | st.sampled_from(
    [b"Bearer ", b"bearer\t", b"Bearer \xff\xfe", b"Basic x", b" ", b"\0"]
)


@steady
@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"accept"]), HEADER_VALUES), max_size=4))
def test_key_headers_are_parsed_or_refused(headers: list[tuple[bytes, bytes]]):
    try:
        key = given_key(headers)
    except Unauthorized as error:
        assert_short(str(error))
        return
    assert key != ""
    given = [name for name, value in headers if name == b"x-api-key" or value.lower().strip().startswith(b"bearer ")]
    assert (key is None) == (not {b"authorization", b"x-api-key"} & set(given))
    if key is not None:
        assert any(key.encode("latin-1") in value for _, value in headers)
        assert parse_prefix(key) is None, "noise never has the form of a key"


@pytest.mark.parametrize("piece", ["a", "a/", "a/a;", " ", ",", ";q=0", '"', "a://b:", "=", "W/", "\\"])
def test_long_header_is_parsed_quickly(piece: str):
    """A regular expression that is tried from each character would take quadratic time: seconds."""
    text = piece * (30_000 // len(piece))
    started = time.process_time()
    made = factory.get("/trades", headers={"accept": text})
    assert accepted_format(made) in MEDIA_TYPES
    assert given_key([(b"x-api-key", f"{text}x".encode())]) == f"{text}x".strip()
    without_secrets(f"{text} @")
    assert time.process_time() - started < 1

"""Bodies of `POST /trades`: one trade, a JSON array, or one trade a line (NDJSON).

All trades are decoded in one call, and checked column by column. If that fails, or the text has unusual forms, each trade
is read field by field, which is ten times slower but names the wrong field of each.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import aclosing
from datetime import UTC
from decimal import Decimal, InvalidOperation
from itertools import chain
from typing import Any, Final

import msgspec
from litestar import Request
from msgspec import Raw

from market_data.api.http.bodies import JSON, NDJSON, max_bytes, media_type_of, read_body, read_lines
from market_data.api.http.decoding import (
    MAX_NAMED_PROBLEMS,
    InvalidFields,
    decode_fields,
    explain_malformed,
)
from market_data.errors import BadParameters, TooLarge
from market_data.models import ParameterProblem
from market_data.models_writes import TradeIn
from market_data.trade_validation import MAX_DECIMAL_PLACES, MAX_NUMBER, SYMBOL, InvalidTrade

MAX_TRADES = 10_000
MAX_WEEKS = 100
"""Each week is a chunk, which may have to be created during the call."""
MAX_COMMAS = 5
"""Commas per trade, with the one that follows it."""
TRADES_PER_TURN = 500
"""Trades that are read field by field before other requests get their turn."""

decode_array = msgspec.json.Decoder(list[TradeIn]).decode
decode_lines = msgspec.json.Decoder(TradeIn).decode_lines
split_array = msgspec.json.Decoder(list[Raw]).decode

# msgspec takes any string for a Decimal that Python takes ("1_000", " 1", "NaN"), and rounds times to microseconds. With
# a backslash, a field name could be escaped.
UNUSUAL_NUMBER = re.compile(rb'"(?:price|volume)"\s*:\s*"(?!-?\d+(?:\.\d+)?")')
LONG_FRACTION = re.compile(rb"(\d:\d\d\.\d{6})\d{1,12}(?=[Zz+-])")
TOO_LONG_FRACTION = re.compile(rb"\d:\d\d\.\d{7}")
USUAL_DIGITS: Final = 31
"""Characters of a number that can't have more than 30 decimal places."""


class TradeBody:
    """The trades of a call: valid ones, and the reasons why others are invalid, by their position in the call."""

    def __init__(self) -> None:
        self.count = 0
        self.trades: dict[int, TradeIn] = {}
        self.rejected: dict[int, InvalidTrade] = {}
        self.is_single = False
        """True if the body is one object instead of an array."""
        self._weeks: set[int] = set()

    def add_valid(self, trades: Sequence[TradeIn]) -> None:
        """Add trades that are validated already."""
        self.trades.update(enumerate(trades, self.count))
        self._add_to_count(len(trades))
        self._weeks.update([trade.timestamp.toordinal() // 7 for trade in trades])
        if len(self._weeks) > MAX_WEEKS:
            raise TooLarge(
                f"The request has trades of more than {MAX_WEEKS} weeks; send them in several requests, or use "
                "`market-data import`, which is meant for history."
            )

    async def add_each(self, texts: Iterable[Raw | bytes]) -> None:
        """Read trades field by field."""
        for text in texts:
            try:
                self.add_valid([decode_fields(TradeIn, bytes(text))])
            except InvalidFields as invalid:
                self.rejected[self.count] = invalid.problems[0]
                self._add_to_count(1)
            if self.count % TRADES_PER_TURN == 0:
                await asyncio.sleep(0)

    def _add_to_count(self, number: int) -> None:
        self.count += number
        if self.count > MAX_TRADES:
            raise TooLarge(f"The request has more than {MAX_TRADES:,} trades; send them in several requests.")

    def problems(self, rejected: Mapping[int, InvalidTrade]) -> Iterator[ParameterProblem]:
        """Yield the problems of the first rejected trades, named as fields of the body."""
        for index in sorted(rejected)[:MAX_NAMED_PROBLEMS]:
            trade = "" if self.is_single else f"trades[{index}]"
            name = ".".join(name for name in (trade, rejected[index].part) if name) or "body"
            yield ParameterProblem(name, rejected[index].detail)


async def read_trades(request: Request[Any, Any, Any]) -> TradeBody:
    """Return the trades of a request.

    Raises:
        BadParameters: The body is not JSON, or has no trade.
        TooLarge: The body has too many bytes or trades.
        UnsupportedMedia: The body has another media type.
    """
    trades = TradeBody()
    if media_type_of(request, (*JSON, *NDJSON)) in NDJSON:
        async with aclosing(read_lines(request)) as blocks:
            async for lines in blocks:
                await _add_lines(trades, lines)
    else:
        await _add_json(trades, await read_body(request, max_bytes(request)))
    if not trades.count:
        raise BadParameters([ParameterProblem("body", f"has no trade; send one, or a list of up to {MAX_TRADES:,}")])
    return trades


async def _add_lines(trades: TradeBody, lines: bytes) -> None:
    valid = decode_valid(lines, decode_lines)
    if valid is None:
        await trades.add_each(line for line in lines.split(b"\n") if line.strip())
    else:
        trades.add_valid(valid)


async def _add_json(trades: TradeBody, body: bytes) -> None:
    try:
        if not body.lstrip(b" \t\r\n").startswith(b"["):
            trades.is_single = True
            msgspec.json.decode(body, type=Raw)
            await trades.add_each([body])
            return
        if body.count(b",") > MAX_COMMAS * MAX_TRADES:
            raise TooLarge(
                f"The request has more than {MAX_TRADES:,} trades or other fields; send them in several requests."
            )
        valid = decode_valid(body, decode_array)
        await asyncio.sleep(0)
        if valid is None:
            await trades.add_each(split_array(body))
        else:
            trades.add_valid(valid)
    except (ValueError, RecursionError) as error:
        problem = explain_malformed(body, error)
        raise BadParameters([ParameterProblem(problem.part or "body", problem.detail)]) from None


def decode_valid(text: bytes, decode: Callable[[bytes], list[TradeIn]]) -> list[TradeIn] | None:
    """Return the trades of a text if all of them are valid, and None if they have to be read field by field."""
    if b"\\" in text or UNUSUAL_NUMBER.search(text):
        return None
    if TOO_LONG_FRACTION.search(text):
        text = LONG_FRACTION.sub(rb"\1", text)
        if TOO_LONG_FRACTION.search(text):
            return None
    try:
        trades = decode(text)
        return trades if not trades or _validate(trades) else None
    except (ValueError, RecursionError, InvalidOperation, OverflowError):  # InvalidOperation: NaN was compared
        return None


def _validate(trades: Sequence[TradeIn]) -> bool:
    """Check decoded trades, and bring symbols to upper case and times to UTC. False if one is invalid, or unusual."""
    prices, volumes = [trade.price for trade in trades], [trade.volume for trade in trades]
    if min(prices) <= -MAX_NUMBER or max(prices) >= MAX_NUMBER or min(volumes) < 0 or max(volumes) >= MAX_NUMBER:
        return False
    unusual = [number for number in chain(prices, volumes) if len(text := str(number)) > USUAL_DIGITS or "E" in text]
    if not all(map(_fits, unusual)):
        return False
    symbols = {symbol: symbol.upper() for symbol in {trade.symbol for trade in trades}}
    if not all(map(SYMBOL.fullmatch, symbols)):
        return False
    for trade in trades:
        trade.symbol = symbols[trade.symbol]
        if trade.timestamp.tzinfo is not UTC:
            trade.timestamp = trade.timestamp.astimezone(UTC)
    return True


def _fits(number: Decimal) -> bool:
    exponent = number.as_tuple().exponent
    return isinstance(exponent, int) and exponent >= -MAX_DECIMAL_PLACES

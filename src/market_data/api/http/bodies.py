"""The bodies of requests: how they are read, and what stands in them, without a number ever passing through a float.

They are read as they come, not by the framework: a body that is too large is refused before all of it is there, lines of
NDJSON are looked at while the next ones are on their way, and all that is wrong is told by the name of its field.
"""

import asyncio
import re
from collections.abc import AsyncGenerator, Iterator, Mapping, Sequence
from contextlib import aclosing
from typing import Any, Final

import msgspec
from litestar import Request
from litestar.exceptions import InternalServerException
from msgspec import Raw

from market_data.errors import BadParameters, TooLarge, UnsupportedMedia
from market_data.models import ParameterProblem
from market_data.services import services_of
from market_data.trade_validation import InvalidTrade, NewTrade, Row, TradeValidator, shown

JSON: Final = ("application/json",)
LINES: Final = ("application/x-ndjson", "application/ndjson", "application/jsonl")

MOST_TRADES = 10_000
MOST_WEEKS = 100
"""That the trades of a call may lie in: each is a chunk, which may have to be made while the call waits."""
MICROSECONDS_A_WEEK = 7 * 86_400_000_000
MOST_NAMED = 100
"""Fields or trades that a problem names, at the most."""
SMALL_BODY = 20_000
"""Bytes of a body that is no list of trades, at the most."""
MOST_COMMAS = 5
"""Of a trade and what follows it: whatever has more has more fields than a trade, or is a list of more of them."""

TURN = 500
"""After how many trades other requests have their turn."""

decode_object = msgspec.json.Decoder(dict[str, Raw]).decode
decode_list = msgspec.json.Decoder(list[Raw]).decode
decode_string = msgspec.json.Decoder(str).decode

NUMBER = "a number, or a string of its digits"
FORMS: Final[Mapping[str, str]] = {
    "symbol": "a string",
    "price": NUMBER,
    "volume": NUMBER,
    "timestamp": "a string such as 2026-02-08T10:30:00Z",
    "trade_id": "a whole number, or a string of its digits",
    "reason": "a string",
    "name": "a string",
    "active": "true or false",
}
"""What a field is written as."""
NUMBERS: Final = ("price", "volume", "trade_id")
TRADE_FIELDS: Final = ("symbol", "price", "volume", "timestamp", "trade_id")


class TradeReader:
    """Reads the trades of a call one after the other: those that can be read, and why the others can't, by their index."""

    def __init__(self) -> None:
        self.count = 0
        self.trades: dict[int, NewTrade] = {}
        self.rejected: dict[int, InvalidTrade] = {}
        self.alone = False
        """Whether the body is one trade, and no list."""
        self._checker = TradeValidator(numbers=False)
        self._weeks: set[int] = set()

    def add(self, text: Raw | bytes) -> None:
        """Read a trade."""
        if self.count == MOST_TRADES:
            raise TooLarge(f"The call has more than {MOST_TRADES:,} trades; send them in several calls.")
        try:
            trade = self._checker.trade(_row(bytes(text)))
        except InvalidTrade as reason:
            self.rejected[self.count] = reason
        else:
            self.trades[self.count] = trade
            self._weeks.add(trade.instant // MICROSECONDS_A_WEEK)
            if len(self._weeks) > MOST_WEEKS:
                raise TooLarge(
                    f"The call has trades of more than {MOST_WEEKS} weeks; send them in several calls, or use "
                    "`market-data import`, which is meant for history."
                )
        self.count += 1

    def problems(self, rejected: Mapping[int, InvalidTrade]) -> Iterator[ParameterProblem]:
        """What is wrong with the first of these trades, as fields of the body."""
        for index in sorted(rejected)[:MOST_NAMED]:
            part = rejected[index].part
            where = "" if self.alone else f"trades[{index}]"
            name = ".".join(name for name in (where, part) if name) or "body"
            yield ParameterProblem(name, rejected[index].detail)


async def read_trades(request: Request[Any, Any, Any]) -> TradeReader:
    """The trades of a body: one, a list, or one a line.

    Raises:
        BadParameters: It is no JSON, or has no trade at all.
        TooLarge: It has too many bytes or trades.
        UnsupportedMedia: It is of another type.
    """
    media_type = _media_type(request, (*JSON, *LINES))
    reader = TradeReader()
    async with aclosing(_trades(request, reader, media_type)) as texts:
        async for text in texts:
            reader.add(text)
            if reader.count % TURN == 0:
                await asyncio.sleep(0)
    if not reader.count:
        raise BadParameters([ParameterProblem("body", "has no trade; send one, or a list of up to 10,000")])
    return reader


def _trades(request: Request[Any, Any, Any], reader: TradeReader, media_type: str) -> AsyncGenerator[Raw | bytes]:
    return _lines(request) if media_type in LINES else _elements(request, reader)


async def _elements(request: Request[Any, Any, Any], reader: TradeReader) -> AsyncGenerator[Raw | bytes]:
    """The elements of a JSON array, or what stands in its place."""
    body = await _whole(request, _most_bytes(request))
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        reader.alone = True
        try:
            msgspec.json.decode(body, type=Raw)
        except (ValueError, RecursionError) as error:
            raise _no_json(body, error) from None
        yield body
        return
    if body.count(b",") > MOST_COMMAS * MOST_TRADES:
        raise TooLarge(f"The call has more than {MOST_TRADES:,} trades, or trades with other fields; send them in parts.")
    try:
        elements = decode_list(body)
    except (ValueError, RecursionError) as error:
        raise _no_json(body, error) from None
    for element in elements:
        yield element


async def _lines(request: Request[Any, Any, Any]) -> AsyncGenerator[Raw | bytes]:
    """The lines that are not empty, as they come."""
    rest = bytearray()
    async with aclosing(_pieces(request, _most_bytes(request))) as pieces:
        async for piece in pieces:
            rest += piece
            if b"\n" in piece:
                *lines, last = rest.split(b"\n")
                rest = bytearray(last)
                for line in lines:
                    if line.strip():
                        yield bytes(line)
    if rest.strip():
        yield bytes(rest)


async def read_object(request: Request[Any, Any, Any], fields: Sequence[str]) -> dict[str, Raw]:
    """The fields of a small body, of which it has no others than these.

    Raises:
        BadParameters: It is no JSON object, or has other fields.
        TooLarge: It is no small body.
        UnsupportedMedia: It is of another type.
    """
    _media_type(request, JSON)
    body = await _whole(request, min(SMALL_BODY, _most_bytes(request)))
    try:
        found = decode_object(body)
    except msgspec.ValidationError:
        raise BadParameters([ParameterProblem("body", f"must be a JSON object with {', '.join(fields)}")]) from None
    except (ValueError, RecursionError) as error:
        raise _no_json(body, error) from None
    if unknown := [name for name in found if name not in fields]:
        detail = f"is not taken here, but {', '.join(fields)}"
        raise BadParameters([ParameterProblem(shown(name)[1:-1], detail) for name in unknown[:MOST_NAMED]])
    return found


def text_of(fields: Mapping[str, Raw], name: str) -> str | None:
    """A field as the text that it was written as; None where it is left out.

    Raises:
        InvalidTrade: It is of another kind than the field takes.
    """
    raw = fields.get(name)
    if raw is None:
        return None
    text = bytes(raw)
    try:
        if text[:1] == b'"' and name != "active":
            return decode_string(text)
        written = text.decode()
    except ValueError:
        raise InvalidTrade(name, "must be text in UTF-8") from None
    if (name in NUMBERS and written[0] in "-0123456789") or (name == "active" and written in ("true", "false")):
        return written
    raise InvalidTrade(name, f"must be {FORMS[name]}, not {written if written == 'null' else shown(written)}")


def _row(text: bytes) -> Row:
    """A trade as the parts of a row."""
    if text.count(b",") > 2 * MOST_COMMAS:
        raise InvalidTrade(None, f"has more fields than a trade, which has {', '.join(TRADE_FIELDS)}")
    try:
        fields = decode_object(text)
    except msgspec.ValidationError:
        raise InvalidTrade(None, f"must be an object with {', '.join(TRADE_FIELDS)}") from None
    except (ValueError, RecursionError) as error:
        raise _malformed(text, error) from None
    for name in fields:
        if name not in TRADE_FIELDS:
            raise InvalidTrade(shown(name)[1:-1], f"is no field of a trade, which has {', '.join(TRADE_FIELDS)}")
    symbol, price, volume, time, trade_id = (text_of(fields, name) for name in TRADE_FIELDS)
    return Row(symbol, time, price, volume, trade_id)


def _no_json(body: bytes, error: Exception) -> BadParameters:
    reason = _malformed(body, error)
    return BadParameters([ParameterProblem(reason.part or "body", reason.detail)])


PLACE = re.compile(r"JSON is malformed: (.+) \(byte (\d+)\)")
FIELD = re.compile(rb'"(\w{1,40})"\s*:\s*-?$', re.ASCII)
WORD = re.compile(rb"(?:NaN|Infinity|inf|nan)\b")


def _malformed(text: bytes, error: Exception) -> InvalidTrade:
    """What is wrong with a text that is no JSON, and where."""
    if not text.strip():
        return InvalidTrade(None, "is empty")
    place = PLACE.fullmatch(str(error))
    if place is None:
        if isinstance(error, UnicodeDecodeError):
            return InvalidTrade(None, "is not in UTF-8")
        return InvalidTrade(
            None, "is nested too deeply" if isinstance(error, RecursionError) else "is no JSON: it ends too early"
        )
    at = int(place[2])
    field, word = FIELD.search(text[max(at - 100, 0) : at]), WORD.match(text[at : at + 20])
    if field and word:
        name = field[1].decode()
        return InvalidTrade(name, f"must be a number such as 270.15, not {word[0].decode()} (at byte {at})")
    return InvalidTrade(None, f"is no JSON: {place[1]} at byte {at}")


def _media_type(request: Request[Any, Any, Any], known: Sequence[str]) -> str:
    """The type of the body, of those that are known."""
    header = request.headers.get("content-type", "")
    media_type = header.partition(";")[0].strip().lower()
    if media_type not in known:
        given = f"not {shown(header)}" if header else "and is missing"
        raise UnsupportedMedia(f"Content-Type must be {' or '.join(known)}, {given}.")
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        raise UnsupportedMedia(f"Content-Encoding: {shown(encoding)} is not read here; send the body as it is.")
    return media_type


def _most_bytes(request: Request[Any, Any, Any]) -> int:
    return services_of(request).settings.max_body_bytes


async def _whole(request: Request[Any, Any, Any], most: int) -> bytes:
    async with aclosing(_pieces(request, most)) as pieces:
        return b"".join([piece async for piece in pieces])


async def _pieces(request: Request[Any, Any, Any], most: int) -> AsyncGenerator[bytes]:
    """The body as it comes, up to so many bytes."""
    announced = request.headers.get("content-length", "")
    total = int(announced) if announced.isascii() and announced.isdigit() and len(announced) < 19 else 0
    if total > most:
        raise TooLarge(f"The body has {total:,} bytes, and {most:,} are taken at once; send it in parts.")
    total = 0
    try:
        async for piece in request.stream():
            total += len(piece)
            if total > most:
                raise TooLarge(f"The body has more than {most:,} bytes, which are taken at once; send it in parts.")
            yield piece
    except InternalServerException:  # the framework's word for a client that is gone
        raise BadParameters([ParameterProblem("body", "ended before it was complete")]) from None

"""`/udf/quotes`."""

from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.names import present_name, read_known_symbols, read_named_snapshots
from market_data.api.compat.parameters import (
    ForeignOperation,
    bad_parameter,
    foreign_responses,
    known_form,
    query,
)
from market_data.api.compat.udf.values import EXCHANGE, UNKNOWN_SYMBOL
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.models import Candle, doc

MAX_QUOTES: Final = 1000


class _Latest(Struct):
    price: float


class _Snapshot(Struct):
    symbol: str
    latest: _Latest
    day: Candle | None
    previous_close: float | None


_decode = msgspec.json.Decoder(list[_Snapshot]).decode


class Values(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Figures of a symbol. There are no bids and asks."""

    short_name: str = ""
    exchange: str = ""
    description: str = ""
    lp: Annotated[float | None, doc("Latest price.", 189.44)] = None
    ch: Annotated[float | None, doc("Change against the previous close.", 1.04)] = None
    chp: Annotated[float | None, doc("The same in percent.", 0.552)] = None
    open_price: float | None = None
    high_price: float | None = None
    low_price: float | None = None
    prev_close_price: float | None = None
    volume: float | None = None


class Quote(Struct, frozen=True, omit_defaults=True):
    """A symbol with its figures, or an error."""

    s: Annotated[str, doc("`ok` or `error`.", "ok")]
    n: Annotated[str, doc("The symbol as the client wrote it.", "AAPL")]
    v: Values
    errmsg: str = ""


class Quotes(Struct, frozen=True):
    """Quotes in the order of the request."""

    s: Annotated[str, doc("`ok`.", "ok")]
    d: list[Quote]


@get(
    "/quotes",
    summary="Quotes",
    description="Latest prices, and the figures of the UTC day, for the watch list.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Quotes, "The quotes."),
)
async def quotes(
    request: Request[Any, Any, Any],
    symbols: Annotated[str | None, query("symbols", "Symbols between commas; required.", "AAPL,MSFT")] = None,
) -> ASGIResponse:
    names = [name for name in (symbols or "").split(",") if name]
    if not names:
        raise bad_parameter("symbols", "is required, for example symbols=AAPL,MSFT")
    if len(names) > MAX_QUOTES:
        raise bad_parameter("symbols", f"has {len(names)} symbols; ask for {MAX_QUOTES} at a time")
    known = await read_known_symbols(request)
    forms = {name: known_form(name.removeprefix(f"{EXCHANGE}:")) for name in names}
    wanted = {name: form and present_name(request, form) for name, form in forms.items()}
    chosen = tuple(sorted({symbol for symbol in wanted.values() if symbol}))
    rows = (await read_named_snapshots(request, chosen)).rows if chosen else ""
    found = {each.symbol: each for each in _decode(f"[{rows}]")}
    described = {each.symbol: each.name for each in known}
    body = [_quote(name, described.get(symbol or ""), found.get(symbol or "")) for name, symbol in wanted.items()]
    return json_response(Quotes("ok", body), NO_STORE)


def _quote(name: str, description: str | None, found: _Snapshot | None) -> Quote:
    if description is None:
        return Quote("error", name, Values(), UNKNOWN_SYMBOL)
    if found is None:
        return Quote("error", name, Values(), "no trade yet")
    price, before, day = found.latest.price, found.previous_close, found.day
    change = None if before is None else price - before
    values = Values(
        short_name=found.symbol,
        exchange=EXCHANGE,
        description=description,
        lp=price,
        ch=change,
        chp=100 * change / before if change is not None and before and before > 0 else None,
        prev_close_price=before,
        open_price=day and day.open,
        high_price=day and day.high,
        low_price=day and day.low,
        volume=day.volume if day else 0.0,
    )
    return Quote("ok", name, values)

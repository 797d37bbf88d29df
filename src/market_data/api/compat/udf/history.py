"""`/udf/history`."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import UNSET, Struct, UnsetType

from market_data.api.compat.parameters import ForeignOperation, foreign_responses, known_form, query, read_number
from market_data.api.compat.rows import EPOCH_SECONDS, bars_of, columns_of, read_bars
from market_data.api.compat.udf.values import find_symbol, read_resolution, read_unix_time
from market_data.api.http.caching import NO_STORE
from market_data.api.http.handlers import json_response
from market_data.api.http.past import version_headers
from market_data.models import doc
from market_data.queries.row_pages import BEGINNING
from market_data.queries.symbol_rows import SymbolRows

MAX_BARS: Final = 20_000
"""Newest bars of a range that an answer has at most."""

Times = Annotated[list[int], doc("Starts of the bars as Unix times, oldest first.", [1770546600])] | UnsetType
Numbers = list[float] | UnsetType


class History(Struct, frozen=True, rename={"next_time": "nextTime"}):
    """Bars as columns, or the time of the bar before the range if it has none."""

    s: Annotated[str, doc("`ok`, or `no_data` if the range has no bar.", "ok")]
    t: Times = UNSET
    o: Numbers = UNSET
    h: Numbers = UNSET
    l: Numbers = UNSET  # noqa: E741 - the name of the protocol
    c: Numbers = UNSET
    v: Numbers = UNSET
    next_time: Annotated[int, doc("With `no_data`: start of the newest older bar, if there is one.")] | UnsetType = UNSET


@get(
    "/history",
    summary="History",
    description=(
        "The bars from `from` (inclusive) to `to` (exclusive), or with `countback` that many before `to`, the open bar "
        f"included; at most the newest {MAX_BARS:,}. Prices and volumes are adjusted to splits. If the symbol's calendar "
        "has sessions, bars have the trades of the regular ones: those within a day start at its opening, days and longer "
        "ones are labelled by their date at 00:00 UTC."
    ),
    operation_class=ForeignOperation,
    responses=foreign_responses(History, "The bars."),
)
async def history(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "Ticker of a symbol; required.", "AAPL")] = None,
    resolution: Annotated[str | None, query("resolution", "Resolution of `/udf/config`; required.", "1")] = None,
    from_: Annotated[str | None, query("from", "First time, in Unix seconds; required without `countback`.")] = None,
    to: Annotated[str | None, query("to", "Time after the last bar, in Unix seconds; now by default.")] = None,
    countback: Annotated[str | None, query("countback", "Number of bars, which takes precedence over `from`.")] = None,
) -> ASGIResponse:
    interval = read_resolution(resolution)
    end = read_unix_time("to", to) if to else datetime.now(UTC)
    count = read_number("countback", countback, 0, MAX_BARS, lowest=0)
    start = BEGINNING if count else read_unix_time("from", from_)
    if start >= end:
        await find_symbol(request, symbol)
        return json_response(History("no_data"), NO_STORE)
    wanted = known_form(symbol or "")
    found = await _read_newest(request, wanted, interval, start, end, count or MAX_BARS) if wanted else None
    if found is None or not found.count:  # only now, so that other requests do not pay for it
        known = await find_symbol(request, symbol)
        if known.symbol != wanted:
            wanted = known.symbol
            found = await _read_newest(request, wanted, interval, start, end, count or MAX_BARS)
    if found and found.count:
        times, *figures = columns_of(found.pages[0].page)
        seconds = [time // 1_000_000 + EPOCH_SECONDS for time in times]
        opens, highs, lows, closes, volumes = figures[:5]
        body = History("ok", seconds, opens, highs, lows, closes, volumes)
        return json_response(body, {**NO_STORE, **version_headers(found.version)})
    older = None
    if wanted and start != BEGINNING:
        older = await _read_newest(request, wanted, interval, BEGINNING, start, 1)
    before = [bar.seconds for bar in bars_of(older.pages[0].page)] if older else []
    return json_response(History("no_data", next_time=before[0] if before else UNSET), NO_STORE)


async def _read_newest(
    request: Request[Any, Any, Any], symbol: str, interval: str, start: datetime, end: datetime, limit: int
) -> SymbolRows:
    return await read_bars(
        request, [symbol], interval, start, end, limit, from_end=True, session="regular", adjustment="split"
    )

"""`/udf/marks` and `/udf/timescale_marks`: candles that have changed after their end, and trades that were changed."""

from datetime import UTC, datetime
from typing import Annotated, Any, Final

from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.names import key_of
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query
from market_data.api.compat.udf.values import find_symbol, read_resolution, read_unix_time
from market_data.api.http.caching import NO_STORE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode
from market_data.models import doc
from market_data.models_revisions import RevisedBucket
from market_data.models_writes import TradeChange
from market_data.queries.intervals import INTERVALS, bucket_start
from market_data.queries.revisions import read_revised_buckets
from market_data.queries.row_pages import digits_of
from market_data.queries.trade_changes import read_changes_of_range
from market_data.trade_validation import rfc3339

MAX_MARKS: Final = 500
"""Marks of each kind in an answer: the newest ones."""

MAX_BUCKETS: Final = 10_000
"""Buckets of a range in which revised candles are looked for: those before its end."""


class Mark(Struct, frozen=True, rename={"font_color": "labelFontColor", "min_size": "minSize"}):
    """A mark on a bar."""

    id: str
    time: Annotated[int, doc("Start of the bar as Unix time.", 1770546600)]
    color: str
    text: Annotated[str, doc("What happened.", "Revised 2 times, last at 2026-02-08T11:00:00Z")]
    label: str
    font_color: str = "#ffffff"
    min_size: int = 14


class TimescaleMark(Struct, frozen=True):
    """A mark on the time scale."""

    id: str
    time: int
    color: str
    label: str
    tooltip: list[str]


@get(
    "/marks",
    summary="Marks",
    description="Bars that have changed after their end (R).",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Mark], "The marks."),
)
async def marks(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "Ticker of a symbol; required.", "AAPL")] = None,
    from_: Annotated[str | None, query("from", "First time, in Unix seconds; required.")] = None,
    to: Annotated[str | None, query("to", "Time after the last bar, in Unix seconds; now by default.")] = None,
    resolution: Annotated[str | None, query("resolution", "Resolution; required. Stored intervals have marks.", "1")] = None,
) -> ASGIResponse:
    interval, start, end = read_resolution(resolution), read_unix_time("from", from_), _end(to)
    known = await find_symbol(request, symbol)
    found: list[RevisedBucket] = []
    if interval in INTERVALS and start < end:
        first = max(start, end - MAX_BUCKETS * INTERVALS[interval])
        found = await read_source(request).read(
            read_revised_buckets, await key_of(request, known.symbol), interval, first, end
        )
    return CompleteResponse(encode([_revision(each) for each in found[-MAX_MARKS:]]), NO_STORE)


@get(
    "/timescale_marks",
    summary="Marks on the time scale",
    description="Trades that were corrected (C) or cancelled (X).",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[TimescaleMark], "The marks."),
)
async def timescale_marks(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "Ticker of a symbol; required.", "AAPL")] = None,
    from_: Annotated[str | None, query("from", "First time, in Unix seconds; required.")] = None,
    to: Annotated[str | None, query("to", "Time after the last bar, in Unix seconds; now by default.")] = None,
    resolution: Annotated[str | None, query("resolution", "Resolution; required.", "1")] = None,
) -> ASGIResponse:
    interval, start, end = read_resolution(resolution), read_unix_time("from", from_), _end(to)
    known = await find_symbol(request, symbol)
    found: list[TradeChange] = []
    if start < end:
        found = await read_source(request).read(
            read_changes_of_range, await key_of(request, known.symbol), start, end, MAX_MARKS
        )
    return CompleteResponse(encode([_change(each, interval) for each in reversed(found)]), NO_STORE)


def _end(text: str | None) -> datetime:
    return read_unix_time("to", text) if text else datetime.now(UTC)


def _revision(bucket: RevisedBucket) -> Mark:
    time = int(bucket.timestamp.timestamp())
    times = "once" if bucket.change_count == 1 else f"{bucket.change_count} times"
    return Mark(f"revised-{time}", time, "#c05621", f"Revised {times}, last at {rfc3339(bucket.changed_at)}", "R")


def _change(change: TradeChange, interval: str) -> TimescaleMark:
    start = int(bucket_start(change.timestamp, interval, None).timestamp())
    corrected = change.action == "correct"
    before = f"{digits_of(change.before.volume)} at {digits_of(change.before.price)}"
    after = f"{digits_of(change.after.volume)} at {digits_of(change.after.price)}" if change.after else ""
    tooltip = [
        f"Trade of {rfc3339(change.timestamp)} {'corrected' if corrected else 'cancelled'}",
        f"{before} became {after}" if after else before,
        *([change.reason] if change.reason else []),
    ]
    return TimescaleMark(f"change-{change.id}", start, "#c05621", "C" if corrected else "X", tooltip)

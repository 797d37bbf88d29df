"""Ranges of bars and trades, and the parameters that select them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Final, NamedTuple

from market_data.api.compat.parameters import bad_parameter, query, read_number, read_parameter
from market_data.api.http.paging import PageStart, make_page_token, read_page_token
from market_data.api.http.parameter_types import read_time
from market_data.queries.adjustment import Adjustment
from market_data.queries.row_pages import Order
from market_data.queries.symbol_rows import SymbolKey, SymbolRows
from market_data.trade_validation import MICROSECOND, shown

DEFAULT_LIMIT: Final = 1000
MAX_LIMIT: Final = 10_000

DAY: Final = timedelta(days=1)
LATEST_END: Final = datetime(9999, 12, 30, tzinfo=UTC)
"""Time to which later ends are moved, so that a day can be added."""

Symbols = Annotated[str | None, query("symbols", "Symbols between commas; required.", "AAPL,MSFT")]
Timeframe = Annotated[str | None, query("timeframe", "Length of the bars; required.", "1Min")]
Start = Annotated[
    str | None,
    query("start", "First time, RFC 3339 or a date in UTC; today at 00:00 UTC by default.", "2026-02-08T10:30:00Z"),
]
End = Annotated[
    str | None, query("end", "Last time, inclusive, or a date, whose whole day is included; now by default.", "2026-02-08")
]
Limit = Annotated[
    str | None, query("limit", f"Rows of a page, of all symbols together, 1 to {MAX_LIMIT}; {DEFAULT_LIMIT} by default.")
]
PageToken = Annotated[str | None, query("page_token", "`next_page_token` of the page before.")]
Sort = Annotated[str | None, query("sort", "Order of the rows of a symbol by time: `asc`, the default, or `desc`.", "asc")]
Feed = Annotated[str | None, query("feed", "Accepted without effect: there is one feed.", "iex")]
AsOf = Annotated[
    str | None,
    query(
        "asof",
        "Day on which the symbols had these names; by default, and with `-`, or if none had a name then, those that have "
        "them now, or had them last.",
        "2026-02-08",
    ),
]
AdjustmentText = Annotated[
    str | None, query("adjustment", "`raw`, the default, `split`, `dividend`, or `all` with spin-offs too.", "split")
]

ADJUSTMENTS: Final[Mapping[frozenset[str], Adjustment]] = {
    frozenset({"raw"}): "raw",
    frozenset({"split"}): "split",
    frozenset({"dividend"}): "dividend",
    frozenset({"split", "dividend", "spin-off"}): "all",
}
"""Adjustments by the kinds that are given between commas; `all` means the three of the last one."""


class Given(NamedTuple):
    """Parameters of a range as the client gave them."""

    start: str | None
    end: str | None
    limit: str | None
    page_token: str | None
    sort: str | None
    asof: str | None = None
    adjustment: str | None = None


@dataclass(frozen=True)
class RowRange:
    """A half-open range of rows of some symbols, and the place where its page begins."""

    symbols: tuple[str, ...]
    start: datetime
    end: datetime
    limit: int
    order: Order
    after: Sequence[SymbolKey]
    parameters: Sequence[object]
    """Parameters that a page token belongs to."""
    on: date | None
    """Day on which the symbols had their names; None for now."""
    adjustment: Adjustment

    def next_page_token(self, found: SymbolRows) -> str | None:
        """Return the token of the next page; None after the last one, never an empty text, which clients would follow."""
        if not found.has_more:
            return None
        keys = [(self.symbols.index(symbol), key and key[0], key[1] if key else 0) for symbol, key in found.following]
        return make_page_token(self.parameters, PageStart(keys, self.start, self.end))


def read_range(kind: str, symbols: tuple[str, ...], given: Given) -> RowRange:
    """Return the range of a request. The kind, such as `trades` or the interval, is what a page token belongs to.

    Raises:
        BadParameters: A parameter is wrong, or the range ends before it starts.
    """
    order = read_order(given.sort)
    limit = read_number("limit", given.limit or None, DEFAULT_LIMIT, MAX_LIMIT)
    now = datetime.now(UTC)
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    start = read_parameter("start", given.start, read_time) if given.start else today
    end = read_parameter("end", given.end, _read_end) if given.end else now
    on = read_parameter("asof", given.asof, read_day) if given.asof and given.asof != "-" else None
    adjustment = _read_adjustment(given.adjustment)
    parameters = "alpaca", kind, symbols, given.start or "", given.end or "", order, on, adjustment
    after: list[SymbolKey] = []
    if given.page_token:
        page = read_page_token(given.page_token, parameters)
        start, end = page.start or start, page.end or end
        after = [SymbolKey(symbols[index], time and (time, number)) for index, time, number in page.keys]
    if end <= start:
        raise bad_parameter("end", "must not be before start; by default, start is today at 00:00 UTC and end is now")
    return RowRange(symbols, start, end, limit, order, after, parameters, on, adjustment)


def _read_end(text: str) -> datetime:
    """Return the exclusive end of a range whose end is inclusive."""
    return min(read_time(text), LATEST_END) + (DAY if len(text) == len("2026-02-08") else MICROSECOND)


def read_day(text: str) -> date:
    """Return a date, or that of a time."""
    try:
        return date.fromisoformat(text[:10])
    except ValueError:
        raise ValueError(f"must be a date such as 2026-02-08, not {shown(text)}") from None


def _read_adjustment(text: str | None) -> Adjustment:
    kinds = frozenset((text or "raw").lower().split(","))
    if "all" in kinds:
        return "all"
    found = ADJUSTMENTS.get(kinds)
    if found is None:
        detail = f"must be raw, split, dividend, all or split,dividend,spin-off, not {shown(text or '')}"
        raise bad_parameter("adjustment", detail)
    return found


def read_order(text: str | None) -> Order:
    """Return the value of `sort`."""
    match text or "asc":
        case "asc":
            return "asc"
        case "desc":
            return "desc"
        case other:
            raise bad_parameter("sort", f"must be asc or desc, not {shown(other)}")

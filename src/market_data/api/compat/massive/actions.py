"""Splits and dividends: `/massive/v3/reference` and, in the newer form, `/massive/stocks/v1`."""

from collections.abc import Callable, Collection, Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Final, NamedTuple

from litestar import Request, get
from litestar.response.base import ASGIResponse

from market_data.api.compat.massive.action_models import (
    Dividends,
    Splits,
    StocksDividends,
    StocksSplits,
)
from market_data.api.compat.massive.action_rows import (
    SPLITS,
    FoundAction,
    dividend_row,
    kind_of,
    read_factors,
    split_row,
    stocks_dividend_row,
    stocks_split_row,
)
from market_data.api.compat.massive.reference import selected
from market_data.api.compat.massive.rows import list_response, make_cursor, read_cursor
from market_data.api.compat.massive.values import next_page, read_date, read_flag
from market_data.api.compat.names import asked_names, read_known_symbols
from market_data.api.compat.parameters import ForeignOperation, bad_parameter, foreign_responses, query, read_number
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode
from market_data.api.http.naming import loaded_names
from market_data.models_actions import ActionType
from market_data.queries.action_lists import ActionFilter, list_actions
from market_data.queries.row_pages import Order
from market_data.queries.symbol_rows import SymbolKey
from market_data.trade_validation import shown

DIVIDENDS: Final[tuple[ActionType, ...]] = ("cash_dividend",)

DAY: Final = timedelta(days=1)

TickerParameter = Annotated[str | None, query("ticker", "One symbol.", "AAPL")]
AnyOf = Annotated[str | None, query("ticker.any_of", "Symbols between commas.", "AAPL,MSFT")]
Above = Annotated[str | None, query("ticker.gt", "Symbol before the first.")]
From = Annotated[str | None, query("ticker.gte", "First symbol.")]
Below = Annotated[str | None, query("ticker.lt", "Symbol after the last.")]
To = Annotated[str | None, query("ticker.lte", "Last symbol.")]
SortParameter = Annotated[str | None, query("sort", "The date, the only one; with `.asc` or `.desc` at its end.")]
OrderParameter = Annotated[str | None, query("order", "`asc` or `desc` (default), by date.", "desc")]
LimitParameter = Annotated[str | None, query("limit", "Rows of a page, up to 1,000; 10, in the newer form 100.")]
Cursor = Annotated[str | None, query("cursor", "Place of the next page, from `next_url`.")]


class Days(NamedTuple):
    """Bounds of the date, as the client gave them."""

    name: str
    on: str | None
    gt: str | None
    gte: str | None
    lt: str | None
    lte: str | None

    def bounds(self) -> tuple[date | None, date | None]:
        """Return the first and the last day."""
        firsts = [self._read("", self.on), self._read(".gte", self.gte), self._read(".gt", self.gt, DAY)]
        lasts = [self._read("", self.on), self._read(".lte", self.lte), self._read(".lt", self.lt, -DAY)]
        return max(filter(None, firsts), default=None), min(filter(None, lasts), default=None)

    def _read(self, suffix: str, text: str | None, shift: timedelta = timedelta()) -> date | None:
        return (read_date(f"{self.name}{suffix}", text) + shift).date() if text else None


class Tickers(NamedTuple):
    """Conditions of the ticker, as the client gave them."""

    ticker: str | None
    any_of: str | None = None
    gt: str | None = None
    gte: str | None = None
    lt: str | None = None
    lte: str | None = None


class Paging(NamedTuple):
    """Order and page, as the client gave them."""

    sort: str | None
    order: str | None
    limit: str | None
    cursor: str | None


@get(
    "/v3/reference/splits",
    summary="Splits",
    description="Splits and stock dividends.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Splits, "The splits."),
)
async def massive_splits(
    request: Request[Any, Any, Any],
    ticker: TickerParameter = None,
    gt: Above = None,
    gte: From = None,
    lt: Below = None,
    lte: To = None,
    on: Annotated[str | None, query("execution_date", "The ex-date.", "2020-08-31")] = None,
    after: Annotated[str | None, query("execution_date.gt", "Day before the first ex-date.")] = None,
    since: Annotated[str | None, query("execution_date.gte", "First ex-date.")] = None,
    before: Annotated[str | None, query("execution_date.lt", "Day after the last ex-date.")] = None,
    until: Annotated[str | None, query("execution_date.lte", "Last ex-date.")] = None,
    reverse_split: Annotated[str | None, query("reverse_split", "`true` for reverse splits, `false` for others.")] = None,
    sort: SortParameter = None,
    order: OrderParameter = None,
    limit: LimitParameter = None,
    cursor: Cursor = None,
) -> ASGIResponse:
    is_reverse = None if reverse_split is None else read_flag("reverse_split", reverse_split, default=False)
    days = Days("execution_date", on, after, since, before, until)
    tickers, paging = Tickers(ticker, None, gt, gte, lt, lte), Paging(sort, order, limit, cursor)
    segments = "v3", "reference", "splits"
    kept = None if is_reverse is None else {"reverse_split"} if is_reverse else {"forward_split", "stock_dividend"}
    return await _respond(request, segments, SPLITS, days, tickers, paging, split_row, kept=kept)


@get(
    "/stocks/v1/splits",
    summary="Splits in the newer form",
    description="Splits and stock dividends, with the factor of earlier prices.",
    operation_class=ForeignOperation,
    responses=foreign_responses(StocksSplits, "The splits."),
)
async def massive_stocks_splits(
    request: Request[Any, Any, Any],
    ticker: TickerParameter = None,
    any_of: AnyOf = None,
    gt: Above = None,
    gte: From = None,
    lt: Below = None,
    lte: To = None,
    on: Annotated[str | None, query("execution_date", "The ex-date.", "2020-08-31")] = None,
    after: Annotated[str | None, query("execution_date.gt", "Day before the first ex-date.")] = None,
    since: Annotated[str | None, query("execution_date.gte", "First ex-date.")] = None,
    before: Annotated[str | None, query("execution_date.lt", "Day after the last ex-date.")] = None,
    until: Annotated[str | None, query("execution_date.lte", "Last ex-date.")] = None,
    kind: Annotated[str | None, query("adjustment_type", "Type of the splits; all by default.")] = None,
    kinds: Annotated[str | None, query("adjustment_type.any_of", "Types between commas.")] = None,
    sort: SortParameter = None,
    limit: LimitParameter = None,
    cursor: Cursor = None,
) -> ASGIResponse:
    days = Days("execution_date", on, after, since, before, until)
    tickers, paging = Tickers(ticker, any_of, gt, gte, lt, lte), Paging(sort, None, limit, cursor)
    kept = {each for text in (kind, kinds) if text for each in text.split(",")} or None
    segments = "stocks", "v1", "splits"
    return await _respond(request, segments, SPLITS, days, tickers, paging, stocks_split_row, kept=kept)


@get(
    "/v3/reference/dividends",
    summary="Dividends",
    description="Cash dividends. With a condition of another date than the ex-date, which are unknown, there is none.",
    operation_class=ForeignOperation,
    responses=foreign_responses(Dividends, "The dividends."),
)
async def massive_dividends(
    request: Request[Any, Any, Any],
    ticker: TickerParameter = None,
    gt: Above = None,
    gte: From = None,
    lt: Below = None,
    lte: To = None,
    on: Annotated[str | None, query("ex_dividend_date", "The ex-date.", "2020-08-07")] = None,
    after: Annotated[str | None, query("ex_dividend_date.gt", "Day before the first ex-date.")] = None,
    since: Annotated[str | None, query("ex_dividend_date.gte", "First ex-date.")] = None,
    before: Annotated[str | None, query("ex_dividend_date.lt", "Day after the last ex-date.")] = None,
    until: Annotated[str | None, query("ex_dividend_date.lte", "Last ex-date.")] = None,
    sort: SortParameter = None,
    order: OrderParameter = None,
    limit: LimitParameter = None,
    cursor: Cursor = None,
) -> ASGIResponse:
    days = Days("ex_dividend_date", on, after, since, before, until)
    tickers, paging = Tickers(ticker, None, gt, gte, lt, lte), Paging(sort, order, limit, cursor)
    return await _respond(request, ("v3", "reference", "dividends"), DIVIDENDS, days, tickers, paging, dividend_row)


@get(
    "/stocks/v1/dividends",
    summary="Dividends in the newer form",
    description="Cash dividends, with the amount for each share of today.",
    operation_class=ForeignOperation,
    responses=foreign_responses(StocksDividends, "The dividends."),
)
async def massive_stocks_dividends(
    request: Request[Any, Any, Any],
    ticker: TickerParameter = None,
    any_of: AnyOf = None,
    gt: Above = None,
    gte: From = None,
    lt: Below = None,
    lte: To = None,
    on: Annotated[str | None, query("ex_dividend_date", "The ex-date.", "2020-08-07")] = None,
    after: Annotated[str | None, query("ex_dividend_date.gt", "Day before the first ex-date.")] = None,
    since: Annotated[str | None, query("ex_dividend_date.gte", "First ex-date.")] = None,
    before: Annotated[str | None, query("ex_dividend_date.lt", "Day after the last ex-date.")] = None,
    until: Annotated[str | None, query("ex_dividend_date.lte", "Last ex-date.")] = None,
    sort: SortParameter = None,
    limit: LimitParameter = None,
    cursor: Cursor = None,
) -> ASGIResponse:
    days = Days("ex_dividend_date", on, after, since, before, until)
    tickers, paging = Tickers(ticker, any_of, gt, gte, lt, lte), Paging(sort, None, limit, cursor)
    return await _respond(request, ("stocks", "v1", "dividends"), DIVIDENDS, days, tickers, paging, stocks_dividend_row)


async def _respond(
    request: Request[Any, Any, Any],
    segments: Sequence[str],
    types: Sequence[ActionType],
    days: Days,
    tickers: Tickers,
    paging: Paging,
    row_of: Callable[[FoundAction], Any],
    kept: Collection[str] | None = None,
) -> ASGIResponse:
    """Return the page of some actions; with `kept`, only splits of some kinds."""
    default, maximum = (10, 1_000) if segments[0] == "v3" else (100, 5_000)
    limit = read_number("limit", paging.limit, default, maximum)
    order = _read_order(paging, days.name)
    first, last = days.bounds()
    by_key = await _read_tickers(request, tickers)
    parameters = segments, *tickers, *days, order, kept and sorted(kept)
    after = next((each.key for each in read_cursor(paging.cursor, parameters, "")), None)
    wanted = ActionFilter(None if by_key is None else list(by_key), list(types), first, last)
    page = await read_source(request).read(list_actions, wanted, limit, order, after)
    factors = await read_factors(request, page.actions)
    names = await loaded_names(request)
    found = [
        FoundAction(each, (by_key or {}).get(each.symbol) or names.name_of(each.symbol), factors[each.number])
        for each in page.actions
    ]
    rows = [encode(row_of(each)).decode() for each in found if kept is None or kind_of(each.action) in kept]
    if not page.has_more:
        return list_response({}, rows, {})
    following = next_page(request, segments, {"cursor": make_cursor(parameters, SymbolKey("", page.actions[-1].key))})
    return list_response({"next_url": following.url}, rows, following.headers)


def _read_order(paging: Paging, name: str) -> Order:
    by, _, direction = (paging.sort or name).partition(".")
    if by != name:
        raise bad_parameter("sort", f"must be {name}, not {shown(by)}")
    match paging.order or direction or "desc":
        case "asc":
            return "asc"
        case "desc":
            return "desc"
        case other:
            raise bad_parameter("order" if paging.order else "sort", f"must be asc or desc, not {shown(other)}")


async def _read_tickers(request: Request[Any, Any, Any], given: Tickers) -> dict[str, str] | None:
    """Return the names that meet the conditions, by key; None for all."""
    if not any(given):
        return None
    asked: set[str] | None = None
    if given.ticker or given.any_of:
        asked = set((given.any_of or given.ticker or "").upper().split(","))
        asked &= {given.ticker.upper()} if given.ticker else asked
    if any(given[2:]):
        known = {each.symbol for each in await read_known_symbols(request)}
        chosen = known if asked is None else asked
        asked = set(selected(chosen, "asc", gt=given.gt, gte=given.gte, lt=given.lt, lte=given.lte))
    return asked_names(await loaded_names(request), sorted(asked or ()))

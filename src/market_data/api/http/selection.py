"""The rows that a request selects: symbols, range, order, limit and page, from parameters that may be left out."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any, NamedTuple

from litestar import Request

from market_data.api.http.naming import Resolved, resolve
from market_data.api.http.paging import PageStart, read_page_token
from market_data.api.http.parameter_types import TimeBound
from market_data.api.http.parameters import ResponseFormat
from market_data.api.http.past import PastMoment
from market_data.api.http.response_formats import accepted_format
from market_data.errors import BadParameters
from market_data.models import ParameterProblem
from market_data.queries.past import AsOf
from market_data.queries.row_pages import BEGINNING, Order
from market_data.queries.symbol_rows import SymbolKey


class RowParameters(NamedTuple):
    """Parameters that candles and trades have in common, as the client gave them."""

    symbol: str | None
    symbols: tuple[str, ...] | None
    start: TimeBound | None
    end: TimeBound | None
    limit: int | None
    page_token: str | None
    response_format: ResponseFormat | None
    moment: PastMoment | None
    """Value of `as_of`."""
    as_of: AsOf | None
    """The version that it names."""
    on: date | None = None
    """Day on which the symbols had their names; None: now."""


@dataclass(frozen=True)
class Selection:
    """The rows that a response has."""

    path: str
    resolved: Resolved
    is_list: bool
    """True if the client asked for `symbols`, not for `symbol`."""
    start: datetime
    """`BEGINNING` if the client gave none."""
    end: datetime
    is_fixed: bool
    """False if the same request selects other rows later, because a bound is relative to its time."""
    limit: int | None
    """None for the whole range, in formats that have no pages by default."""
    after: Sequence[SymbolKey]
    """Keys after which the page begins; empty for the first one."""
    response_format: ResponseFormat
    parameters: tuple[object, ...]
    """Parameters that a page token and an entity tag belong to."""
    moment: PastMoment | None
    as_of: AsOf | None

    @property
    def symbols(self) -> tuple[str, ...]:
        """Keys of the symbols."""
        return self.resolved.keys

    @property
    def is_newest(self) -> bool:
        """True for a page with the newest rows before `end`."""
        return self.start == BEGINNING and self.limit is not None

    @property
    def in_shares(self) -> bool:
        """True if all symbols go back in time together, each with an equal share of the limit."""
        return self.is_newest and len(self.symbols) > 1

    def page_start(self, following: Sequence[SymbolKey]) -> PageStart:
        """Return the contents of the token of the next page."""
        keys = [(self.symbols.index(symbol), key and key[0], key[1] if key else 0) for symbol, key in following]
        version = self.as_of.version if self.as_of and self.moment and self.moment.relative else None
        return PageStart(keys, self.start, self.end, version)


async def select(
    request: Request[Any, Any, Any], path: str, given: RowParameters, order: Order, default_limit: int, *more: object
) -> Selection:
    """Return what a request selects. JSON has the default limit; `more` are parameters that a page token belongs to.

    Raises:
        BadParameters: A parameter contradicts another one, or the page token is invalid.
        NotFound: No symbol had a name on the day of `on`.
    """
    resolved = await resolve(request, chosen_symbols(given.symbol, given.symbols), given.on)
    symbols = resolved.keys
    response_format = given.response_format or accepted_format(request)
    limit = given.limit or (default_limit if response_format == "json" else None)
    bounds = given.start and given.start.notation, given.end and given.end.notation
    parameters = path, symbols, *bounds, order, *more
    if given.moment:
        parameters = (*parameters, *given.moment.identity)
    now = given.as_of.time if given.as_of else datetime.now(UTC)
    start, end = given.start.time if given.start else BEGINNING, given.end.time if given.end else now
    after: list[SymbolKey] = []
    if given.page_token is not None:
        page = read_page_token(given.page_token, parameters)
        start, end = page.start or start, page.end or end
        after = [SymbolKey(symbols[index], time and (time, number)) for index, time, number in page.keys]
    check_range(start, end)
    is_list = given.symbols is not None
    is_fixed = bool(given.end) and not any(bound and bound.relative for bound in (given.start, given.end))
    past = given.moment, given.as_of
    selection = Selection(path, resolved, is_list, start, end, is_fixed, limit, after, response_format, parameters, *past)
    if selection.in_shares and limit and limit < len(symbols):
        detail = f"must be at least the number of symbols, {len(symbols)}, if start is not given"
        raise BadParameters([ParameterProblem("limit", detail)])
    return selection


def check_range(start: datetime, end: datetime) -> None:
    """Raise BadParameters if a half-open range is empty."""
    if start >= end:
        raise BadParameters([ParameterProblem("start", "must be before end; the range includes start and excludes end")])


def chosen_symbols(symbol: str | None, symbols: tuple[str, ...] | None) -> tuple[str, ...]:
    """Return the symbols of a request.

    Raises:
        BadParameters: Both parameters are given, or neither is.
    """
    if symbols is not None and symbol is not None:
        raise BadParameters([ParameterProblem("symbols", "can't be given together with symbol; leave one of them out")])
    if symbols is not None:
        return symbols
    if symbol is None:
        raise BadParameters([ParameterProblem("symbol", "is required, for example symbol=AAPL, or symbols=AAPL,MSFT")])
    return (symbol,)

"""Corporate actions of several symbols, page by page, and candles that are adjusted only where there are actions."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, time
from typing import Any, Final, LiteralString, NamedTuple
from uuid import UUID

from psycopg.rows import args_row, scalar_row

from market_data.action_validation import ActionTerms, Ratio
from market_data.models_actions import ActionType
from market_data.queries.adjustment import Adjustment
from market_data.queries.candles import CandleRange
from market_data.queries.row_pages import Connection, Order, Page, RowFormat, RowKey
from market_data.queries.session_candles import reader_of

KINDS: Final[Mapping[Adjustment, Sequence[ActionType]]] = {
    "raw": (),
    "split": ("split", "stock_dividend"),
    "dividend": ("cash_dividend",),
    "all": ("split", "stock_dividend", "cash_dividend", "spin_off"),
}
"""Types of the actions that an adjustment applies."""

HAS_ACTIONS = "SELECT EXISTS (SELECT FROM corporate_actions WHERE symbol = %s AND type = ANY(%s))"


async def has_actions(connection: Connection, symbol: str, adjustment: Adjustment) -> bool:
    """Return True if a symbol has an action that an adjustment applies, or had one that was cancelled."""
    if adjustment == "raw":
        return False
    cursor = connection.cursor(row_factory=scalar_row)
    await cursor.execute(HAS_ACTIONS, (symbol, list(KINDS[adjustment])), prepare=True)
    (found,) = await cursor.fetchall()
    return found


async def read_adjusted_candles(
    connection: Connection, candles: CandleRange, limit: int, after: RowKey | None = None, row_format: RowFormat = "json"
) -> Page:
    """Return candles of a range as `reader_of` does. Those of a symbol without actions keep every digit, and cost less."""
    if candles.adjustment != "raw" and not await has_actions(connection, candles.symbol, candles.adjustment):
        raw = replace(candles, adjustment="raw")
        page = await reader_of(raw)(connection, raw, limit, after, row_format)
        if not await has_actions(connection, candles.symbol, candles.adjustment):
            return page
    return await reader_of(candles)(connection, candles, limit, after, row_format)


class ListedAction(NamedTuple):
    """A known action of a symbol."""

    symbol: str
    """Key of the symbol."""
    id: str
    uuid: UUID
    """Derived from the symbol and the id."""
    number: int
    currency: str
    terms: ActionTerms

    @property
    def key(self) -> RowKey:
        """Key after which the next page begins."""
        return datetime.combine(self.terms.ex_date, time(), UTC), self.number


class ActionFilter(NamedTuple):
    """Conditions of actions; None for any."""

    symbols: list[str] | None = None
    """Keys of symbols."""
    types: list[ActionType] | None = None
    first: date | None = None
    """First ex-date."""
    last: date | None = None
    """Last ex-date."""
    uuids: list[UUID] | None = None


ID: LiteralString = "md5('action:' || action.symbol || ':' || action.id)::uuid"


def _listed(order: Order) -> LiteralString:
    compared: LiteralString = ">" if order == "asc" else "<"
    direction: LiteralString = "ASC" if order == "asc" else "DESC"
    return f"""
        SELECT
            action.symbol, action.id, {ID}, action.change_id, symbols.currency,
            action.type, action.ex_date, action.numerator, action.denominator, action.amount
        FROM corporate_actions AS action
        JOIN symbols ON symbols.symbol = action.symbol
        WHERE action.ended_write_id IS NULL
            AND (%(symbols)s::text[] IS NULL OR action.symbol = ANY(%(symbols)s))
            AND (%(types)s::text[] IS NULL OR action.type = ANY(%(types)s))
            AND (%(first)s::date IS NULL OR action.ex_date >= %(first)s)
            AND (%(last)s::date IS NULL OR action.ex_date <= %(last)s)
            AND (%(uuids)s::uuid[] IS NULL OR {ID} = ANY(%(uuids)s))
            AND (%(day)s::date IS NULL OR (action.ex_date, action.change_id) {compared} (%(day)s, %(number)s::bigint))
        ORDER BY action.ex_date {direction}, action.change_id {direction}
        LIMIT %(limit)s + 1
    """


LISTED: Final[Mapping[Order, LiteralString]] = {"asc": _listed("asc"), "desc": _listed("desc")}


class ActionPage(NamedTuple):
    """Actions sorted by ex-date, and True if there are more."""

    actions: Sequence[ListedAction]
    has_more: bool


def _action(
    symbol: str,
    identifier: str,
    uuid: UUID,
    number: int,
    currency: str,
    kind: ActionType,
    ex_date: date,
    numerator: Any,
    denominator: Any,
    amount: Any,
) -> ListedAction:
    ratio = None if numerator is None else Ratio(numerator, denominator)
    return ListedAction(symbol, identifier, uuid, number, currency, ActionTerms(kind, ex_date, ratio, amount))


async def list_actions(
    connection: Connection, wanted: ActionFilter, limit: int, order: Order = "asc", after: RowKey | None = None
) -> ActionPage:
    """Return the known actions that meet some conditions; with `after`, those that follow an ex-date and a number."""
    cursor = connection.cursor(row_factory=args_row(_action))
    parameters: dict[str, Any] = {
        **wanted._asdict(),
        "day": after and after[0].date(),
        "number": after and after[1],
        "limit": limit,
    }
    await cursor.execute(LISTED[order], parameters, prepare=False)
    found = await cursor.fetchall()
    return ActionPage(found[:limit], len(found) > limit)

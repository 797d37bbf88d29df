"""Splits and dividends as structs, with the factors of the splits."""

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any, Final, NamedTuple

from litestar import Request

from market_data.api.compat.massive.action_models import OldDividend, Split, StocksDividend, StocksSplit
from market_data.api.http.consistency import read_source
from market_data.models_actions import ActionType
from market_data.queries.action_lists import ActionFilter, ListedAction, list_actions

SPLITS: Final[tuple[ActionType, ...]] = ("split", "stock_dividend")

MAX_SPLITS: Final = 100_000
"""Splits of the symbols of a page, from which factors are computed."""


class FoundAction(NamedTuple):
    """An action with the name of its symbol."""

    action: ListedAction
    ticker: str
    factor: Fraction
    """Of prices before the split, for it and all later ones; of a dividend, for all later splits."""


async def read_factors(request: Request[Any, Any, Any], actions: Sequence[ListedAction]) -> Mapping[int, Fraction]:
    """Return the factors of actions by their numbers, as in `FoundAction`."""
    symbols = sorted({each.symbol for each in actions})
    splits: Sequence[ListedAction] = ()
    if symbols:
        wanted = ActionFilter(symbols, list(SPLITS), min(each.terms.ex_date for each in actions))
        splits = (await read_source(request).read(list_actions, wanted, MAX_SPLITS)).actions
    factors: dict[int, Fraction] = {}
    for each in actions:
        factor = Fraction(1)
        for split in splits:
            is_later = split.key > each.key if each.terms.ratio is None else split.key >= each.key
            if split.symbol == each.symbol and split.terms.ratio and is_later:
                factor *= Fraction(split.terms.ratio.denominator) / Fraction(split.terms.ratio.numerator)
        factors[each.number] = factor
    return factors


def kind_of(action: ListedAction) -> str:
    """Return the type of a split in the protocol."""
    ratio = action.terms.ratio
    if action.terms.type == "stock_dividend" or ratio is None:
        return action.terms.type
    return "reverse_split" if ratio.numerator < ratio.denominator else "forward_split"


def split_row(found: FoundAction) -> Split:
    """Return a split in the older form."""
    after, before = found.action.terms.ratio or (1, 1)
    return Split(str(found.action.uuid), found.action.terms.ex_date, float(before), float(after), found.ticker)


def stocks_split_row(found: FoundAction) -> StocksSplit:
    """Return a split in the newer form."""
    split = split_row(found)
    members = split.id, split.execution_date, split.split_from, split.split_to, split.ticker
    return StocksSplit(*members, kind_of(found.action), float(found.factor))


def dividend_row(found: FoundAction) -> OldDividend:
    """Return a dividend in the older form."""
    action = found.action
    return OldDividend(
        str(action.uuid), float(action.terms.amount or 0), action.currency, action.terms.ex_date, found.ticker
    )


def stocks_dividend_row(found: FoundAction) -> StocksDividend:
    """Return a dividend in the newer form."""
    action, amount = found.action, found.action.terms.amount or 0
    members = str(action.uuid), float(amount), action.currency, action.terms.ex_date, found.ticker
    return StocksDividend(*members, float(Fraction(amount) * found.factor))

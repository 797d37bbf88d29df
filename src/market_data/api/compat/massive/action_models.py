"""Structs of splits and dividends."""

from datetime import date
from typing import Annotated

from msgspec import UNSET, Struct, UnsetType

from market_data.models import doc

NextUrl = Annotated[str, doc("Address of the next page; left out of the last one.")] | UnsetType


class Split(Struct, frozen=True):
    """A split."""

    id: str
    execution_date: date
    split_from: Annotated[float, doc("Shares before.", 1)]
    split_to: Annotated[float, doc("Shares after.", 4)]
    ticker: Annotated[str, doc("Symbol.", "AAPL")]


class StocksSplit(Split, frozen=True):
    """A split in the newer form."""

    adjustment_type: Annotated[str, doc("`forward_split`, `reverse_split` or `stock_dividend`.", "forward_split")]
    historical_adjustment_factor: Annotated[float, doc("Factor of earlier prices, for this and all later splits.", 0.25)]


class Dividend(Struct, frozen=True):
    """A cash dividend. Ex-dates are the only dates that are known."""

    id: str
    cash_amount: Annotated[float, doc("Cash for each share.", 0.205)]
    currency: Annotated[str, doc("Currency.", "USD")]
    ex_dividend_date: date
    ticker: Annotated[str, doc("Symbol.", "AAPL")]


class OldDividend(Dividend, frozen=True):
    """A cash dividend in the older form."""

    dividend_type: Annotated[str, doc("`CD`: special ones are not told apart.", "CD")] = "CD"


class StocksDividend(Dividend, frozen=True):
    """A cash dividend in the newer form."""

    split_adjusted_cash_amount: Annotated[float, doc("The cash for each share after all later splits.", 0.205)]


class Splits(Struct, frozen=True):
    """Splits, the newest first by default."""

    status: str
    request_id: str
    count: int
    results: list[Split]
    next_url: NextUrl = UNSET


class StocksSplits(Struct, frozen=True):
    """Splits in the newer form, the newest first by default."""

    status: str
    request_id: str
    count: int
    results: list[StocksSplit]
    next_url: NextUrl = UNSET


class Dividends(Struct, frozen=True):
    """Dividends, the newest first by default."""

    status: str
    request_id: str
    count: int
    results: list[OldDividend]
    next_url: NextUrl = UNSET


class StocksDividends(Struct, frozen=True):
    """Dividends in the newer form, the newest first by default."""

    status: str
    request_id: str
    count: int
    results: list[StocksDividend]
    next_url: NextUrl = UNSET

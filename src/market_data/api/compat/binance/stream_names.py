"""Names of streams, such as `aapl@trade`."""

import re
from typing import Final, NamedTuple

from market_data.api.compat.parameters import known_form
from market_data.queries.intervals import INTERVALS
from market_data.trade_validation import shown

TRADE: Final = "trade"
AGGREGATE: Final = "aggTrade"
TICKER: Final = "ticker"
MINI_TICKER: Final = "miniTicker"
KLINE: Final = "kline_"

TICKERS: Final = (TICKER, MINI_TICKER)
KINDS: Final = frozenset({TRADE, AGGREGATE, *TICKERS, *(f"{KLINE}{interval}" for interval in INTERVALS)})

ALL: Final = re.compile(r"!(ticker|miniTicker)@arr")

# Kinds that are not served are known as well, so that the error of one names its stream alone.
NAME: Final = re.compile(
    r"(![A-Za-z0-9]+@arr|.+?@(?:trade|aggTrade|kline_\w+|ticker|miniTicker|ticker_\w+|bookTicker|avgPrice|depth\d*(?:@\d+ms)?))"
    r"(?:/|$)",
    re.ASCII,
)


class StreamName(NamedTuple):
    """A stream of one symbol, or of all."""

    symbol: str
    """Empty for all symbols."""
    kind: str

    def __str__(self) -> str:
        return f"{self.symbol.lower()}@{self.kind}" if self.symbol else f"!{self.kind}@arr"


def split_names(text: str) -> list[str]:
    """Return the names between slashes. Symbols may contain slashes, too, so a name ends after its kind."""
    names: list[str] = []
    position = 0
    while match := NAME.match(text, position):
        names.append(match[1])
        position = match.end()
    return names + [name for name in text[position:].split("/") if name]


def read_name(text: str) -> StreamName:
    """Return the stream of a name. Its symbol may be unknown: its stream is silent.

    Raises:
        ValueError: There is no such stream.
    """
    if match := ALL.fullmatch(text):
        return StreamName("", match[1])
    given, at, kind = text.rpartition("@")
    symbol = known_form(given)
    if not at or symbol is None:
        raise ValueError(f"{shown(text)} is not the name of a stream such as aapl@trade")
    if kind not in KINDS:
        raise ValueError(f"there is no stream {shown(text)}; the kinds are {', '.join(sorted(KINDS))}")
    return StreamName(symbol, kind)

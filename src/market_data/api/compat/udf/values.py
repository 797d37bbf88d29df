"""Resolutions, symbols and errors of the Universal Data Feed."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import msgspec
from litestar import Request

from market_data.api.compat.names import read_known_symbol
from market_data.api.compat.parameters import bad_parameter, known_form
from market_data.errors import NotFound
from market_data.models import Symbol
from market_data.queries.row_pages import UNIX_EPOCH
from market_data.trade_validation import shown

RESOLUTIONS: Final[Mapping[str, str]] = {
    "1S": "1s",
    "5S": "5s",
    "15S": "15s",
    "1": "1m",
    "3": "3m",
    "5": "5m",
    "15": "15m",
    "30": "30m",
    "60": "1h",
    "120": "2h",
    "240": "4h",
    "360": "6h",
    "480": "8h",
    "720": "12h",
    "1D": "1d",
    "3D": "3d",
    "1W": "1w",
    "1M": "1M",
}
"""Intervals by resolution: minutes without a letter, and every interval of `/candles`."""

SHORT: Final = {"S": "1S", "D": "1D", "W": "1W", "M": "1M"}
"""Resolutions without their number."""

TYPES: Final[Mapping[str, str]] = {
    "stock": "stock",
    "etf": "fund",
    "crypto": "crypto",
    "fx": "forex",
    "future": "futures",
    "index": "index",
    "other": "stock",
}
"""Types of the charts by those of symbols; `stock` also if the type is unknown."""

EXCHANGE: Final = "MDP"
"""Name of the one exchange of which all symbols are."""

UNKNOWN_SYMBOL: Final = "unknown_symbol"
"""Message that the charts show in their own words."""


def error_body(error: Exception, status: int, detail: str) -> bytes:
    """Return the body of an error."""
    message = UNKNOWN_SYMBOL if isinstance(error, NotFound) and error.args[-1:] == (UNKNOWN_SYMBOL,) else detail
    return msgspec.json.encode({"s": "error", "errmsg": message})


def read_resolution(text: str | None) -> str:
    """Return the interval of a resolution.

    Raises:
        BadParameters: There is no such interval.
    """
    given = (text or "").strip()
    interval = RESOLUTIONS.get(SHORT.get(given, given))
    if interval is None:
        raise bad_parameter("resolution", f"must be one of {', '.join(RESOLUTIONS)}, not {shown(given)}")
    return interval


def read_unix_time(name: str, text: str | None) -> datetime:
    """Return the time of a number of seconds, within the years that exist.

    Raises:
        BadParameters: It is no number.
    """
    try:
        seconds = float(text or "")
        if not -1e18 < seconds < 1e18:
            raise ValueError
    except ValueError:
        raise bad_parameter(name, f"must be a Unix time in seconds, not {shown(text or '')}") from None
    lowest, highest = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 31, tzinfo=UTC)
    bounds = (lowest - UNIX_EPOCH).total_seconds(), (highest - UNIX_EPOCH).total_seconds()
    return UNIX_EPOCH + timedelta(seconds=min(max(seconds, bounds[0]), bounds[1]))


async def find_symbol(request: Request[Any, Any, Any], text: str | None) -> Symbol:
    """Return the symbol of a name, a ticker or `EXCHANGE:NAME`.

    Raises:
        BadParameters: There is no text.
        NotFound: It is unknown.
    """
    if not text:
        raise bad_parameter("symbol", "is required, for example symbol=AAPL")
    for name in (text, text.partition(":")[2]):
        symbol = known_form(name)
        if symbol and (found := await read_known_symbol(request, symbol)):
            return found
    raise NotFound(UNKNOWN_SYMBOL)

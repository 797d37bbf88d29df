"""Query and path parameters of the transparency log."""

from typing import TYPE_CHECKING, Annotated

from litestar.params import PathParameter

from market_data.api.http.parameter_types import parsed, parsed_choice, parsed_number
from market_data.api.http.parameters import NOTATIONS, TIME_SCHEMA, Time, one_of, query
from market_data.queries.intervals import INTERVALS

if TYPE_CHECKING:
    TilePath = str
    TradeId = LoggedVersion = int | None
    OptionalInterval = str | None
else:
    TilePath = parsed(str, is_text_value=lambda _: True)
    TradeId = parsed_number(-(1 << 63), (1 << 63) - 1)
    LoggedVersion = parsed_number(0, (1 << 63) - 1)
    OptionalInterval = parsed_choice(INTERVALS)

TimestampParameter = Annotated[
    Time,
    query("timestamp", f"Time of the trade, or start of the candle. {NOTATIONS}", "2026-02-08T10:30:00Z", **TIME_SCHEMA),
]
TradeIdParameter = Annotated[
    TradeId, query("trade_id", "`trade_id` of the trade; by default 0.", type="integer", format="int64")
]
OptionalIntervalParameter = Annotated[
    OptionalInterval,
    query("interval", "Interval of the candle, a stored one.", **one_of("StoredInterval", INTERVALS)),
]
LoggedVersionParameter = Annotated[
    LoggedVersion,
    query("version", "Newest version for a candle: as it stood then; by default now.", type="integer", minimum=0),
]
TileParameter = Annotated[
    TilePath,
    query("tile", "Level or `entries`, and index in groups of three digits.", "0/000.p/1", PathParameter, type="string"),
]

"""OpenBB Workspace at `/openbb`: its widgets, and the tables that they show, as flat arrays of objects.

The tables are not those of the service's own paths, which refuse the parameters that the Workspace adds.
"""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

import msgspec
from litestar import Request, get
from litestar.response.base import ASGIResponse
from msgspec import Struct

from market_data.api.compat.names import read_prices
from market_data.api.compat.parameters import ForeignOperation, foreign_responses, query, read_parameter
from market_data.api.compat.rows import read_bars, read_trade_rows
from market_data.api.compat.udf.values import find_symbol
from market_data.api.http.caching import NO_STORE, REVALIDATE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.api.http.handlers import encode
from market_data.api.http.parameter_types import read_choice, read_time_bound
from market_data.models import Candle, LatestPrice, Trade
from market_data.models_status import LevelStatus
from market_data.queries.intervals import ALL_INTERVALS
from market_data.queries.row_pages import BEGINNING
from market_data.queries.status import read_ingestion
from market_data.services import services_of

ROWS: Final = 500
"""Newest candles or trades of a table."""


def _parameter(name: str, label: str, kind: str, value: str, **more: Any) -> dict[str, Any]:
    return {"paramName": name, "label": label, "description": label, "type": kind, "value": value, **more}


SYMBOL: Final = _parameter("symbol", "Symbol", "text", "AAPL")
INTERVAL: Final = _parameter(
    "interval", "Interval", "text", "1h", options=[{"label": name, "value": name} for name in ALL_INTERVALS]
)
START: Final = _parameter("start", "First day", "date", "$currentDate-7d")

TEXTS: Final = {"symbol": "text", "interval": "text", "timestamp": "dateString", "watermark": "dateString"}
"""Types of the columns that are no numbers."""


def _table(name: str, description: str, endpoint: str, columns: dict[str, str], **more: Any) -> dict[str, Any]:
    definitions = [
        {"field": field, "headerName": title, "cellDataType": TEXTS.get(field, "number")} for field, title in columns.items()
    ]
    return {
        "name": name,
        "description": description,
        "category": "Market data",
        "type": "table",
        "endpoint": endpoint,
        "gridData": {"w": 20, "h": 14},
        "data": {"table": {"showAll": True, "columnsDefs": definitions}},
        **more,
    }


WIDGETS: Final[dict[str, Any]] = {
    "watch_list": _table(
        "Watch list",
        "The newest trade of every symbol",
        "watch_list",
        {"symbol": "Symbol", "price": "Price", "volume": "Volume", "timestamp": "Time"},
        refetchInterval=5000,
    ),
    "chart": {
        "name": "Chart",
        "description": "Candles of all intervals",
        "category": "Market data",
        "type": "advanced_charting",
        "endpoint": "/udf",
        "gridData": {"w": 40, "h": 20},
        "data": {"defaultSymbol": "AAPL", "updateFrequency": 5000},
    },
    "candles": _table(
        "Candles",
        f"The newest {ROWS} candles since a day",
        "candles",
        {"timestamp": "Start", "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume"},
        params=[SYMBOL, INTERVAL, START],
    ),
    "trades": _table(
        "Trades",
        f"The newest {ROWS} trades of a symbol",
        "trades",
        {"timestamp": "Time", "price": "Price", "volume": "Volume", "trade_id": "Id"},
        params=[SYMBOL],
        refetchInterval=5000,
    ),
    "status": _table(
        "Status",
        "Progress of the candles by interval",
        "status",
        {"interval": "Interval", "watermark": "Materialized until", "lag_seconds": "Lag in seconds"},
        refetchInterval=10000,
    ),
}

PLACES: Final = (("watch_list", 0, 0, 16), ("chart", 16, 0, 24), ("candles", 0, 20, 20), ("trades", 20, 20, 20))


class App(Struct, frozen=True):
    """A layout of widgets."""

    name: str
    description: str
    tabs: dict[str, Any]
    groups: list[Any] = []
    allowCustomization: bool = True  # noqa: N815 - the name of the protocol


APPS: Final = [
    App(
        "Market Data",
        "Watch list, chart, candles and trades",
        {
            "market": {
                "id": "market",
                "name": "Market",
                "layout": [{"i": name, "x": x, "y": y, "w": w, "h": 20} for name, x, y, w in PLACES],
            }
        },
    )
]


@get(
    "/widgets.json",
    summary="Widgets of OpenBB Workspace",
    description="Watch list, chart, candles, trades and status, each with the path that it reads.",
    operation_class=ForeignOperation,
    responses=foreign_responses(dict[str, dict[str, Any]], "The widgets by name."),
)
async def widgets() -> ASGIResponse:
    return CompleteResponse(encode(WIDGETS), REVALIDATE)


@get(
    "/apps.json",
    summary="Layouts of OpenBB Workspace",
    description="A layout of the widgets.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[App], "The layouts."),
)
async def apps() -> ASGIResponse:
    return CompleteResponse(encode(APPS), REVALIDATE)


@get(
    "/watch_list",
    summary="Watch list of OpenBB Workspace",
    description="The newest trade of every symbol.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[LatestPrice], "The trades."),
)
async def watch_list(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await read_prices(request, None)
    return CompleteResponse(encode(found.prices), NO_STORE)


@get(
    "/candles",
    summary="Candles of OpenBB Workspace",
    description=f"The newest {ROWS} candles of a symbol since a day, newest first.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Candle], "The candles."),
)
async def candle_table(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "Symbol; required.", "AAPL")] = None,
    interval: Annotated[str | None, query("interval", "Interval; `1h` by default.", "1h")] = None,
    start: Annotated[str | None, query("start", "First day; a week ago by default.", "2026-02-08")] = None,
) -> ASGIResponse:
    chosen = read_parameter("interval", interval or "1h", lambda text: read_choice(text, ALL_INTERVALS))
    now = datetime.now(UTC)
    first = read_parameter("start", start, read_time_bound).time if start else now - timedelta(days=7)
    known = await find_symbol(request, symbol)
    if first >= now:
        return CompleteResponse(b"[]", NO_STORE)
    rows = await read_bars(request, [known.symbol], chosen, first, now, ROWS, order="desc", row_format="json")
    return CompleteResponse(f"[{rows.pages[0].page.rows}]".encode(), NO_STORE)


@get(
    "/trades",
    summary="Trades of OpenBB Workspace",
    description=f"The newest {ROWS} trades of a symbol, newest first.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[Trade], "The trades."),
)
async def trade_table(
    request: Request[Any, Any, Any],
    symbol: Annotated[str | None, query("symbol", "Symbol; required.", "AAPL")] = None,
) -> ASGIResponse:
    known = await find_symbol(request, symbol)
    rows = await read_trade_rows(
        request, [known.symbol], BEGINNING, datetime.now(UTC), ROWS, order="desc", row_format="json"
    )
    text = services_of(request).names.rename_json(rows.pages[0].page.rows)
    return CompleteResponse(f"[{text}]".encode(), NO_STORE)


@get(
    "/status",
    summary="Status of OpenBB Workspace",
    description="Progress of the candles by interval.",
    operation_class=ForeignOperation,
    responses=foreign_responses(list[LevelStatus], "The intervals."),
)
async def status_table(request: Request[Any, Any, Any]) -> ASGIResponse:
    found = await read_source(request).read_coalesced(read_ingestion)
    return CompleteResponse(msgspec.json.encode(found.levels), NO_STORE)

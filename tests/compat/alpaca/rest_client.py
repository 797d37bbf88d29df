"""Call the REST clients of alpaca-py, unmodified: `rest_client.py <base URL> <secret> <JSON list of calls>`.

Each call has a method, the keyword arguments of its request, and those of the client. The output is a list with the
result of each: the values of pydantic as JSON, or the error.
"""

# pyright: reportMissingImports=false
# Only the environment of the client has its package.

import json
import sys
from datetime import datetime
from typing import Any

from alpaca.common.exceptions import APIError
from alpaca.data.historical.corporate_actions import CorporateActionsClient
from alpaca.data.historical.stock import StockHistoricalDataClient
from alpaca.data.requests import (
    CorporateActionsRequest,
    StockBarsRequest,
    StockLatestBarRequest,
    StockLatestQuoteRequest,
    StockLatestTradeRequest,
    StockQuotesRequest,
    StockSnapshotRequest,
    StockTradesRequest,
)
from alpaca.data.timeframe import TimeFrame, TimeFrameUnit
from alpaca.trading.client import TradingClient
from alpaca.trading.requests import GetAssetsRequest, GetCalendarRequest, GetCorporateAnnouncementsRequest

REQUESTS = {
    "get_stock_bars": StockBarsRequest,
    "get_stock_trades": StockTradesRequest,
    "get_stock_quotes": StockQuotesRequest,
    "get_stock_latest_bar": StockLatestBarRequest,
    "get_stock_latest_trade": StockLatestTradeRequest,
    "get_stock_latest_quote": StockLatestQuoteRequest,
    "get_stock_snapshot": StockSnapshotRequest,
    "get_all_assets": GetAssetsRequest,
    "get_calendar": GetCalendarRequest,
    "get_corporate_actions": CorporateActionsRequest,
    "get_corporate_announcements": GetCorporateAnnouncementsRequest,
}

KINDS = {
    "get_all_assets": TradingClient,
    "get_calendar": TradingClient,
    "get_corporate_announcements": TradingClient,
    "get_corporate_actions": CorporateActionsClient,
}


def request_of(method: str, given: dict[str, Any]) -> Any:
    for name in {"start", "end"} & set(given):
        given[name] = datetime.fromisoformat(given[name])
    if "timeframe" in given:
        number, unit = given["timeframe"]
        given["timeframe"] = TimeFrame(number, TimeFrameUnit(unit))
    return REQUESTS[method](**given)


def plain(result: Any) -> Any:
    if isinstance(result, dict):
        return {name: plain(value) for name, value in result.items()}
    if isinstance(result, list):
        return [plain(each) for each in result]
    if hasattr(result, "data"):
        return plain(result.data)
    return result.model_dump(mode="json") if hasattr(result, "model_dump") else result


def call(base: str, secret: str, each: dict[str, Any]) -> Any:
    method, options = each["method"], each.get("client", {})
    kind = KINDS.get(method, StockHistoricalDataClient if method in REQUESTS else TradingClient)
    keys = {} if "oauth_token" in options else {"api_key": "key", "secret_key": secret}
    client = kind(url_override=base, **{**keys, **options})
    client._retry_wait = 0.1
    try:
        if method in REQUESTS:
            return plain(getattr(client, method)(request_of(method, each["request"])))
        return plain(getattr(client, method)(*each.get("arguments", [])))
    except APIError as error:
        return {"status": error.status_code, "error": str(error)}


if __name__ == "__main__":
    base, secret, calls = sys.argv[1:]
    sys.stdout.write(json.dumps([call(base, secret, each) for each in json.loads(calls)]))

"""The tools: handlers of the HTTP API under names for language models, with the same parameters."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Final, cast

from litestar.handlers import HTTPRouteHandler
from litestar.openapi.spec import Schema
from litestar.params import ParameterKwarg

from market_data.api.candles import candles
from market_data.api.explanation import candle_explanation
from market_data.api.http.parameter_types import parsed_limit
from market_data.api.http.query_string import query_fields
from market_data.api.prices import latest_prices
from market_data.api.revisions import revisions
from market_data.api.status import ingestion_status
from market_data.api.symbols import symbols
from market_data.api.trades import trades

MAX_ROWS = 100
"""Rows of an answer: about 10,000 tokens of candles."""

Limit: Any = parsed_limit(MAX_ROWS)

LIMIT: Final[Mapping[str, Any]] = {
    "type": "integer",
    "minimum": 1,
    "maximum": MAX_ROWS,
    "description": f"Maximum number of rows, 1 to {MAX_ROWS}; by default {MAX_ROWS}.",
}
CONTAINS: Final[Mapping[str, Any]] = {
    "type": "string",
    "description": "Part of the symbol or of its name, in upper or lower case. Default: all symbols.",
    "examples": ["apple"],
}

TERMS: Final = {
    "`GET /symbols`": "`list_symbols`",
    "GET /symbols": "list_symbols",
    "as at `/candles`": "as for `get_candles`",
    "`/revisions`": "`get_revisions`",
    "Data-Version": "data_version",
    "is not a parameter of this path": "is not an argument of this tool",
}
"""Terms of the HTTP API in descriptions and errors, and those of the tools."""


def in_terms_of_tools(text: str) -> str:
    """Return a description or an error of the HTTP API for a client of the tools."""
    for term, replacement in TERMS.items():
        text = text.replace(term, replacement)
    return text


@dataclass(frozen=True)
class Tool:
    """A tool that reads from a path of the HTTP API."""

    name: str
    title: str
    description: str
    handler: HTTPRouteHandler
    rows: str | None
    """Field of the body with the rows; None for a body that is one object."""
    searched: Sequence[str] = ()
    """Fields of the rows in which the argument `contains` is searched."""

    @cached_property
    def path(self) -> str:
        """Path of the HTTP API."""
        (path,) = self.handler.paths
        return path

    @cached_property
    def arguments(self) -> Mapping[str, Mapping[str, Any]]:
        """Schemas of the arguments, by name: those of the parameters in the OpenAPI document, except `format`."""
        schemas = {
            name: _schema(cast("ParameterKwarg", field.kwarg_definition))
            for name, field in query_fields(self.handler).items()
        }
        schemas.pop("format", None)
        if "limit" in schemas:
            schemas["limit"] = LIMIT
        return {**schemas, "contains": CONTAINS} if self.searched else schemas

    @cached_property
    def input_schema(self) -> dict[str, Any]:
        """JSON schema of all arguments."""
        fields = query_fields(self.handler)
        return {
            "type": "object",
            "properties": dict(self.arguments),
            "required": [name for name, field in fields.items() if field.is_required],
            "additionalProperties": False,
        }


def _schema(parameter: ParameterKwarg) -> Mapping[str, Any]:
    examples = [example.value for example in parameter.examples or ()] or None
    description = in_terms_of_tools(parameter.description or "")
    return Schema(description=description, examples=examples, **parameter.schema_extra or {}).to_schema()


TOOLS: Final[Mapping[str, Tool]] = {
    tool.name: tool
    for tool in (
        Tool(
            "list_symbols",
            "Symbols",
            "Known symbols and their names, in alphabetical order. Use it first, to find a symbol by a name.",
            symbols,
            "symbols",
            searched=("symbol", "name"),
        ),
        Tool(
            "get_latest_prices",
            "Latest prices",
            "The newest trade (price, volume, time) of some symbols, or of all; with `as_of`, of a time in the past.",
            latest_prices,
            "prices",
        ),
        Tool(
            "get_candles",
            "Candles",
            "Open, high, low, close, volume and volume-weighted average price of a symbol, or of several, by interval: "
            "without `start` the newest ones. Choose an interval with few candles in the range. A candle that is not "
            "`closed` still changes; `as_of` returns candles as they were known then.",
            candles,
            "candles",
        ),
        Tool(
            "get_trades",
            "Trades",
            "Single trades of a symbol, or of several, newest first. For longer ranges get_candles says more in fewer rows.",
            trades,
            "trades",
        ),
        Tool(
            "get_status",
            "Status",
            "State of the service: age of the newest trade, whether trades arrive, progress of the candles, and its jobs.",
            ingestion_status,
            None,
        ),
        Tool(
            "explain_candle",
            "Explanation of a candle",
            "The reasons for the figures of one candle: the trades behind its prices, the figures computed again from all "
            "trades, trades that came late, corrections and cancellations.",
            candle_explanation,
            None,
        ),
        Tool(
            "get_revisions",
            "Revisions of candles",
            "Closed candles that changed later, before and after, because trades came late, or were corrected or cancelled. "
            "Needs `since_version` (0 for all) or `start`.",
            revisions,
            "revisions",
        ),
    )
}

"""Functions that handlers share: encoding of responses, and checks of symbols and time zones."""

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any
from zoneinfo import ZoneInfo

import msgspec
from litestar import Request
from litestar.connection import ASGIConnection
from litestar.response.base import ASGIResponse

from market_data.api.http.caching import REVALIDATE
from market_data.api.http.complete_response import CompleteResponse
from market_data.api.http.consistency import read_source
from market_data.errors import BadParameters, NotFound
from market_data.models import ParameterProblem
from market_data.queries.candles import SessionKind
from market_data.queries.intervals import LOCAL_LENGTHS
from market_data.queries.symbols import symbol_exists, unknown_symbols
from market_data.services import services_of

MAX_NAMED_SYMBOLS = 10
"""Unknown symbols that an error names."""

encode = msgspec.json.Encoder().encode


def root_path(connection: ASGIConnection[Any, Any, Any, Any]) -> str:
    """Return the path prefix that clients of a proxy see before the paths of the service; empty without one."""
    return connection.scope["state"]["root_path"]


def redirect_from_slash(request: Request[Any, Any, Any]) -> ASGIResponse | None:
    """Return a redirect if the path of a page ends with a slash, to which the page's relative URLs do not apply."""
    if not request.scope["raw_path"].endswith(b"/"):
        return None
    query = request.scope["query_string"].decode("latin-1")
    location = f"../{request.scope['path'].rpartition('/')[2]}{query and '?'}{query}"
    return ASGIResponse(status_code=HTTPStatus.PERMANENT_REDIRECT, headers={**REVALIDATE, "Location": location})


def json_response(body: msgspec.Struct, headers: Mapping[str, str], *, status: int = 200) -> ASGIResponse:
    """Return a struct as a response, without Litestar's own serialization."""
    return CompleteResponse(encode(body), headers, status=status)


async def require_symbol(request: Request[Any, Any, Any], symbol: str) -> None:
    """Check that a symbol is known. Called only after an empty result, so that other requests do not pay for it.

    Raises:
        NotFound: The symbol is unknown.
    """
    if not await services_of(request).database.read(symbol_exists, symbol):
        raise unknown_symbol(symbol)


async def require_symbols(request: ASGIConnection[Any, Any, Any, Any], symbols: Sequence[str]) -> None:
    """Check that symbols are known.

    Raises:
        NotFound: Some are unknown; the message names at most ten of them.
    """
    services = services_of(request)
    unknown = await read_source(request).read(unknown_symbols, symbols)
    if unknown and services.replica:  # which may not have the newest symbols yet
        unknown = await services.database.read(unknown_symbols, unknown)
    raise_unknown(unknown)


def raise_unknown(unknown: Sequence[str]) -> None:
    """Raise NotFound if there are unknown symbols; the message names at most ten of them."""
    if unknown:
        more = len(unknown) - MAX_NAMED_SYMBOLS
        raise unknown_symbol(", ".join(unknown[:MAX_NAMED_SYMBOLS]) + (f" and {more:,} more" if more > 0 else ""))


def unknown_symbol(symbol: str) -> NotFound:
    """Return the error for an unknown symbol."""
    return NotFound(f"There is no symbol {symbol}; GET /symbols lists the known ones.")


def check_zone(interval: str, tz: ZoneInfo | None, session: SessionKind = "all") -> None:
    """Check that the buckets of an interval may have a time zone.

    Raises:
        BadParameters: They are the same in all time zones, or have that of an exchange.
    """
    if tz and session != "all":
        detail = (
            f"can't be given together with session={session}, whose days are those of the exchange; leave one of them out"
        )
        raise BadParameters([ParameterProblem("tz", detail)])
    if tz and interval not in LOCAL_LENGTHS:
        detail = f"applies to the intervals {', '.join(LOCAL_LENGTHS)}; leave it out for {interval}"
        raise BadParameters([ParameterProblem("tz", detail)])
